//! Accesses gathered in memory: a hit costs no write, and many hits to one entry become one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::{Access, Recency};

const SHARDS: usize = 16;

/// Accesses that the table has not been told of, of at most so many entries.
pub struct Accesses {
    shards: Vec<Mutex<HashMap<i64, Pending>>>,
    entries: AtomicUsize,
    entries_max: usize,
    settled: AtomicU64,
}

#[derive(Clone, Copy)]
struct Pending {
    namespace_id: i64,
    count: i64,
    last_us: i64,
}

impl Accesses {
    /// Room for the accesses of `entries_max` entries.
    pub fn new(entries_max: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            entries: AtomicUsize::new(0),
            entries_max: usize::try_from(entries_max).unwrap_or(usize::MAX),
            settled: AtomicU64::new(0),
        }
    }

    /// Notes an access, unless there is no room for another entry.
    pub fn note(&self, namespace_id: i64, entry_id: i64, now_us: i64) {
        let mut shard = self.lock(entry_id);
        if let Some(pending) = shard.get_mut(&entry_id) {
            pending.count += 1;
            pending.last_us = pending.last_us.max(now_us);
        } else if self.entries.fetch_add(1, Ordering::Relaxed) < self.entries_max {
            shard.insert(entry_id, Pending { namespace_id, count: 1, last_us: now_us });
        } else {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many accesses to an entry wait to be written.
    pub fn pending(&self, entry_id: i64) -> i64 {
        self.pending_and_last(entry_id).map_or(0, |(count, _)| count)
    }

    /// How many accesses to an entry wait to be written, and when the last of them was.
    pub fn pending_and_last(&self, entry_id: i64) -> Option<(i64, i64)> {
        self.lock(entry_id).get(&entry_id).map(|pending| (pending.count, pending.last_us))
    }

    /// Forgets an entry whose count begins anew.
    pub fn forget(&self, entry_id: i64) {
        if self.lock(entry_id).remove(&entry_id).is_some() {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// What waits to be written, of at most `entries_max` entries. It waits on until it is [settled](Self::settle).
    pub fn peek(&self, entries_max: usize) -> Vec<Access> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let room = entries_max - found.len();
            found.extend(shard.iter().take(room).map(|(entry_id, pending)| Access {
                namespace_id: pending.namespace_id,
                entry_id: *entry_id,
                count: pending.count,
                last_us: pending.last_us,
            }));
        }
        found
    }

    /// How often something was taken off. Who adds what is pending to what a snapshot has looks before and after: where it
    /// differs, accesses may be in neither.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::SeqCst)
    }

    /// Takes off what was written. To be called after the commit.
    pub fn settle(&self, written: &[Access]) {
        // Ahead of what it announces: who finds the number as it was has found all that was pending.
        self.settled.fetch_add(1, Ordering::SeqCst);
        for access in written {
            let mut shard = self.lock(access.entry_id);
            let Some(pending) = shard.get_mut(&access.entry_id) else { continue };
            pending.count -= access.count;
            if pending.count <= 0 {
                shard.remove(&access.entry_id);
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn lock(&self, entry_id: i64) -> MutexGuard<'_, HashMap<i64, Pending>> {
        let shard = usize::try_from(entry_id).unwrap_or(0) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recency for Accesses {
    fn last_access_us(&self, entry_id: i64) -> Option<i64> {
        self.lock(entry_id).get(&entry_id).map(|pending| pending.last_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_that_come_while_others_are_written_wait_for_the_next_time() {
        let accesses = Accesses::new(10);
        accesses.note(1, 1, 5);
        accesses.note(1, 1, 6);
        let written = accesses.peek(10);
        accesses.note(1, 1, 7);
        assert_eq!((written[0].count, written[0].last_us), (2, 6));
        accesses.settle(&written);
        assert_eq!((accesses.pending(1), accesses.last_access_us(1)), (1, Some(7)));
        accesses.settle(&accesses.peek(10));
        assert_eq!(accesses.entries.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_more_entries_are_gathered_than_there_is_room_for() {
        let accesses = Accesses::new(2);
        for entry_id in 0..5 {
            accesses.note(1, entry_id, 1);
            accesses.note(1, entry_id, 2);
        }
        assert_eq!(accesses.peek(100).len(), 2);
        assert_eq!(accesses.peek(1).len(), 1);
    }
}
