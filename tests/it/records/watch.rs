//! Watch: what changed, then what changes, with heartbeats.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::watch_request::Start;
use tonic::Code;

use super::calls::{item, next, told};
use super::documents::with_collection;
use crate::harness::{assert_status, pannier_with};

#[tokio::test]
async fn a_watch_catches_up_and_goes_on() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let mut watch = pannier.watch_records(None).await;
    let first = next(&mut watch).await;
    assert_eq!(told(&first.changes), [("a", Some("{}"))]);
    pannier.put_record("b", "{}").await;
    assert_eq!(told(&next(&mut watch).await.changes), [("b", Some("{}"))]);
    pannier.delete_record("a").await;
    let last = next(&mut watch).await;
    assert_eq!(told(&last.changes), [("a", None)]);
    let mut resumed = pannier.watch_records(Some(Start::Cursor(first.cursor))).await;
    assert_eq!(told(&next(&mut resumed).await.changes), [("b", Some("{}")), ("a", None)]);
    let (news, _) = pannier.all_changes(&last.cursor, 0).await;
    assert!(news.is_empty(), "one cursor for all");
}

#[tokio::test]
async fn a_watch_from_now_on_tells_nothing_of_before() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let mut watch = pannier.watch_records(Some(Start::FromNow(true))).await;
    assert!(next(&mut watch).await.changes.is_empty());
    pannier.put_record("b", "{}").await;
    assert_eq!(told(&next(&mut watch).await.changes), [("b", Some("{}"))]);
}

#[tokio::test]
async fn a_quiet_watch_beats_and_its_cursor_goes_on() {
    let pannier = with_collection().await;
    let mut watch = pannier.watch_records(Some(Start::FromNow(true))).await;
    let first = next(&mut watch).await;
    for _ in 0..3 {
        let beat = async {
            loop {
                pannier.advance_s(5);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            message = next(&mut watch) => assert!(message.changes.is_empty() && message.cursor == first.cursor),
            () = beat => {}
        }
    }
}

#[tokio::test]
async fn long_histories_come_in_bounded_messages() {
    let pannier = pannier_with(|settings| settings.records.watch_changes_max = 7).await;
    pannier.make_collection("c").await;
    let items = (0..50).map(|n| item(&format!("k{n:02}"), "{}")).collect();
    pannier.batch_put_records(items, pb::PutMode::Insert).await;
    let mut watch = pannier.watch_records(None).await;
    let mut keys = Vec::new();
    while keys.len() < 50 {
        let message = next(&mut watch).await;
        assert!((1..=7).contains(&message.changes.len()));
        keys.extend(message.changes.into_iter().map(|change| change.key));
    }
    assert!(keys.is_sorted(), "{keys:?}");
}

#[tokio::test]
async fn a_watch_ends_with_a_reset_and_with_its_collection() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let (_, cursor) = pannier.all_changes("", 0).await;
    pannier.delete_record("a").await;
    pannier.advance_s(31 * 86_400);
    pannier.settle_records("records", 0).await;
    let mut lost = pannier.watch_records(Some(Start::Cursor(cursor))).await;
    let reset = lost.message().await.unwrap_err();
    assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
    let mut watch = pannier.watch_records(None).await;
    next(&mut watch).await;
    let delete = pb::DeleteCollectionRequest { name: "c".into(), ..Default::default() };
    pannier.records.clone().delete_collection(delete).await.unwrap();
    let gone = watch.message().await.unwrap_err();
    assert_status(&gone, Code::NotFound, ErrorReason::CollectionNotFound);
}

#[tokio::test]
async fn more_watches_than_the_setting_are_refused() {
    let pannier = pannier_with(|settings| settings.records.watches_max = 1).await;
    pannier.make_collection("c").await;
    let mut watch = pannier.watch_records(None).await;
    next(&mut watch).await;
    let request = pb::WatchRequest { collection: "c".into(), start: None };
    let refused = pannier.records.clone().watch(request).await.unwrap_err();
    assert_status(&refused, Code::ResourceExhausted, ErrorReason::Overloaded);
}
