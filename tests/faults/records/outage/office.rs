//! Those who stayed: they change documents on the server, and know what they made.

use std::collections::BTreeSet;

use pannier_proto::records::v1 as pb;

use super::{BEFORE, CHANGES, COLLECTION, CONTESTED};
use crate::chance::Chance;
use crate::records::wire::{Client, Version, Versions, document, merged, patch, value};

/// Documents that only the client touches, of those that were there before.
const OF_THE_CLIENT: usize = 110;
/// Changes that are made in one call.
const TOGETHER: usize = 100;

/// What those who stayed made.
pub(super) struct Office {
    /// What is on the server, as far as they know, tombstones too.
    pub(super) versions: Versions,
    /// Keys that were changed since the client is away.
    pub(super) touched: BTreeSet<String>,
    /// Changes since then.
    pub(super) changes: usize,
    tickets: u64,
    /// The revision of its last change.
    last_revision: i64,
}

/// The key of a document that both touch, and what is done to it here.
pub(super) fn group_of(number: usize) -> (String, &'static str) {
    let group = match number {
        0..20 => "put",
        20..30 => "delete",
        30..45 => "patch",
        _ => "create",
    };
    (format!("both/{group}/{number:02}"), group)
}

impl Office {
    /// Stores the documents that are there before anybody is away.
    pub(super) async fn opened(client: &mut Client) -> Self {
        let (versions, touched) = (Versions::new(), BTreeSet::new());
        let mut office = Self { versions, touched, changes: 0, tickets: 0, last_revision: 0 };
        let mut keys: Vec<String> = (0..CONTESTED)
            .map(group_of)
            .filter(|(_, group)| *group != "create")
            .map(|(key, _)| key)
            .collect();
        keys.extend((0..OF_THE_CLIENT).map(|number| format!("own/{number:04}")));
        keys.extend((keys.len()..BEFORE).map(|number| format!("office/{number:04}")));
        for keys in keys.chunks(TOGETHER) {
            office.put(client, keys).await;
        }
        office.touched.clear();
        office.changes = 0;
        office
    }

    /// Makes its changes, those of the documents in conflict at random moments among them.
    pub(super) async fn works(&mut self, client: &mut Client, chance: &mut Chance) {
        let contested: Vec<_> = (0..CONTESTED).map(group_of).collect();
        let with = |wanted: &str| -> Vec<String> {
            contested.iter().filter(|(_, group)| *group == wanted).map(|(key, _)| key.clone()).collect()
        };
        let mut puts = with("put");
        puts.extend(with("create"));
        // Some are changed several times.
        self.put(client, &puts[..9]).await;
        self.patch(client, &with("delete")[0]).await;
        let mut patches = with("patch");
        let mut deletes = with("delete");
        while self.changes < CHANGES {
            let room = CHANGES - self.changes;
            let contested_left = puts.len() + patches.len() + deletes.len();
            let is_last = room <= contested_left + 2 * TOGETHER;
            if is_last && contested_left > 0 {
                self.put(client, &std::mem::take(&mut puts)).await;
                self.delete(client, &std::mem::take(&mut deletes)).await;
                for key in std::mem::take(&mut patches) {
                    self.patch(client, &key).await;
                }
                continue;
            }
            let some = (1 + chance.below(TOGETHER as u64) as usize).min(room);
            match chance.below(8) {
                0 => self.delete(client, &self.living(chance, some / 4 + 1)).await,
                1 if !patches.is_empty() => self.patch(client, &patches.pop().expect("one is left")).await,
                2 if puts.len() > 10 => self.put(client, &puts.split_off(puts.len() - 3)).await,
                3 if deletes.len() > 1 => self.delete(client, &deletes.split_off(deletes.len() - 1)).await,
                4 => {
                    for key in self.living(chance, 3.min(room)) {
                        self.patch(client, &key).await;
                    }
                }
                _ => {
                    let keys: BTreeSet<String> =
                        (0..some).map(|_| format!("office/{:04}", chance.below(2 * BEFORE as u64))).collect();
                    self.put(client, &keys.into_iter().collect::<Vec<_>>()).await;
                }
            }
        }
    }

    /// Some of its own documents that are there.
    fn living(&self, chance: &mut Chance, count: usize) -> Vec<String> {
        let alive: Vec<&String> = self
            .versions
            .iter()
            .filter(|(key, version)| key.starts_with("office/") && version.text.is_some())
            .map(|(key, _)| key)
            .collect();
        let chosen: BTreeSet<&String> =
            (0..count).map(|_| alive[chance.below(alive.len() as u64) as usize]).collect();
        chosen.into_iter().cloned().collect()
    }

    /// Notes a change, whose revision must be the next.
    fn made(&mut self, key: &str, revision: i64, text: Option<String>) {
        let version = Version { revision, text };
        self.versions.insert(key.to_owned(), version);
        self.last_revision += 1;
        assert_eq!(revision, self.last_revision, "{key}: revisions count the collection's changes");
        self.touched.insert(key.to_owned());
        self.changes += 1;
    }

    async fn put(&mut self, client: &mut Client, keys: &[String]) {
        let mut items = Vec::new();
        for key in keys {
            self.tickets += 1;
            let document_json = document(self.tickets);
            items.push(pb::PutItem { key: key.clone(), document_json, ..Default::default() });
        }
        let texts: Vec<String> = items.iter().map(|item| item.document_json.clone()).collect();
        let request = pb::BatchPutRequest { collection: COLLECTION.to_owned(), items, ..Default::default() };
        let results = client.batch_put(request).await.expect("puts").into_inner().results;
        assert_eq!(results.len(), keys.len());
        for ((key, text), result) in keys.iter().zip(texts).zip(results) {
            let Some(pb::batch_put_result::Outcome::Put(put)) = result.outcome else {
                panic!("{key}: {result:?}");
            };
            assert_eq!(&put.key, key);
            self.made(key, put.revision, Some(text));
        }
    }

    async fn patch(&mut self, client: &mut Client, key: &str) {
        self.tickets += 1;
        let patch_json = patch(self.tickets);
        let request = pb::PatchRequest {
            collection: COLLECTION.to_owned(),
            item: Some(pb::PatchItem {
                key: key.to_owned(),
                patch_json: patch_json.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let record = client.patch(request).await.expect("a patch").into_inner().record.expect("the record");
        let before = self.versions[key].text.clone().expect("it patches what is there");
        let expected = merged(value(&before), &value(&patch_json));
        assert_eq!(value(&record.document_json), expected, "{key}: the merged document");
        self.made(key, record.revision, Some(record.document_json));
    }

    async fn delete(&mut self, client: &mut Client, keys: &[String]) {
        let items: Vec<_> =
            keys.iter().map(|key| pb::DeleteItem { key: key.clone(), if_revision: 0 }).collect();
        let request =
            pb::BatchDeleteRequest { collection: COLLECTION.to_owned(), items, ..Default::default() };
        let results = client.batch_delete(request).await.expect("deletions").into_inner().results;
        assert_eq!(results.len(), keys.len());
        for (key, result) in keys.iter().zip(results) {
            let Some(pb::batch_delete_result::Outcome::Deletion(deletion)) = result.outcome else {
                panic!("{key}: {result:?}");
            };
            assert!(deletion.deleted, "{key} was there");
            self.made(key, deletion.revision, None);
        }
    }
}
