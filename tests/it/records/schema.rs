//! Schemas: what breaks one is refused by its path, whichever way it comes; schemas change for what is stored from then on.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Pannier, assert_status, pannier, violated_fields};

const SCHEMA: &str = r#"{"type":"object","required":["title"],"properties":{"title":{"type":"string","maxLength":10},
    "metrics":{"properties":{"views":{"type":"integer","minimum":0}}}}}"#;

async fn with_schema(schema: &str) -> Pannier {
    let pannier = pannier().await;
    create(&pannier, schema).await.unwrap();
    pannier
}

async fn create(pannier: &Pannier, schema: &str) -> Result<(), Status> {
    let request =
        pb::CreateCollectionRequest { name: "docs".into(), schema_json: schema.into(), ..Default::default() };
    pannier.records.clone().create_collection(request).await.map(drop)
}

async fn put(pannier: &Pannier, key: &str, json: &str) -> Result<pb::PutResult, Status> {
    let item = pb::PutItem { key: key.into(), document_json: json.into(), ..Default::default() };
    let request = pb::PutRequest { collection: "docs".into(), item: Some(item), ..Default::default() };
    Ok(pannier.records.clone().put(request).await?.into_inner().result.unwrap())
}

async fn patch(pannier: &Pannier, key: &str, json: &str) -> Result<pb::Record, Status> {
    let request = pb::PatchRequest {
        collection: "docs".into(),
        item: Some(pb::PatchItem { key: key.into(), patch_json: json.into(), ..Default::default() }),
        ..Default::default()
    };
    Ok(pannier.records.clone().patch(request).await?.into_inner().record.unwrap())
}

async fn change_schema(pannier: &Pannier, schema: &str) -> Result<pb::Collection, Status> {
    let request = pb::UpdateCollectionRequest {
        name: "docs".into(),
        schema_json: Some(schema.into()),
        ..Default::default()
    };
    Ok(pannier.records.clone().update_collection(request).await?.into_inner().collection.unwrap())
}

/// The paths that an error names.
#[track_caller]
fn breaches(refused: &Status) -> Vec<String> {
    assert_status(refused, Code::InvalidArgument, ErrorReason::SchemaViolated);
    let details = refused.get_error_details();
    let bad = details.bad_request().expect("it names the paths");
    let mut fields: Vec<_> = bad.field_violations.iter().map(|violation| violation.field.clone()).collect();
    fields.sort();
    let told = format!("{refused:?}");
    assert!(!told.contains("secret"), "no values: {told}");
    fields
}

#[tokio::test]
async fn a_document_that_breaks_the_schema_is_refused_by_its_paths() {
    let pannier = with_schema(SCHEMA).await;
    put(&pannier, "a", r#"{"title":"short","metrics":{"views":1}}"#).await.unwrap();
    let refused =
        put(&pannier, "b", r#"{"title":"secretsecretsecret","metrics":{"views":-1}}"#).await.unwrap_err();
    let paths = breaches(&refused);
    assert_eq!(paths.len(), 2);
    assert!(paths[0].ends_with("/metrics/views") && paths[1].ends_with("/title"), "{paths:?}");
    let refused = patch(&pannier, "a", r#"{"metrics":{"views":"secret"}}"#).await.unwrap_err();
    assert!(breaches(&refused)[0].ends_with("/metrics/views"));
    let refused = patch(&pannier, "a", r#"{"title":null}"#).await.unwrap_err();
    assert_eq!(breaches(&refused).len(), 1);
    // Nothing was changed by any of them.
    let request = pb::GetRequest { collection: "docs".into(), key: "a".into() };
    let kept = pannier.records.clone().get(request).await.unwrap().into_inner().record.unwrap();
    assert_eq!(
        (kept.revision, kept.document_json.as_str()),
        (1, r#"{"title":"short","metrics":{"views":1}}"#)
    );
    assert_eq!(pannier.row_count("records").await, 1);
}

#[tokio::test]
async fn an_item_that_breaks_the_schema_fails_by_itself() {
    let pannier = with_schema(SCHEMA).await;
    let item = |key: &str, json: &str| pb::PutItem {
        key: key.into(),
        document_json: json.into(),
        ..Default::default()
    };
    let request = pb::BatchPutRequest {
        collection: "docs".into(),
        items: vec![
            item("a", r#"{"title":"a"}"#),
            item("b", r#"{"title":1}"#),
            item("c", r#"{"title":"c"}"#),
        ],
        ..Default::default()
    };
    let results = pannier.records.clone().batch_put(request).await.unwrap().into_inner().results;
    let reasons: Vec<_> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            pb::batch_put_result::Outcome::Put(_) => None,
            pb::batch_put_result::Outcome::Error(error) => {
                assert!(error.message.contains("/title"), "{}", error.message);
                Some(error.reason())
            }
        })
        .collect();
    assert_eq!(reasons, [None, Some(ErrorReason::SchemaViolated), None]);
}

#[tokio::test]
async fn a_new_schema_holds_for_what_is_stored_from_then_on() {
    let pannier = with_schema("").await;
    put(&pannier, "a", r#"{"title":1}"#).await.unwrap();
    change_schema(&pannier, SCHEMA).await.unwrap();
    breaches(&put(&pannier, "b", r#"{"title":1}"#).await.unwrap_err());
    breaches(&patch(&pannier, "a", r#"{"n":1}"#).await.unwrap_err());
    let pannier = pannier.restart().await;
    breaches(&put(&pannier, "b", r#"{"title":1}"#).await.unwrap_err());
    change_schema(&pannier, r#"{"properties":{"title":{"type":"integer"}}}"#).await.unwrap();
    put(&pannier, "b", r#"{"title":1}"#).await.unwrap();
    breaches(&put(&pannier, "b", r#"{"title":"t"}"#).await.unwrap_err());
    let declared = change_schema(&pannier, "").await.unwrap();
    assert_eq!(declared.schema_json, "");
    put(&pannier, "b", r#"{"title":[]}"#).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_when_it_is_declared() {
    let pannier = pannier().await;
    for schema in [
        "{",
        "[]",
        r#"{"type":"objekt"}"#,
        r#"{"$ref":"https://example.com/schema.json"}"#,
        r#"{"$ref":"file:///etc/hostname"}"#,
        r#"{"pattern":"(?=look)ahead"}"#,
    ] {
        assert_eq!(
            violated_fields(&create(&pannier, schema).await.unwrap_err()),
            ["schema_json"],
            "{schema}"
        );
    }
    let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(70_000));
    let refused = create(&pannier, &long).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["schema_json"]);
    assert!(format!("{:?}", refused.get_error_details()).contains("records.schema_bytes_max"));
    create(&pannier, SCHEMA).await.unwrap();
}
