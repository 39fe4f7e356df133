//! Tombstones are kept for their time; who was away for longer begins anew.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::Code;

use super::calls::told;
use super::documents::with_collection;
use crate::harness::{assert_status, pannier};

#[tokio::test]
async fn tombstones_are_kept_for_their_time_and_then_cursors_before_them_are_reset() {
    let pannier = with_collection().await;
    for key in ["a", "b", "d"] {
        pannier.put_record(key, "{}").await;
    }
    let begun = pannier.try_changes("c", "", 1).await.unwrap().cursor;
    let (_, before) = pannier.all_changes("", 0).await;
    pannier.delete_record("b").await;
    let (_, after) = pannier.all_changes(&before, 0).await;
    pannier.put_record("e", "{}").await;
    pannier.advance_s(29 * 86_400);
    let (news, _) = pannier.all_changes(&before, 0).await;
    assert_eq!(told(&news), [("b", None), ("e", Some("{}"))]);
    pannier.advance_s(2 * 86_400);
    pannier.settle_records("records", 3).await;
    assert_eq!(pannier.collection("c").await.unwrap().tombstone_count, 0);
    for lost in [&before, &begun] {
        let reset = pannier.try_changes("c", lost, 0).await.unwrap_err();
        assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
    }
    let (news, _) = pannier.all_changes(&after, 0).await;
    assert_eq!(told(&news), [("e", Some("{}"))], "who was told of the deletion goes on");
    // Who begins after the purge is not lost in the middle, though it reads rows that are older than what was purged.
    let first = pannier.try_changes("c", "", 1).await.unwrap();
    let (rest, _) = pannier.all_changes(&first.cursor, 1).await;
    assert_eq!(told(&rest), [("d", Some("{}")), ("e", Some("{}"))]);
}

#[tokio::test]
async fn a_collection_may_keep_tombstones_for_a_time_of_its_own() {
    let pannier = pannier().await;
    let tombstone_retention = Some(prost_types::Duration { seconds: 100, nanos: 0 });
    let limits = Some(pb::CollectionLimits { tombstone_retention, ..Default::default() });
    let request = pb::CreateCollectionRequest { name: "c".into(), limits, ..Default::default() };
    pannier.try_make_collection(request).await.unwrap();
    for n in 0..600 {
        pannier.put_record(&format!("{n}"), "{}").await;
    }
    let items = (0..600).map(|n| pb::DeleteItem { key: format!("{n}"), if_revision: 0 }).collect();
    let request = pb::BatchDeleteRequest { collection: "c".into(), items, ..Default::default() };
    pannier.records.clone().batch_delete(request).await.unwrap();
    assert_eq!(pannier.row_count("records").await, 600);
    pannier.settle_records("records", 0).await;
    assert_eq!(pannier.collection("c").await.unwrap().tombstone_count, 0);
    assert_eq!(pannier.put_record("1", "{}").await, 1_201, "no revision comes twice");
}

#[tokio::test]
async fn clients_that_are_not_seen_for_long_are_forgotten_and_told_so() {
    let pannier = with_collection().await;
    let client = pannier.sync_client().await;
    pannier.push(&client, 0, vec![super::calls::put(1, "a", "{}")]).await.unwrap();
    pannier.advance_s(89 * 86_400);
    pannier.push(&client, 1, vec![super::calls::put(2, "a", r#"{"n":2}"#)]).await.unwrap();
    pannier.advance_s(91 * 86_400);
    let again = vec![super::calls::put(2, "a", r#"{"n":2}"#)];
    let forgotten = pannier.push(&client, 1, again).await.unwrap_err();
    assert_status(&forgotten, Code::FailedPrecondition, ErrorReason::SyncClientUnknown);
    assert_eq!(pannier.document("a").await.as_deref(), Some(r#"{"n":2}"#));
    pannier.settle_records("record_clients", 0).await;
    assert_eq!(pannier.row_count("record_mutations").await, 0);
}
