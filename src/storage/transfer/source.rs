//! An export as it is read: line by line, each checked against the schema, all of them against the trailer.

use std::io::{BufRead, Read as _};
use std::sync::Arc;

use sea_orm::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::catalogue::Shape;
use super::totals::{Tally, Trailer};
use super::value::decode;
use super::{FORMAT, Header, HeaderTable, VERSION};
use crate::error::{Error, Result};

/// The longest line. The longest that an export has holds one value of `server.message_bytes_max` (at most 512 MiB) in base64.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// The lines of an export.
pub(super) struct Lines<'r> {
    input: &'r mut dyn BufRead,
    /// The one in `line`, from 1 on.
    number: u64,
    line: Vec<u8>,
}

impl<'r> Lines<'r> {
    pub(super) fn new(input: &'r mut dyn BufRead) -> Self {
        Self { input, number: 0, line: Vec::new() }
    }

    /// Reads the first line.
    pub(super) fn header(&mut self) -> Result<Header> {
        /// What all versions have.
        #[derive(Deserialize)]
        struct Mark {
            format: String,
            version: u64,
        }
        if !self.advance()? {
            return Err(Error::Refused("the export is empty".into()));
        }
        let foreign = || self.wrong("this is no export of pannier");
        let mark: Mark = serde_json::from_slice(&self.line).map_err(|_| foreign())?;
        if mark.format != FORMAT {
            return Err(foreign());
        }
        if mark.version != VERSION {
            let version = mark.version;
            return Err(self.wrong(format!(
                "the export has version {version} of the format and this pannier reads {VERSION}: use the pannier that wrote it, or a later one"
            )));
        }
        self.parse("header")
    }

    /// Reads the next line; false at the end of the input.
    fn advance(&mut self) -> Result<bool> {
        self.line.clear();
        let read = (&mut *self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        let behind = self.number;
        read.map_err(|error| {
            Error::Refused(format!("cannot read the export behind line {behind}: {error}"))
        })?;
        if self.line.is_empty() {
            return Ok(false);
        }
        self.number += 1;
        if self.line.ends_with(b"\n") {
            return Ok(true);
        }
        Err(self.wrong(if self.line.len() as u64 == LINE_BYTES_MAX {
            "the line is longer than any of an export"
        } else {
            "the export was cut short in the middle of the line"
        }))
    }

    fn parse<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        serde_json::from_slice(&self.line).map_err(|error| self.no_json(&error, what))
    }

    /// Without the parser's words, which quote what is stored.
    fn no_json(&self, error: &serde_json::Error, what: &str) -> Error {
        let column = error.column();
        self.wrong(if error.is_data() {
            format!("this is no {what} of an export (column {column})")
        } else {
            format!("this is no JSON (column {column})")
        })
    }

    /// An error about the present line.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::Refused(format!("line {} of the export: {what}", self.number))
    }
}

/// A row of an export.
pub(super) struct Row {
    /// The table's place in the shapes.
    pub(super) table: usize,
    /// In the order of the shape's columns.
    pub(super) values: Vec<Value>,
    /// What its line takes.
    pub(super) bytes: usize,
    /// Where it stands.
    pub(super) line: u64,
}

/// The rows of an export, and its trailer behind them.
pub(super) struct Rows<'r, 's> {
    lines: Lines<'r>,
    shapes: &'s [Arc<Shape>],
    tallies: Vec<Tally>,
    keeps_nul: bool,
    /// The table of the last row.
    table: usize,
    trailer: Option<Trailer>,
}

impl<'r, 's> Rows<'r, 's> {
    /// The rows behind the header, which must describe `shapes`.
    pub(super) fn new(
        lines: Lines<'r>,
        header: &Header,
        shapes: &'s [Arc<Shape>],
        keeps_nul: bool,
    ) -> Result<Self> {
        let expected: Vec<HeaderTable> = shapes.iter().map(|shape| HeaderTable::of(shape)).collect();
        if let Some(difference) = difference(&header.tables, &expected) {
            return Err(lines.wrong(difference));
        }
        let tallies = vec![Tally::default(); shapes.len()];
        Ok(Self { lines, shapes, tallies, keeps_nul, table: 0, trailer: None })
    }

    /// The next row; none behind the last, when trailer and checksums are found to be right.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        if !self.lines.advance()? {
            return Err(Error::Refused(format!(
                "the export ends behind line {} without its last line: it was cut short",
                self.lines.number
            )));
        }
        if self.lines.line.starts_with(b"{\"tables\":") {
            self.finish()?;
            return Ok(None);
        }
        let row = self.parse()?;
        self.tallies[self.table].add(&self.lines.line, 1);
        Ok(Some(row))
    }

    /// The trailer, once [`Rows::next`] has found it.
    pub(super) fn into_trailer(self) -> Result<Trailer> {
        self.trailer.ok_or_else(|| Error::internal("an export was not read to its end"))
    }

    fn parse(&mut self) -> Result<Row> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            table: String,
            row: std::collections::BTreeMap<String, serde_json::Value>,
        }
        let Line { table, row } = self.lines.parse("row")?;
        if self.shapes[self.table].table.name != table {
            let place = self.shapes.iter().position(|shape| shape.table.name == table);
            self.table = place.ok_or_else(|| self.lines.wrong(format!("there is no table {table:?}")))?;
        }
        let columns = &self.shapes[self.table].columns;
        if let Some(unknown) = row.keys().find(|name| !columns.iter().any(|column| column.name == **name)) {
            return Err(self.lines.wrong(format!("{table} has no column {unknown:?}")));
        }
        let mut given = row.into_iter().peekable();
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let Some((_, json)) = given.next_if(|(name, _)| *name == column.name) else {
                return Err(self.lines.wrong(format!("column {} of {table} is missing", column.name)));
            };
            let value = decode(column.kind, json)
                .map_err(|cause| self.lines.wrong(format!("column {} of {table} {cause}", column.name)))?;
            if !self.keeps_nul && matches!(&value, Value::String(Some(words)) if words.contains('\0')) {
                return Err(self.lines.wrong(format!(
                    "column {} of {table} has U+0000 in its text, which this database cannot hold",
                    column.name
                )));
            }
            values.push(value);
        }
        Ok(Row { table: self.table, values, bytes: self.lines.line.len(), line: self.lines.number })
    }

    fn finish(&mut self) -> Result<()> {
        let trailer: Trailer = self.lines.parse("last line")?;
        let listed = trailer.tables.iter().map(|totals| totals.table.as_str());
        if !listed.eq(self.shapes.iter().map(|shape| shape.table.name)) {
            return Err(self.lines.wrong("the last line names other tables than the first"));
        }
        for (totals, (shape, tally)) in trailer.tables.iter().zip(self.shapes.iter().zip(&self.tallies)) {
            if totals.identity.is_some_and(|number| number >= 0) != shape.table.identity.is_some() {
                return Err(self.lines.wrong(format!("the identity of {} makes no sense", totals.table)));
            }
            let read = tally.clone().totals(&totals.table, totals.identity);
            if read != *totals {
                return Err(self.lines.wrong(format!(
                    "the export is damaged: {} should have {} rows of {} bytes with checksum {}, and has {} of {} with {}",
                    totals.table, totals.rows, totals.bytes, totals.sha256, read.rows, read.bytes, read.sha256
                )));
            }
        }
        if Trailer::new(trailer.tables.clone()) != trailer {
            return Err(self.lines.wrong("the totals are not the sums of the tables"));
        }
        if self.lines.advance()? {
            return Err(self.lines.wrong("nothing may follow the last line of an export"));
        }
        self.trailer = Some(trailer);
        Ok(())
    }
}

/// What the tables of a header have that those of the schema have not, or the other way round.
fn difference(given: &[HeaderTable], expected: &[HeaderTable]) -> Option<String> {
    if given == expected {
        return None;
    }
    let named = |tables: &[HeaderTable], name: &str| tables.iter().any(|table| table.table == name);
    for table in given {
        let Some(own) = expected.iter().find(|own| own.table == table.table) else {
            return Some(format!("there is no table {:?}", table.table));
        };
        for (column, kind) in &table.columns {
            match own.columns.get(column) {
                None => return Some(format!("{} has no column {column:?}", own.table)),
                Some(own_kind) if own_kind != kind => {
                    return Some(format!(
                        "column {column} of {} should be {own_kind:?}, not {kind:?}",
                        own.table
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(missing) = own.columns.keys().find(|column| !table.columns.contains_key(*column)) {
            return Some(format!("column {missing} of {} is missing", own.table));
        }
    }
    let missing = expected.iter().find(|own| !named(given, &own.table));
    Some(missing.map_or_else(
        || "the tables are in another order than foreign keys ask for".to_owned(),
        |own| format!("table {} is missing", own.table),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Column;
    use super::super::value::Kind;
    use super::*;

    const HEADER: &str = r#"{"format":"pannier-export","version":1,"create_time_us":1,"migrations":["m"],"tables":[{"table":"cache_tags","columns":{"key":"text","tag":"text"}}]}"#;

    fn tags() -> [Arc<Shape>; 1] {
        let table = pannier_migration::TABLES.iter().find(|table| table.name == "cache_tags").unwrap();
        let column = |name: &str| Column { name: name.to_owned(), kind: Kind::Text };
        [Arc::new(Shape { table, columns: vec![column("key"), column("tag")] })]
    }

    /// Reads all of an export of tags: its rows' values, or what is wrong with it.
    fn read(text: &str, keeps_nul: bool) -> Result<Vec<Vec<Value>>> {
        let shapes = tags();
        let mut input = text.as_bytes();
        let mut lines = Lines::new(&mut input);
        let header = lines.header()?;
        let mut rows = Rows::new(lines, &header, &shapes, keeps_nul)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(row.values);
        }
        rows.into_trailer()?;
        Ok(found)
    }

    fn export(rows: &[&str]) -> String {
        let mut tally = Tally::default();
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        tally.add(lines.as_bytes(), rows.len() as u64);
        let trailer = Trailer::new(vec![tally.totals("cache_tags", None)]);
        format!("{HEADER}\n{lines}{}\n", serde_json::to_string(&trailer).unwrap())
    }

    #[test]
    fn columns_come_in_the_order_of_the_schema() {
        let rows = read(&export(&[r#"{"table":"cache_tags","row":{"tag":"t","key":"k"}}"#]), false).unwrap();
        assert_eq!(rows, [[Value::from("k"), Value::from("t")]]);
        assert!(read(&export(&[]), false).unwrap().is_empty());
    }

    #[test]
    fn a_nul_is_refused_by_its_line_where_the_database_cannot_hold_it() {
        let text = export(&[
            r#"{"table":"cache_tags","row":{"key":"k","tag":"t"}}"#,
            r#"{"table":"cache_tags","row":{"key":"a\u0000b","tag":"t"}}"#,
        ]);
        assert_eq!(read(&text, true).unwrap()[1][0], Value::from("a\0b"));
        let told = read(&text, false).unwrap_err().to_string();
        assert!(told.starts_with("line 3 of the export: column key of cache_tags has U+0000"), "{told}");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_without_what_is_stored_in_it() {
        for row in [
            r#"{"table":"cache_tags","row":{"key":"secret","tag":"t"}"#,
            r#"{"table":"cache_tags","row":"secret"}"#,
            r#"{"table":"cache_tags","row":{"key":["secret"],"tag":"t"}}"#,
            r#"{"table":"cache_tags","row":{"key":"secret"}}"#,
        ] {
            let told = read(&export(&[row]), true).unwrap_err().to_string();
            assert!(told.starts_with("line 2 of the export: ") && !told.contains("secret"), "{told}");
        }
    }
}
