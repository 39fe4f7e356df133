//! Single records: kept byte for byte, with revisions that go on over deletions.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::Code;

use super::calls::item;
use crate::harness::{Pannier, assert_status, pannier};

/// A sidecar with the collection `c`.
pub async fn with_collection() -> Pannier {
    let pannier = pannier().await;
    pannier.make_collection("c").await;
    pannier
}

#[tokio::test]
async fn a_document_is_kept_byte_for_byte() {
    let pannier = with_collection().await;
    let long = format!(
        "{{ \"z\" : 1.10 ,\"a\":[ 1E2,-0 , 12345678901234567890123 ],\"t\":\"{}\"}}\n",
        "x y ".repeat(500)
    );
    for document in ["{}", " {\"b\": 1, \"a\" :2.50 }\n", "{\"é\":\"\\u00e9 日本\"}", long.as_str()] {
        pannier.put_record("k", document).await;
        assert_eq!(pannier.document("k").await.as_deref(), Some(document));
    }
    let pannier = pannier.restart().await;
    assert_eq!(pannier.document("k").await.as_deref(), Some(long.as_str()));
}

#[tokio::test]
async fn revisions_count_changes_and_go_on_over_a_deletion() {
    let pannier = with_collection().await;
    assert_eq!(pannier.put_record("k", r#"{"n":1}"#).await, 1);
    assert_eq!(pannier.put_record("k", r#"{"n":2}"#).await, 2);
    let made = pannier.try_record("c", "k").await.unwrap();
    pannier.advance_s(1);
    assert_eq!(pannier.delete_record("k").await, 3);
    let gone = pannier.try_record("c", "k").await.unwrap_err();
    assert_status(&gone, Code::NotFound, ErrorReason::RecordNotFound);
    let nothing = pannier.try_delete_record("k", 0).await.unwrap();
    assert_eq!((nothing.deleted, nothing.revision), (false, 0));
    assert_eq!(pannier.put_record("k", r#"{"n":3}"#).await, 4);
    let again = pannier.try_record("c", "k").await.unwrap();
    assert!(again.create_time.unwrap().seconds > made.create_time.unwrap().seconds);
    assert_eq!(again.revision, 4);
    let collection = pannier.collection("c").await.unwrap();
    assert_eq!((collection.record_count, collection.tombstone_count, collection.size_bytes), (1, 0, 8));
}

#[tokio::test]
async fn the_same_document_again_changes_nothing() {
    let pannier = with_collection().await;
    pannier.put_record("k", r#"{"n":1}"#).await;
    let (_, cursor) = pannier.all_changes("", 0).await;
    let again = pannier.try_put_record("c", item("k", r#"{"n":1}"#)).await.unwrap();
    assert_eq!((again.outcome(), again.revision), (pb::PutOutcome::Unchanged, 1));
    assert!(pannier.all_changes(&cursor, 0).await.0.is_empty());
    let other = pannier.try_put_record("c", item("k", r#"{"n": 1}"#)).await.unwrap();
    assert_eq!((other.outcome(), other.revision), (pb::PutOutcome::Replaced, 2));
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    let pannier = with_collection().await;
    let insert = pb::PutItem { mode: pb::PutMode::Insert.into(), ..item("k", "{}") };
    let made = pannier.try_put_record("c", insert.clone()).await.unwrap();
    assert_eq!((made.outcome(), made.revision), (pb::PutOutcome::Created, 1));
    let refused = pannier.try_put_record("c", insert).await.unwrap_err();
    assert_status(&refused, Code::AlreadyExists, ErrorReason::RecordExists);
    let keep = pb::PutItem { mode: pb::PutMode::Keep.into(), ..item("k", r#"{"n":1}"#) };
    let kept = pannier.try_put_record("c", keep).await.unwrap();
    assert_eq!((kept.outcome(), kept.revision), (pb::PutOutcome::Kept, 1));
    let of_revision = |key: &str, if_revision| pb::PutItem { if_revision, ..item(key, r#"{"n":2}"#) };
    let changed = pannier.try_put_record("c", of_revision("k", 2)).await.unwrap_err();
    assert_status(&changed, Code::Aborted, ErrorReason::RecordChanged);
    let missing = pannier.try_put_record("c", of_revision("other", 1)).await.unwrap_err();
    assert_status(&missing, Code::NotFound, ErrorReason::RecordNotFound);
    assert_eq!(pannier.document("k").await.as_deref(), Some("{}"));
    assert_eq!(pannier.try_put_record("c", of_revision("k", 1)).await.unwrap().revision, 2);
    let changed = pannier.try_delete_record("k", 1).await.unwrap_err();
    assert_status(&changed, Code::Aborted, ErrorReason::RecordChanged);
    assert_eq!(pannier.try_delete_record("k", 2).await.unwrap().revision, 3);
    let missing = pannier.try_delete_record("k", 3).await.unwrap_err();
    assert_status(&missing, Code::NotFound, ErrorReason::RecordNotFound);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_leaves_other_values_byte_for_byte() {
    let pannier = with_collection().await;
    pannier.put_record("k", r#"{ "z": 1.10, "a": {"x":1 , "y": 2}, "drop":true }"#).await;
    let patch = |patch_json: &str, if_revision| pb::PatchRequest {
        collection: "c".into(),
        item: Some(pb::PatchItem {
            key: "k".into(),
            patch_json: patch_json.into(),
            if_revision,
            ..Default::default()
        }),
        ..Default::default()
    };
    let change = patch(r#"{"drop":null,"a":{"y":3}}"#, 1);
    let answer = pannier.records.clone().patch(change).await.unwrap().into_inner().record.unwrap();
    assert_eq!(answer.revision, 2);
    let stored = pannier.try_record("c", "k").await.unwrap();
    assert_eq!(stored, answer);
    assert!(stored.document_json.contains("1.10") && !stored.document_json.contains("drop"));
    let value: serde_json::Value = serde_json::from_str(&stored.document_json).unwrap();
    assert_eq!(value, serde_json::json!({"z": 1.1, "a": {"x": 1, "y": 3}}));
    let nothing = pannier.records.clone().patch(patch(r#"{"missing":null}"#, 0)).await.unwrap().into_inner();
    assert_eq!(nothing.record.unwrap().document_json.len(), stored.document_json.len());
    let late = pannier.records.clone().patch(patch("{}", 1)).await.unwrap_err();
    assert_status(&late, Code::Aborted, ErrorReason::RecordChanged);
    pannier.delete_record("k").await;
    let missing = pannier.records.clone().patch(patch("{}", 0)).await.unwrap_err();
    assert_status(&missing, Code::NotFound, ErrorReason::RecordNotFound);
}

#[tokio::test]
async fn a_key_is_made_where_none_is_given() {
    let pannier = with_collection().await;
    let mut keys = Vec::new();
    for n in 0..5 {
        let made = pannier.try_put_record("c", item("", &format!(r#"{{"n":{n}}}"#))).await.unwrap();
        assert_eq!(made.outcome(), pb::PutOutcome::Created);
        keys.push(made.key);
    }
    assert!(keys.is_sorted() && keys.iter().all(|key| key.len() == 36), "{keys:?}");
    assert_eq!(pannier.document(&keys[3]).await.as_deref(), Some(r#"{"n":3}"#));
}
