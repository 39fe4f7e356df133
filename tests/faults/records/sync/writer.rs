//! One who writes to the server directly, each call repeated with its request id until its outcome is known.

use std::sync::Arc;

use pannier_proto::records::v1 as pb;
use pb::{PutMode, PutOutcome};
use tonic::{Response, Status};
use uuid::Uuid;

use super::history::*;
use super::run::Ground;
use crate::calls::Fault;
use crate::chance::Chance;
use crate::records::wire::{self, Client, document, patch};
use crate::sidecar::LONG;

/// Documents of a batch, at most.
const BATCH: u64 = 5;

/// The direct writer.
pub(super) struct Writer {
    ground: Arc<Ground>,
    chance: Chance,
    client: Option<Client>,
}

impl Writer {
    pub(super) fn new(ground: &Arc<Ground>, chance: Chance) -> Self {
        Self { ground: Arc::clone(ground), chance, client: None }
    }

    pub(super) async fn work(&mut self, steps: u64) {
        for _ in 0..steps {
            let name = self.ground.name(&mut self.chance);
            match self.chance.below(10) {
                0..=3 => self.put(name).await,
                4..=5 => self.patch(name).await,
                6 => self.delete(name).await,
                7..=8 => self.put_batch(name.0).await,
                _ => drop(self.get(&name).await),
            }
            self.ground.books.stepped();
        }
    }

    async fn client(&mut self) -> Client {
        if self.client.is_none() {
            let post = self.chance.below(self.ground.fleet.size() as u64) as usize;
            self.client = Some(wire::client(self.ground.fleet.channel(post).await));
        }
        self.client.clone().expect("it is there")
    }

    fn request_id(&mut self) -> String {
        Uuid::from_u64_pair(self.chance.next(), self.chance.next()).to_string()
    }

    /// Makes a call until it is answered; None: it was refused for what is there, and changed nothing.
    async fn call<R, F>(&mut self, mut send: impl FnMut(Client) -> F) -> Option<R>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        loop {
            let client = self.client().await;
            let status = match tokio::time::timeout(LONG, send(client)).await.expect("no call hangs") {
                Ok(answer) => return Some(answer.into_inner()),
                Err(status) => status,
            };
            let reason = Fault::of(&status).map(|fault| fault.reason).unwrap_or_default();
            if matches!(reason.as_str(), "RECORD_EXISTS" | "RECORD_NOT_FOUND" | "RECORD_CHANGED") {
                return None;
            }
            self.client = None;
            if !self.ground.books.is_cut_off(&status) {
                self.ground.books.unexpected(format!("the writer: {status:?}"));
                panic!("the writer: {status:?}");
            }
        }
    }

    fn wrote(&self, from: Moment, name: Name, deed: Deed, made: Option<i64>) {
        self.ground.books.history().writes.push(Write { from, name, deed, made });
    }

    async fn get(&mut self, name: &Name) -> Option<pb::Record> {
        let request = pb::GetRequest { collection: name.0.clone(), key: name.1.clone() };
        let answer = self
            .call(|mut client| {
                let request = request.clone();
                async move { client.get(request).await }
            })
            .await?;
        let record = answer.record.expect("a record");
        self.ground.books.saw(&name.0, &record, "Get");
        Some(record)
    }

    async fn put(&mut self, name: Name) {
        let document_json = document(self.ground.books.ticket());
        let mode = [PutMode::Replace, PutMode::Insert, PutMode::Keep][self.chance.below(3) as usize];
        let mut if_revision = 0;
        if mode == PutMode::Replace && self.chance.once_in(2) {
            if_revision = self.get(&name).await.map_or(0, |record| record.revision);
        }
        let key = name.1.clone();
        let item = pb::PutItem {
            key,
            document_json: document_json.clone(),
            mode: mode.into(),
            if_revision,
            ..Default::default()
        };
        let request = pb::PutRequest {
            collection: name.0.clone(),
            item: Some(item),
            request_id: self.request_id(),
            ..Default::default()
        };
        let from = self.ground.books.moment();
        let answer = self
            .call(|mut client| {
                let request = request.clone();
                async move { client.put(request).await }
            })
            .await;
        let made = answer.and_then(|answer| made(&answer.result.expect("a result")));
        self.wrote(from, name, Deed::Put(document_json), made);
    }

    async fn put_batch(&mut self, collection: String) {
        let mut items = Vec::new();
        for _ in 0..=self.chance.below(BATCH) {
            let (_, key) = self.ground.name(&mut self.chance);
            let document_json = document(self.ground.books.ticket());
            items.push(pb::PutItem { key, document_json, ..Default::default() });
        }
        let mode = [PutMode::Replace, PutMode::Insert, PutMode::Keep][self.chance.below(3) as usize].into();
        let request_id = self.request_id();
        let request = pb::BatchPutRequest {
            collection: collection.clone(),
            items: items.clone(),
            mode,
            request_id,
            ..Default::default()
        };
        let from = self.ground.books.moment();
        let answer = self
            .call(|mut client| {
                let request = request.clone();
                async move { client.batch_put(request).await }
            })
            .await;
        let results = answer.expect("its items fail by themselves").results;
        assert_eq!(results.len(), items.len());
        for (item, result) in items.into_iter().zip(results) {
            let made = match result.outcome.expect("an outcome") {
                pb::batch_put_result::Outcome::Put(result) => made(&result),
                pb::batch_put_result::Outcome::Error(error) => {
                    assert_eq!(error.reason().as_str_name(), "ERROR_REASON_RECORD_EXISTS", "{error:?}");
                    None
                }
            };
            self.wrote(from, (collection.clone(), item.key), Deed::Put(item.document_json), made);
        }
    }

    async fn patch(&mut self, name: Name) {
        let patch_json = patch(self.ground.books.ticket());
        let request = pb::PatchRequest {
            collection: name.0.clone(),
            item: Some(pb::PatchItem {
                key: name.1.clone(),
                patch_json: patch_json.clone(),
                ..Default::default()
            }),
            request_id: self.request_id(),
            ..Default::default()
        };
        let from = self.ground.books.moment();
        let answer = self
            .call(|mut client| {
                let request = request.clone();
                async move { client.patch(request).await }
            })
            .await;
        let record = answer.map(|answer| answer.record.expect("a record"));
        let made = record.as_ref().map(|record| record.revision);
        self.wrote(from, name, Deed::Patch(patch_json), made);
    }

    async fn delete(&mut self, name: Name) {
        let item = pb::DeleteItem { key: name.1.clone(), if_revision: 0 };
        let request = pb::DeleteRequest {
            collection: name.0.clone(),
            item: Some(item),
            request_id: self.request_id(),
            ..Default::default()
        };
        let from = self.ground.books.moment();
        let answer = self
            .call(|mut client| {
                let request = request.clone();
                async move { client.delete(request).await }
            })
            .await;
        let result = answer.map(|answer| answer.result.expect("a result"));
        let made = result.filter(|result| result.deleted).map(|result| result.revision);
        self.wrote(from, name, Deed::Delete, made);
    }
}

/// The revision that a put made, if it changed anything.
fn made(result: &pb::PutResult) -> Option<i64> {
    match result.outcome() {
        PutOutcome::Created | PutOutcome::Replaced => Some(result.revision),
        PutOutcome::Kept | PutOutcome::Unchanged => None,
        PutOutcome::Unspecified => panic!("no outcome: {result:?}"),
    }
}
