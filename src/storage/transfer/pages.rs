//! A table's rows as lines, in the order of the primary key, a page at a time.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, ProxyRow, Statement, Value, from_query_result_to_proxy_row};

use super::catalogue::{Shape, parameters, quoted};
use super::value::{Kind, encode};
use super::{BYTES_MAX, ROWS_MAX};
use crate::error::{Error, Result};
use crate::storage::{Db, Storage};

/// What a row's numbers and names take, about.
const ROW_BYTES: usize = 512;

/// Reads a table from its first row to its last.
pub(super) struct Pages<'s> {
    storage: &'s Storage,
    shape: Arc<Shape>,
    after: Option<Vec<Value>>,
}

/// Some rows' lines.
pub(super) struct Page {
    pub(super) lines: Vec<u8>,
    pub(super) rows: u64,
    /// The key of the last of them.
    last: Vec<Value>,
}

impl<'s> Pages<'s> {
    pub(super) fn new(storage: &'s Storage, shape: &Arc<Shape>) -> Self {
        Self { storage, shape: shape.clone(), after: None }
    }

    /// The next page; none behind the last row.
    pub(super) async fn next(&mut self) -> Result<Option<Page>> {
        let input = (self.shape.clone(), self.after.take());
        let read = self.storage.read(input, |db, (shape, after)| Box::pin(page(db, shape, after.as_deref())));
        let found = read.await?;
        self.after = found.as_ref().map(|page| page.last.clone());
        Ok(found)
    }
}

async fn page(db: &Db<'_>, shape: &Shape, after: Option<&[Value]>) -> Result<Option<Page>> {
    let (table, key) = (shape.name(), shape.key());
    let after = after.unwrap_or_default();
    let behind = match after.len() {
        0 => String::new(),
        columns => format!(" WHERE ({key}) > ({})", parameters(1, columns)),
    };
    // Long values are weighed before they are read: nobody knows how large the next rows are.
    let weight = weight(shape);
    let weigh = format!("SELECT {weight} AS weight FROM {table}{behind} ORDER BY {key} LIMIT {ROWS_MAX}");
    let backend = db.get_database_backend();
    let weights = db.query_all_raw(Statement::from_sql_and_values(backend, weigh, after.to_vec())).await?;
    let (mut rows, mut bytes) = (0_i64, 0_usize);
    for weight in weights {
        let weight: i64 = weight.try_get("", "weight")?;
        bytes = bytes.saturating_add(usize::try_from(weight).unwrap_or(usize::MAX));
        if rows > 0 && bytes > BYTES_MAX {
            break;
        }
        rows += 1;
    }
    let select =
        format!("SELECT {} FROM {table}{behind} ORDER BY {key} LIMIT ${}", shape.names(), after.len() + 1);
    let values = after.iter().cloned().chain([rows.into()]);
    let found = db.query_all_raw(Statement::from_sql_and_values(backend, select, values)).await?;
    let Some(last) = found.last() else { return Ok(None) };
    let last = key_of(shape, from_query_result_to_proxy_row(last))?;
    let mut lines = Vec::with_capacity(bytes.min(BYTES_MAX * 2));
    for row in &found {
        write_line(&mut lines, shape, &from_query_result_to_proxy_row(row))
            .map_err(|cause| Error::internal(format!("a row of {}: {cause}", shape.table.name)))?;
    }
    Ok(Some(Page { lines, rows: found.len() as u64, last }))
}

/// What a row's values take, as SQL: both databases know the length of a value without reading it.
fn weight(shape: &Shape) -> String {
    let long = shape.columns.iter().filter(|column| column.kind.is_long());
    let lengths = long.map(|column| match (quoted(&column.name), column.kind) {
        (name, Kind::Json) => format!("coalesce(octet_length(CAST({name} AS text)), 0)"),
        (name, _) => format!("coalesce(octet_length({name}), 0)"),
    });
    let sum: Vec<String> = [format!("CAST({ROW_BYTES} AS bigint)")].into_iter().chain(lengths).collect();
    sum.join(" + ")
}

fn key_of(shape: &Shape, row: ProxyRow) -> Result<Vec<Value>> {
    let value = |name: &&str| {
        let value = row.values.get(*name).cloned();
        value.ok_or_else(|| Error::internal(format!("{} has no column {name}", shape.table.name)))
    };
    shape.table.key.iter().map(value).collect()
}

fn write_line(out: &mut Vec<u8>, shape: &Shape, row: &ProxyRow) -> Result<(), String> {
    out.extend_from_slice(b"{\"table\":\"");
    out.extend_from_slice(shape.table.name.as_bytes());
    out.extend_from_slice(b"\",\"row\":{");
    for (place, column) in shape.columns.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        let value = row.values.get(&column.name).ok_or_else(|| format!("no column {}", column.name))?;
        encode(out, column.kind, value).map_err(|cause| format!("column {}: {cause}", column.name))?;
    }
    out.extend_from_slice(b"}}\n");
    Ok(())
}

/// How many rows a table has.
pub(super) async fn count(storage: &Storage, shape: &Arc<Shape>) -> Result<u64> {
    storage
        .read(shape.clone(), |db, shape| {
            Box::pin(async move {
                let sql = format!("SELECT count(*) AS total FROM {}", shape.name());
                let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
                let total: Option<i64> = row.map(|row| row.try_get("", "total")).transpose()?;
                Ok(u64::try_from(total.unwrap_or(0)).unwrap_or(0))
            })
        })
        .await
}
