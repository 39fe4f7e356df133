//! Who writes: new documents, documents that others write too, batches, patches, deletions, and what a client pushes.

use std::sync::Arc;

use pannier_proto::records::v1 as pb;
use pannier_proto::transaction::v1 as tx;
use pb::sync_mutation::What;
use tonic::Status;
use tonic::transport::Channel;
use tx::transaction_service_client::TransactionServiceClient;

use super::{CALLS, COLLECTIONS, Ground};
use crate::calls::Fault;
use crate::chance::Chance;
use crate::records::wire::{Client, document, mutation, patch};
use crate::sidecar::LONG;

/// Keys that all fight for.
const CONTESTED: u64 = 10;

/// A writer.
struct Writer {
    ground: Arc<Ground>,
    client: Client,
    commits: TransactionServiceClient<Channel>,
    number: u64,
    chance: Chance,
    tickets: u64,
    client_id: String,
    mutations: i64,
}

/// Writes, and notes what was acknowledged.
pub(super) async fn write(ground: Arc<Ground>, number: u64, chance: Chance) {
    let client = ground.client(number as usize);
    let commits = TransactionServiceClient::new(ground.channel(number as usize));
    let (client_id, mutations, tickets) = (String::new(), 0, number * 1_000_000);
    let mut writer = Writer { ground, client, commits, number, chance, tickets, client_id, mutations };
    for _ in 0..CALLS {
        let called = tokio::time::timeout(LONG, writer.call()).await.expect("no call hangs");
        if let Err(status) = called {
            let fault = Fault::of(&status).map(|fault| fault.reason).unwrap_or_default();
            assert_eq!(fault, "RECORD_NOT_FOUND", "{status:?}");
        }
    }
}

impl Writer {
    async fn call(&mut self) -> Result<(), Status> {
        // Half of them keep to the first.
        let any = self.number % 2 == 1;
        let collection = if any { COLLECTIONS[self.chance.below(3) as usize] } else { COLLECTIONS[0] };
        match self.chance.below(10) {
            // What is written once only is missed for good if it is missed.
            0..=2 => {
                let key = self.fresh();
                self.put(collection, key).await
            }
            3 => {
                let key = self.contested();
                self.put(collection, key).await
            }
            4 => self.patch(collection).await,
            5 => self.delete(collection).await,
            6 => self.put_batch(collection).await,
            7..=8 if any => self.commit().await,
            _ => self.push().await,
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn fresh(&mut self) -> String {
        format!("fresh/{:08}", self.ticket())
    }

    fn contested(&mut self) -> String {
        format!("contested/{}", self.chance.below(CONTESTED))
    }

    fn done(&self, collection: &str, key: &str, revision: i64) {
        self.ground.acknowledged[collection].add(key, revision);
    }

    async fn put(&mut self, collection: &str, key: String) -> Result<(), Status> {
        let item = pb::PutItem { key, document_json: document(self.ticket()), ..Default::default() };
        let request =
            pb::PutRequest { collection: collection.to_owned(), item: Some(item), ..Default::default() };
        let result = self.client.put(request).await?.into_inner().result.expect("a result");
        self.done(collection, &result.key, result.revision);
        Ok(())
    }

    async fn put_batch(&mut self, collection: &str) -> Result<(), Status> {
        let mut items = Vec::new();
        for _ in 0..=self.chance.below(6) {
            let key = if self.chance.once_in(2) { self.fresh() } else { self.contested() };
            let document_json = document(self.ticket());
            items.push(pb::PutItem { key, document_json, ..Default::default() });
        }
        let request = pb::BatchPutRequest { collection: collection.to_owned(), items, ..Default::default() };
        for result in self.client.batch_put(request).await?.into_inner().results {
            let Some(pb::batch_put_result::Outcome::Put(put)) = result.outcome else {
                panic!("a put of a batch failed: {result:?}");
            };
            self.done(collection, &put.key, put.revision);
        }
        Ok(())
    }

    async fn patch(&mut self, collection: &str) -> Result<(), Status> {
        let request = pb::PatchRequest {
            collection: collection.to_owned(),
            item: Some(pb::PatchItem {
                key: self.contested(),
                patch_json: patch(self.ticket()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let record = self.client.patch(request).await?.into_inner().record.expect("a record");
        self.done(collection, &record.key, record.revision);
        Ok(())
    }

    async fn delete(&mut self, collection: &str) -> Result<(), Status> {
        let item = pb::DeleteItem { key: self.contested(), if_revision: 0 };
        let request = pb::DeleteRequest {
            collection: collection.to_owned(),
            item: Some(item.clone()),
            ..Default::default()
        };
        let result = self.client.delete(request).await?.into_inner().result.expect("a result");
        if result.deleted {
            self.done(collection, &item.key, result.revision);
        }
        Ok(())
    }

    /// Puts to several collections in one commit, named in any order.
    async fn commit(&mut self) -> Result<(), Status> {
        let (mut mutations, mut items) = (Vec::new(), Vec::new());
        for _ in 0..2 + self.chance.below(2) {
            let collection = COLLECTIONS[self.chance.below(3) as usize];
            let key = if self.chance.once_in(2) { self.fresh() } else { self.contested() };
            let item = pb::PutItem {
                key: key.clone(),
                document_json: document(self.ticket()),
                ..Default::default()
            };
            let put =
                pb::PutRequest { collection: collection.to_owned(), item: Some(item), ..Default::default() };
            mutations.push(tx::Mutation { what: Some(tx::mutation::What::RecordsPut(put)) });
            items.push((collection, key));
        }
        let request = tx::CommitRequest { mutations, ..Default::default() };
        let results = self.commits.commit(request).await?.into_inner().results;
        for ((collection, key), result) in items.into_iter().zip(results) {
            let Some(tx::mutation_result::Result::RecordsPut(put)) = result.result else {
                panic!("not the answer to a put: {result:?}");
            };
            self.done(collection, &key, put.result.expect("a result").revision);
        }
        Ok(())
    }

    /// As a client that syncs: several collections in one transaction.
    async fn push(&mut self) -> Result<(), Status> {
        if self.client_id.is_empty() {
            let answer = self.client.sync(pb::SyncRequest::default()).await?;
            self.client_id = answer.into_inner().client_id;
        }
        let mut mutations = Vec::new();
        let acknowledged = self.mutations;
        for _ in 0..=self.chance.below(4) {
            self.mutations += 1;
            let collection = COLLECTIONS[self.chance.below(3) as usize];
            let key = if self.chance.once_in(2) { self.fresh() } else { self.contested() };
            let what = What::PutJson(document(self.ticket()));
            mutations.push(mutation(self.mutations, collection, &key, None, what));
        }
        let request = pb::SyncRequest {
            client_id: self.client_id.clone(),
            last_mutation_id: acknowledged,
            mutations: mutations.clone(),
            ..Default::default()
        };
        let results = self.client.sync(request).await?.into_inner().results;
        for (mutation, result) in mutations.iter().zip(results) {
            assert_eq!(result.outcome(), pb::SyncOutcome::Applied, "{result:?}");
            self.done(&mutation.collection, &mutation.key, result.revision);
        }
        Ok(())
    }
}
