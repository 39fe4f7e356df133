//! Changes: in the order of commits and with no gap, under writers at once.

use std::collections::HashMap;

use pannier_proto::records::v1 as pb;

use super::calls::{item, told};
use super::documents::with_collection;
use crate::harness::{Pannier, is_postgres};

#[tokio::test]
async fn the_newest_change_of_each_key_is_told_in_the_order_of_commits() {
    let pannier = with_collection().await;
    pannier.put_record("a", "{}").await;
    pannier.put_record("b", "{}").await;
    pannier.put_record("gone before", "{}").await;
    pannier.delete_record("gone before").await;
    pannier.put_record("a", r#"{"n":2}"#).await;
    let (all, cursor) = pannier.all_changes("", 0).await;
    assert_eq!(told(&all), [("b", Some("{}")), ("a", Some(r#"{"n":2}"#))], "no deletions at the beginning");
    assert!(pannier.all_changes(&cursor, 0).await.0.is_empty());
    pannier.delete_record("b").await;
    pannier.put_record("d", "{}").await;
    pannier.put_record("d", r#"{"n":2}"#).await;
    let pannier = pannier.restart().await;
    for page_size in [0, 1] {
        let (news, _) = pannier.all_changes(&cursor, page_size).await;
        assert_eq!(told(&news), [("b", None), ("d", Some(r#"{"n":2}"#))]);
    }
}

#[tokio::test]
async fn what_is_deleted_while_a_reader_begins_is_told_to_it() {
    let pannier = with_collection().await;
    for key in ["a", "b", "d"] {
        pannier.put_record(key, "{}").await;
    }
    let first = pannier.try_changes("c", "", 1).await.unwrap();
    assert_eq!(told(&first.changes), [("a", Some("{}"))]);
    pannier.delete_record("a").await;
    pannier.delete_record("d").await;
    let (rest, _) = pannier.all_changes(&first.cursor, 1).await;
    assert_eq!(told(&rest), [("b", Some("{}")), ("a", None), ("d", None)]);
}

/// Sixteen writers, of whose commits some take long; a reader pages all the while.
#[tokio::test]
async fn under_sixteen_writers_a_reader_misses_nothing_and_is_told_nothing_twice() {
    let pannier = with_collection().await;
    pannier.slow_commits().await;
    let write = async |writer: usize| {
        for round in 0..12 {
            let key = |n: usize| format!("k{}", (writer * 7 + round * 3 + n) % 40);
            let document = |n: usize| format!(r#"{{"by":"{writer} {round} {n}"}}"#);
            match (writer + round) % 4 {
                0 => _ = pannier.delete_record(&key(0)).await,
                1 => {
                    let items = (0..30).map(|n| item(&key(n), &document(n))).collect();
                    pannier.batch_put_records(items, pb::PutMode::Replace).await;
                }
                _ => _ = pannier.put_record(&key(0), &document(0)).await,
            }
        }
    };
    let read = async {
        let (mut known, mut revisions) = (HashMap::new(), HashMap::new());
        let mut cursor = String::new();
        loop {
            let page = pannier.try_changes("c", &cursor, 7).await.unwrap();
            for change in page.changes {
                let former = revisions.insert(change.key.clone(), change.revision);
                assert!(former.is_none_or(|former| former < change.revision), "{} twice", change.key);
                known.insert(change.key, (!change.deleted).then_some(change.document_json));
            }
            cursor = page.cursor;
            if !page.more && known.contains_key("end") {
                return known;
            }
        }
    };
    let (known, ()) = tokio::join!(read, async {
        futures_util::future::join_all((0..16).map(write)).await;
        pannier.put_record("end", "{}").await;
    });
    let known: HashMap<_, _> =
        known.into_iter().filter_map(|(key, document)| Some((key, document?))).collect();
    let stored = pannier.list_records("", 0).await;
    let stored: HashMap<_, _> = stored.into_iter().map(|record| (record.key, record.document_json)).collect();
    assert_eq!(known, stored);
    let collection = pannier.collection("c").await.unwrap();
    assert_eq!(collection.record_count, i64::try_from(stored.len()).unwrap());
    let bytes: usize = stored.iter().map(|(key, document)| key.len() + document.len()).sum();
    assert_eq!(collection.size_bytes, i64::try_from(bytes).unwrap());
}

impl Pannier {
    /// Has every third commit that changes records take up to 10 ms, where commits overlap.
    async fn slow_commits(&self) {
        if !is_postgres() {
            return;
        }
        self.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF random() < 0.33 THEN PERFORM pg_sleep(random() * 0.01); END IF; RETURN NULL; END $$",
        )
        .await;
        self.execute(
            "CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON record_collections DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    }
}
