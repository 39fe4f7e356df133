//! Put, BatchPut, Delete, DeleteByPrefix, DeleteByTag, Touch, Evict; and what writes have in common.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::cache::v1 as pb;

use super::super::Cache;
use super::super::convert::Parser;
use super::super::domain::{Content, Namespace, Put, PutItem};
use super::super::memory::{Held, detached};
use super::super::store::{self, Doomed};
use crate::convert::prepared;
use crate::error::Result;
use crate::storage::idempotency::RequestKey;
use crate::storage::{Durability, Operation, Tx};

/// The level that costs about as much time as writing the bytes would.
const ZSTD_LEVEL: i32 = 1;

impl Cache {
    pub(super) async fn put(self: &Arc<Self>, mut request: pb::PutRequest) -> Result<pb::PutResponse> {
        let (cache, namespace) = (self.clone(), request.namespace.clone());
        let bytes = request.item.as_ref().map_or(0, value_bytes);
        let prepare = move || {
            let mut parser = Parser::new(&cache.settings.cache);
            let id = parser.request_id(&std::mem::take(&mut request.request_id));
            let key = cache.request_keys.key(id, "Put", &request);
            let operation = cache.prepare_put(&mut parser, request);
            parser.violations.check().map(|()| (operation, key))
        };
        let (operation, key) = prepared(bytes, prepare).await?;
        self.run(namespace, operation, key).await
    }

    pub(super) async fn batch_put(
        self: &Arc<Self>,
        mut request: pb::BatchPutRequest,
    ) -> Result<pb::BatchPutResponse> {
        let (cache, namespace) = (self.clone(), request.namespace.clone());
        let bytes = request.items.iter().map(value_bytes).sum();
        let prepare = move || {
            let mut parser = Parser::new(&cache.settings.cache);
            let id = parser.request_id(&std::mem::take(&mut request.request_id));
            let key = cache.request_keys.key(id, "BatchPut", &request);
            let operation = cache.prepare_batch_put(&mut parser, request);
            parser.violations.check().map(|()| (operation, key))
        };
        let (operation, key) = prepared(bytes, prepare).await?;
        self.run(namespace, operation, key).await
    }

    pub(super) async fn delete(
        self: &Arc<Self>,
        mut request: pb::DeleteRequest,
    ) -> Result<pb::DeleteResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Delete", &request);
        let namespace = request.namespace.clone();
        let operation = self.prepare_delete(&mut parser, request);
        parser.violations.check()?;
        self.run(namespace, operation, key).await
    }

    pub(super) async fn touch(self: &Arc<Self>, mut request: pb::TouchRequest) -> Result<pb::TouchResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Touch", &request);
        let namespace = request.namespace.clone();
        let operation = self.prepare_touch(&mut parser, request);
        parser.violations.check()?;
        self.run(namespace, operation, key).await
    }

    /// Runs an operation on a namespace that is asked for by a call of its own.
    async fn run<T>(
        &self,
        namespace: String,
        operation: Operation<T>,
        request: Option<RequestKey>,
    ) -> Result<T>
    where
        T: prost::Message + Default + 'static,
    {
        let durability = self.durability(operation.durability, &namespace).await?;
        self.storage.write_once(durability, request, operation).await
    }

    /// Compresses values where that makes them smaller.
    pub(super) fn compress(&self, items: &mut [PutItem]) {
        let bytes_min = usize::try_from(self.settings.cache.compress_bytes_min).unwrap_or(usize::MAX);
        for item in items {
            if let Content::Value(value) = &item.content
                && !value.is_empty()
                && value.len() >= bytes_min
                && let Ok(compressed) = zstd::bulk::compress(value, ZSTD_LEVEL)
                && compressed.len() < value.len()
            {
                item.compressed = Some(compressed);
            }
        }
    }

    pub(super) async fn delete_by_prefix(
        self: &Arc<Self>,
        mut request: pb::DeleteByPrefixRequest,
    ) -> Result<pb::DeleteByPrefixResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "DeleteByPrefix", &request);
        parser.name("namespace", &request.namespace);
        parser.key("prefix", &request.prefix);
        parser.violations.check()?;

        let rows_max = self.settings.cache.delete_rows_max;
        let durability = self.durability(None, &request.namespace).await?;
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            let prefix = request.prefix.clone();
            Box::pin(async move {
                let Some(namespace) = namespace else { return Ok(pb::DeleteByPrefixResponse::default()) };
                let (gone, more) = store::delete_by_prefix(tx, namespace.id, &prefix, rows_max).await?;
                let deleted_count = cache.forget_doomed(tx, namespace.id, gone);
                Ok(pb::DeleteByPrefixResponse { deleted_count, more })
            })
        })
        .await
    }

    pub(super) async fn delete_by_tag(
        self: &Arc<Self>,
        mut request: pb::DeleteByTagRequest,
    ) -> Result<pb::DeleteByTagResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "DeleteByTag", &request);
        parser.name("namespace", &request.namespace);
        parser.tag("tag", &request.tag);
        parser.violations.check()?;

        let rows_max = self.settings.cache.delete_rows_max;
        let durability = self.durability(None, &request.namespace).await?;
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            let tag = request.tag.clone();
            Box::pin(async move {
                let Some(namespace) = namespace else { return Ok(pb::DeleteByTagResponse::default()) };
                let (gone, more) = store::delete_by_tag(tx, &namespace, &tag, rows_max).await?;
                let deleted_count = cache.forget_doomed(tx, namespace.id, gone);
                Ok(pb::DeleteByTagResponse { deleted_count, more })
            })
        })
        .await
    }

    pub(super) async fn evict(self: &Arc<Self>, mut request: pb::EvictRequest) -> Result<pb::EvictResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Evict", &request);
        parser.name("namespace", &request.namespace);
        let rows_max = self.settings.cache.delete_rows_max;
        let count = u64::try_from(request.count).unwrap_or(0);
        if count == 0 || count > rows_max {
            parser.violations.add("count", format!("must be 1 to {rows_max} (cache.delete_rows_max)"));
        }
        parser.violations.check()?;

        let durability = self.durability(None, &request.namespace).await?;
        let now_us = self.clock.now_us();
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            Box::pin(async move {
                let Some(namespace) = namespace else { return Ok(pb::EvictResponse::default()) };
                let (gone, freed) = store::evict(tx, &namespace, count, &cache.accesses, now_us).await?;
                let evicted_count = cache.forget_doomed(tx, namespace.id, gone);
                Ok(pb::EvictResponse { evicted_count, freed_bytes: freed.stored_bytes })
            })
        })
        .await
    }

    /// Runs `work` on a namespace, if there is one, once per request.
    pub(super) async fn change<T, W>(
        self: &Arc<Self>,
        durability: Durability,
        name: String,
        request: Option<RequestKey>,
        work: W,
    ) -> Result<T>
    where
        T: prost::Message + Default + 'static,
        W: for<'a> Fn(&'a Tx<'a>, &'a Arc<Cache>, Option<Namespace>) -> BoxFuture<'a, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        let operation =
            self.prepare_change(name, work, |tx, cache, namespace, work| work(tx, cache, namespace));
        self.storage.write_once(durability, request, operation).await
    }

    /// Has memory forget rows, and wakes callers that wait for their keys. Returns how many of the rows were entries.
    pub(in super::super) fn forget_doomed(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        namespace_id: i64,
        gone: Vec<Doomed>,
    ) -> i64 {
        let count = i64::try_from(gone.iter().filter(|row| row.is_entry()).count()).unwrap_or(i64::MAX);
        for row in gone.iter().filter(|row| row.ends_lease()) {
            tx.wake(Self::wake_topic(namespace_id, &row.key));
        }
        self.forget_after_commit(tx, namespace_id, gone.into_iter().map(|row| row.key));
        count
    }

    /// A request that comes again was perhaps committed without this sidecar being told: what it remembers may be older
    /// than what the caller will now take as done.
    pub(super) fn doubt_after_commit(self: &Arc<Self>, tx: &Tx<'_>, namespace: &str) {
        if self.storage.is_shared() {
            let (cache, namespace) = (self.clone(), namespace.to_owned());
            tx.after_commit(move || {
                cache.registry.doubt(&namespace);
                cache.memory.forget_all();
            });
        }
    }

    /// Has memory forget keys.
    pub(super) fn forget_after_commit(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        namespace_id: i64,
        keys: impl Iterator<Item = String>,
    ) {
        let keys: Vec<String> = keys.collect();
        let cache = self.clone();
        tx.after_commit(move || {
            for key in &keys {
                cache.memory.forget(namespace_id, key);
            }
        });
    }

    pub(super) fn keep_after_commit(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        namespace_id: i64,
        puts: Vec<Put>,
        now_us: i64,
    ) {
        for put in puts.iter().filter(|put| put.ends_lease) {
            tx.wake(Self::wake_topic(namespace_id, &put.entry.key));
        }
        let cache = self.clone();
        tx.after_commit(move || {
            for put in puts {
                if put.created {
                    cache.accesses.forget(put.entry.id);
                }
                if put.invalidated || cache.storage.is_shared() {
                    cache.memory.forget(namespace_id, &put.entry.key);
                    continue;
                }
                let pending = cache.accesses.pending(put.entry.id);
                let held = Held::new(detached(put.entry), pending, now_us);
                cache.memory.keep_put(namespace_id, Arc::new(held));
            }
        });
    }
}

/// Bytes of an item's value.
fn value_bytes(item: &pb::PutItem) -> usize {
    match &item.content {
        Some(pb::put_item::Content::Value(value)) => value.len(),
        _ => 0,
    }
}
