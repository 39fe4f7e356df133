//! Documents put one by one, in batches, pushed by a client that was offline, and stored on bare rusqlite.

use std::sync::Arc;

use pannier_proto::records::v1::*;

use super::Keeper;
use crate::Fallible;
use crate::ceiling::Writer;
use crate::ceiling::records::Records;
use crate::documents::Document;
use crate::files::Shelf;
use crate::load::{Done, Worker};
use crate::workers::refused;

/// Stores so many new documents with each call.
pub(crate) struct Putter {
    keeper: Keeper,
    count: usize,
    last: Option<Document>,
}

impl Putter {
    pub(crate) fn new(keeper: Keeper, count: usize) -> Self {
        Self { keeper, count, last: None }
    }
}

#[tonic::async_trait]
impl Worker for Putter {
    async fn perform(&mut self) -> Fallible<Done> {
        let last = match self.count {
            1 => self.keeper.put().await?.0,
            count => Document(self.keeper.put_all(count).await?.end - 1),
        };
        self.last = Some(last);
        Ok(Done::rows(self.count as u64))
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.last {
            Some(document) => self.keeper.find(document).await,
            None => Ok(()),
        }
    }
}

/// A client that pushes so many mutations at once, each a new document, and acknowledges them with its next push.
pub(crate) struct Syncer {
    keeper: Keeper,
    count: usize,
    client_id: String,
    last_mutation_id: i64,
    last: Option<Document>,
}

impl Syncer {
    pub(crate) fn new(keeper: Keeper, count: usize) -> Self {
        Self { keeper, count, client_id: String::new(), last_mutation_id: 0, last: None }
    }

    async fn push(&mut self, mutations: Vec<SyncMutation>) -> Fallible<SyncResponse> {
        let request = SyncRequest {
            client_id: self.client_id.clone(),
            last_mutation_id: self.last_mutation_id,
            mutations,
            ..SyncRequest::default()
        };
        Ok(self.keeper.client.sync(request).await.map_err(refused)?.into_inner())
    }
}

#[tonic::async_trait]
impl Worker for Syncer {
    async fn begin(&mut self) -> Fallible<()> {
        if self.client_id.is_empty() {
            self.client_id = self.push(Vec::new()).await?.client_id;
        }
        Ok(())
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let numbers = self.keeper.collection.shelf.take(self.count);
        let mutation = |(mutation_id, number)| SyncMutation {
            mutation_id,
            collection: self.keeper.name(),
            key: Document(number).key(),
            base: Some(sync_mutation::Base::Absent(true)),
            what: Some(sync_mutation::What::PutJson(self.keeper.json(Document(number)))),
        };
        let mutations = (self.last_mutation_id + 1..).zip(numbers.clone()).map(mutation).collect();
        let answer = self.push(mutations).await?;
        let is_applied = |result: &&SyncResult| result.outcome() == SyncOutcome::Applied;
        let applied = answer.results.iter().filter(is_applied).count();
        self.keeper.acknowledge(self.count, applied)?;
        self.last_mutation_id += self.count as i64;
        if answer.last_mutation_id != self.last_mutation_id {
            return Err("Sync knows of another last mutation".into());
        }
        self.last = Some(Document(numbers.end - 1));
        Ok(Done::rows(applied as u64))
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.last {
            Some(document) => self.keeper.find(document).await,
            None => Ok(()),
        }
    }
}

/// Stores so many documents with each step on bare rusqlite.
pub(crate) struct CeilingPutter {
    pub(crate) writer: Writer<Records>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) of: u64,
    pub(crate) count: usize,
}

#[tonic::async_trait]
impl Worker for CeilingPutter {
    async fn perform(&mut self) -> Fallible<Done> {
        let documents = self.shelf.take(self.count).map(Document);
        let rows = documents.map(|document| (document.key(), document.json(self.of))).collect();
        Ok(Done::rows(self.writer.run(rows).await?))
    }
}
