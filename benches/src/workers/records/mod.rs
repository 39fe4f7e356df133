//! A way to a collection of records of a server, the sidecar or the floor, and what workers do over it.

mod read;
mod write;

use std::ops::Range;
use std::sync::Arc;

use pannier_proto::records::v1::records_service_client::RecordsServiceClient;
use pannier_proto::records::v1::*;
use tonic::transport::Channel;

use super::refused;
use crate::Fallible;
use crate::contest::Supply;
use crate::documents::Document;
use crate::files::Shelf;

pub(crate) use read::{ChangesReader, Getter, Queried, Querier};
pub(crate) use write::{CeilingPutter, Putter, Syncer};

/// Pages of documents are more than tonic's client takes by itself.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A collection, and what was acknowledged of it.
pub(crate) struct Collection {
    pub(crate) name: &'static str,
    pub(crate) shelf: Shelf,
    /// Documents are those of a collection of so many.
    pub(crate) of: u64,
}

impl Collection {
    pub(crate) fn new(name: &'static str, of: u64) -> Arc<Self> {
        Arc::new(Self { name, shelf: Shelf::default(), of })
    }
}

/// A way to a collection.
#[derive(Clone)]
pub(crate) struct Keeper {
    client: RecordsServiceClient<Channel>,
    collection: Arc<Collection>,
}

impl Keeper {
    pub(crate) fn new(channel: Channel, collection: &Arc<Collection>) -> Self {
        let client = RecordsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { client, collection: Arc::clone(collection) }
    }

    fn name(&self) -> String {
        self.collection.name.to_owned()
    }

    fn json(&self, document: Document) -> String {
        document.json(self.collection.of)
    }

    /// Makes the collection, with indexes on these paths.
    pub(crate) async fn create(&mut self, paths: &[&str]) -> Fallible<()> {
        let index = |path: &&str| Index { path: (*path).to_owned(), ..Index::default() };
        let indexes = paths.iter().map(index).collect();
        let request = CreateCollectionRequest { name: self.name(), indexes, ..Default::default() };
        self.client.create_collection(request).await.map_err(refused)?;
        Ok(())
    }

    fn item(&self, document: Document) -> PutItem {
        PutItem { key: document.key(), document_json: self.json(document), ..PutItem::default() }
    }

    /// Stores a document that nobody has stored.
    pub(crate) async fn put(&mut self) -> Fallible<(Document, PutResult)> {
        let document = Document(self.collection.shelf.take(1).start);
        let item = Some(self.item(document));
        let request = PutRequest { collection: self.name(), item, ..PutRequest::default() };
        let answer = self.client.put(request).await.map_err(refused)?.into_inner();
        let result = answer.result.ok_or("Put answered without a result")?;
        self.acknowledge(1, (result.outcome() == PutOutcome::Created).into())?;
        Ok((document, result))
    }

    /// Stores so many documents that nobody has stored, in one call.
    pub(crate) async fn put_all(&mut self, count: usize) -> Fallible<Range<u64>> {
        let numbers = self.collection.shelf.take(count);
        let items = numbers.clone().map(|number| self.item(Document(number))).collect();
        let request = BatchPutRequest { collection: self.name(), items, ..BatchPutRequest::default() };
        let answer = self.client.batch_put(request).await.map_err(refused)?.into_inner();
        let is_created = |result: &&BatchPutResult| match &result.outcome {
            Some(batch_put_result::Outcome::Put(put)) => put.outcome() == PutOutcome::Created,
            _ => false,
        };
        self.acknowledge(count, answer.results.iter().filter(is_created).count())?;
        Ok(numbers)
    }

    fn acknowledge(&self, count: usize, stored: usize) -> Fallible<()> {
        self.collection.shelf.add(stored);
        if stored == count {
            Ok(())
        } else {
            Err(format!("{stored} of {count} documents were stored").into())
        }
    }

    /// Reads a record, which must be there.
    pub(crate) async fn get(&mut self, document: Document) -> Fallible<GetResponse> {
        let request = GetRequest { collection: self.name(), key: document.key() };
        let answer = self.client.get(request).await.map_err(refused)?.into_inner();
        let is_there = answer.record.as_ref().is_some_and(|record| !record.document_json.is_empty());
        if is_there { Ok(answer) } else { Err("Get answered without a document".into()) }
    }

    /// That the document reads back byte for byte.
    async fn find(&mut self, document: Document) -> Fallible<()> {
        let record = self.get(document).await?.record.unwrap_or_default();
        if record.key == document.key() && record.document_json == self.json(document) {
            Ok(())
        } else {
            Err("a document reads back other than it was stored".into())
        }
    }

    /// The collection's own count of its bytes.
    pub(crate) async fn size_bytes(&mut self) -> Fallible<i64> {
        Ok(self.describe().await?.size_bytes)
    }

    async fn describe(&mut self) -> Fallible<pannier_proto::records::v1::Collection> {
        let request = GetCollectionRequest { name: self.name() };
        let answer = self.client.get_collection(request).await.map_err(refused)?.into_inner();
        answer.collection.ok_or_else(|| "GetCollection answered without one".into())
    }
}

/// Uses nothing up. At the end the collection must have counted what was acknowledged.
#[tonic::async_trait]
impl Supply for Keeper {
    async fn prepare(&mut self, _seconds: f64) -> Fallible<()> {
        Ok(())
    }

    async fn check(&mut self) -> Fallible<()> {
        let counted = self.describe().await?.record_count as u64;
        let stored = self.collection.shelf.registered();
        if counted == stored {
            Ok(())
        } else {
            Err(format!("a collection says {counted} records, acknowledged were {stored}").into())
        }
    }
}
