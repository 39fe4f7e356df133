//! What the reference answers to calls that write.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::{ErrorReason, ItemError};

use super::super::answers::{Answer, Reply, etag};
use super::super::operations::{Change, Condition, Durability, Eviction, Expiry, Item, Mark, Write};
use super::super::state::{Namespace, Row, Stored};
use super::super::wire::timestamp;
use super::{Fault, Reference, pb_namespace, us};

impl Reference {
    pub(super) fn write(&mut self, name: &'static str, write: &Write, id: Option<u32>) -> Answer {
        Ok(match write {
            Write::Put(item, _) => {
                let mut results = self.put(name, std::slice::from_ref(item), true);
                Reply::Put(pb::PutResponse { result: Some(results.remove(0)?) })
            }
            Write::BatchPut(items, _) => {
                let results = self.put(name, items, false).into_iter().map(pb_result);
                Reply::BatchPut(pb::BatchPutResponse { results: results.collect() })
            }
            Write::Delete(items) => {
                let outcomes = items.iter().map(|(key, mark)| self.delete(name, key, mark.as_ref()).into());
                let results = outcomes.map(|outcome| pb::DeleteResult { outcome, error: None });
                Reply::Delete(pb::DeleteResponse { results: results.collect() })
            }
            Write::DeleteByPrefix(prefix) => self.delete_by_prefix(name, prefix, id),
            Write::DeleteByTag(tag) => self.delete_by_tag(name, tag, id),
            Write::Touch(items) => {
                let results = items.iter().map(|(key, expiry)| self.touch(name, key, *expiry));
                Reply::Touch(pb::TouchResponse { results: results.collect() })
            }
            Write::Evict(count) => Reply::Evict(self.evict(name, *count)),
            Write::Update(change) => Reply::Update(self.update(name, change)),
            Write::DeleteNamespace => {
                let deleted = self.namespaces.remove(name).is_some_and(|found| found.is_seen);
                Reply::DeleteNamespace(pb::DeleteNamespaceResponse { deleted })
            }
            Write::Release(key, mark) => {
                Reply::Release(pb::ReleaseLeaseResponse { released: self.release(name, key, mark) })
            }
        })
    }

    /// Makes the namespace if it is not there, unless the only item is refused; then nothing has happened.
    fn put(
        &mut self,
        name: &'static str,
        items: &[Item],
        is_single: bool,
    ) -> Vec<Result<pb::PutResult, ErrorReason>> {
        let mut namespace = self.namespace(name);
        let first_etag = self.etags.len();
        let results: Vec<_> = items.iter().map(|item| self.put_one(name, &mut namespace, item)).collect();
        if !is_single || results[0].is_ok() {
            namespace.make_room(first_etag, self.now_us);
            self.namespaces.insert(name, namespace);
        }
        results
    }

    fn put_one(
        &mut self,
        name: &'static str,
        namespace: &mut Namespace,
        item: &Item,
    ) -> Result<pb::PutResult, ErrorReason> {
        let now_us = self.now_us;
        check(namespace, item, now_us)?;
        let limits = namespace.limits;
        let expire_us = match item.expiry {
            Expiry::AfterMs(ms) => Some(now_us + us(ms)),
            Expiry::Unsaid => Some(now_us + limits.ttl_us).filter(|_| limits.ttl_us > 0),
            Expiry::Never => None,
        };
        let stale_us = item.stale_ms.map_or(limits.stale_us, us);
        let stale_until_us = expire_us.map(|expire_us| expire_us + stale_us).filter(|_| stale_us > 0);
        let former = namespace.live(item.key, now_us);
        let created = former.is_none();
        let stored = Stored {
            item: item.clone(),
            etag: self.etags.len(),
            create_us: former.map_or(now_us, |former| former.create_us),
            update_us: now_us,
            expire_us,
            stale_until_us,
            stale_us,
            access_us: now_us,
            access_count: former.map_or(1, |former| former.access_count),
        };
        self.etags.push((name, item.key));
        let number = namespace.rows.get(item.key).map(|row| row.number);
        let number = number.unwrap_or_else(|| self.next_row());
        let invalidated = is_overtaken(namespace, item);
        let etag = etag(stored.etag);
        let put = pb::PutResult { etag, created, expire_time: expire_us.map(timestamp), invalidated };
        if invalidated {
            namespace.rows.remove(item.key);
            return Ok(put);
        }
        namespace.rows.insert(item.key, Row { number, stored: Some(stored), lease: None });
        Ok(put)
    }

    /// A lease on the key ends as well, unless an etag is asked for that no entry there has.
    fn delete(&mut self, name: &str, key: &str, mark: Option<&Mark>) -> pb::DeleteOutcome {
        let now_us = self.now_us;
        let Some(namespace) = self.namespaces.get_mut(name) else { return pb::DeleteOutcome::NotFound };
        let is_live = namespace.live(key, now_us).is_some();
        let has_etag = |mark| namespace.entry(key).is_some_and(|stored| is_etag(mark, stored.etag));
        if !mark.is_none_or(has_etag) {
            let mismatch = pb::DeleteOutcome::EtagMismatch;
            return if is_live { mismatch } else { pb::DeleteOutcome::NotFound };
        }
        let is_kept = self.fault == Some(Fault::DeletesKeepLeases) && namespace.entry(key).is_none();
        if !is_kept {
            namespace.rows.remove(key);
        }
        if is_live { pb::DeleteOutcome::Deleted } else { pb::DeleteOutcome::NotFound }
    }

    /// The leases on such keys end as well.
    fn delete_by_prefix(&mut self, name: &str, prefix: &str, id: Option<u32>) -> Reply {
        let Some(namespace) = self.namespaces.get_mut(name) else { return self.deleted_rows(0, 0, id) };
        let (before, rows) = (namespace.entry_count(), namespace.rows.len());
        namespace.rows.retain(|key, _| !key.starts_with(prefix));
        let deleted = before - namespace.entry_count();
        let leases = i64::try_from(rows - namespace.rows.len()).unwrap() - deleted;
        self.deleted_rows(deleted, leases, id)
    }

    fn delete_by_tag(&mut self, name: &str, tag: &'static str, id: Option<u32>) -> Reply {
        let misses_some = self.fault == Some(Fault::DeletesByTagMissSome);
        let Some(namespace) = self.namespaces.get_mut(name) else { return self.deleted_rows(0, 0, id) };
        namespace.deleted_tags.push(tag);
        let before = namespace.entry_count();
        namespace.rows.retain(|_, row| {
            let tags = row.stored.as_ref().map(|stored| stored.item.tags()).unwrap_or_default();
            !tags.iter().any(|own| own == tag) || misses_some && tags.len() > 1
        });
        let deleted = before - namespace.entry_count();
        self.deleted_rows(deleted, 0, id)
    }

    /// Calls that delete at most `delete_rows_max` each until there is no more. Those that are expired and still there count.
    /// After the entries go the leases on missing keys, as many a call. Which go in the first of several calls is left open; only calls without a request id, which delete all, are made then.
    fn deleted_rows(&self, deleted: i64, leases: i64, id: Option<u32>) -> Reply {
        let most = i64::try_from(self.terms.delete_rows_max).unwrap();
        let mut calls = Vec::new();
        let mut left = deleted;
        while left > most {
            calls.push((most, true));
            left -= most;
        }
        calls.push((left, leases > most));
        let mut leases = leases - most;
        while leases > 0 {
            calls.push((0, leases > most));
            leases -= most;
        }
        assert!(id.is_none() || calls.len() == 1, "a repeated call cannot delete the rest");
        Reply::DeleteRows(calls)
    }

    /// Only a live entry is touched. A new expiry takes the stale window along, also from an entry that never expired.
    fn touch(&mut self, name: &str, key: &str, expiry: Expiry) -> pb::TouchResult {
        let (now_us, is_no_use) = (self.now_us, self.fault == Some(Fault::TouchesAreNoUse));
        let row = self.namespaces.get_mut(name).and_then(|namespace| namespace.rows.get_mut(key));
        let live = row.and_then(|row| row.stored.as_mut()).filter(|stored| stored.is_live(now_us));
        let Some(stored) = live else { return pb::TouchResult::default() };
        if !is_no_use {
            stored.access_us = now_us;
        }
        match expiry {
            Expiry::Unsaid => {}
            Expiry::AfterMs(ms) => {
                stored.expire_us = Some(now_us + us(ms));
                let until_us = now_us + us(ms) + stored.stale_us;
                stored.stale_until_us = Some(until_us).filter(|_| stored.stale_us > 0);
            }
            Expiry::Never => (stored.expire_us, stored.stale_until_us) = (None, None),
        }
        pb::TouchResult { found: true, expire_time: stored.expire_us.map(timestamp), error: None }
    }

    fn evict(&mut self, name: &str, count: usize) -> pb::EvictResponse {
        let now_us = self.now_us;
        let Some(namespace) = self.namespaces.get_mut(name) else { return Default::default() };
        let mut answer = pb::EvictResponse::default();
        for key in namespace.eviction_order(usize::MAX, now_us).into_iter().take(count) {
            answer.evicted_count += 1;
            answer.freed_bytes += namespace.evict(key, now_us);
        }
        answer
    }

    /// Lowered limits are reached at the next put or upkeep.
    fn update(&mut self, name: &'static str, change: &Change) -> pb::UpdateNamespaceResponse {
        let created = self.seen(name).is_none();
        let mut namespace = self.namespace(name);
        let limits = &mut namespace.limits;
        limits.entries_max = change.entries_max.unwrap_or(limits.entries_max);
        limits.bytes_max = change.bytes_max.unwrap_or(limits.bytes_max);
        limits.ttl_us = match change.expiry {
            Some(Expiry::AfterMs(ms)) => us(ms),
            Some(_) => 0,
            None => limits.ttl_us,
        };
        limits.stale_us = change.stale_ms.map_or(limits.stale_us, us);
        limits.by_ttl = match change.eviction {
            Some(Eviction::Unsaid) => self.terms.by_ttl,
            Some(eviction) => eviction == Eviction::Ttl,
            None => limits.by_ttl,
        };
        limits.is_full = change.durability.map_or(limits.is_full, |said| said != Durability::Relaxed);
        namespace.update_us = self.now_us;
        let answer = Some(pb_namespace(name, &namespace));
        self.namespaces.insert(name, namespace);
        pb::UpdateNamespaceResponse { namespace: answer, created }
    }

    fn release(&mut self, name: &str, key: &str, mark: &Mark) -> bool {
        let now_us = self.now_us;
        let Some(namespace) = self.namespaces.get_mut(name) else { return false };
        let Some(row) = namespace.rows.get_mut(key) else { return false };
        if !row.held(now_us).is_some_and(|lease| Mark::Given(lease.token) == *mark) {
            return false;
        }
        row.lease = None;
        if row.stored.is_none() {
            namespace.rows.remove(key);
        }
        true
    }
}

/// What refuses a put: its condition, then its lease, then its size.
fn check(namespace: &Namespace, item: &Item, now_us: i64) -> Result<(), ErrorReason> {
    let live = namespace.live(item.key, now_us);
    match (&item.condition, live) {
        (Condition::IfAbsent, Some(_)) => return Err(ErrorReason::EntryExists),
        (Condition::IfPresent | Condition::IfEtag(_), None) => return Err(ErrorReason::EntryNotFound),
        (Condition::IfEtag(mark), Some(stored)) if !is_etag(mark, stored.etag) => {
            return Err(ErrorReason::EtagMismatch);
        }
        _ => {}
    }
    if let Some(mark) = &item.lease {
        let held = namespace.rows.get(item.key).and_then(|row| row.held(now_us));
        if !held.is_some_and(|lease| Mark::Given(lease.token) == *mark) {
            return Err(ErrorReason::LeaseLost);
        }
    }
    let bytes_max = namespace.limits.bytes_max;
    if bytes_max > 0 && item.stored_bytes() > bytes_max {
        return Err(ErrorReason::EntryTooLarge);
    }
    Ok(())
}

/// Whether a tag of the item was deleted since the lease was granted that it fills.
fn is_overtaken(namespace: &Namespace, item: &Item) -> bool {
    let lease = namespace.rows.get(item.key).and_then(|row| row.lease).filter(|_| item.lease.is_some());
    let since = lease.and_then(|lease| namespace.deleted_tags.get(lease.deletions..)).unwrap_or_default();
    since.iter().any(|tag| item.tags.contains(tag))
}

fn is_etag(mark: &Mark, etag: usize) -> bool {
    *mark == Mark::Given(etag)
}

fn pb_result(result: Result<pb::PutResult, ErrorReason>) -> pb::BatchPutResult {
    use pb::batch_put_result::Outcome;
    let outcome = match result {
        Ok(put) => Outcome::Put(put),
        Err(reason) => Outcome::Error(ItemError { reason: reason.into(), ..Default::default() }),
    };
    pb::BatchPutResult { outcome: Some(outcome) }
}
