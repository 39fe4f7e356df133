//! The ceiling: what a careful person would write by hand on rusqlite for a small durable cache, and no gRPC.
//!
//! One table with key, value, times and counts; WAL; `synchronous=FULL`; one prepared upsert; and, where several callers
//! write at once, a writer thread that commits what has gathered. Two shapes: `Lean` has no index but the key's; `Cache`
//! has besides the two that a cache with expiry and least-recently-used eviction cannot do without.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, params};
use tokio::sync::oneshot;

use crate::Fallible;
use crate::material::{Material, stored_key};

/// Tuned as the sidecar is: page cache, memory map, a checkpoint every 16 MiB of WAL.
const TUNING: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096; PRAGMA mmap_size = 67108864;\
    PRAGMA temp_store = MEMORY;";
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS entry (
        id INTEGER PRIMARY KEY,
        namespace INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        etag INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        expires INTEGER,
        accessed INTEGER NOT NULL,
        access_count INTEGER NOT NULL,
        size INTEGER NOT NULL,
        UNIQUE (namespace, key)
    );";
const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS entry_accessed ON entry (namespace, accessed);
    CREATE INDEX IF NOT EXISTS entry_expires ON entry (expires) WHERE expires IS NOT NULL;";
const UPSERT: &str = "
    INSERT INTO entry (namespace, key, value, etag, created, updated, expires, accessed, access_count, size)
    VALUES (1, ?1, ?2, ?3, ?4, ?4, ?5, ?4, 1, ?6)
    ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, etag = excluded.etag, updated = excluded.updated,
        expires = excluded.expires, accessed = excluded.accessed, size = excluded.size";
const SELECT: &str = "
    SELECT value, etag, created, updated, expires, accessed, access_count, size FROM entry
    WHERE namespace = 1 AND key = ?1";
/// As the sidecar's default: 30 days, in microseconds.
const TTL: i64 = 30 * 86_400 * 1_000_000;
/// The most that one commit takes; more than there are callers.
const GROUP_MAX: usize = 512;

/// Which indexes the table has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Lean,
    Cache,
}

/// When a commit returns.
#[derive(Clone, Copy)]
pub(crate) enum Sync {
    /// When the disk has it.
    Full,
    /// When the operating system has it.
    Relaxed,
}

/// Opens a database in the folder and prefills it as the sidecar is prefilled.
pub(crate) fn open(
    folder: &Path,
    shape: Shape,
    sync: Sync,
    material: &mut Material,
    stored: usize,
) -> Fallible<Inline> {
    std::fs::create_dir_all(folder)?;
    let connection = Connection::open(folder.join("ceiling.db"))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err("the ceiling's database refused WAL".into());
    }
    let synchronous = match sync {
        Sync::Full => "FULL",
        Sync::Relaxed => "NORMAL",
    };
    connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}; {TUNING} {TABLE}"))?;
    if shape == Shape::Cache {
        connection.execute_batch(INDEXES)?;
    }
    let mut inline = Inline { connection, etag: 0 };
    let rows: Vec<_> = (0..stored).map(|index| (stored_key(index), material.value())).collect();
    for chunk in rows.chunks(1000) {
        inline.put(chunk)?;
    }
    Ok(inline)
}

/// A connection used by the thread that stands in the operation.
pub(crate) struct Inline {
    connection: Connection,
    etag: i64,
}

impl Inline {
    /// Writes the rows in one commit.
    pub(crate) fn put(&mut self, rows: &[(String, Bytes)]) -> Fallible<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        {
            let mut upsert = self.connection.prepare_cached(UPSERT)?;
            for (key, value) in rows {
                self.etag += 1;
                insert(&mut upsert, key, value, self.etag)?;
            }
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Reads the keys, all of which must be there, from one snapshot, and copies each row out.
    pub(crate) fn get(&self, keys: &[String]) -> Fallible<()> {
        // One key needs no transaction to be one snapshot.
        if keys.len() > 1 {
            self.connection.prepare_cached("BEGIN")?.execute([])?;
        }
        let mut select = self.connection.prepare_cached(SELECT)?;
        for key in keys {
            let row = select.query_row([key], |row| {
                let value: Vec<u8> = row.get(0)?;
                let mut numbers = [0_i64; 7];
                for (index, number) in numbers.iter_mut().enumerate() {
                    *number = row.get(index + 1)?;
                }
                Ok((value, numbers))
            })?;
            std::hint::black_box(row);
        }
        if keys.len() > 1 {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Hands the connection to a writer thread, which ends with its last handle.
    pub(crate) fn into_writer(self) -> Writer {
        let (sender, receiver) = sync_channel(4096);
        std::thread::spawn(move || write_groups(self, &receiver));
        Writer { sender }
    }
}

fn insert(upsert: &mut CachedStatement<'_>, key: &str, value: &Bytes, etag: i64) -> Fallible<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let size = (key.len() + value.len()) as i64;
    upsert.execute(params![key, value.as_ref(), etag, now, now + TTL, size])?;
    Ok(())
}

struct Write {
    row: (String, Bytes),
    answer: oneshot::Sender<Result<(), String>>,
}

/// A handle to the writer thread.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: SyncSender<Write>,
}

impl Writer {
    /// Returns when the row is committed.
    pub(crate) async fn put(&self, key: String, value: Bytes) -> Fallible<()> {
        let (answer, committed) = oneshot::channel();
        // The queue is longer than there are callers, so this never waits.
        self.sender
            .send(Write { row: (key, value), answer })
            .map_err(|_| "the ceiling's writer has ended")?;
        committed.await?.map_err(Into::into)
    }
}

/// Takes what has gathered, commits it once, then answers all of it.
fn write_groups(mut inline: Inline, queue: &Receiver<Write>) {
    let (mut rows, mut answers) = (Vec::new(), Vec::new());
    while let Ok(first) = queue.recv() {
        for write in std::iter::once(first).chain(queue.try_iter()).take(GROUP_MAX) {
            rows.push(write.row);
            answers.push(write.answer);
        }
        let outcome = inline.put(&rows).map_err(|failure| failure.to_string());
        rows.clear();
        for answer in answers.drain(..) {
            // A caller that has gone needs no answer.
            let _ = answer.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut material = Material::new(1, 100, 10);
        let inline = open(folder.path(), Shape::Cache, Sync::Full, &mut material, 10).unwrap();
        inline.get(&[stored_key(0), stored_key(9)]).unwrap();
        assert!(inline.get(&[stored_key(10)]).is_err());
        let writer = inline.into_writer();
        writer.put(stored_key(10), material.value()).await.unwrap();
        let again = open(folder.path(), Shape::Cache, Sync::Full, &mut material, 0).unwrap();
        again.get(&[stored_key(10)]).unwrap();
    }
}
