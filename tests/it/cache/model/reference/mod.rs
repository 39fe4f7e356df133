//! The reference: a cache on a few maps that answers every operation in full.
//!
//! It knows no memory beside a table, no gathered accesses, no rows that wait: each of its answers follows from what the API
//! says. What the API leaves open it allows as well, and nothing beyond it: pages may be shorter than asked for
//! (`Reply::List` holds all pages together), and etags and tokens are opaque (answers.rs). What is not left open but bound to
//! the background, removal after expiry and the reaching of lowered limits, is bound to `Operation::Upkeep` here. While
//! gathered reads are written they may be told twice: upkeep has ended before the next operation, so they may not here.

mod reads;
mod writes;

use std::collections::{BTreeMap, HashMap};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability as PbDurability;
use pannier_proto::errors::v1::ErrorReason;

use super::answers::{Answer, Reply, etag};
use super::operations::{
    Condition, Content, Item, Mark, NAMESPACES, Operation, RETENTION_MS, Read, Terms, UPKEEP_MS, Write,
};
use super::state::{Limits, Namespace, Stored};
use super::wire::{duration, timestamp};
use crate::harness::START_US;

/// A key in a namespace.
type Place = (&'static str, &'static str);

/// Upkeep begins no earlier than this before its time, so that the millisecond of each operation does not begin it.
const MARGIN_MS: i64 = 5_000;

/// A way in which the reference is wrong on purpose, so that tests see a difference found and made small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A lease on a missing key survives the key's deletion.
    DeletesKeepLeases,
    /// Deleting by tag passes over entries that have another tag as well.
    DeletesByTagMissSome,
    /// A touch is no use.
    TouchesAreNoUse,
}

/// The reference.
pub struct Reference {
    terms: Terms,
    fault: Option<Fault>,
    now_us: i64,
    upkeep_us: i64,
    namespaces: BTreeMap<&'static str, Namespace>,
    kept: HashMap<u32, Kept>,
    /// Where each etag and each token was given, in their order.
    etags: Vec<Place>,
    tokens: Vec<Place>,
    row_count: u64,
}

/// The first answer to a request id.
struct Kept {
    operation: Operation,
    answer: Answer,
    until_us: i64,
}

impl Reference {
    pub fn new(terms: &Terms, fault: Option<Fault>) -> Self {
        Self {
            terms: terms.clone(),
            fault,
            now_us: START_US,
            upkeep_us: START_US,
            namespaces: BTreeMap::new(),
            kept: HashMap::new(),
            etags: Vec::new(),
            tokens: Vec::new(),
            row_count: 0,
        }
    }

    /// The operation with the etags and tokens that it means now.
    pub fn resolved(&self, operation: &Operation) -> Operation {
        match operation {
            Operation::Again(id) => {
                self.kept.get(id).map_or(Operation::Pass { ms: 0 }, |kept| kept.operation.clone())
            }
            Operation::Pass { ms } => {
                let passed_us = self.now_us - self.upkeep_us + us(*ms);
                let is_due = passed_us >= us(UPKEEP_MS) - MARGIN_MS * 1_000;
                if is_due { Operation::Upkeep } else { operation.clone() }
            }
            Operation::Write(namespace, write, id) => {
                let mut write = write.clone();
                self.resolve(namespace, &mut write);
                Operation::Write(namespace, write, *id)
            }
            _ => operation.clone(),
        }
    }

    fn resolve(&self, namespace: &'static str, write: &mut Write) {
        match write {
            Write::Put(item, _) => self.resolve_item(namespace, item),
            Write::BatchPut(items, _) => items.iter_mut().for_each(|item| self.resolve_item(namespace, item)),
            Write::Delete(items) => {
                for (key, mark) in items {
                    mark.iter_mut().for_each(|mark| self.resolve_etag((namespace, key), mark));
                }
            }
            Write::Release(key, mark) => self.resolve_token((namespace, key), mark),
            _ => {}
        }
    }

    fn resolve_item(&self, namespace: &'static str, item: &mut Item) {
        let place = (namespace, item.key);
        if let Condition::IfEtag(mark) = &mut item.condition {
            self.resolve_etag(place, mark);
        }
        item.lease.iter_mut().for_each(|mark| self.resolve_token(place, mark));
    }

    fn resolve_etag(&self, place: Place, mark: &mut Mark) {
        *mark = given(&self.etags, place, mark, "none given");
    }

    fn resolve_token(&self, place: Place, mark: &mut Mark) {
        *mark = given(&self.tokens, place, mark, NO_TOKEN);
    }

    /// The answer to an operation that is resolved. A millisecond passes with each, so that what was used last is well defined.
    pub fn apply(&mut self, operation: &Operation) -> Answer {
        self.now_us += 1_000;
        match operation {
            Operation::Read(namespace, read) => self.read(namespace, read),
            Operation::Write(namespace, write, None) => self.write(namespace, write, None),
            Operation::Write(namespace, write, Some(id)) => {
                let kept = self.kept.get(id).filter(|kept| self.now_us < kept.until_us);
                if let Some(kept) = kept {
                    let is_same = kept.operation == *operation;
                    return if is_same { kept.answer.clone() } else { Err(ErrorReason::RequestIdReused) };
                }
                let answer = self.write(namespace, write, Some(*id));
                if answer.is_ok() {
                    let (operation, answer) = (operation.clone(), answer.clone());
                    let until_us = self.now_us + us(RETENTION_MS);
                    self.kept.insert(*id, Kept { operation, answer, until_us });
                }
                answer
            }
            Operation::Namespaces(_) => {
                let seen = self.namespaces.iter().filter(|(_, namespace)| namespace.is_seen);
                let all = seen.map(|(name, namespace)| pb_namespace(name, namespace));
                Ok(Reply::Namespaces(all.collect()))
            }
            Operation::Contend { namespace, key, lease_ms, ending } => {
                self.contend(namespace, key, *lease_ms, *ending)
            }
            Operation::Again(_) => unreachable!("is resolved"),
            Operation::Pass { ms } => {
                self.now_us += us(*ms);
                Ok(Reply::Nothing)
            }
            Operation::Upkeep => {
                self.now_us += us(UPKEEP_MS);
                self.upkeep_us = self.now_us;
                self.namespaces.values_mut().for_each(|namespace| namespace.upkeep(self.now_us));
                Ok(Reply::Several(NAMESPACES.map(|name| self.read(name, &Read::Stats)).into()))
            }
            Operation::Restart => {
                self.now_us += 1_000_000;
                self.upkeep_us = self.now_us;
                Ok(Reply::Nothing)
            }
        }
    }

    /// The namespace, as it is or newly made.
    fn namespace(&self, name: &str) -> Namespace {
        let new = || Namespace {
            limits: Limits {
                entries_max: self.terms.entries_max,
                bytes_max: 0,
                ttl_us: us(self.terms.ttl_ms),
                stale_us: us(self.terms.stale_ms),
                by_ttl: self.terms.by_ttl,
                is_full: false,
            },
            create_us: self.now_us,
            update_us: self.now_us,
            rows: BTreeMap::new(),
            counts: Default::default(),
            is_seen: true,
            deleted_tags: Vec::new(),
        };
        match self.namespaces.get(name) {
            Some(found) if found.is_seen => found.clone(),
            Some(Namespace { rows, deleted_tags, .. }) => {
                Namespace { rows: rows.clone(), deleted_tags: deleted_tags.clone(), ..new() }
            }
            None => new(),
        }
    }

    /// The namespace, unless only leases have made it.
    fn seen(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(name).filter(|found| found.is_seen)
    }

    fn next_row(&mut self) -> u64 {
        self.row_count += 1;
        self.row_count
    }
}

/// A token that is none.
const NO_TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// The mark that is meant, of those that were given; `none` if there is no such.
fn given(all: &[Place], place: Place, mark: &Mark, none: &'static str) -> Mark {
    let meant = match mark {
        Mark::OfKey(back) => all.iter().enumerate().rev().filter(|(_, at)| **at == place).nth(*back),
        Mark::OfAll(back) => all.iter().enumerate().rev().nth(*back),
        Mark::Given(_) | Mark::Text(_) => return mark.clone(),
    };
    meant.map_or(Mark::Text(none), |(number, _)| Mark::Given(number))
}

fn us(ms: u64) -> i64 {
    i64::try_from(ms).unwrap() * 1_000
}

fn pb_entry(stored: &Stored, now_us: i64) -> pb::Entry {
    let Item { key, content, content_type, metadata, .. } = &stored.item;
    pb::Entry {
        key: (*key).into(),
        content: Some(match content {
            Content::Negative(code, message) => pb::entry::Content::Negative(pb::NegativeEntry {
                error_code: (*code).into(),
                error_message: (*message).into(),
            }),
            content => pb::entry::Content::Value(content.value().unwrap_or_default().into()),
        }),
        content_type: (*content_type).into(),
        metadata_json: (*metadata).into(),
        tags: stored.item.tags(),
        etag: etag(stored.etag),
        create_time: Some(timestamp(stored.create_us)),
        update_time: Some(timestamp(stored.update_us)),
        expire_time: stored.expire_us.map(timestamp),
        stale_until_time: stored.stale_until_us.map(timestamp),
        access_time: Some(timestamp(stored.access_us)),
        access_count: stored.access_count,
        size_bytes: stored.item.size_bytes(),
        stored_bytes: stored.item.stored_bytes(),
        stale: !stored.is_live(now_us),
    }
}

fn pb_namespace(name: &str, namespace: &Namespace) -> pb::Namespace {
    let Limits { entries_max, bytes_max, ttl_us, stale_us, by_ttl, is_full } = namespace.limits;
    pb::Namespace {
        name: name.into(),
        entries_max,
        bytes_max,
        default_expiry: Some(match ttl_us {
            0 => pb::namespace::DefaultExpiry::NeverExpires(true),
            us => pb::namespace::DefaultExpiry::DefaultTtl(duration(us)),
        }),
        default_stale_window: Some(duration(stale_us)),
        eviction: if by_ttl { pb::EvictionPolicy::Ttl } else { pb::EvictionPolicy::Lru }.into(),
        durability: if is_full { PbDurability::Full } else { PbDurability::Relaxed }.into(),
        create_time: Some(timestamp(namespace.create_us)),
        update_time: Some(timestamp(namespace.update_us)),
    }
}
