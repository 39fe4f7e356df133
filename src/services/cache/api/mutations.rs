//! What changes entries, prepared for a call of its own or for a commit: Put, BatchPut, Delete, Touch; and the check of a commit.
//! Put is a BatchPut of one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::cache::v1 as pb;
use pannier_proto::transaction::v1::{CacheCheck, CheckResult, cache_check::Expected};

use super::super::Cache;
use super::super::convert::{self, Parser};
use super::super::domain::{Condition, Namespace, Put, PutItem, revision_of};
use super::super::store::{self, Deleted, Deletion};
use crate::batch::{Failing, only};
use crate::error::{Error, Result};
use crate::storage::{Operation, Tx};

/// Rows that a put evicts beyond the ones that it brings, where limits were lowered; the rest is left to the upkeep.
const EVICT_EXTRA_MAX: usize = 64;

/// What a put writes.
struct Write {
    cache: Arc<Cache>,
    namespace: String,
    items: Vec<PutItem>,
    now_us: i64,
    first_revision: i64,
    failing: Failing,
}

impl Cache {
    pub(in crate::services) fn prepare_put(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::PutRequest,
    ) -> Operation<pb::PutResponse> {
        parser.name("namespace", &request.namespace);
        let durability = parser.durability("durability", request.durability);
        let item = parser.put_item(&|| "item".to_owned(), request.item.unwrap_or_default());
        let write = self.write(parser, request.namespace, vec![item], Failing::Single);
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
        let items = parser.put_items("items", request.items);
        let count = items.len();
        let write = self.write(parser, request.namespace, items, Failing::of_batch(parser.is_part()));
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
        let items = parser.delete_items(request.items);
        let (count, now_us) = (items.len(), self.clock.now_us());
        let failing = Failing::of_batch(parser.is_part());
        let operation = self.prepare_change(request.namespace, items, move |tx, cache, namespace, items| {
            Box::pin(async move {
                let deletions = match &namespace {
                    Some(namespace) => store::delete_entries(tx, namespace.id, items, now_us).await?,
                    None => vec![Deletion { outcome: Deleted::NotFound, ends_lease: false }; items.len()],
                };
                if failing == Failing::All {
                    let asked = items.iter().map(|(_, etag)| etag.is_some());
                    let results = asked.zip(&deletions).map(|(is_asked, deletion)| held(is_asked, deletion));
                    failing.results(results.collect(), "items")?;
                }
                if let Some(namespace) = namespace {
                    let ended = items.iter().zip(&deletions).filter(|(_, deletion)| deletion.ends_lease);
                    for ((key, _), _) in ended {
                        tx.wake(Self::wake_topic(namespace.id, key));
                    }
                    cache.forget_after_commit(tx, namespace.id, items.iter().map(|(key, _)| key.clone()));
                }
                let outcomes = deletions.into_iter().map(|deletion| match deletion.outcome {
                    Deleted::Gone => pb::DeleteOutcome::Deleted.into(),
                    Deleted::NotFound => pb::DeleteOutcome::NotFound.into(),
                    Deleted::Other => pb::DeleteOutcome::EtagMismatch.into(),
                });
                Ok(pb::DeleteResponse { outcomes: outcomes.collect() })
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
        let items = parser.touch_items(request.items);
        let (count, now_us) = (items.len(), self.clock.now_us());
        let operation = self.prepare_change(request.namespace, items, move |tx, cache, namespace, items| {
            Box::pin(async move {
                let Some(namespace) = namespace else {
                    return Ok(pb::TouchResponse { results: vec![pb::TouchResult::default(); items.len()] });
                };
                let touched = store::touch(tx, namespace.id, items, now_us).await?;
                cache.forget_after_commit(tx, namespace.id, items.iter().map(|(key, _)| key.clone()));
                let results = touched.into_iter().map(|touched| pb::TouchResult {
                    found: touched.is_some(),
                    expire_time: touched.flatten().map(|us| convert::timestamp(&cache.clock, us)),
                });
                Ok(pb::TouchResponse { results: results.collect() })
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
    fn write(
        self: &Arc<Self>,
        parser: &Parser<'_>,
        namespace: String,
        mut items: Vec<PutItem>,
        failing: Failing,
    ) -> Write {
        if parser.violations.is_empty() {
            self.compress(&mut items);
        }
        Write {
            cache: self.clone(),
            namespace,
            now_us: self.clock.now_us(),
            first_revision: self.clock.revisions(items.len()),
            items,
            failing,
        }
    }
}

impl Write {
    async fn store(&self, tx: &Tx<'_>) -> Result<pb::BatchPutResponse> {
        let (namespace, before) = self.cache.ensure_namespace(tx, &self.namespace, self.now_us).await?;
        let (results, added) =
            store::put(tx, &namespace, &self.items, self.now_us, self.first_revision).await?;
        let results = self.failing.results(results, "items")?;
        let over = before.with(added).over(&namespace.limits);
        let answer =
            results.iter().map(|result| convert::batch_put_result(result, &self.cache.clock)).collect();
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

/// Whether the etag of a deletion held, if one was asked for.
fn held(is_asked: bool, deletion: &Deletion) -> Result<()> {
    match deletion.outcome {
        Deleted::NotFound if is_asked => Err(Error::EntryNotFound),
        Deleted::Other => Err(Error::EtagMismatch),
        Deleted::NotFound | Deleted::Gone => Ok(()),
    }
}
