//! What indexes have of documents: a value for each record and index, in `record_values`.
//!
//! Whoever stores a document or a tombstone tells [`Values`] in the same transaction, with the collection's row locked. The values of an
//! index that is being built are kept for the records that it has already: those whose number is above `built_seq`. The
//! numbers below are gone through downwards (`indexes::build`), and every change gives its record a number above.

use std::collections::BTreeSet;

use sea_orm::Value;

use super::indexes::{self, Kept};
use crate::error::Result;
use crate::json::order_key;
use crate::storage::{Tx, chunks, rows_of_places};

const REMOVE: &str =
    r#"DELETE FROM "record_values" WHERE "index_id" = $1 AND "value" = $2 AND "record_id" = $3"#;

/// The index, the sort key of the value, the record.
type Entry = (i64, Vec<u8>, i64);

/// What a transaction changes in the indexes of one collection.
#[derive(Debug)]
pub struct Values {
    indexes: Vec<Kept>,
    removed: BTreeSet<Entry>,
    added: BTreeSet<Entry>,
}

impl Values {
    /// Of a collection, whose row is locked.
    pub async fn of(tx: &Tx<'_>, collection_id: i64) -> Result<Self> {
        let indexes = indexes::kept(tx, collection_id).await?;
        Ok(Self { indexes, removed: BTreeSet::new(), added: BTreeSet::new() })
    }

    /// Whether it must be told of changes.
    pub fn are_kept(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// Notes that a record has another document, or another number: `before` is the number and the document that it had, unless it
    /// was absent or a tombstone; `after` the document that it has now, unless it is a tombstone.
    pub fn change(&mut self, record_id: i64, before: Option<(i64, &str)>, after: Option<&str>) {
        for index in &self.indexes {
            let key = |document| (index.id, order_key(index.path.find(document)), record_id);
            let before = before.filter(|(seq, _)| index.has(*seq)).map(|(_, document)| key(document));
            let after = after.map(key);
            if before == after {
                continue;
            }
            if let Some(entry) = before
                && !self.added.remove(&entry)
            {
                self.removed.insert(entry);
            }
            if let Some(entry) = after
                && !self.removed.remove(&entry)
            {
                self.added.insert(entry);
            }
        }
    }

    /// Writes what was noted.
    pub async fn write(self, tx: &Tx<'_>) -> Result<()> {
        for (index_id, value, record_id) in self.removed {
            tx.run(REMOVE, vec![index_id.into(), value.into(), record_id.into()]).await?;
        }
        add(tx, &self.added.into_iter().collect::<Vec<_>>()).await
    }
}

/// Adds values that are not there.
pub(super) async fn add(tx: &Tx<'_>, entries: &[Entry]) -> Result<()> {
    for chunk in chunks(entries) {
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * 3);
        for (index_id, value, record_id) in chunk {
            values.extend([(*index_id).into(), value.clone().into(), (*record_id).into()]);
        }
        let rows = rows_of_places(chunk.len(), 3);
        let insert =
            format!(r#"INSERT INTO "record_values" ("index_id", "value", "record_id") VALUES {rows}"#);
        tx.run(&insert, values).await?;
    }
    Ok(())
}
