//! What changes entries, prepared for a call of its own or for a commit: Put, BatchPut, Delete, Touch; and the check of a commit.
//! Put is a BatchPut of one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::cache::v1 as pb;
use pannier_proto::transaction::v1::{CacheCheck, CheckResult, cache_check::Expected};

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::domain::{Condition, Namespace, Origin, Put, PutItem, revision_of};
use super::super::store::{self, Deleted, Deletion};
use crate::batch::{Batch, Failing, only};
use crate::error::{Error, Result};
use crate::status::ItemErrors;
use crate::storage::{Operation, Tx};

/// Rows that a put evicts beyond the ones that it brings, where limits were lowered; the rest is left to the upkeep.
const EVICT_EXTRA_MAX: usize = 64;

/// What a put writes.
struct Write {
    cache: Arc<Cache>,
    namespace: String,
    items: Batch<PutItem>,
    now_us: i64,
    first_revision: i64,
}

impl Cache {
    pub(in crate::services) fn prepare_put(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::PutRequest,
    ) -> Operation<pb::PutResponse> {
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let item = request.item.unwrap_or_default();
        let item = parser.item("item", item, |parser, item| parser.put_item(item));
        let write = self.write(parser, request.namespace, item);
        let operation = self.doubting(write.namespace.clone(), write, |tx, write| {
            Box::pin(async move {
                match only(write.store(tx).await?.results)?.outcome {
                    Some(pb::batch_put_result::Outcome::Put(result)) => {
                        Ok(pb::PutResponse { result: Some(result) })
                    }
                    _ => Err(Error::internal("a single put answered without a result")),
                }
            })
        });
        operation.surviving(durability)
    }

    pub(in crate::services) fn prepare_batch_put(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::BatchPutRequest,
    ) -> Operation<pb::BatchPutResponse> {
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let items = parser.put_items(request.items, failing);
        let count = items.count();
        let write = self.write(parser, request.namespace, items);
        let operation = self.doubting(write.namespace.clone(), write, |tx, write| Box::pin(write.store(tx)));
        operation.surviving(durability).of_items(count)
    }

    pub(in crate::services) fn prepare_delete(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::DeleteRequest,
    ) -> Operation<pb::DeleteResponse> {
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let items = parser.delete_items(request.items, failing);
        let (count, now_us) = (items.count(), self.clock.now_us());
        let operation = self.prepare_change(request.namespace, items, move |tx, cache, namespace, items| {
            Box::pin(async move {
                let (batch, items) = (items, &items.items);
                let deletions = match &namespace {
                    Some(namespace) => store::delete_entries(tx, namespace.id, items, now_us).await?,
                    None => vec![Deletion { outcome: Deleted::NotFound, ends_lease: false }; items.len()],
                };
                if let Some(namespace) = namespace {
                    let ended = items.iter().zip(&deletions).filter(|(_, deletion)| deletion.ends_lease);
                    for ((key, _), _) in ended {
                        tx.wake(Self::wake_topic(namespace.id, key));
                    }
                    cache.forget_after_commit(tx, namespace.id, items.iter().map(|(key, _)| key.clone()));
                }
                let result = |((_, etag), deletion): (&(_, Option<_>), Deletion)| {
                    // What is an outcome where each item is by itself fails the call where it is all or none.
                    if failing == Failing::All {
                        held(etag.is_some(), &deletion)?
                    }
                    Ok(deletion)
                };
                let results = batch.results(items.iter().zip(deletions).map(result).collect())?;
                let mut errors = ItemErrors::default();
                let results = results.into_iter().map(|result| delete_result(result, &mut errors));
                Ok(pb::DeleteResponse { results: results.collect() })
            })
        });
        operation.surviving(durability).of_items(count)
    }

    pub(in crate::services) fn prepare_touch(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::TouchRequest,
    ) -> Operation<pb::TouchResponse> {
        parser.name("namespace", &request.namespace);
        let failing = parser.failing(request.atomic);
        let items = parser.touch_items(request.items, failing);
        let (count, now_us) = (items.count(), self.clock.now_us());
        let operation = self.prepare_change(request.namespace, items, move |tx, cache, namespace, items| {
            Box::pin(async move {
                let touched = match namespace {
                    Some(namespace) => {
                        let touched = store::touch(tx, namespace.id, &items.items, now_us).await?;
                        let keys = items.items.iter().map(|(key, _)| key.clone());
                        cache.forget_after_commit(tx, namespace.id, keys);
                        touched
                    }
                    None => vec![None; items.items.len()],
                };
                let mut errors = ItemErrors::default();
                let result = |touched: Result<Option<Option<i64>>>| match touched {
                    Ok(touched) => pb::TouchResult {
                        found: touched.is_some(),
                        expire_time: touched.flatten().map(|us| convert::timestamp(&cache.clock, us)),
                        error: None,
                    },
                    Err(error) => pb::TouchResult { error: Some(errors.of(&error)), ..Default::default() },
                };
                let touched = items.results(touched.into_iter().map(Ok).collect())?;
                Ok(pb::TouchResponse { results: touched.into_iter().map(result).collect() })
            })
        });
        operation.of_items(count)
    }

    pub(in crate::services) fn prepare_check(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        check: CacheCheck,
    ) -> Operation<CheckResult> {
        parser.name("namespace", &check.namespace);
        parser.key("key", &check.key);
        let condition = match check.expected {
            Some(Expected::Absent(said)) => parser.expects("absent", said, Condition::IfAbsent),
            Some(Expected::Present(said)) => parser.expects("present", said, Condition::IfPresent),
            Some(Expected::Etag(etag)) => {
                if etag.is_empty() {
                    parser.violations.add("etag", "must not be empty");
                }
                Condition::IfRevision(revision_of(&etag))
            }
            None => {
                parser.violations.add("expected", "is missing: say what must hold");
                Condition::Always
            }
        };
        let now_us = self.clock.now_us();
        self.prepare_change(check.namespace, check.key, move |tx, _, namespace, key| {
            Box::pin(async move {
                let namespace_id = namespace.map(|namespace| namespace.id);
                store::check(tx, namespace_id, key, condition, now_us).await?;
                Ok(CheckResult {})
            })
        })
    }

    /// An operation on a namespace, which is locked, if there is one.
    pub(super) fn prepare_change<I, T, W>(self: &Arc<Self>, name: String, input: I, work: W) -> Operation<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'a> Fn(&'a Tx<'a>, &'a Arc<Self>, Option<Namespace>, &'a I) -> BoxFuture<'a, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        let input = (self.clone(), name.clone(), input, work);
        self.doubting(name, input, |tx, (cache, name, input, work)| {
            Box::pin(async move {
                let namespace = store::find_with_usage(tx, name).await?.map(|(namespace, _)| namespace);
                work(tx, cache, namespace, input).await
            })
        })
    }

    /// An operation that has the cache doubt what it remembers when it was done before.
    fn doubting<I, T, F>(self: &Arc<Self>, namespace: String, input: I, op: F) -> Operation<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        let (cache, lock) = (self.clone(), store::lock_of(&namespace));
        let operation = Operation::new(input, op).locking([lock]);
        operation.when_repeated(move |tx| cache.doubt_after_commit(tx, &namespace))
    }

    /// A put of `items`, which are compressed unless something is wrong with the request.
    fn write(self: &Arc<Self>, parser: &Parser<'_>, namespace: String, mut items: Batch<PutItem>) -> Write {
        if parser.violations.is_empty() {
            self.compress(&mut items.items);
        }
        Write {
            cache: self.clone(),
            namespace,
            now_us: self.clock.now_us(),
            first_revision: self.clock.revisions(items.items.len()),
            items,
        }
    }
}

impl Write {
    async fn store(&self, tx: &Tx<'_>) -> Result<pb::BatchPutResponse> {
        let mut errors = ItemErrors::default();
        if self.items.items.is_empty() {
            let refused = self.items.results(Vec::new())?;
            let results = refused
                .iter()
                .map(|result| convert::batch_put_result(result, &self.cache.clock, &mut errors));
            return Ok(pb::BatchPutResponse { results: results.collect() });
        }
        let (namespace, before) =
            self.cache.ensure_namespace(tx, &self.namespace, Origin::Implicit, self.now_us).await?;
        let (results, added) =
            store::put(tx, &namespace, &self.items.items, self.now_us, self.first_revision).await?;
        let results = self.items.results(results)?;
        let over = before.with(added).over(&namespace.limits);
        let answer = results
            .iter()
            .map(|result| convert::batch_put_result(result, &self.cache.clock, &mut errors))
            .collect();
        let puts: Vec<Put> = results.into_iter().flatten().collect();
        self.cache.keep_after_commit(tx, namespace.id, puts, self.now_us);
        if !over.is_zero() {
            // What was over the limits before, because they were lowered, is the upkeep's to remove.
            let was_within = before.over(&namespace.limits).is_zero();
            let room = store::Room {
                over,
                rows_max: if was_within { u64::MAX } else { (self.items.count() + EVICT_EXTRA_MAX) as u64 },
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

/// What became of an item of a Delete, as the wire has it.
fn delete_result(result: Result<Deletion>, errors: &mut ItemErrors) -> pb::DeleteResult {
    let outcome = match result.map(|deletion| deletion.outcome) {
        Ok(Deleted::Gone) => pb::DeleteOutcome::Deleted,
        Ok(Deleted::NotFound) => pb::DeleteOutcome::NotFound,
        Ok(Deleted::Other) => pb::DeleteOutcome::EtagMismatch,
        Err(error) => {
            return pb::DeleteResult { error: Some(errors.of(&error)), ..Default::default() };
        }
    };
    pb::DeleteResult { outcome: outcome.into(), error: None }
}

/// Whether the etag of a deletion held, if one was asked for.
fn held(is_asked: bool, deletion: &Deletion) -> Result<()> {
    match deletion.outcome {
        Deleted::NotFound if is_asked => Err(Error::EntryNotFound),
        Deleted::Other => Err(Error::EtagMismatch),
        Deleted::NotFound | Deleted::Gone => Ok(()),
    }
}
