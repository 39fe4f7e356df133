//! What the cache's workers do: over gRPC, or straight on SQLite.

use pannier_proto::cache::v1::cache_service_client::CacheServiceClient;
use pannier_proto::cache::v1::{
    BatchGetRequest, BatchPutRequest, Entry, GetRequest, PutItem, PutRequest, PutResult, batch_put_result,
    entry, put_item,
};
use pannier_proto::durability::v1::Durability;
use tonic::transport::Channel;

use super::refused;
use crate::Fallible;
use crate::ceiling::cache::Entries;
use crate::ceiling::{Inline, Writer};
use crate::load::{Done, Worker};
use crate::material::{Material, NAMESPACE};

/// One worker's operation with all it needs.
pub(crate) enum Operation {
    /// Get of a prefilled key; a miss is a failure.
    Get(Caller),
    /// Put of one entry.
    Put(Caller, Durability),
    /// BatchPut of so many entries.
    BatchPut(Caller, usize),
    /// BatchGet of so many prefilled keys.
    BatchGet(Caller, usize),
    /// Nine Gets to one Put.
    Mixed(Caller),
    /// An upsert through the ceiling's writer thread, grouped with the others'.
    CeilingPut(Writer<Entries>, Material),
    /// So many upserts in one commit, where it stands: no thread in between.
    CeilingBatchPut(Inline<Entries>, Material, usize),
    /// So many reads by key, where it stands.
    CeilingGet(Inline<Entries>, Material, usize),
}

#[tonic::async_trait]
impl Worker for Operation {
    async fn perform(&mut self) -> Fallible<Done> {
        let rows = match self {
            Self::Get(caller) => caller.get().await,
            Self::Put(caller, durability) => caller.put(*durability).await,
            Self::BatchPut(caller, count) => caller.batch_put(*count).await,
            Self::BatchGet(caller, count) => caller.batch_get(*count).await,
            Self::Mixed(caller) => caller.get_or_put().await,
            Self::CeilingPut(writer, material) => {
                writer.run((material.key_to_write(), material.value())).await.map(|()| 1)
            }
            Self::CeilingBatchPut(inline, material, count) => {
                let rows = (0..*count).map(|_| (material.key_to_write(), material.value())).collect();
                inline.commit(rows)?;
                Ok(*count as u64)
            }
            Self::CeilingGet(inline, material, count) => {
                let keys: Vec<_> = (0..*count).map(|_| material.stored_key()).collect();
                inline.get(&keys)?;
                Ok(*count as u64)
            }
        }?;
        Ok(Done::rows(rows))
    }

    /// For workers that put over gRPC: reads the last acknowledged value back. The floor keeps nothing and is not asked.
    async fn verify(&mut self) -> Fallible<()> {
        match self {
            Self::Put(caller, _) | Self::Mixed(caller) | Self::BatchPut(caller, _) => caller.verify().await,
            _ => Ok(()),
        }
    }
}

/// A client with its source of keys and values.
pub(crate) struct Caller {
    client: CacheServiceClient<Channel>,
    material: Material,
    last: Option<PutItem>,
}

impl Caller {
    pub(crate) fn new(channel: Channel, material: Material) -> Self {
        Self { client: CacheServiceClient::new(channel), material, last: None }
    }

    async fn get(&mut self) -> Fallible<u64> {
        let key = self.material.stored_key();
        self.read(key).await.map(|_| 1)
    }

    /// Reads an entry that must be there.
    pub(crate) async fn read(&mut self, key: String) -> Fallible<Entry> {
        let request = GetRequest { namespace: NAMESPACE.to_owned(), key, ..Default::default() };
        let answer = self.client.get(request).await.map_err(refused)?.into_inner();
        answer.entry.ok_or_else(|| "Get missed an entry that was put".into())
    }

    async fn get_or_put(&mut self) -> Fallible<u64> {
        if self.material.one_in(10) { self.put(Durability::Full).await } else { self.get().await }
    }

    async fn put(&mut self, durability: Durability) -> Fallible<u64> {
        let item = self.material.item();
        // A reference to the bytes, not a copy of them.
        self.last = Some(item.clone());
        self.write(item, durability).await.map(|_| 1)
    }

    /// Puts one entry.
    pub(crate) async fn write(&mut self, item: PutItem, durability: Durability) -> Fallible<PutResult> {
        let request = PutRequest {
            namespace: NAMESPACE.to_owned(),
            item: Some(item),
            durability: durability.into(),
            request_id: String::new(),
        };
        let answer = self.client.put(request).await.map_err(refused)?.into_inner();
        answer.result.ok_or_else(|| "Put answered without a result".into())
    }

    async fn batch_put(&mut self, count: usize) -> Fallible<u64> {
        let items: Vec<PutItem> = (0..count).map(|_| self.material.item()).collect();
        self.last = items.last().cloned();
        self.write_all(items).await
    }

    /// Puts entries in one call, each of which must be stored.
    pub(crate) async fn write_all(&mut self, items: Vec<PutItem>) -> Fallible<u64> {
        let count = items.len();
        let request = BatchPutRequest {
            namespace: NAMESPACE.to_owned(),
            items,
            durability: Durability::Full.into(),
            ..BatchPutRequest::default()
        };
        let answer = self.client.batch_put(request).await.map_err(refused)?.into_inner();
        let stored = answer
            .results
            .iter()
            .filter(|result| matches!(result.outcome, Some(batch_put_result::Outcome::Put(_))))
            .count();
        if stored == count && answer.results.len() == count {
            Ok(count as u64)
        } else {
            Err(format!("BatchPut stored {stored} of {count} items").into())
        }
    }

    async fn batch_get(&mut self, count: usize) -> Fallible<u64> {
        let keys = (0..count).map(|_| self.material.stored_key()).collect();
        self.read_all(keys).await
    }

    /// Reads entries in one call, each of which must be there.
    pub(crate) async fn read_all(&mut self, keys: Vec<String>) -> Fallible<u64> {
        let count = keys.len();
        let request = BatchGetRequest { namespace: NAMESPACE.to_owned(), keys, ..Default::default() };
        let answer = self.client.batch_get(request).await.map_err(refused)?.into_inner();
        let found = answer.results.iter().filter(|result| result.entry.is_some()).count();
        if found == count {
            Ok(count as u64)
        } else {
            Err(format!("BatchGet found {found} of {count}").into())
        }
    }

    async fn verify(&mut self) -> Fallible<()> {
        let Some(item) = self.last.take() else { return Ok(()) };
        let Some(put_item::Content::Value(wrote)) = item.content else { return Ok(()) };
        let entry = self.read(item.key).await?;
        // Another worker may have replaced a prefilled key since; a new key is this worker's alone.
        match entry.content {
            Some(entry::Content::Value(read)) if read == wrote || entry.key.starts_with("stored") => Ok(()),
            _ => Err("an acknowledged Put reads back another value".into()),
        }
    }
}
