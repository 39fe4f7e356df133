//! The hot set of the cache, in memory and bounded in bytes.
//!
//! It never serves what the database no longer has. Writes come here after their commit and before their answer, in the
//! order of commits. A reader that loaded an entry may be overtaken by a write of the same key: it notes the key's epoch
//! before it asks the database, every write moves the epoch on, and an entry whose epoch has passed is not kept.
//!
//! On a shared database other sidecars' writes do not come here: there an entry is served for `cache.shared_age_ms_max`
//! only, and this sidecar's own writes take the entry out, because commits of one key may be told in another order than
//! they were made.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use moka::sync::Cache;

use super::domain::{Content, Entry};

/// Keys share that many epochs. A shared epoch costs a reload, never a wrong answer.
const STRIPES: usize = 256;

/// What an entry needs besides its content, about.
const OVERHEAD_BYTES: usize = 400;

/// The hot set.
pub struct Memory {
    entries: Cache<Key, Arc<Held>>,
    epochs: Vec<Mutex<u64>>,
    hasher: RandomState,
    entry_bytes_max: usize,
}

type Key = (i64, Box<str>);

/// An entry in memory, with the accesses that the table has not been told of.
#[derive(Debug)]
pub struct Held {
    /// The entry as it was loaded or put.
    pub entry: Entry,
    loaded_us: AtomicI64,
    access_count: AtomicI64,
    access_us: AtomicI64,
}

impl Held {
    /// An entry as it was at `loaded_us`, with `pending` accesses beyond those that it counts itself.
    pub fn new(entry: Entry, pending: i64, loaded_us: i64) -> Self {
        let access_count = AtomicI64::new(entry.access_count + pending);
        let access_us = AtomicI64::new(entry.access_us);
        Self { entry, loaded_us: AtomicI64::new(loaded_us), access_count, access_us }
    }

    /// When the database was last seen to have it.
    pub fn loaded_us(&self) -> i64 {
        self.loaded_us.load(Ordering::Relaxed)
    }

    /// Takes over from `later` what the database tells of the same entry, if it is the same.
    fn is_confirmed_by(&self, later: &Self) -> bool {
        let of = |held: &Self| (held.entry.revision, held.entry.expire_us, held.entry.stale_until_us);
        let is_same = of(self) == of(later);
        if is_same {
            self.loaded_us.fetch_max(later.loaded_us(), Ordering::Relaxed);
            self.access_count.fetch_max(later.access_count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        is_same
    }

    /// Counts an access; answers with how many there were.
    pub fn access(&self, now_us: i64) -> i64 {
        self.access_us.fetch_max(now_us, Ordering::Relaxed);
        self.access_count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What a reader notes before it asks the database.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    stripe: usize,
    number: u64,
}

impl Memory {
    /// A hot set of at most `bytes_max`; zero: none.
    pub fn new(bytes_max: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|key: &Key, held: &Arc<Held>| {
                u32::try_from(weight(key, &held.entry)).unwrap_or(u32::MAX)
            })
            .build();
        let epochs = (0..STRIPES).map(|_| Mutex::new(0)).collect();
        // One entry may take a sixteenth, so that a few large ones do not drive all others out.
        let entry_bytes_max = usize::try_from(bytes_max / 16).unwrap_or(usize::MAX);
        Self { entries, epochs, hasher: RandomState::new(), entry_bytes_max }
    }

    /// The entry, live or not.
    pub fn get(&self, namespace_id: i64, key: &str) -> Option<Arc<Held>> {
        self.entries.get(&(namespace_id, key.into()))
    }

    /// To be noted before the database is asked for the key.
    pub fn epoch(&self, namespace_id: i64, key: &str) -> Epoch {
        let stripe = self.stripe(namespace_id, key);
        Epoch { stripe, number: *self.lock(stripe) }
    }

    /// Keeps what the database had, unless the key may have been written since `epoch`. Answers with the same entry as it is
    /// in memory, if somebody else has put it there: all count their accesses in one place.
    pub fn keep_loaded(&self, namespace_id: i64, held: Arc<Held>, epoch: Epoch) -> Arc<Held> {
        let number = self.lock(epoch.stripe);
        let there = self.get(namespace_id, &held.entry.key);
        if let Some(there) = there.filter(|there| there.is_confirmed_by(&held)) {
            return there;
        }
        if *number == epoch.number {
            self.insert(namespace_id, held.clone());
        }
        held
    }

    /// Keeps what was put. To be called after the commit.
    pub fn keep_put(&self, namespace_id: i64, held: Arc<Held>) {
        let mut number = self.lock(self.stripe(namespace_id, &held.entry.key));
        *number += 1;
        self.insert(namespace_id, held);
    }

    /// Forgets a key. To be called after the commit.
    pub fn forget(&self, namespace_id: i64, key: &str) {
        let mut number = self.lock(self.stripe(namespace_id, key));
        *number += 1;
        self.entries.invalidate(&(namespace_id, key.into()));
    }

    /// Forgets everything. To be called after the commit.
    pub fn forget_all(&self) {
        for stripe in 0..STRIPES {
            *self.lock(stripe) += 1;
        }
        self.entries.invalidate_all();
    }

    /// Entries and bytes held, about.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    fn insert(&self, namespace_id: i64, held: Arc<Held>) {
        let key: Key = (namespace_id, held.entry.key.as_str().into());
        if weight(&key, &held.entry) <= self.entry_bytes_max {
            self.entries.insert(key, held);
        } else {
            self.entries.invalidate(&key);
        }
    }

    fn stripe(&self, namespace_id: i64, key: &str) -> usize {
        (self.hasher.hash_one((namespace_id, key)) as usize) % STRIPES
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, u64> {
        self.epochs[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry with a content of its own: a value that came in a request is a slice of the whole request, and would hold it.
pub fn detached(mut entry: Entry) -> Entry {
    if let Content::Value(value) = &mut entry.content {
        *value = Bytes::copy_from_slice(value);
    }
    entry
}

fn weight(key: &Key, entry: &Entry) -> usize {
    let tags: usize = entry.tags.iter().map(|tag| tag.len() + 24).sum();
    let content = usize::try_from(entry.size_bytes).unwrap_or(usize::MAX);
    OVERHEAD_BYTES + 2 * key.1.len() + content + entry.content_type.len() + entry.metadata_json.len() + tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(key: &str, revision: i64, bytes: usize) -> Arc<Held> {
        Arc::new(Held::new(
            Entry {
                id: 1,
                key: key.into(),
                content: Content::Value(vec![0; bytes].into()),
                content_type: String::new(),
                metadata_json: String::new(),
                tags: Vec::new(),
                size_bytes: i64::try_from(bytes).unwrap(),
                stored_bytes: 0,
                revision,
                create_us: 0,
                update_us: 0,
                expire_us: None,
                stale_until_us: None,
                access_us: 0,
                access_count: 1,
            },
            0,
            0,
        ))
    }

    #[test]
    fn a_reader_that_was_overtaken_by_a_write_keeps_nothing() {
        let memory = Memory::new(1 << 20);
        let epoch = memory.epoch(1, "a");
        memory.keep_put(1, held("a", 2, 1));
        memory.keep_loaded(1, held("a", 1, 1), epoch);
        assert_eq!(memory.get(1, "a").unwrap().entry.revision, 2);

        let epoch = memory.epoch(1, "a");
        memory.forget(1, "a");
        memory.keep_loaded(1, held("a", 2, 1), epoch);
        assert!(memory.get(1, "a").is_none());

        let epoch = memory.epoch(1, "a");
        memory.keep_loaded(1, held("a", 3, 1), epoch);
        assert_eq!(memory.get(1, "a").unwrap().entry.revision, 3);
    }

    #[test]
    fn readers_that_load_an_entry_at_once_count_their_accesses_in_one_place() {
        let memory = Memory::new(1 << 20);
        let epoch = memory.epoch(1, "a");
        let first = memory.keep_loaded(1, held("a", 1, 1), epoch);
        let second = memory.keep_loaded(1, held("a", 1, 1), epoch);
        assert_eq!((first.access(5), second.access(6)), (2, 3));
        assert_eq!(memory.get(1, "a").unwrap().access(7), 4);
    }

    #[test]
    fn an_entry_too_large_for_memory_replaces_the_smaller_one_with_nothing() {
        let memory = Memory::new(16_000);
        memory.keep_put(1, held("a", 1, 10));
        memory.keep_put(1, held("a", 2, 10_000));
        assert!(memory.get(1, "a").is_none());
    }
}
