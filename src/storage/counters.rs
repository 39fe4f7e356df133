//! What an engine counts, whichever database it stands on.

use std::sync::atomic::{AtomicU64, Ordering};

use super::StorageStats;

/// Counted by the engine's threads and tasks, read for the metrics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) writes_dropped: AtomicU64,
    pub(super) writes_repeated: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) autocommit_violations: AtomicU64,
    pub(super) slow_statements: AtomicU64,
    /// The present size of the WAL, not a count.
    pub(super) wal_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// All of them, and how many operations wait.
    pub(super) fn stats(&self, queue_length: usize) -> StorageStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StorageStats {
            writes: get(&self.writes),
            commits: get(&self.commits),
            faults: get(&self.faults),
            writes_dropped: get(&self.writes_dropped),
            writes_repeated: get(&self.writes_repeated),
            reads: get(&self.reads),
            checkpoints: get(&self.checkpoints),
            autocommit_violations: get(&self.autocommit_violations),
            slow_statements: get(&self.slow_statements),
            wal_bytes: get(&self.wal_bytes),
            queue_length: queue_length as u64,
        }
    }
}
