//! Reading records: by key, and in lists that are read in small pieces.

use sea_orm::Value;

use super::rows::{COLUMNS, Row, refused};
use super::write::current;
use super::{collections, sql};
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
    /// At most about so many bytes, but one record at least.
    pub bytes_max: usize,
}

/// Records that are gathered until there are enough.
pub(super) struct Gathering {
    rows_max: usize,
    bytes_left: usize,
    pub(super) records: Vec<Record>,
}

impl Gathering {
    pub(super) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { rows_max, bytes_left: bytes_max, records: Vec::new() }
    }

    /// Whether the record was taken; one at least is.
    pub(super) fn take(&mut self, record: Record) -> bool {
        let bytes = record_bytes(&record);
        let is_full = self.records.len() >= self.rows_max;
        if is_full || (bytes > self.bytes_left && !self.records.is_empty()) {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.records.push(record);
        true
    }

    /// Bytes that there is room for yet.
    pub(super) fn bytes_left(&self) -> usize {
        self.bytes_left
    }
}

/// Bytes of a record in an answer.
pub(super) fn record_bytes(record: &Record) -> usize {
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
    bytes_max: usize,
) -> Result<Vec<Option<Record>>> {
    let collection = collections::find(db, collection).await?;
    let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        let row = current(db, collection.id, key).await?;
        let record = row.map(Row::record).transpose()?.filter(|record| record.document.is_some());
        bytes += key.len() + record.as_ref().map_or(RECORD_OVERHEAD_BYTES, record_bytes);
        if bytes > bytes_max && !found.is_empty() {
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
    let mut gathering = Gathering::new(page.rows_max, page.bytes_max);
    let (mut from, mut is_after) = match &page.after {
        Some(after) => (after.clone(), true),
        None => (prefix.to_owned(), false),
    };
    let end = after_prefix(prefix);
    loop {
        let mut values: Vec<Value> = vec![id.into(), from.as_str().into()];
        values.extend(end.as_deref().map(Value::from));
        let piece: Vec<Row> = sql::all(db, &by_key(is_after, end.is_some()), values).await?;
        let is_last = piece.len() < PIECE_ROWS;
        for row in piece {
            from.clone_from(&row.key);
            if !gathering.take(row.record()?) {
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
