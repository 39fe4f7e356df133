//! `[storage]`: the database.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::within;

/// Where PostgreSQL is; empty: there is none. Shown without its password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole of it, for the one who connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query can carry a password as well: all of it is left out. A password may hold any character, even those
        // that should have been written otherwise: what lies before the last @ is left out but for the user's name.
        let until =
            |text: &'static [char]| move |part: &str| part.split(text).next().unwrap_or_default().to_owned();
        let (before, place) = match self.0.rsplit_once('@') {
            Some((before, place)) => (Some(before), until(&['?', '#'])(place)),
            None => (None, until(&['?', '#'])(&self.0)),
        };
        match before.map(|before| before.split_once("://").unwrap_or(("", before))) {
            Some((scheme, rest)) => {
                let user = until(&[':', '/', '?', '#', '@'])(rest);
                write!(f, "{scheme}://{user}:***@{place}")
            }
            None => f.write_str(&place),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// PostgreSQL, as `postgres://user:password@host:port/database`; empty: SQLite in `directory`.
    pub url: DatabaseUrl,
    /// The folder of the database and its lock; made if missing.
    pub directory: String,
    /// Whether a database is made where there is none; otherwise `serve` refuses to start there.
    pub create: bool,
    /// Whether nothing is written: writes are refused with READ_ONLY, no lock is taken, and another sidecar may write meanwhile.
    pub read_only: bool,
    /// Whether `serve` brings an older schema up to date; otherwise it refuses to start on one.
    pub migrate_on_start: bool,
    /// How often a sidecar looks whether its lock file and its database are still in their places. It stops when they are not.
    pub presence_check_ms: u64,
    /// How long the integrity check at start may take; what it has not read by then stays unread.
    pub check_ms_max: u64,
    /// Reader threads, each with a connection of its own.
    pub readers: u64,
    /// Reads that wait for a reader; further callers wait to be let in, within their deadline.
    pub read_queue_max: u64,
    /// Writes that wait for the writer (on PostgreSQL all operations that wait for a session); further callers wait to be
    /// let in, within their deadline.
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
    /// WAL size from which on it is started over, for which every write waits up to `wal_wait_ms` for readers. A reader that stays
    /// lets it grow further.
    pub wal_bytes_max: u64,
    /// Branches that are kept of a sequence of changes; a cursor of an older one is reset.
    pub branches_max: u64,
    /// How long an attempt to start the WAL over waits for readers, while every write waits for it.
    pub wal_wait_ms: u64,
    /// The longest pause between two such attempts when a reader stays; the first pauses are shorter.
    pub wal_retry_ms_max: u64,
    /// PostgreSQL: connections, each of which runs one operation at a time. One more listens for wake-ups.
    pub connections: u64,
    /// PostgreSQL: how long the start waits for a database that does not answer yet.
    pub start_wait_ms: u64,
    /// PostgreSQL: how long opening a connection may take.
    pub connect_ms_max: u64,
    /// PostgreSQL: how long a statement may take, and a transaction lie idle (that at most 2 s).
    pub statement_ms_max: u64,
    /// PostgreSQL: how long a statement waits for another transaction's lock.
    pub lock_ms_max: u64,
    /// PostgreSQL: how often a write is run that meets another one.
    pub write_attempts_max: u64,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            directory: "pannier-data".into(),
            create: true,
            read_only: false,
            migrate_on_start: true,
            presence_check_ms: 1_000,
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
            branches_max: 256,
            wal_wait_ms: 20,
            wal_retry_ms_max: 30_000,
            connections: 10,
            start_wait_ms: 10_000,
            connect_ms_max: 2_000,
            statement_ms_max: 10_000,
            lock_ms_max: 5_000,
            write_attempts_max: 20,
        }
    }
}

impl StorageSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        if self.directory.is_empty() {
            found.push(("storage.directory", "must not be empty".into()));
        }
        within(found, "storage.presence_check_ms", self.presence_check_ms, 10..=3_600_000);
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
        within(found, "storage.branches_max", self.branches_max, 1..=1_000_000);
        within(found, "storage.wal_wait_ms", self.wal_wait_ms, 0..=1_000);
        within(found, "storage.wal_retry_ms_max", self.wal_retry_ms_max, 100..=3_600_000);
        within(found, "storage.connections", self.connections, 1..=1_000);
        within(found, "storage.start_wait_ms", self.start_wait_ms, 0..=600_000);
        within(found, "storage.connect_ms_max", self.connect_ms_max, 10..=60_000);
        within(found, "storage.statement_ms_max", self.statement_ms_max, 10..=3_600_000);
        within(found, "storage.lock_ms_max", self.lock_ms_max, 1..=self.statement_ms_max);
        within(found, "storage.write_attempts_max", self.write_attempts_max, 1..=1_000);
        let url = self.url.expose();
        if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            found.push(("storage.url", "must begin with postgres:// or be empty".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("postgres://me:se:cr@et@db:5432/x?sslmode=require", "postgres://me:***@db:5432/x"),
            ("postgres://me@db/x", "postgres://me:***@db/x"),
            ("postgres://db/x?password=secret", "postgres://db/x"),
            ("postgres://me:sec?ret@db/x", "postgres://me:***@db/x"),
            ("postgres://me:sec/ret@db/x?a=b", "postgres://me:***@db/x"),
            ("postgres://db/x?password=secret&application_name=a@b", "postgres://db:***@b"),
            ("", ""),
        ] {
            assert_eq!(DatabaseUrl::from(url.to_owned()).to_string(), shown);
            assert_eq!(format!("{:?}", DatabaseUrl::from(url.to_owned())), shown);
        }
    }
}
