//! The outage of two weeks, in small: a client comes back with 500 mutations, the server has had 5,000 changes meanwhile, and both
//! have touched 50 documents.

use std::collections::{BTreeMap, BTreeSet};

use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::sync_mutation::{Base, What};

use super::calls::{item, mutation, pull};
use super::documents::with_collection;
use crate::harness::Pannier;

/// What a client has of the collection `c`: keys, their revisions and documents.
type Copy = BTreeMap<String, (i64, String)>;

#[tokio::test]
async fn after_an_outage_both_sides_agree_and_what_both_have_touched_is_told() {
    let pannier = with_collection().await;
    let items = (0..1_000).map(|n| item(&format!("k{n:04}"), r#"{"by":"both"}"#)).collect();
    pannier.batch_put_records(items, pb::PutMode::Insert).await;
    let client = pannier.sync_client().await;
    let (mut copy, cursor) = pannier.pulled(&client, 0, Copy::new(), "").await;

    // 500 mutations of documents 0 to 449 and of 50 new ones; every fifth of the former is changed twice.
    let mut mutations: Vec<pb::SyncMutation> = Vec::new();
    for n in 0..450_i64 {
        let what = match n % 3 {
            0 => What::PutJson(format!(r#"{{"by":"client","n":{n}}}"#)),
            1 => What::PatchJson(format!(r#"{{"by":"client","n":{n}}}"#)),
            _ => What::Delete(true),
        };
        mutations.push(mutation(n + 1, &format!("k{n:04}"), Some(Base::Revision(n + 1)), what));
    }
    for n in 451..501 {
        let what = What::PutJson(r#"{"by":"client"}"#.into());
        mutations.push(mutation(n, &format!("new{n}"), Some(Base::Absent(true)), what));
    }
    // 5,000 changes of the server: 550 documents that the client leaves alone, and the last 50 that it has touched.
    pannier.advance_s(14 * 86_400);
    for round in 0..10 {
        let keys = (400..950).filter(|n| round < 9 || *n < 450);
        let documents = keys.map(|n| item(&format!("k{n:04}"), &format!(r#"{{"by":"server","n":{round}}}"#)));
        pannier.batch_put_records(documents.collect(), pb::PutMode::Replace).await;
    }

    let mut conflicts = BTreeSet::new();
    let mut received = 0;
    for pushed in mutations.chunks(128) {
        let answer = pannier.push(&client, received, pushed.to_vec()).await.unwrap();
        // The answer is lost: it is pushed again, and has the same outcomes.
        let again = pannier.push(&client, received, pushed.to_vec()).await.unwrap();
        assert_eq!(again.results, answer.results);
        for (result, mutation) in answer.results.iter().zip(pushed) {
            match result.outcome() {
                pb::SyncOutcome::Applied => {}
                pb::SyncOutcome::Conflict => {
                    assert!(conflicts.insert(mutation.key.clone()));
                    let server = result.record.as_ref().unwrap();
                    assert!(server.document_json.contains("server"), "{server:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        received = answer.last_mutation_id;
    }
    let both: BTreeSet<_> = (400..450).map(|n| format!("k{n:04}")).collect();
    assert_eq!(conflicts, both);
    let before = pannier.collection("c").await.unwrap();
    (copy, _) = pannier.pulled(&client, received, copy, &cursor).await;
    let stored = pannier.list_records("", 0).await;
    let stored: Copy =
        stored.into_iter().map(|record| (record.key, (record.revision, record.document_json))).collect();
    assert_eq!(copy, stored);
    assert_eq!(pannier.collection("c").await.unwrap(), before);
}

impl Pannier {
    /// A client's copy with all that was changed since a cursor.
    async fn pulled(&self, client: &str, received: i64, mut copy: Copy, cursor: &str) -> (Copy, String) {
        let mut cursor = cursor.to_owned();
        loop {
            let request = pb::SyncRequest {
                client_id: client.to_owned(),
                last_mutation_id: received,
                pulls: vec![pull(&cursor)],
                page_size: 300,
                ..Default::default()
            };
            let mut answer = self.try_sync(request).await.unwrap();
            let page = answer.pulls.pop().unwrap();
            assert_eq!(page.error, None);
            for record in page.changes {
                match record.deleted {
                    true => copy.remove(&record.key),
                    false => copy.insert(record.key, (record.revision, record.document_json)),
                };
            }
            cursor = page.cursor;
            if !page.more {
                return (copy, cursor);
            }
        }
    }
}
