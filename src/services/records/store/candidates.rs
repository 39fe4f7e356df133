//! The records that a query looks at, piece by piece, along keys, changes or the values of an index.

use sea_orm::Value;

use super::read::PIECE_ROWS;
use super::rows::{COLUMNS, Row};
use crate::error::Result;
use crate::json::Range;
use crate::services::records::query::{Along, Place};
use crate::storage::{Db, row};

/// A record that is looked at, and its place in what it is read along.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) place: Place,
    pub(super) row: Row,
}

/// Reads records along something, those after a place.
#[derive(Debug)]
pub(super) struct Walk<'q> {
    collection_id: i64,
    along: &'q Along,
    is_descending: bool,
    after: Option<Place>,
    /// Ranges of the index that are done.
    ranges_done: usize,
    is_over: bool,
}

impl<'q> Walk<'q> {
    pub(super) fn new(
        collection_id: i64,
        along: &'q Along,
        is_descending: bool,
        after: Option<Place>,
    ) -> Self {
        Self { collection_id, along, is_descending, after, ranges_done: 0, is_over: false }
    }

    /// Whether there is nothing more to come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next records, at most `rows_max` of them; none: that was all.
    pub(super) async fn piece(&mut self, db: &Db<'_>, rows_max: usize) -> Result<Vec<Candidate>> {
        let rows_max = rows_max.clamp(1, PIECE_ROWS);
        while !self.is_over {
            let piece = match self.along {
                Along::Key | Along::Change => self.rows(db, rows_max).await?,
                Along::Index { id, ranges, .. } => self.values(db, *id, ranges, rows_max).await?,
            };
            if let Some(last) = piece.last() {
                self.after = Some(last.place.clone());
                return Ok(piece);
            }
        }
        Ok(Vec::new())
    }

    async fn rows(&mut self, db: &Db<'_>, rows_max: usize) -> Result<Vec<Candidate>> {
        let select = rows_after(self.along == &Along::Key, self.is_descending, self.after.is_some());
        let mut values: Vec<Value> = vec![self.collection_id.into()];
        match &self.after {
            Some(Place::Key(key)) => values.push(key.as_str().into()),
            Some(Place::Change(seq)) => values.push((*seq).into()),
            Some(Place::Value(..)) | None => {}
        }
        values.push(limit(rows_max));
        let rows: Vec<Row> = db.rows(&select, values).await?;
        self.is_over = rows.len() < rows_max;
        let place = |row: &Row| match self.along {
            Along::Key => Place::Key(row.key.clone()),
            _ => Place::Change(row.seq),
        };
        Ok(rows.into_iter().map(|row| Candidate { place: place(&row), row }).collect())
    }

    async fn values(
        &mut self,
        db: &Db<'_>,
        index_id: i64,
        ranges: &[Range],
        rows_max: usize,
    ) -> Result<Vec<Candidate>> {
        let at = if self.is_descending {
            ranges.len().checked_sub(self.ranges_done + 1)
        } else {
            Some(self.ranges_done)
        };
        let Some(range) = at.and_then(|at| ranges.get(at)) else {
            self.is_over = true;
            return Ok(Vec::new());
        };
        let after = match &self.after {
            Some(Place::Value(value, id)) if range.has(value) => Some((value.clone(), *id)),
            Some(Place::Value(value, _)) if is_behind(range, value, self.is_descending) => {
                self.ranges_done += 1;
                return Ok(Vec::new());
            }
            _ => None,
        };
        let select = values_after(self.is_descending, after.is_some());
        let mut values: Vec<Value> = vec![index_id.into()];
        // Of the bound on the side where it goes on, the place says more.
        match (after, self.is_descending) {
            (None, _) => values.extend([range.from.clone().into(), range.to.clone().into()]),
            (Some((value, id)), false) => values.extend([value.into(), id.into(), range.to.clone().into()]),
            (Some((value, id)), true) => values.extend([range.from.clone().into(), value.into(), id.into()]),
        }
        values.push(limit(rows_max));
        let found: Vec<(Found, Row)> = db.rows(&select, values).await?;
        self.ranges_done += usize::from(found.len() < rows_max);
        let candidate =
            |(found, row): (Found, Row)| Candidate { place: Place::Value(found.value, row.id), row };
        Ok(found.into_iter().map(candidate).collect())
    }
}

/// Whether a range lies on the near side of a place: all of it was seen.
fn is_behind(range: &Range, value: &[u8], is_descending: bool) -> bool {
    match is_descending {
        false => *range.to <= *value,
        true => *value < *range.from,
    }
}

row! {
    /// A value of an index.
    #[derive(Debug)]
    struct Found {
        value: Vec<u8>,
    }
}

fn limit(rows_max: usize) -> Value {
    i64::try_from(rows_max).unwrap_or(i64::MAX).into()
}

/// Records and tombstones of a collection by key or by their last change: the collection, after what, how many. Placeholders stand in
/// the order of their numbers, as one of the databases counts them by their appearance.
pub(super) fn rows_after(is_by_key: bool, is_descending: bool, has_place: bool) -> String {
    let column = if is_by_key { "key" } else { "seq" };
    let (than, direction) = if is_descending { ("<", "DESC") } else { (">", "ASC") };
    let (after, limit) = match has_place {
        true => (format!(r#" AND "{column}" {than} $2"#), "$3"),
        false => (String::new(), "$2"),
    };
    format!(
        r#"SELECT {COLUMNS} FROM "records" WHERE "collection_id" = $1{after} ORDER BY "{column}" {direction} LIMIT {limit}"#
    )
}

/// The records of a range of an index: the index, from where to where, how many.
pub(super) fn values_after(is_descending: bool, has_place: bool) -> String {
    let (within, limit) = match (has_place, is_descending) {
        (false, _) => (r#""value" >= $2 AND "value" < $3"#, "$4"),
        (true, false) => (r#"("value", "record_id") > ($2, $3) AND "value" < $4"#, "$5"),
        (true, true) => (r#""value" >= $2 AND ("value", "record_id") < ($3, $4)"#, "$5"),
    };
    let direction = if is_descending { "DESC" } else { "ASC" };
    // CROSS JOIN: SQLite begins with the index, whatever it thinks of it.
    format!(
        r#"SELECT "value", {COLUMNS} FROM "record_values" CROSS JOIN "records"
        WHERE "index_id" = $1 AND {within} AND "records"."id" = "record_id"
        ORDER BY "value" {direction}, "record_id" {direction} LIMIT {limit}"#
    )
}
