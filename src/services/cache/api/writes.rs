//! Put, BatchPut, Delete, DeleteByPrefix, DeleteByTag, Touch, Evict. Put is a BatchPut of one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::cache::v1 as pb;

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::domain::{Content, Namespace, Put, PutItem, Usage};
use super::super::memory::{Held, detached};
use super::super::store::{self, Deleted, Doomed};
use super::only;
use crate::convert::timestamp;
use crate::error::{Error, Result};
use crate::storage::idempotency::{self, RequestKey};
use crate::storage::{Durability, Tx};

/// Values that come to more than this are compressed away from the threads that serve calls.
const COMPRESS_HERE_BYTES_MAX: usize = 256 * 1024;

/// Rows that a put evicts beyond the ones that it brings, where limits were lowered; the rest is left to the upkeep.
const EVICT_EXTRA_MAX: usize = 64;

/// The level that costs about as much time as writing the bytes would.
const ZSTD_LEVEL: i32 = 1;

/// What a put writes.
struct Write {
    cache: Arc<Cache>,
    namespace: String,
    items: Vec<PutItem>,
    request: Option<RequestKey>,
    /// Whether an item that fails fails the call.
    is_single: bool,
    now_us: i64,
    first_revision: i64,
}

impl Cache {
    pub(super) async fn put(self: &Arc<Self>, mut request: pb::PutRequest) -> Result<pb::PutResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Put", &request);
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let item = parser.put_item(&|| "item".to_owned(), request.item.unwrap_or_default());
        parser.violations.check()?;

        let answer = self.put_items(request.namespace, vec![item], durability, key, true).await?;
        match only(answer.results)?.outcome {
            Some(pb::batch_put_result::Outcome::Put(result)) => Ok(pb::PutResponse { result: Some(result) }),
            _ => Err(Error::internal("a single put answered without a result")),
        }
    }

    pub(super) async fn batch_put(
        self: &Arc<Self>,
        mut request: pb::BatchPutRequest,
    ) -> Result<pb::BatchPutResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "BatchPut", &request);
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let items = parser.put_items("items", request.items);
        parser.violations.check()?;
        self.put_items(request.namespace, items, durability, key, false).await
    }

    async fn put_items(
        self: &Arc<Self>,
        namespace: String,
        items: Vec<PutItem>,
        durability: Option<Durability>,
        request: Option<RequestKey>,
        is_single: bool,
    ) -> Result<pb::BatchPutResponse> {
        let items = self.compress(items).await?;
        let durability = self.durability(durability, &namespace).await?;
        let write = Write {
            cache: self.clone(),
            namespace,
            now_us: self.clock.now_us(),
            first_revision: self.clock.revisions(items.len()),
            items,
            request,
            is_single,
        };
        self.storage.write(durability, write, |tx, write| Box::pin(write.run(tx))).await
    }

    async fn compress(&self, items: Vec<PutItem>) -> Result<Vec<PutItem>> {
        let bytes_min = usize::try_from(self.settings.cache.compress_bytes_min).unwrap_or(usize::MAX);
        let large = |item: &PutItem| match &item.content {
            Content::Value(value) if value.len() >= bytes_min => value.len(),
            _ => 0,
        };
        let bytes: usize = items.iter().map(large).sum();
        if bytes == 0 {
            return Ok(items);
        }
        let compress = move || -> Vec<PutItem> {
            let mut items = items;
            for item in &mut items {
                if let Content::Value(value) = &item.content
                    && value.len() >= bytes_min
                    && let Ok(compressed) = zstd::bulk::compress(value, ZSTD_LEVEL)
                    && compressed.len() < value.len()
                {
                    item.compressed = Some(compressed);
                }
            }
            items
        };
        if bytes <= COMPRESS_HERE_BYTES_MAX {
            return Ok(compress());
        }
        tokio::task::spawn_blocking(compress).await.map_err(|error| Error::internal(error.to_string()))
    }

    pub(super) async fn delete(
        self: &Arc<Self>,
        mut request: pb::DeleteRequest,
    ) -> Result<pb::DeleteResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Delete", &request);
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let items = parser.delete_items(request.items);
        parser.violations.check()?;

        let durability = self.durability(durability, &request.namespace).await?;
        let now_us = self.clock.now_us();
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            let items = items.clone();
            Box::pin(async move {
                let Some(namespace) = namespace else {
                    let outcomes = vec![pb::DeleteOutcome::NotFound.into(); items.len()];
                    return Ok(pb::DeleteResponse { outcomes });
                };
                let deletions = store::delete_entries(tx, namespace.id, &items, now_us).await?;
                for ((key, _), _) in items.iter().zip(&deletions).filter(|(_, deletion)| deletion.ends_lease)
                {
                    tx.wake(Cache::wake_topic(namespace.id, key));
                }
                let keys = items.into_iter().map(|(key, _)| key);
                cache.forget_after_commit(tx, namespace.id, keys);
                let outcomes = deletions.into_iter().map(|deletion| match deletion.outcome {
                    Deleted::Gone => pb::DeleteOutcome::Deleted.into(),
                    Deleted::NotFound => pb::DeleteOutcome::NotFound.into(),
                    Deleted::Other => pb::DeleteOutcome::EtagMismatch.into(),
                });
                Ok(pb::DeleteResponse { outcomes: outcomes.collect() })
            })
        })
        .await
    }

    pub(super) async fn delete_by_prefix(
        self: &Arc<Self>,
        mut request: pb::DeleteByPrefixRequest,
    ) -> Result<pb::DeleteByPrefixResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "DeleteByPrefix", &request);
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
        let key = self.request_key(id, "DeleteByTag", &request);
        parser.name("namespace", &request.namespace);
        parser.tag("tag", &request.tag);
        parser.violations.check()?;

        let rows_max = self.settings.cache.delete_rows_max;
        let durability = self.durability(None, &request.namespace).await?;
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            let tag = request.tag.clone();
            Box::pin(async move {
                let Some(namespace) = namespace else { return Ok(pb::DeleteByTagResponse::default()) };
                let (gone, more) = store::delete_by_tag(tx, namespace.id, &tag, rows_max).await?;
                let deleted_count = cache.forget_doomed(tx, namespace.id, gone);
                Ok(pb::DeleteByTagResponse { deleted_count, more })
            })
        })
        .await
    }

    pub(super) async fn touch(self: &Arc<Self>, mut request: pb::TouchRequest) -> Result<pb::TouchResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Touch", &request);
        parser.name("namespace", &request.namespace);
        let items = parser.touch_items(request.items);
        parser.violations.check()?;

        let durability = self.durability(None, &request.namespace).await?;
        let now_us = self.clock.now_us();
        self.change(durability, request.namespace, key, move |tx, cache, namespace| {
            let items = items.clone();
            Box::pin(async move {
                let Some(namespace) = namespace else {
                    return Ok(pb::TouchResponse { results: vec![pb::TouchResult::default(); items.len()] });
                };
                let touched = store::touch(tx, namespace.id, &items, now_us).await?;
                cache.forget_after_commit(tx, namespace.id, items.into_iter().map(|(key, _)| key));
                let results = touched.into_iter().map(|touched| pb::TouchResult {
                    found: touched.is_some(),
                    expire_time: touched.flatten().map(timestamp),
                });
                Ok(pb::TouchResponse { results: results.collect() })
            })
        })
        .await
    }

    pub(super) async fn evict(self: &Arc<Self>, mut request: pb::EvictRequest) -> Result<pb::EvictResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Evict", &request);
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
        let input = (self.clone(), name, request, work);
        self.storage
            .write(durability, input, |tx, (cache, name, request, work)| {
                Box::pin(async move {
                    let once = idempotency::once(tx, request.as_ref(), async move {
                        let namespace =
                            store::find_with_usage(tx, name).await?.map(|(namespace, _)| namespace);
                        work(tx, cache, namespace).await
                    });
                    let answer = once.await?;
                    cache.doubt_after_repeat(tx, name);
                    Ok(answer)
                })
            })
            .await
    }

    pub(in super::super) fn forget_doomed(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        namespace_id: i64,
        gone: Vec<Doomed>,
    ) -> i64 {
        let count = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        for row in gone.iter().filter(|row| row.ends_lease()) {
            tx.wake(Self::wake_topic(namespace_id, &row.key));
        }
        self.forget_after_commit(tx, namespace_id, gone.into_iter().map(|row| row.key));
        count
    }

    /// A request that comes again was perhaps committed without this sidecar being told: what it remembers may be older
    /// than what the caller will now take as done.
    fn doubt_after_repeat(self: &Arc<Self>, tx: &Tx<'_>, namespace: &str) {
        if tx.is_repeat() && self.storage.is_shared() {
            let (cache, namespace) = (self.clone(), namespace.to_owned());
            tx.after_commit(move || {
                cache.registry.doubt(&namespace);
                cache.memory.forget_all();
            });
        }
    }

    /// Has memory forget keys.
    fn forget_after_commit(
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

    fn keep_after_commit(self: &Arc<Self>, tx: &Tx<'_>, namespace_id: i64, puts: Vec<Put>, now_us: i64) {
        for put in puts.iter().filter(|put| put.ends_lease) {
            tx.wake(Self::wake_topic(namespace_id, &put.entry.key));
        }
        let cache = self.clone();
        tx.after_commit(move || {
            for put in puts {
                if put.created {
                    cache.accesses.forget(put.entry.id);
                }
                if cache.storage.is_shared() {
                    cache.memory.forget(namespace_id, &put.entry.key);
                    continue;
                }
                let pending = cache.accesses.pending(put.entry.id);
                let held = Held::new(detached(put.entry), pending, now_us);
                cache.memory.keep_put(namespace_id, Arc::new(held));
            }
        });
    }

    /// The namespace of that name in this transaction, and what it holds; made if it is not there.
    pub(super) async fn ensure_namespace(
        self: &Arc<Self>,
        tx: &Tx<'_>,
        name: &str,
        now_us: i64,
    ) -> Result<(Namespace, Usage)> {
        if let Some(found) = store::find_with_usage(tx, name).await? {
            return Ok(found);
        }
        let max = i64::try_from(self.settings.cache.namespaces_max).unwrap_or(i64::MAX);
        let made = store::create(tx, name, self.default_limits(), max, now_us).await?;
        let (cache, written) = (self.clone(), made.clone());
        tx.after_commit(move || cache.registry.set_written(written, now_us));
        Ok((made, Usage::default()))
    }
}

impl Write {
    async fn run(&self, tx: &Tx<'_>) -> Result<pb::BatchPutResponse> {
        let answer = idempotency::once(tx, self.request.as_ref(), self.store(tx)).await?;
        self.cache.doubt_after_repeat(tx, &self.namespace);
        Ok(answer)
    }

    async fn store(&self, tx: &Tx<'_>) -> Result<pb::BatchPutResponse> {
        let (namespace, before) = self.cache.ensure_namespace(tx, &self.namespace, self.now_us).await?;
        let (results, added) =
            store::put(tx, &namespace, &self.items, self.now_us, self.first_revision).await?;
        if self.is_single && results.iter().any(Result::is_err) {
            return Err(only(results)?.err().unwrap_or_else(|| Error::internal("no result")));
        }
        let over = before.with(added).over(&namespace.limits);
        let answer = results.iter().map(convert::batch_put_result).collect();
        let puts: Vec<Put> = results.into_iter().flatten().collect();
        self.cache.keep_after_commit(tx, namespace.id, puts, self.now_us);
        if !over.is_zero() {
            // What was over the limits before, because they were lowered, is the upkeep's to remove.
            let was_within = before.over(&namespace.limits).is_zero();
            let room = store::Room {
                over,
                rows_max: if was_within { u64::MAX } else { (self.items.len() + EVICT_EXTRA_MAX) as u64 },
                recency: &self.cache.accesses,
                new_from: Some(self.first_revision),
                now_us: self.now_us,
            };
            let gone = store::make_room(tx, &namespace, room).await?;
            self.cache.forget_doomed(tx, namespace.id, gone);
        }
        Ok(pb::BatchPutResponse { results: answer })
    }
}
