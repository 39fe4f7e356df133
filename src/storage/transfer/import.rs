//! Fills an empty database from an export, and reads everything back to compare.

use std::io::BufRead;
use std::sync::Arc;

use pannier_migration::tables::WRITTEN_AT_START;
use sea_orm::Value;
use serde::Serialize;

use super::catalogue::{Shape, keeps_nul, shapes};
use super::pages::Pages;
use super::rows::{self, Batch};
use super::source::{Lines, Rows};
use super::totals::{TableTotals, Tally, Trailer};
use super::{BYTES_MAX, Header, Progress, ROWS_MAX, Step, Tell, mark};
use crate::error::{Error, Result};
use crate::storage::{Storage, migrate};

/// What an import came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every table reads back as it was exported.
    pub ok: bool,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all rows' lines.
    pub bytes: u64,
    /// Each table.
    pub tables: Vec<TableReport>,
}

/// What a table came to.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// Whether it reads back as it was exported.
    pub ok: bool,
    /// What was read back.
    #[serde(flatten)]
    pub found: TableTotals,
    /// What the export says; only where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<TableTotals>,
}

/// Reads an export to its end without storing it. An empty target gets the export's schema.
///
/// Errors: Refused when the export is damaged or the target has another schema.
pub async fn check(storage: &Storage, input: &mut dyn BufRead, tell: Tell<'_>) -> Result<()> {
    let mut lines = Lines::new(input);
    let header = lines.header()?;
    let target = Target::prepare(storage, &header).await?;
    let outcome = target.look(lines, &header, tell).await;
    if outcome.is_err() && target.is_fresh {
        // Nothing was stored but a schema.
        mark::clear(storage).await?;
    }
    outcome
}

/// Stores an export in an empty database, brings its schema up to the export's if it has none, reads everything back and
/// compares. `is_replacing`: a database that is not empty is emptied first.
///
/// Errors: Refused when the target is not empty or has another schema; also when the export is damaged or a row cannot be
/// stored, and then the target is emptied, as it is when the report is not ok.
pub async fn import(
    storage: &Storage,
    input: &mut dyn BufRead,
    is_replacing: bool,
    tell: Tell<'_>,
) -> Result<Report> {
    let mut lines = Lines::new(input);
    let header = lines.header()?;
    let target = Target::prepare(storage, &header).await?;
    let rows = match Rows::new(lines, &header, &target.shapes, keeps_nul(storage).await?) {
        Ok(rows) => rows,
        Err(error) => {
            if target.is_fresh {
                mark::clear(storage).await?;
            }
            return Err(error);
        }
    };
    if is_replacing || target.is_fresh {
        mark::set(storage).await?;
        target.empty(tell).await?;
    } else if let Some(table) = rows::first_filled(storage, &target.shapes).await? {
        return Err(Error::Refused(format!(
            "the target is not empty: {table} has rows, perhaps of an import that was cut short; to remove everything it holds and import anew, say --replace"
        )));
    }
    mark::set(storage).await?;
    let outcome = target.fill(rows, tell).await;
    let failure = match outcome {
        Ok(report) if report.ok => {
            mark::clear(storage).await?;
            return Ok(report);
        }
        outcome => outcome,
    };
    let emptied = match target.empty(tell).await {
        Ok(()) => mark::clear(storage).await,
        failed => failed,
    };
    match (emptied, failure) {
        (Ok(()), Ok(report)) => Ok(report),
        (Ok(()), Err(error)) => Err(Error::Refused(format!("{error}; the target was left empty"))),
        (Err(again), failure) => {
            let first =
                failure.map_or_else(|error| error.to_string(), |_| "rows read back differently".into());
            Err(Error::Refused(format!(
                "{first}; and the target could not be emptied ({again}): import again with --replace"
            )))
        }
    }
}

/// The database that is filled.
struct Target<'s> {
    storage: &'s Storage,
    shapes: Vec<Arc<Shape>>,
    /// It had no schema before.
    is_fresh: bool,
}

impl<'s> Target<'s> {
    /// Makes sure that the database has the schema of the export.
    async fn prepare(storage: &'s Storage, header: &Header) -> Result<Self> {
        let changes = migrate::status(storage).await?;
        let known: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
        let applied: Vec<&str> =
            changes.iter().filter(|change| change.is_applied).map(|change| change.name.as_str()).collect();
        let wanted: Vec<&str> = header.migrations.iter().map(String::as_str).collect();
        if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
            return Err(Error::Refused(format!(
                "the export has migration {unknown}, which this pannier does not know: use the version that wrote it, or a later one"
            )));
        }
        let (Some(last), true) = (wanted.last(), known.starts_with(&wanted)) else {
            return Err(Error::Refused(
                "line 1 of the export: these are not the first migrations of this pannier; the list is damaged, or of another version"
                    .into(),
            ));
        };
        let is_fresh = applied.is_empty();
        if is_fresh {
            mark::set(storage).await?;
            migrate::up(storage, Some(last), |_| {}).await?;
        } else if applied != wanted {
            let direction = if applied.len() < wanted.len() { "up" } else { "down" };
            return Err(Error::Refused(format!(
                "the target has another schema than the export: import into an empty database, or bring this one there with `pannier migrate {direction} --to {last}`"
            )));
        }
        Ok(Self { storage, shapes: shapes(storage).await?, is_fresh })
    }

    async fn empty(&self, tell: Tell<'_>) -> Result<()> {
        empty(self.storage, &self.shapes, tell).await
    }

    /// Reads an export to its end.
    async fn look(&self, lines: Lines<'_>, header: &Header, tell: Tell<'_>) -> Result<()> {
        let mut rows = Rows::new(lines, header, &self.shapes, keeps_nul(self.storage).await?)?;
        let mut counting = Counting::new(&self.shapes, Step::Look);
        while let Some(row) = rows.next()? {
            counting.add(row.table, 1, tell);
        }
        counting.finish(tell);
        Ok(())
    }

    /// Stores all rows and reads them back.
    async fn fill(&self, mut source: Rows<'_, '_>, tell: Tell<'_>) -> Result<Report> {
        rows::empty_derived(self.storage).await?;
        let written = self.shapes.iter().filter(|shape| WRITTEN_AT_START.contains(&shape.table.name));
        for shape in written {
            while rows::remove_some(self.storage, shape).await? > 0 {}
        }
        let mut counting = Counting::new(&self.shapes, Step::Import);
        let mut batch = Gathered::default();
        while let Some(row) = source.next()? {
            if batch.is_full() || (batch.table != row.table && !batch.rows.is_empty()) {
                self.store(std::mem::take(&mut batch), &mut counting, tell).await?;
            }
            if batch.rows.is_empty() {
                (batch.table, batch.first_line) = (row.table, row.line);
            }
            batch.last_line = row.line;
            batch.bytes += row.bytes;
            batch.rows.push(row.values);
        }
        self.store(batch, &mut counting, tell).await?;
        counting.finish(tell);
        let trailer = source.into_trailer()?;
        let numbers = trailer.tables.iter().zip(&self.shapes);
        let numbers = numbers.filter_map(|(totals, shape)| Some((shape.clone(), totals.identity?)));
        rows::set_identities(self.storage, numbers.collect()).await?;
        rows::analyze(self.storage, &self.shapes).await?;
        self.compare(trailer, tell).await
    }

    async fn store(&self, batch: Gathered, counting: &mut Counting<'_>, tell: Tell<'_>) -> Result<()> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        let count = batch.rows.len() as u64;
        let rows = Batch { shape: self.shapes[batch.table].clone(), rows: batch.rows };
        rows::insert(self.storage, rows).await.map_err(|error| {
            let (first, last) = (batch.first_line, batch.last_line);
            Error::Refused(format!("lines {first} to {last} of the export cannot be stored: {error}"))
        })?;
        counting.add(batch.table, count, tell);
        Ok(())
    }

    /// Reads everything back as an export would and holds it against the trailer.
    async fn compare(&self, trailer: Trailer, tell: Tell<'_>) -> Result<Report> {
        let mut tables = Vec::new();
        for (table, (shape, expected)) in self.shapes.iter().zip(trailer.tables).enumerate() {
            let mut counting = Counting::new(&self.shapes, Step::Compare);
            let mut pages = Pages::new(self.storage, shape);
            let mut tally = Tally::default();
            while let Some(page) = pages.next().await? {
                tally.add(&page.lines, page.rows);
                counting.add(table, page.rows, tell);
            }
            counting.finish(tell);
            let found = tally.totals(shape.table.name, rows::identity(self.storage, shape).await?);
            let ok = found == expected;
            tables.push(TableReport { ok, found, expected: (!ok).then_some(expected) });
        }
        let sum = |of: fn(&TableTotals) -> u64| tables.iter().map(|table| of(&table.found)).sum();
        Ok(Report {
            ok: tables.iter().all(|table| table.ok),
            rows: sum(|totals| totals.rows),
            bytes: sum(|totals| totals.bytes),
            tables,
        })
    }
}

/// Removes all rows, in bounded steps, those that refer to others first.
pub(super) async fn empty(storage: &Storage, shapes: &[Arc<Shape>], tell: Tell<'_>) -> Result<()> {
    for (table, shape) in shapes.iter().enumerate().rev() {
        let mut counting = Counting::new(shapes, Step::Remove);
        loop {
            let rows = rows::remove_some(storage, shape).await?;
            if rows == 0 {
                break;
            }
            counting.add(table, rows, tell);
        }
        counting.finish(tell);
    }
    Ok(())
}

/// Rows of one table that are stored together.
#[derive(Default)]
struct Gathered {
    table: usize,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    first_line: u64,
    last_line: u64,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }
}

/// Tells how many rows of a table went by.
struct Counting<'s> {
    shapes: &'s [Arc<Shape>],
    step: Step,
    table: usize,
    rows: u64,
}

impl<'s> Counting<'s> {
    fn new(shapes: &'s [Arc<Shape>], step: Step) -> Self {
        Self { shapes, step, table: 0, rows: 0 }
    }

    fn add(&mut self, table: usize, rows: u64, tell: Tell<'_>) {
        if table != self.table {
            self.finish(tell);
            (self.table, self.rows) = (table, 0);
        }
        self.rows += rows;
        tell(self.progress(false));
    }

    fn finish(&mut self, tell: Tell<'_>) {
        if self.rows > 0 {
            tell(self.progress(true));
        }
    }

    fn progress(&self, is_done: bool) -> Progress<'s> {
        let table = self.shapes[self.table].table.name;
        Progress { step: self.step, table, rows: self.rows, rows_total: None, is_done }
    }
}
