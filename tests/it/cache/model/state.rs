//! What the model knows: namespaces of rows, and everything that was ever given.
//!
//! A row is what a key has in a namespace: an entry, expired or not, or only the place that a lease holds. It is gone when it
//! is deleted, evicted, or found by upkeep after its time.

use std::collections::BTreeMap;

use super::operations::{COMPRESS_BYTES_MIN, Item};

/// An entry.
#[derive(Clone, Debug)]
pub struct Stored {
    pub item: Item,
    /// The so-manieth etag that was given.
    pub etag: usize,
    pub create_us: i64,
    pub update_us: i64,
    pub expire_us: Option<i64>,
    pub stale_until_us: Option<i64>,
    /// Kept while the entry never expires.
    pub stale_us: i64,
    pub access_us: i64,
    pub access_count: i64,
}

impl Stored {
    pub fn is_live(&self, now_us: i64) -> bool {
        self.expire_us.is_none_or(|expire_us| now_us < expire_us)
    }

    pub fn is_stale(&self, now_us: i64) -> bool {
        !self.is_live(now_us) && self.stale_until_us.is_some_and(|until_us| now_us < until_us)
    }
}

impl Item {
    pub fn size_bytes(&self) -> i64 {
        let bytes = match &self.content {
            super::operations::Content::Negative(code, message) => code.len() + message.len(),
            content => content.value().unwrap_or_default().len(),
        };
        i64::try_from(bytes).unwrap()
    }

    /// Tags, sorted, each once.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> = self.tags.iter().map(ToString::to_string).collect();
        tags.sort();
        tags.dedup();
        tags
    }

    /// What is charged: key, stored value, content type, metadata and tags.
    pub fn stored_bytes(&self) -> i64 {
        let content = match self.content.value() {
            Some(value) if value.len() >= COMPRESS_BYTES_MIN => {
                zstd::bulk::compress(&value, 1).unwrap().len().min(value.len())
            }
            _ => usize::try_from(self.size_bytes()).unwrap(),
        };
        let tags: usize = self.tags().iter().map(String::len).sum();
        let rest = self.key.len() + self.content_type.len() + self.metadata.len() + tags;
        i64::try_from(content + rest).unwrap()
    }
}

/// A lease that was granted; it may have run out.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The so-manieth token that was given.
    pub token: usize,
    pub until_us: i64,
    /// Deletions by tag that the namespace had seen when the lease was granted.
    pub deletions: usize,
}

/// What a key has.
#[derive(Clone, Debug)]
pub struct Row {
    /// Rows are numbered as they come. Of entries used at the same time the proto leaves open which goes first; the product
    /// takes the one whose row is older, and so does the model: all are to give the same answers.
    pub number: u64,
    /// None: a place that a lease holds.
    pub stored: Option<Stored>,
    pub lease: Option<Lease>,
}

impl Row {
    /// The lease that is held.
    pub fn held(&self, now_us: i64) -> Option<Lease> {
        self.lease.filter(|lease| now_us < lease.until_us)
    }

    /// From when on the row may go, when all that it serves is over: expiry, stale window, lease. None: never.
    pub fn remove_us(&self) -> Option<i64> {
        let lease_us = self.lease.map(|lease| lease.until_us);
        match &self.stored {
            None => lease_us,
            Some(stored) => {
                let expire_us = stored.expire_us?;
                [Some(expire_us), stored.stale_until_us, lease_us].into_iter().flatten().max()
            }
        }
    }

    pub fn is_over(&self, now_us: i64) -> bool {
        self.remove_us().is_some_and(|remove_us| remove_us <= now_us)
    }
}

/// Limits and defaults. Zero: none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries_max: i64,
    pub bytes_max: i64,
    pub ttl_us: i64,
    pub stale_us: i64,
    pub by_ttl: bool,
    pub is_full: bool,
}

/// Reads, and entries that went by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub hits: i64,
    pub misses: i64,
    pub stales: i64,
    pub evicted: i64,
    pub expired: i64,
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub limits: Limits,
    pub create_us: i64,
    pub update_us: i64,
    pub rows: BTreeMap<&'static str, Row>,
    pub counts: Counts,
    /// False: only leases have made it, and no caller sees it.
    pub is_seen: bool,
    /// The tags of all deletions by tag, in their order.
    pub deleted_tags: Vec<&'static str>,
}

impl Namespace {
    /// The entries, expired or not.
    pub fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.rows.values().filter_map(|row| row.stored.as_ref())
    }

    pub fn entry(&self, key: &str) -> Option<&Stored> {
        self.rows.get(key)?.stored.as_ref()
    }

    pub fn live(&self, key: &str, now_us: i64) -> Option<&Stored> {
        self.entry(key).filter(|stored| stored.is_live(now_us))
    }

    pub fn entry_count(&self) -> i64 {
        i64::try_from(self.stored().count()).unwrap()
    }

    pub fn stored_bytes(&self) -> i64 {
        self.stored().map(|stored| stored.item.stored_bytes()).sum()
    }

    fn is_over_limits(&self) -> bool {
        let over = |is, max| max > 0 && is > max;
        over(self.entry_count(), self.limits.entries_max) || over(self.stored_bytes(), self.limits.bytes_max)
    }

    /// The keys of all entries whose lease is not held, in the order in which they would be evicted, those with an etag from `new_from` on last.
    ///
    /// First what is over, that is past its stale window and lease as well. Then by the policy: LRU by the last use; TTL by
    /// the time when they would be over, those that never are last, by their last use.
    pub fn eviction_order(&self, new_from: usize, now_us: i64) -> Vec<&'static str> {
        let mut order: Vec<_> =
            self.rows.iter().filter_map(|(key, row)| Some((key, row, row.stored.as_ref()?))).collect();
        order.retain(|(_, row, _)| row.held(now_us).is_none());
        order.sort_by_key(|(_, row, stored)| {
            let (is_over, remove_us) = (row.is_over(now_us), row.remove_us());
            let by_removal = is_over || self.limits.by_ttl && remove_us.is_some();
            let time_us = if by_removal { remove_us.unwrap_or_default() } else { stored.access_us };
            (stored.etag >= new_from, !is_over, !by_removal, time_us, row.number)
        });
        order.into_iter().map(|(key, ..)| *key).collect()
    }

    /// Evicts one entry; answers with the bytes that frees.
    pub fn evict(&mut self, key: &str, now_us: i64) -> i64 {
        let row = self.rows.remove(key).unwrap();
        if row.is_over(now_us) {
            self.counts.expired += 1;
        } else {
            self.counts.evicted += 1;
        }
        row.stored.unwrap().item.stored_bytes()
    }

    /// Evicts entries until the limits are kept.
    pub fn make_room(&mut self, new_from: usize, now_us: i64) {
        for key in self.eviction_order(new_from, now_us) {
            if !self.is_over_limits() {
                return;
            }
            self.evict(key, now_us);
        }
    }

    /// Removes what is over, then what is beyond the limits.
    pub fn upkeep(&mut self, now_us: i64) {
        let before = self.entry_count();
        self.rows.retain(|_, row| !row.is_over(now_us));
        self.counts.expired += before - self.entry_count();
        self.make_room(usize::MAX, now_us);
    }
}
