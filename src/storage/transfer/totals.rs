//! Counts and checksums of a table's lines: kept while they are written, and compared when they are read.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What an export holds of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableTotals {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// The bytes of their lines.
    pub bytes: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
    /// The highest number that the database has given to a row so far; null where it gives none.
    pub identity: Option<i64>,
}

/// The last line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Each table of the header, in its order.
    pub tables: Vec<TableTotals>,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all rows' lines.
    pub bytes: u64,
}

impl Trailer {
    pub(super) fn new(tables: Vec<TableTotals>) -> Self {
        let rows = tables.iter().map(|table| table.rows).sum();
        let bytes = tables.iter().map(|table| table.bytes).sum();
        Self { tables, rows, bytes }
    }
}

/// Totals of lines as they go by.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    /// Adds the lines of so many rows, with their newlines.
    pub(super) fn add(&mut self, lines: &[u8], rows: u64) {
        self.rows += rows;
        self.bytes += lines.len() as u64;
        self.hash.update(lines);
    }

    pub(super) fn totals(self, table: &str, identity: Option<i64>) -> TableTotals {
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        TableTotals { table: table.to_owned(), rows: self.rows, bytes: self.bytes, sha256, identity }
    }
}
