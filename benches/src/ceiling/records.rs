//! The records' ceiling: one table with a unique key and a unique sequence number, as a feed of changes cannot do without; documents
//! as they are.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Inline, Sync, Table, now};
use crate::Fallible;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS record (
        id INTEGER PRIMARY KEY,
        collection INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        deleted INTEGER,
        key TEXT NOT NULL,
        document TEXT,
        UNIQUE (collection, key),
        UNIQUE (collection, seq)
    );";
const UPSERT: &str = "
    INSERT INTO record (collection, seq, revision, created, updated, deleted, key, document) VALUES (1, ?1, 1, ?2, ?2, NULL, ?3, ?4)
    ON CONFLICT (collection, key) DO UPDATE SET seq = excluded.seq, revision = record.revision + 1, updated = excluded.updated,
        deleted = NULL, document = excluded.document";

/// The table.
pub(crate) struct Records {
    seq: i64,
}

/// Opens a database in the folder.
pub(crate) fn open(folder: &Path) -> Fallible<Inline<Records>> {
    Inline::open(folder, Sync::Full, TABLE, Records { seq: 0 })
}

impl Table for Records {
    /// Keys and documents.
    type Step = Vec<(String, String)>;
    /// How many were stored.
    type Answer = u64;

    fn apply(&mut self, connection: &Connection, steps: Vec<Self::Step>) -> Fallible<Vec<u64>> {
        let mut upsert = connection.prepare_cached(UPSERT)?;
        let now = now()?;
        let mut answers = Vec::with_capacity(steps.len());
        for step in steps {
            for (key, document) in &step {
                self.seq += 1;
                upsert.execute(params![self.seq, now, key, document])?;
            }
            answers.push(step.len() as u64);
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_twice_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(folder.path()).unwrap().into_writer();
        for document in ["{}", "{\"a\":1}"] {
            assert_eq!(writer.run(vec![("key".to_owned(), document.to_owned())]).await.unwrap(), 1);
        }
        let again = open(folder.path()).unwrap();
        let row = again.connection.query_row("SELECT revision, document FROM record", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        });
        assert_eq!(row.unwrap(), (2, "{\"a\":1}".to_owned()));
    }
}
