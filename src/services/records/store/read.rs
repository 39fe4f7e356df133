//! Reading records: by key, and in lists that are read in small pieces.

use sea_orm::Value;

use super::collections;
use super::rows::{COLUMNS, Row, refused};
use super::write::current;
use crate::answer::Budget;
use crate::error::{RecordsError, Result};
use crate::page::after_prefix;
use crate::services::records::domain::{Condition, Record};
use crate::storage::{Db, Tx};

/// Rows of one piece.
pub(super) const PIECE_ROWS: usize = 64;

/// Numbers, times and framing of a record in an answer.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 100;

/// How much of a list.
#[derive(Clone, Debug)]
pub struct Page<K> {
    /// Those behind this one.
    pub after: Option<K>,
    /// At most so many.
    pub rows_max: usize,
    /// At most this many bytes.
    pub budget: Budget,
}

/// Records that are gathered until there are enough.
pub(super) struct Gathering {
    rows_max: usize,
    budget: Budget,
    pub(super) records: Vec<Record>,
}

impl Gathering {
    pub(super) fn new(rows_max: usize, budget: Budget) -> Self {
        Self { rows_max, budget, records: Vec::new() }
    }

    /// Takes a record unless the page is full. Error: AnswerTooLarge.
    pub(super) fn take(&mut self, record: Record) -> Result<bool> {
        let is_full = self.records.len() >= self.rows_max;
        if is_full || !self.budget.take(record_bytes(&record), || record.key.clone())? {
            return Ok(false);
        }
        self.records.push(record);
        Ok(true)
    }

    /// The rest of the budget.
    pub(super) fn budget(&self) -> Budget {
        self.budget
    }
}

/// Bytes of a record in an answer.
pub fn record_bytes(record: &Record) -> usize {
    record.key.len() + record.document.as_ref().map_or(0, String::len) + RECORD_OVERHEAD_BYTES
}

/// The record of a key. Errors: CollectionNotFound, RecordNotFound.
pub async fn find_record(db: &Db<'_>, collection: &str, key: &str) -> Result<Record> {
    let collection = collections::find(db, collection).await?;
    let row = current(db, collection.id, key).await?;
    let record = row.map(Row::record).transpose()?.filter(|record| record.document.is_some());
    Ok(record.ok_or(RecordsError::RecordNotFound)?)
}

/// The records of the first keys, as many as there is room for. Error: CollectionNotFound.
pub async fn find_records(
    db: &Db<'_>,
    collection: &str,
    keys: &[String],
    mut budget: Budget,
) -> Result<Vec<Option<Record>>> {
    let collection = collections::find(db, collection).await?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let row = current(db, collection.id, key).await?;
        let record = row.map(Row::record).transpose()?.filter(|record| record.document.is_some());
        let bytes = key.len() + record.as_ref().map_or(RECORD_OVERHEAD_BYTES, record_bytes);
        if !budget.take(bytes, || key.clone())? {
            break;
        }
        found.push(record);
    }
    Ok(found)
}

/// Records by key, those that begin with `prefix`; and whether there are more. Error: CollectionNotFound.
pub async fn list(
    db: &Db<'_>,
    collection: &str,
    prefix: &str,
    page: &Page<String>,
) -> Result<(Vec<Record>, bool)> {
    let id = collections::find(db, collection).await?.id;
    let mut gathering = Gathering::new(page.rows_max, page.budget);
    let (mut from, mut is_after) = match &page.after {
        Some(after) => (after.clone(), true),
        None => (prefix.to_owned(), false),
    };
    let end = after_prefix(prefix);
    loop {
        let mut values: Vec<Value> = vec![id.into(), from.as_str().into()];
        values.extend(end.as_deref().map(Value::from));
        let piece: Vec<Row> = db.rows(&by_key(is_after, end.is_some()), values).await?;
        let is_last = piece.len() < PIECE_ROWS;
        for row in piece {
            from.clone_from(&row.key);
            if !gathering.take(row.record()?)? {
                return Ok((gathering.records, true));
            }
        }
        is_after = true;
        if is_last {
            return Ok((gathering.records, false));
        }
    }
}

/// The next records by key.
pub(super) fn by_key(is_after: bool, has_end: bool) -> String {
    let from = if is_after { ">" } else { ">=" };
    let end = if has_end { r#"AND "key" < $3"# } else { "" };
    format!(
        r#"SELECT {COLUMNS} FROM "records" WHERE "collection_id" = $1 AND "key" {from} $2 {end} AND "delete_time" IS NULL
        ORDER BY "key" LIMIT {PIECE_ROWS}"#
    )
}

/// Checks a record, and holds on to it until the commit. Errors: CollectionNotFound; those of the condition.
pub async fn check(tx: &Tx<'_>, collection: &str, key: &str, condition: Condition) -> Result<()> {
    let collection = collections::lock(tx, collection).await?;
    let row = current(tx, collection.id, key).await?;
    condition.check(row.as_ref().map(Row::standing)).map_err(refused)
}
