//! Writes all tables to an export.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::catalogue::{Shape, shapes};
use super::pages::{Pages, count};
use super::rows::identity;
use super::totals::{TableTotals, Tally, Trailer};
use super::{FORMAT, Header, HeaderTable, Progress, Step, Tell, VERSION};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::storage::{Storage, migrate};

/// Writes all of `storage` to `out`, which is flushed at the end.
///
/// Errors: Refused when there is no schema yet, when `out` fails, or when rows came or went meanwhile; what reading answers.
pub async fn export(
    storage: &Storage,
    clock: &Clock,
    out: &mut dyn Write,
    tell: Tell<'_>,
) -> Result<Trailer> {
    let changes = migrate::status(storage).await?.into_iter();
    let migrations: Vec<String> =
        changes.filter(|change| change.is_applied).map(|change| change.name).collect();
    if migrations.is_empty() {
        return Err(Error::Refused(
            "the database is empty, there is nothing to export: is this the right one?".into(),
        ));
    }
    let shapes = shapes(storage).await?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        create_time_us: clock.now_us(),
        migrations,
        tables: shapes.iter().map(|shape| HeaderTable::of(shape)).collect(),
    };
    write_line(out, &header)?;
    let mut tables = Vec::new();
    for shape in &shapes {
        tables.push(export_table(storage, shape, out, tell).await?);
    }
    let trailer = Trailer::new(tables);
    write_line(out, &trailer)?;
    out.flush().map_err(|error| unwritable(&error))?;
    Ok(trailer)
}

async fn export_table(
    storage: &Storage,
    shape: &Arc<Shape>,
    out: &mut dyn Write,
    tell: Tell<'_>,
) -> Result<TableTotals> {
    let name = shape.table.name;
    let rows_total = count(storage, shape).await?;
    let mut pages = Pages::new(storage, shape);
    let mut tally = Tally::default();
    let mut progress =
        Progress { step: Step::Export, table: name, rows: 0, rows_total: Some(rows_total), is_done: false };
    while let Some(page) = pages.next().await? {
        out.write_all(&page.lines).map_err(|error| unwritable(&error))?;
        tally.add(&page.lines, page.rows);
        progress.rows = tally.rows;
        tell(progress);
    }
    if tally.rows != rows_total {
        return Err(Error::Refused(format!(
            "{name} had {rows_total} rows when its export began and {} when it ended: stop what writes to the database, then export again",
            tally.rows
        )));
    }
    tell(Progress { is_done: true, ..progress });
    Ok(tally.totals(name, identity(storage, shape).await?))
}

fn write_line(out: &mut dyn Write, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line).map_err(|error| Error::internal(error.to_string()))?;
    text.push(b'\n');
    out.write_all(&text).map_err(|error| unwritable(&error))
}

fn unwritable(error: &std::io::Error) -> Error {
    Error::Refused(format!("cannot write the export: {error}"))
}
