//! Batches with results of their own for each item, and lists.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::batch_put_result::Outcome;

use super::calls::item;
use super::documents::with_collection;
use crate::harness::{Pannier, pannier_with};

fn outcomes(results: Vec<pb::BatchPutResult>) -> Vec<Result<(pb::PutOutcome, i64), ErrorReason>> {
    let outcome = |result: pb::BatchPutResult| match result.outcome.unwrap() {
        Outcome::Put(put) => Ok((put.outcome(), put.revision)),
        Outcome::Error(error) => Err(error.reason()),
    };
    results.into_iter().map(outcome).collect()
}

#[tokio::test]
async fn a_batch_inserts_replaces_or_keeps_and_tells_of_each_item() {
    use pb::PutOutcome::{Created, Kept, Replaced, Unchanged};
    let pannier = with_collection().await;
    let items = || vec![item("a", r#"{"n":1}"#), item("b", r#"{"n":1}"#), item("a", r#"{"n":2}"#)];
    let inserted = pannier.batch_put_records(items(), pb::PutMode::Insert).await;
    assert_eq!(outcomes(inserted), [Ok((Created, 1)), Ok((Created, 2)), Err(ErrorReason::RecordExists)]);
    let kept = pannier.batch_put_records(items(), pb::PutMode::Keep).await;
    assert_eq!(outcomes(kept), [Ok((Kept, 1)), Ok((Kept, 2)), Ok((Kept, 1))]);
    let replaced = pannier.batch_put_records(items(), pb::PutMode::Replace).await;
    assert_eq!(outcomes(replaced), [Ok((Unchanged, 1)), Ok((Unchanged, 2)), Ok((Replaced, 3))]);
    let mixed = vec![
        pb::PutItem { mode: pb::PutMode::Insert.into(), ..item("a", "{}") },
        pb::PutItem { if_revision: 9, ..item("b", "{}") },
        item("new", "{}"),
    ];
    let mixed = pannier.batch_put_records(mixed, pb::PutMode::Unspecified).await;
    let expected = [Err(ErrorReason::RecordExists), Err(ErrorReason::RecordChanged), Ok((Created, 4))];
    assert_eq!(outcomes(mixed), expected);
    assert_eq!(pannier.collection("c").await.unwrap().record_count, 3);
}

#[tokio::test]
async fn deletions_of_a_batch_tell_of_each_item() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    pannier.put_record("b", "{}").await;
    let delete = |key: &str, if_revision| pb::DeleteItem { key: key.into(), if_revision };
    let request = pb::BatchDeleteRequest {
        collection: "c".into(),
        items: vec![delete("a", 1), delete("b", 7), delete("none", 0), delete("a", 0)],
        ..Default::default()
    };
    let results = pannier.records.clone().batch_delete(request).await.unwrap().into_inner().results;
    let told = |result: pb::BatchDeleteResult| match result.outcome.unwrap() {
        pb::batch_delete_result::Outcome::Deletion(deletion) => Ok((deletion.deleted, deletion.revision)),
        pb::batch_delete_result::Outcome::Error(error) => Err(error.reason()),
    };
    let results: Vec<_> = results.into_iter().map(told).collect();
    assert_eq!(results, [Ok((true, 3)), Err(ErrorReason::RecordChanged), Ok((false, 0)), Ok((false, 0))]);
    let collection = pannier.collection("c").await.unwrap();
    assert_eq!((collection.record_count, collection.tombstone_count), (1, 1));
}

#[tokio::test]
async fn keys_are_read_in_their_order_and_what_does_not_fit_is_left_off() {
    let pannier = pannier_with(|settings| settings.server.message_bytes_max = 2_000_000).await;
    pannier.make_collection("c").await;
    let document = format!(r#"{{"t":"{}"}}"#, "x".repeat(200_000));
    for key in ["a", "b", "d", "e", "f", "g"] {
        pannier.put_record(key, &document).await;
    }
    let mut keys: Vec<String> = ["g", "none", "a", "b", "d", "e", "f"].map(String::from).to_vec();
    let mut found = Vec::new();
    while !keys.is_empty() {
        let request = pb::BatchGetRequest { collection: "c".into(), keys: keys.clone() };
        let page = pannier.records.clone().batch_get(request).await.unwrap().into_inner();
        assert!(!page.results.is_empty());
        assert_eq!(page.results.len() + usize::try_from(page.left_off_count).unwrap(), keys.len());
        keys.drain(..page.results.len());
        found.extend(page.results.into_iter().map(|result| (result.key, result.record.is_some())));
    }
    let expected = ["g", "none", "a", "b", "d", "e", "f"].map(|key| (key.to_owned(), key != "none"));
    assert_eq!(found, expected);
    assert_eq!(pannier.list_records("", 100).await.len(), 6, "a page is bounded in bytes as well");
}

#[tokio::test]
async fn lists_are_by_key_or_the_newest_first_and_leave_out_what_was_deleted() {
    let pannier = with_collection().await;
    for key in ["b/2", "a/1", "b/1", "c/1", "b/3"] {
        pannier.put_record(key, "{}").await;
    }
    pannier.delete_record("b/3").await;
    pannier.put_record("a/1", r#"{"n":1}"#).await;
    let keys = |records: Vec<pb::Record>| records.into_iter().map(|record| record.key).collect::<Vec<_>>();
    for page_size in [0, 1, 2, 3] {
        assert_eq!(keys(pannier.list_records("", page_size).await), ["a/1", "b/1", "b/2", "c/1"]);
        assert_eq!(keys(pannier.list_records("b/", page_size).await), ["b/1", "b/2"]);
        assert_eq!(keys(pannier.newest(page_size).await), ["a/1", "c/1", "b/1", "b/2"]);
    }
}

impl Pannier {
    async fn newest(&self, page_size: i32) -> Vec<pb::Record> {
        let mut request = pb::ListRequest {
            collection: "c".into(),
            order: pb::ListOrder::Newest.into(),
            page_size,
            ..Default::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self.records.clone().list(request.clone()).await.unwrap().into_inner();
            found.extend(page.records);
            if page.next_page_token.is_empty() {
                return found;
            }
            request.page_token = page.next_page_token;
        }
    }
}
