//! Items of batches that are wrong fail alone, or all fail; members that are replaced, removed and kept.

use pannier_proto::errors::v1::{ErrorReason, ItemError};
use pannier_proto::records::v1 as pb;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::pb::BadRequest;

use super::calls::{item, mutation};
use super::documents::with_collection;
use crate::harness::{Pannier, assert_status, pannier, violated_fields};

/// The fields that the details of an item's error name.
fn fields(error: &ItemError) -> Vec<String> {
    let bad = error.details.iter().find(|detail| detail.type_url.ends_with("BadRequest")).unwrap();
    let bad = BadRequest::decode(bad.value.as_slice()).unwrap();
    bad.field_violations.into_iter().map(|violation| violation.field).collect()
}

fn patch_item(key: &str, patch_json: &str, mode: pb::PatchMode) -> pb::PatchItem {
    let mode = mode.into();
    pb::PatchItem { key: key.into(), patch_json: patch_json.into(), mode, ..Default::default() }
}

impl Pannier {
    async fn patch_items(
        &self,
        items: Vec<pb::PatchItem>,
        atomic: bool,
    ) -> Result<Vec<pb::batch_patch_result::Outcome>, Status> {
        let request = pb::BatchPatchRequest { collection: "c".into(), items, atomic, ..Default::default() };
        let results = self.records.clone().batch_patch(request).await?.into_inner().results;
        Ok(results.into_iter().map(|result| result.outcome.unwrap()).collect())
    }
}

#[tokio::test]
async fn a_wrong_item_of_a_put_fails_alone_with_the_details_of_the_single_call() {
    use pb::batch_put_result::Outcome;
    let pannier = with_collection().await;
    let items = vec![item("a", "{}"), item("b", "["), item("\0", "{}"), item("d", r#"{"n":1}"#)];
    let results = pannier.batch_put_records(items.clone(), pb::PutMode::Replace).await;
    let outcomes: Vec<_> = results.into_iter().map(|result| result.outcome.unwrap()).collect();
    let [Outcome::Put(_), Outcome::Error(no_json), Outcome::Error(bad_key), Outcome::Put(_)] = &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        (no_json.reason(), fields(no_json)),
        (ErrorReason::InvalidArgument, vec!["document_json".into()])
    );
    assert_eq!(fields(bad_key), ["key"]);
    assert_eq!(pannier.list_records("", 0).await.len(), 2);
    let request = pb::BatchPutRequest { collection: "c".into(), items, atomic: true, ..Default::default() };
    let refused = pannier.records.clone().batch_put(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[1].document_json", "items[2].key"]);
    let conflicting = vec![item("new", "{}"), pb::PutItem { if_revision: 99, ..item("a", "{ }") }];
    let request = pb::BatchPutRequest {
        collection: "c".into(),
        items: conflicting,
        atomic: true,
        ..Default::default()
    };
    let refused = pannier.records.clone().batch_put(request).await.unwrap_err();
    assert_status(&refused, Code::Aborted, ErrorReason::RecordChanged);
    assert_eq!(pannier.list_records("", 0).await.len(), 2, "all or none");
}

#[tokio::test]
async fn a_wrong_item_of_a_deletion_fails_alone_or_all_do() {
    use pb::batch_delete_result::Outcome;
    let pannier = with_collection().await;
    for key in ["a", "b"] {
        pannier.put_record(key, "{}").await;
    }
    let delete = |key: &str, if_revision| pb::DeleteItem { key: key.into(), if_revision };
    let items = vec![delete("a", 0), delete("", 0), delete("b", 77)];
    let request =
        pb::BatchDeleteRequest { collection: "c".into(), items, atomic: true, ..Default::default() };
    let refused = pannier.records.clone().batch_delete(request.clone()).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[1].key"]);
    let request = pb::BatchDeleteRequest { atomic: false, ..request };
    let results = pannier.records.clone().batch_delete(request).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.into_iter().map(|result| result.outcome.unwrap()).collect();
    let [Outcome::Deletion(_), Outcome::Error(bad_key), Outcome::Error(changed)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!((fields(bad_key), changed.reason()), (vec!["key".into()], ErrorReason::RecordChanged));
}

#[tokio::test]
async fn a_patch_replaces_the_members_that_it_names_whole() {
    use pb::PatchMode::{Merge, Replace};
    use pb::batch_patch_result::Outcome;
    let pannier = with_collection().await;
    let document = r#"{"verification_results":{"a":{"ok":true},"b":1},"title":"t","z":1.10}"#;
    pannier.put_record("k", document).await;
    pannier.put_record("m", document).await;
    let patch = r#"{"verification_results":{"a":null}}"#;
    let removing = pb::PatchItem {
        remove_members: vec!["title".into(), "none".into()],
        ..patch_item("k", patch, Replace)
    };
    let items = vec![
        removing,
        patch_item("m", patch, Merge),
        patch_item("none", "{}", Replace),
        patch_item("k", "3", Replace),
        patch_item("m", r#"{"z":1.10}"#, Replace),
        pb::PatchItem { remove_members: vec!["z".into()], ..patch_item("m", "{}", Merge) },
    ];
    let outcomes = pannier.patch_items(items.clone(), false).await.unwrap();
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Patch(patch) => Ok((patch.key.as_str(), patch.revision, patch.changed)),
            Outcome::Error(error) => Err(error.reason()),
        })
        .collect();
    let invalid = Err(ErrorReason::InvalidArgument);
    let missing = Err(ErrorReason::RecordNotFound);
    assert_eq!(
        told,
        [Ok(("k", 3, true)), Ok(("m", 4, true)), missing, invalid, Ok(("m", 4, false)), invalid]
    );
    let replaced = r#"{"verification_results":{"a":null},"z":1.10}"#;
    assert_eq!(pannier.document("k").await.as_deref(), Some(replaced));
    let merged = r#"{"verification_results":{"b":1},"title":"t","z":1.10}"#;
    assert_eq!(pannier.document("m").await.as_deref(), Some(merged));
    let refused = pannier.patch_items(items, true).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[3].patch_json", "items[5].remove_members"]);
    let late = vec![patch_item("k", r#"{"n":1}"#, Replace), patch_item("none", "{}", Replace)];
    let refused = pannier.patch_items(late, true).await.unwrap_err();
    assert_status(&refused, Code::NotFound, ErrorReason::RecordNotFound);
    assert_eq!(pannier.document("k").await.as_deref(), Some(replaced), "all or none");
    let client = pannier.sync_client().await;
    let what = pb::sync_mutation::What::ReplaceJson(r#"{"verification_results":{}}"#.into());
    pannier.push(&client, 0, vec![mutation(1, "k", None, what)]).await.unwrap();
    assert_eq!(pannier.document("k").await.as_deref(), Some(r#"{"verification_results":{},"z":1.10}"#));
}

#[tokio::test]
async fn a_put_keeps_the_members_that_it_names_of_the_record_that_is_there() {
    let pannier = with_collection().await;
    let put = async |document: &str| {
        let keep_members = vec!["created".to_owned(), "first".to_owned()];
        pannier.try_put_record("c", pb::PutItem { keep_members, ..item("k", document) }).await.unwrap()
    };
    assert_eq!(put(r#"{"created":1,"n":1}"#).await.outcome(), pb::PutOutcome::Created);
    assert_eq!(put(r#"{"created":2,"n":2}"#).await.outcome(), pb::PutOutcome::Replaced);
    assert_eq!(pannier.document("k").await.as_deref(), Some(r#"{"created":1,"n":2}"#));
    assert_eq!(put(r#"{"created":3,"n":2}"#).await.outcome(), pb::PutOutcome::Unchanged);
    pannier.delete_record("k").await;
    put(r#"{"created":4}"#).await;
    assert_eq!(
        pannier.document("k").await.as_deref(),
        Some(r#"{"created":4}"#),
        "of a tombstone nothing is kept"
    );
    let keep =
        pb::PutItem { mode: pb::PutMode::Keep.into(), keep_members: vec!["a".into(); 65], ..item("k", "{}") };
    let refused = pannier.try_put_record("c", keep).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["item.keep_members", "item.keep_members"]);
}

#[tokio::test]
async fn a_document_of_a_mebibyte_is_stored() {
    let pannier = with_collection().await;
    let document = format!(r#"{{"t":"{}"}}"#, "x".repeat((1 << 20) - 8));
    pannier.put_record("k", &document).await;
    assert_eq!(pannier.document("k").await, Some(document));
}

/// `$defs` of which each has all of the next one twice.
fn doubling(use_of_it: &str) -> String {
    let both =
        |level| format!(r##"{{"allOf":[{{"$ref":"#/$defs/a{level}"}},{{"$ref":"#/$defs/a{level}"}}]}}"##);
    let defs: Vec<_> = (0..60).map(|level| format!(r#""a{level}":{}"#, both(level + 1))).collect();
    format!(r##"{{"$defs":{{{},"a60":{{}}}},{use_of_it}}}"##, defs.join(","))
}

#[tokio::test]
async fn a_schema_whose_steps_double_stops_no_write() {
    let pannier = pannier().await;
    let make = |schema_json: String| pb::CreateCollectionRequest {
        name: "c".into(),
        schema_json,
        ..Default::default()
    };
    let refused = pannier.try_make_collection(make(doubling(r##""$ref":"#/$defs/a0""##))).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["schema_json"]);
    let later = doubling(r##""properties":{"a":{"$ref":"#/$defs/a0"}}"##);
    pannier.try_make_collection(make(later)).await.unwrap();
    let refused = pannier.try_put_record("c", item("k", r#"{"a":1}"#)).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::SchemaStepsExceeded);
    pannier.put_record("k", r#"{"b":1}"#).await;
    // In a batch it is one item's error.
    let items = vec![item("x", r#"{"a":1}"#), item("y", "{}")];
    let results = pannier.batch_put_records(items, pb::PutMode::Replace).await;
    let is_put =
        |result: &pb::BatchPutResult| matches!(result.outcome, Some(pb::batch_put_result::Outcome::Put(_)));
    assert_eq!(results.iter().map(is_put).collect::<Vec<_>>(), [false, true]);
}

/// Patches and mutations of one record that follow one another are judged as they come to be.
#[tokio::test]
async fn chains_of_patches_are_judged_by_what_they_make() {
    use pb::batch_patch_result::Outcome;
    let pannier = pannier().await;
    let schema = r#"{"properties":{"n":{"type":"integer","maximum":50}},"maxProperties":2}"#;
    let request =
        pb::CreateCollectionRequest { name: "c".into(), schema_json: schema.into(), ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    pannier.put_record("k", "{}").await;
    let items = (0..60).map(|n| patch_item("k", &format!(r#"{{"n":{n}}}"#), pb::PatchMode::Merge)).collect();
    let outcomes = pannier.patch_items(items, false).await.unwrap();
    let is_right = |outcome: &Outcome| matches!(outcome, Outcome::Patch(_));
    assert_eq!(outcomes.iter().filter(|outcome| is_right(outcome)).count(), 51);
    assert_eq!(pannier.document("k").await.as_deref(), Some(r#"{"n":50}"#));
    let client = pannier.sync_client().await;
    let patch =
        |id: i64, patch: &str| mutation(id, "k", None, pb::sync_mutation::What::PatchJson(patch.into()));
    let pushed = vec![
        patch(1, r#"{"m":1}"#),
        patch(2, r#"{"o":1}"#),
        patch(3, r#"{"m":null,"p":1}"#),
        patch(4, r#"{"n":1}"#),
    ];
    let answer = pannier.push(&client, 0, pushed).await.unwrap();
    use pb::SyncOutcome::{Applied, Rejected};
    let outcomes: Vec<_> = answer.results.iter().map(pb::SyncResult::outcome).collect();
    assert_eq!(outcomes, [Applied, Rejected, Applied, Applied]);
    assert_eq!(pannier.document("k").await.as_deref(), Some(r#"{"n":1,"p":1}"#));
}

#[tokio::test]
async fn the_details_of_all_rejected_mutations_of_a_push_are_bounded_together() {
    let pannier = pannier().await;
    let schema = r#"{"properties":{"a":{"items":{"type":"string"}}}}"#;
    let request =
        pb::CreateCollectionRequest { name: "c".into(), schema_json: schema.into(), ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    let client = pannier.sync_client().await;
    let document = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(30));
    let put = |id: i64| super::calls::put(id, "k", &document);
    let answer = pannier.push(&client, 0, (1..=400).map(put).collect()).await.unwrap();
    let errors: Vec<_> = answer.results.iter().map(|result| result.error.as_ref().unwrap()).collect();
    assert!(errors.iter().all(|error| error.reason() == ErrorReason::SchemaViolated));
    let bytes: usize = errors.iter().flat_map(|error| &error.details).map(prost::Message::encoded_len).sum();
    assert!((200 * 1024..=256 * 1024).contains(&bytes), "{bytes} bytes of details");
    assert_eq!(pannier.push(&client, 0, (1..=400).map(put).collect()).await.unwrap().results, answer.results);
}

#[tokio::test]
async fn writers_of_one_record_with_a_schema_and_a_schema_that_changes_meanwhile_agree() {
    let pannier = pannier().await;
    let schema = |max| format!(r#"{{"properties":{{"n":{{"maximum":{max}}}}}}}"#);
    let request =
        pb::CreateCollectionRequest { name: "c".into(), schema_json: schema(1_000), ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    pannier.put_record("k", r#"{"n":0}"#).await;
    let write = async |writer: usize| {
        for round in 0..10 {
            let member = format!(r#"{{"w{writer}":{round}}}"#);
            let item = Some(patch_item("k", &member, pb::PatchMode::Merge));
            let request = pb::PatchRequest { collection: "c".into(), item, ..Default::default() };
            loop {
                match pannier.records.clone().patch(request.clone()).await {
                    Ok(_) => break,
                    Err(busy) => assert_status(&busy, Code::Aborted, ErrorReason::RecordBusy),
                }
            }
        }
    };
    let change = async {
        for max in [900, 800, 700] {
            let request = pb::UpdateCollectionRequest {
                name: "c".into(),
                schema_json: Some(schema(max)),
                ..Default::default()
            };
            pannier.records.clone().update_collection(request).await.unwrap();
        }
    };
    tokio::join!(futures_util::future::join_all((0..4).map(write)), change);
    let stored: serde_json::Value = serde_json::from_str(&pannier.document("k").await.unwrap()).unwrap();
    assert!((0..4).all(|writer| stored[format!("w{writer}")] == 9), "{stored}");
}
