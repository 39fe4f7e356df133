//! A repeated request has the first answer, and changes nothing.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::Code;

use super::calls::item;
use super::documents::with_collection;
use crate::harness::assert_status;

const ID: &str = "5f0f3c5e-6a3b-4d0e-9d57-0b8f7c2a1e11";

#[tokio::test]
async fn a_repeated_put_has_the_key_that_was_made_for_the_first() {
    let pannier = with_collection().await;
    let request = pb::PutRequest {
        collection: "c".into(),
        item: Some(item("", "{}")),
        request_id: ID.into(),
        ..Default::default()
    };
    let first = pannier.records.clone().put(request.clone()).await.unwrap().into_inner();
    let again = pannier.records.clone().put(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, again);
    assert_eq!(pannier.collection("c").await.unwrap().record_count, 1);
    let other = pb::PutRequest { item: Some(item("", "{ }")), ..request };
    let refused = pannier.records.clone().put(other).await.unwrap_err();
    assert_status(&refused, Code::InvalidArgument, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn repeated_patches_and_deletions_are_done_once() {
    let pannier = with_collection().await;
    pannier.put_record("k", "{}").await;
    let patch = pb::PatchRequest {
        collection: "c".into(),
        item: Some(pb::PatchItem {
            key: "k".into(),
            patch_json: r#"{"n":1}"#.into(),
            if_revision: 1,
            ..Default::default()
        }),
        request_id: ID.into(),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = pannier.records.clone().patch(patch.clone()).await.unwrap().into_inner();
        assert_eq!(answer.record.unwrap().revision, 2);
    }
    let delete = pb::DeleteRequest {
        collection: "c".into(),
        item: Some(pb::DeleteItem { key: "k".into(), if_revision: 2 }),
        request_id: ID.replace('5', "6"),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = pannier.records.clone().delete(delete.clone()).await.unwrap().into_inner();
        assert!(answer.result.unwrap().deleted);
    }
}
