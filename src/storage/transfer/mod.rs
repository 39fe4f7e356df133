//! Moving all state from one database to another: export to a file, import from it, both checked.
//!
//! # The format
//!
//! Lines of JSON (NDJSON, UTF-8), each ended by a newline; the same rows give the same bytes on either database.
//!
//! 1. The header: `{"format":"pannier-export","version":1,"create_time_us":…,"migrations":[…],"tables":[…]}`. `migrations` are
//!    those that were applied, in order. `tables` names each table with its columns and their kinds:
//!    `{"table":"cache_tags","columns":{"entry_id":"integer","key":"text",…}}`.
//! 2. The rows: `{"table":"cache_tags","row":{"entry_id":7,"key":"a",…}}`, without spaces, columns in the order of their names.
//!    Tables come in the header's order, in which foreign keys hold; rows in the order of their primary key.
//! 3. The trailer: `{"tables":[…],"rows":…,"bytes":…}`, with for each table of the header
//!    `{"table":…,"rows":…,"bytes":…,"sha256":…,"identity":…}`: how many rows, how many bytes their lines take with their
//!    newlines, the SHA-256 of these bytes in hexadecimal, and the highest number that the database has given to a row of the
//!    table so far (null where it gives none), so that a number does not come again after the move.
//!
//! A value is told by its column's kind: `integer` is a JSON integer, `boolean` true or false, `text` a string. The others are
//! strings too: `bytes` in base64 (standard alphabet, padded), `uuid` with hyphens in lower case, `real` as the shortest decimal
//! that reads back as the same 64-bit number, `json` as its text with sorted keys. NULL is null, whatever the kind.
//!
//! # Bounds
//!
//! Pages and batches are bounded in rows and in bytes, each is one read or one write, and nothing else is held in memory. An
//! export is of one moment only if nothing writes to the database meanwhile.

mod catalogue;
mod export;
mod import;
mod mark;
mod pages;
#[cfg(test)]
mod round_trip;
mod rows;
mod source;
mod totals;
mod value;

use serde::{Deserialize, Serialize};

pub use export::export;
pub use import::{Report, TableReport, check, import};
pub(in crate::storage) use mark::{ADVICE, MARK};
pub use mark::{discard, refuse_unfinished};
pub use totals::{TableTotals, Trailer};

use catalogue::Shape;
use value::Kind;

/// What the header of every export says it is.
const FORMAT: &str = "pannier-export";

/// The version of the format that this program writes and reads.
const VERSION: u64 = 1;

/// Rows of a page or a batch.
const ROWS_MAX: usize = 1_000;

/// Bytes of a page or a batch, about; a single row may be larger.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u64,
    create_time_us: i64,
    migrations: Vec<String>,
    tables: Vec<HeaderTable>,
}

/// A table in the header.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTable {
    table: String,
    columns: std::collections::BTreeMap<String, Kind>,
}

impl HeaderTable {
    fn of(shape: &Shape) -> Self {
        let columns = shape.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        Self { table: shape.table.name.to_owned(), columns }
    }
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'t> {
    /// What is being done.
    pub step: Step,
    /// With which table.
    pub table: &'t str,
    /// Rows of the table so far.
    pub rows: u64,
    /// Rows that the table has, where that is known.
    pub rows_total: Option<u64>,
    /// Whether the table is done.
    pub is_done: bool,
}

/// What is being done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its rows are written to the export.
    Export,
    /// Its rows in the file are looked at, before anything is removed for them.
    Look,
    /// Its rows are removed.
    Remove,
    /// Its rows are stored.
    Import,
    /// Its rows are read back and compared with the export.
    Compare,
}

/// Who is told of progress.
pub type Tell<'f> = &'f mut dyn FnMut(Progress<'_>);
