//! `[storage]`: the database.

use serde::{Deserialize, Serialize};

use super::within;

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// The folder of the database and its lock; made if missing.
    pub directory: String,
    /// Whether `serve` brings an older schema up to date; otherwise it refuses to start on one.
    pub migrate_on_start: bool,
    /// How long the integrity check at start may take; what it has not read by then stays unread.
    pub check_ms_max: u64,
    /// Reader threads, each with a connection of its own.
    pub readers: u64,
    /// Reads that wait for a reader; further callers wait to be let in, within their deadline.
    pub read_queue_max: u64,
    /// Writes that wait for the writer; further callers wait to be let in, within their deadline.
    pub write_queue_max: u64,
    /// Writes that are committed together.
    pub group_max: u64,
    /// How long a statement waits for another process's lock.
    pub busy_timeout_ms: u64,
    /// Memory-mapped bytes of the database file.
    pub mmap_bytes: u64,
    /// Page cache of the writer.
    pub writer_cache_bytes: u64,
    /// Page cache of each reader.
    pub reader_cache_bytes: u64,
    /// The database's largest size; zero: the disk's.
    pub database_bytes_max: u64,
    /// WAL size from which on a checkpoint is run after each group.
    pub checkpoint_bytes: u64,
    /// WAL size from which on writing waits for readers, so that the WAL can be started over.
    pub wal_bytes_max: u64,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            directory: "pannier-data".into(),
            migrate_on_start: true,
            check_ms_max: 50,
            readers: 2,
            read_queue_max: 4_096,
            write_queue_max: 4_096,
            group_max: 512,
            busy_timeout_ms: 5_000,
            mmap_bytes: 64 * 1024 * 1024,
            writer_cache_bytes: 16 * 1024 * 1024,
            reader_cache_bytes: 4 * 1024 * 1024,
            database_bytes_max: 0,
            checkpoint_bytes: 16 * 1024 * 1024,
            wal_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl StorageSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        if self.directory.is_empty() {
            found.push(("storage.directory", "must not be empty".into()));
        }
        within(found, "storage.check_ms_max", self.check_ms_max, 0..=3_600_000);
        within(found, "storage.readers", self.readers, 1..=64);
        within(found, "storage.read_queue_max", self.read_queue_max, 1..=65_536);
        within(found, "storage.write_queue_max", self.write_queue_max, 1..=65_536);
        within(found, "storage.group_max", self.group_max, 1..=65_536);
        within(found, "storage.busy_timeout_ms", self.busy_timeout_ms, 0..=60_000);
        if self.database_bytes_max != 0 {
            within(found, "storage.database_bytes_max", self.database_bytes_max, 1 << 20..=1 << 44);
        }
        within(found, "storage.checkpoint_bytes", self.checkpoint_bytes, 65_536..=1 << 30);
        within(found, "storage.wal_bytes_max", self.wal_bytes_max, self.checkpoint_bytes..=1 << 36);
    }
}
