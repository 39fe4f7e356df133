//! Databases that were set back to a backup and written to: cursors and revisions of the history that was lost are told from those of the
//! new one.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::sync_mutation::{Base, What};
use pannier_proto::records::v1::watch_request::Start;
use tonic::Code;

use super::calls::{mutation, next, pull, told};
use super::documents::with_collection;
use crate::harness::{Pannier, assert_status, pannier_with};
use crate::settings::calls as settings;

/// What is set back together.
const TABLES: [&str; 10] = [
    "branches",
    "settings",
    "settings_state",
    "record_collections",
    "record_schemas",
    "record_indexes",
    "records",
    "record_clients",
    "record_mutations",
    "record_heights",
];

fn backup() -> String {
    TABLES.iter().map(|table| format!("CREATE TABLE backup_{table} AS SELECT * FROM {table};")).collect()
}

fn restore() -> String {
    let one = |table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM backup_{table};");
    TABLES.iter().map(one).collect()
}

impl Pannier {
    async fn assert_reset(&self, cursor: &str) {
        let reset = self.try_changes("c", cursor, 0).await.unwrap_err();
        assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
        let request =
            pb::WatchRequest { collection: "c".into(), start: Some(Start::Cursor(cursor.to_owned())) };
        let mut watch = self.records.clone().watch(request).await.unwrap().into_inner();
        let reset = watch.message().await.unwrap_err();
        assert_status(&reset, Code::FailedPrecondition, ErrorReason::CursorReset);
    }
}

#[tokio::test]
async fn a_cursor_of_changes_that_a_backup_does_not_have_is_reset_whatever_was_written_since() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let (_, kept) = pannier.all_changes("", 0).await;
    let pannier = pannier.restart_after(&backup()).await;
    pannier.put_record("lost", "{}").await;
    pannier.put_record("lost", r#"{"n":2}"#).await;
    let (_, lost) = pannier.all_changes(&kept, 0).await;
    // A reader from the beginning that has not come so far knows of the lost changes as well.
    let begun = pannier.try_changes("c", "", 1).await.unwrap().cursor;
    let pannier = pannier.restart_after(&restore()).await;
    for written in 0..6 {
        pannier.assert_reset(&lost).await;
        pannier.assert_reset(&begun).await;
        pannier.put_record("new", &format!(r#"{{"n":{written}}}"#)).await;
    }
    let (news, after) = pannier.all_changes(&kept, 0).await;
    assert_eq!(told(&news), [("new", Some(r#"{"n":5}"#))], "what the backup has goes on");
    let pannier = pannier.restart().await;
    assert!(pannier.all_changes(&after, 0).await.0.is_empty());
    // Set back once more: the history of before is gone for good, and so is the one in between.
    let pannier = pannier.restart_after(&restore()).await;
    for _ in 0..10 {
        pannier.put_record("third", "{}").await;
        pannier.put_record("third", "{ }").await;
        pannier.assert_reset(&after).await;
        pannier.assert_reset(&lost).await;
    }
}

#[tokio::test]
async fn a_watch_of_settings_from_another_history_is_told_to_reload() {
    let pannier = with_collection().await;
    pannier.set("a", "1").await;
    let kept = pannier.settings_cursor().await;
    let pannier = pannier.restart_after(&backup()).await;
    pannier.set("lost", "1").await;
    let lost = pannier.settings_cursor().await;
    let pannier = pannier.restart_after(&restore()).await;
    for n in 0..3 {
        let mut watch = pannier.watch_settings("", &lost).await;
        let message = settings::next(&mut watch).await;
        assert!(message.reload && message.changes.is_empty(), "after {n} changes: {message:?}");
        pannier.set("new", &n.to_string()).await;
    }
    let mut watch = pannier.watch_settings("", &kept).await;
    assert_eq!(settings::told(&settings::next(&mut watch).await), [("new", Some("2"))]);
    let pannier = pannier.restart().await;
    let mut watch = pannier.watch_settings("", &kept).await;
    assert_eq!(settings::told(&settings::next(&mut watch).await), [("new", Some("2"))]);
}

#[tokio::test]
async fn mutations_of_a_client_from_another_history_are_not_applied() {
    let pannier = with_collection().await;
    let client_id = pannier.sync_client().await;
    pannier.put_record("a", "{}").await;
    let pannier = pannier.restart_after(&backup()).await;
    let seen = pannier.put_record("b", r#"{"of":"the lost history"}"#).await;
    let (_, lost) = pannier.all_changes("", 0).await;
    let pannier = pannier.restart_after(&restore()).await;
    let strange = pannier.put_record("b", r#"{"of":"a stranger"}"#).await;
    assert_eq!(strange, seen, "the number comes again");
    let put = mutation(1, "b", Some(Base::Revision(seen)), What::PutJson("{}".into()));
    let mut request = pb::SyncRequest {
        client_id,
        mutations: vec![put],
        pulls: vec![pull(""), pb::SyncPull { collection: "d".into(), cursor: String::new() }],
        ..Default::default()
    };
    request.pulls.swap(0, 1);
    request.pulls[1].cursor.clone_from(&lost);
    let refused = pannier.try_sync(request.clone()).await.unwrap_err();
    assert_status(&refused, Code::FailedPrecondition, ErrorReason::CursorReset);
    let info = tonic_types::StatusExt::get_error_details(&refused).error_info().cloned().unwrap();
    assert_eq!(info.metadata.get("field").map(String::as_str), Some("pulls[1].cursor"));
    assert_eq!(pannier.document("b").await.as_deref(), Some(r#"{"of":"a stranger"}"#));
    // Without mutations the pull says so in its place; with an empty cursor the client begins again.
    let pulled =
        pannier.try_sync(pb::SyncRequest { mutations: Vec::new(), ..request.clone() }).await.unwrap();
    assert_eq!(pulled.pulls[1].error.as_ref().unwrap().reason(), ErrorReason::CursorReset);
    request.pulls[1].cursor.clear();
    let answer = pannier.try_sync(request).await.unwrap();
    assert_eq!(answer.results[0].outcome(), pb::SyncOutcome::Applied);
}

#[tokio::test]
async fn branches_of_a_sequence_are_bounded_and_cursors_of_folded_ones_are_reset() {
    let pannier = pannier_with(|settings| settings.storage.branches_max = 3).await;
    pannier.make_collection("c").await;
    let mut cursors = Vec::new();
    let mut pannier = pannier;
    for n in 0..6 {
        pannier.put_record("a", &format!(r#"{{"n":{n}}}"#)).await;
        cursors.push(pannier.all_changes("", 0).await.1);
        // A start that changes nothing opens no branch.
        pannier = pannier.restart().await.restart().await;
    }
    assert_eq!(pannier.row_count("branches").await, 3);
    for (n, cursor) in cursors.iter().enumerate() {
        assert_eq!(pannier.try_changes("c", cursor, 0).await.is_ok(), n >= 3, "the cursor of start {n}");
    }
    let request = pb::DeleteCollectionRequest { name: "c".into(), ..Default::default() };
    pannier.records.clone().delete_collection(request).await.unwrap();
    assert_eq!(pannier.row_count("branches").await, 0);
}

#[tokio::test]
async fn a_collection_that_is_made_again_goes_on_far_above_the_last_number() {
    let pannier = pannier_with(|settings| settings.records.deleted_collections_max = 2).await;
    let remake = async |name: &str| {
        let request = pb::DeleteCollectionRequest { name: name.into(), ..Default::default() };
        assert!(pannier.records.clone().delete_collection(request).await.unwrap().into_inner().deleted);
        pannier.make_collection(name).await;
        let item = super::calls::item("k", "{}");
        pannier.try_put_record(name, item).await.unwrap().revision
    };
    pannier.make_collection("c").await;
    assert_eq!(pannier.put_record("k", "{}").await, 1);
    let (_, cursor) = pannier.all_changes("", 0).await;
    assert_eq!(remake("c").await, (1 << 32) + 2);
    assert_eq!(remake("c").await, (2 << 32) + 3);
    pannier.assert_reset(&cursor).await;
    let late = pannier.try_delete_record("k", 1).await.unwrap_err();
    assert_status(&late, Code::Aborted, ErrorReason::RecordChanged);
    let (all, after) = pannier.all_changes("", 0).await;
    assert_eq!(told(&all), [("k", Some("{}"))]);
    assert!(pannier.all_changes(&after, 0).await.0.is_empty());
    // Names beyond the bound share the highest of theirs.
    for name in ["d", "e", "f"] {
        pannier.make_collection(name).await;
        remake(name).await;
    }
    assert!(pannier.row_count("record_heights").await <= 3);
    assert_eq!(remake("c").await, (3 << 32) + 4);
    assert!(remake("d").await > 1 << 32, "its own row is gone, and the shared one is not below it");
}

#[tokio::test]
async fn an_index_of_a_collection_that_is_made_again_is_ready_at_once() {
    let pannier = with_collection().await;
    pannier.put_record("k", "{}").await;
    let request = pb::DeleteCollectionRequest { name: "c".into(), ..Default::default() };
    pannier.records.clone().delete_collection(request).await.unwrap();
    let indexes = vec![pb::Index { path: "n".into(), ..Default::default() }];
    let request = pb::CreateCollectionRequest { name: "c".into(), indexes, ..Default::default() };
    let made = pannier.try_make_collection(request).await.unwrap();
    assert_eq!(made.indexes[0].state(), pb::IndexState::Ready);
    pannier.put_record("k", r#"{"n":1}"#).await;
    let compare =
        pb::Comparison { path: "n".into(), comparator: pb::Comparator::Equal.into(), value_json: "1".into() };
    let request = pb::QueryRequest {
        collection: "c".into(),
        filter: Some(pb::Filter { what: Some(pb::filter::What::Compare(compare)) }),
        ..Default::default()
    };
    let found = pannier.records.clone().query(request).await.unwrap().into_inner();
    assert_eq!((found.records.len(), found.plan.unwrap().index_path.as_str()), (1, "n"));
}

#[tokio::test]
async fn a_watch_goes_on_over_changes_of_several_starts() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    let mut watch = pannier.watch_records(None).await;
    let mut cursor = next(&mut watch).await.cursor;
    let mut pannier = pannier;
    for n in 0..4 {
        pannier = pannier.restart().await;
        let mut watch = pannier.watch_records(Some(Start::Cursor(cursor.clone()))).await;
        assert!(next(&mut watch).await.changes.is_empty());
        pannier.put_record("b", &format!(r#"{{"n":{n}}}"#)).await;
        let message = next(&mut watch).await;
        assert_eq!(message.changes.len(), 1);
        cursor = message.cursor;
    }
}
