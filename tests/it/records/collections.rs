//! Collections: declared, limited, deleted with all they hold.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::Code;

use super::calls::item;
use super::documents::with_collection;
use crate::harness::{assert_status, pannier, pannier_with};

#[tokio::test]
async fn a_collection_is_made_once_and_read_as_it_was_declared() {
    let pannier = pannier().await;
    let request = pb::CreateCollectionRequest {
        name: "c".into(),
        limits: Some(pb::CollectionLimits {
            records_max: Some(3),
            bytes_max: None,
            document_bytes_max: Some(100),
            tombstone_retention: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        }),
        schema_json: r#"{"type": "object"}"#.into(),
        ..Default::default()
    };
    let made = pannier.try_make_collection(request.clone()).await.unwrap();
    assert_eq!((made.revision, &made.schema_json), (1, &request.schema_json));
    assert_eq!(made.limits, request.limits);
    assert_eq!(pannier.collection("c").await.unwrap(), made);
    let again = pannier.try_make_collection(request).await.unwrap_err();
    assert_status(&again, Code::AlreadyExists, ErrorReason::CollectionExists);
    let missing = pannier.collection("other").await.unwrap_err();
    assert_status(&missing, Code::NotFound, ErrorReason::CollectionNotFound);
}

#[tokio::test]
async fn limits_are_held_and_told() {
    let pannier = pannier().await;
    let limits = pb::CollectionLimits {
        records_max: Some(2),
        bytes_max: Some(30),
        document_bytes_max: Some(20),
        ..Default::default()
    };
    let request =
        pb::CreateCollectionRequest { name: "c".into(), limits: Some(limits), ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(20));
    let refused = pannier.try_put_record("c", item("a", &large)).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::DocumentTooLarge);
    pannier.put_record("a", r#"{"a":"0123456"}"#).await;
    pannier.put_record("b", "{}").await;
    let refused = pannier.try_put_record("c", item("d", "{}")).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::CollectionFull);
    let refused = pannier.try_put_record("c", item("b", r#"{"a":"01234567"}"#)).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::CollectionFull);
    pannier.put_record("a", "{}").await;
    pannier.put_record("b", r#"{"a":"01234567"}"#).await;
    pannier.delete_record("a").await;
    pannier.put_record("d", "{}").await;
    assert_eq!(pannier.collection("c").await.unwrap().record_count, 2);
}

#[tokio::test]
async fn a_declaration_changes_if_it_has_the_revision_that_was_asked_for() {
    let pannier = with_collection().await;
    let limits = pb::CollectionLimits { records_max: Some(1), ..Default::default() };
    let request = pb::UpdateCollectionRequest {
        name: "c".into(),
        limits: Some(limits),
        if_revision: 1,
        ..Default::default()
    };
    let update = async |request: pb::UpdateCollectionRequest| {
        Ok::<_, tonic::Status>(
            pannier.records.clone().update_collection(request).await?.into_inner().collection.unwrap(),
        )
    };
    let changed = update(request.clone()).await.unwrap();
    assert_eq!((changed.revision, changed.limits), (2, Some(limits)));
    let late = update(request).await.unwrap_err();
    assert_status(&late, Code::Aborted, ErrorReason::CollectionChanged);
    let schema_json = Some(r#"{"required":["id"]}"#.to_owned());
    let request = pb::UpdateCollectionRequest { name: "c".into(), schema_json, ..Default::default() };
    let changed = update(request.clone()).await.unwrap();
    assert_eq!((changed.revision, changed.limits.unwrap().records_max), (3, Some(1)), "limits stay");
    let refused = pannier.try_put_record("c", item("a", "{}")).await.unwrap_err();
    assert_status(&refused, Code::InvalidArgument, ErrorReason::SchemaViolated);
    update(pb::UpdateCollectionRequest { schema_json: Some(String::new()), ..request }).await.unwrap();
    pannier.put_record("a", "{}").await;
}

#[tokio::test]
async fn a_deleted_collection_is_gone_at_once_and_its_records_follow() {
    let pannier = with_collection().await;
    for batch in 0..3 {
        let items = (0..200).map(|n| item(&format!("{batch}/{n}"), "{}")).collect();
        pannier.batch_put_records(items, pb::PutMode::Insert).await;
    }
    let (_, cursor) = pannier.all_changes("", 0).await;
    let delete = || pb::DeleteCollectionRequest { name: "c".into(), ..Default::default() };
    assert!(pannier.records.clone().delete_collection(delete()).await.unwrap().into_inner().deleted);
    assert!(!pannier.records.clone().delete_collection(delete()).await.unwrap().into_inner().deleted);
    let gone = pannier.try_record("c", "0/1").await.unwrap_err();
    assert_status(&gone, Code::NotFound, ErrorReason::CollectionNotFound);
    pannier.make_collection("c").await;
    let made = pannier.try_put_record("c", item("0/1", "{}")).await.unwrap();
    assert_eq!(
        (made.outcome(), made.revision),
        (pb::PutOutcome::Created, (1 << 32) + 601),
        "it goes on far above"
    );
    let reset = pannier.try_changes("c", &cursor, 0).await.unwrap_err();
    assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
    pannier.settle_records("records", 1).await;
    assert_eq!(pannier.list_records("", 0).await.len(), 1);
}

#[tokio::test]
async fn collections_are_listed_by_name_and_bounded_in_number() {
    let pannier = pannier_with(|settings| settings.records.collections_max = 4).await;
    for name in ["b.2", "a", "b.1", "c"] {
        pannier.make_collection(name).await;
    }
    let one_more = pb::CreateCollectionRequest { name: "d".into(), ..Default::default() };
    let refused = pannier.try_make_collection(one_more).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::TooManyCollections);
    for (prefix, expected) in [("", vec!["a", "b.1", "b.2", "c"]), ("b.", vec!["b.1", "b.2"])] {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListCollectionsRequest { prefix: prefix.into(), page_size: 1, page_token };
            let page = pannier.records.clone().list_collections(request).await.unwrap().into_inner();
            found.extend(page.collections.into_iter().map(|collection| collection.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected);
    }
}
