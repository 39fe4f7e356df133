//! The cache's ceiling: one table with key, value, times and counts, and one prepared upsert.
//!
//! Two shapes: `Lean` has no index but the key's; `Cache` has besides the two that a cache with expiry and
//! least-recently-used eviction cannot do without.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, params};

use super::{Inline, Sync, Table, now};
use crate::Fallible;
use crate::material::{Material, stored_key};

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

/// Which indexes the table has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    Lean,
    Cache,
}

/// Opens a database in the folder and prefills it as the sidecar is prefilled.
pub(crate) fn open(
    folder: &Path,
    shape: Shape,
    sync: Sync,
    material: &mut Material,
    stored: usize,
) -> Fallible<Inline<Entries>> {
    let schema = if shape == Shape::Cache { format!("{TABLE} {INDEXES}") } else { TABLE.to_owned() };
    let mut inline = Inline::open(folder, sync, &schema, Entries { etag: 0 })?;
    let mut rows = (0..stored).map(|index| (stored_key(index), material.value()));
    loop {
        let chunk: Vec<_> = rows.by_ref().take(1000).collect();
        if chunk.is_empty() {
            return Ok(inline);
        }
        inline.commit(chunk)?;
    }
}

/// The table of entries.
pub(crate) struct Entries {
    etag: i64,
}

impl Table for Entries {
    type Step = (String, Bytes);
    type Answer = ();

    fn apply(&mut self, connection: &Connection, steps: Vec<Self::Step>) -> Fallible<Vec<()>> {
        let mut upsert = connection.prepare_cached(UPSERT)?;
        let mut answers = Vec::with_capacity(steps.len());
        for (key, value) in steps {
            self.etag += 1;
            answers.push(insert(&mut upsert, &key, &value, self.etag)?);
        }
        Ok(answers)
    }
}

impl Inline<Entries> {
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
}

fn insert(upsert: &mut CachedStatement<'_>, key: &str, value: &Bytes, etag: i64) -> Fallible<()> {
    let now = now()?;
    let size = (key.len() + value.len()) as i64;
    upsert.execute(params![key, value.as_ref(), etag, now, now + TTL, size])?;
    Ok(())
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
        writer.run((stored_key(10), material.value())).await.unwrap();
        let again = open(folder.path(), Shape::Cache, Sync::Full, &mut material, 0).unwrap();
        again.get(&[stored_key(10)]).unwrap();
    }
}
