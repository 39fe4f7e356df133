//! Finding records by what their documents hold.

use std::collections::HashMap;

use sea_orm::{FromQueryResult, Value};

use super::candidates::{Candidate, Walk};
use super::indexes;
use super::rows::{COLUMNS, Row};
use super::sql;
use crate::error::{RecordsError, Result};
use crate::services::records::domain::{Collection, Record};
use crate::services::records::json::{Range, order_key};
use crate::services::records::query::{Along, Amounts, Order, Place, Plan, Query, Usable, plan};
use crate::storage::{Db, chunks};

/// How much of what is found.
#[derive(Clone, Debug)]
pub struct Page {
    /// What comes after this place.
    pub after: Option<Place>,
    /// At most so many records.
    pub rows_max: usize,
    /// At most about so many bytes, but one record at least.
    pub bytes_max: usize,
    /// At most so many documents are read in order.
    pub scan_rows_max: u64,
    /// At most so many documents are sorted.
    pub sort_rows_max: u64,
}

/// A page of what was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The records.
    pub records: Vec<Record>,
    /// Where the next page begins; none: there is nothing more.
    pub next: Option<Place>,
    /// The path of the index that was used.
    pub index_path: Option<String>,
    /// Documents that were read in search of them.
    pub documents_read: u64,
    /// Whether they were sorted.
    pub is_sorted: bool,
}

/// A page of the records that a query asks for. Error: QueryNeedsIndex.
pub async fn find(db: &Db<'_>, collection: &Collection, query: &Query, page: &Page) -> Result<Found> {
    let plan = planned(db, collection, query, page).await?;
    let mut found = Found {
        records: Vec::new(),
        next: None,
        index_path: None,
        documents_read: 0,
        is_sorted: plan.is_sorted,
    };
    if plan.is_sorted {
        sort(db, collection, query, page, &plan.along, &mut found).await?;
    } else {
        read_in_order(db, collection, query, page, &plan.along, &mut found).await?;
    }
    if let Along::Index { path, .. } = plan.along {
        found.index_path = Some(path);
    }
    Ok(found)
}

async fn planned(db: &Db<'_>, collection: &Collection, query: &Query, page: &Page) -> Result<Plan> {
    let mut usable = Vec::new();
    for index in indexes::kept(db, collection.id).await?.into_iter().filter(|index| index.is_ready) {
        let ranges = query.filter.ranges(&index.path);
        let count = match &ranges {
            Some(ranges) => count(db, index.id, ranges, page.sort_rows_max).await?,
            None => None,
        };
        usable.push(Usable { id: index.id, path: index.path, ranges, count });
    }
    let amounts = Amounts {
        rows: u64::try_from(collection.record_count + collection.tombstone_count).unwrap_or(0),
        page_rows: page.rows_max as u64,
        sort_rows_max: page.sort_rows_max,
    };
    let path = match &query.order {
        Order::Path(path) => path.to_string(),
        Order::Key | Order::Change => String::new(),
    };
    let needs_index = RecordsError::QueryNeedsIndex { path, rows_max: page.sort_rows_max };
    Ok(plan(query, &usable, amounts).ok_or(needs_index)?)
}

#[derive(Debug, FromQueryResult)]
struct Count {
    count: i64,
}

/// Values within a range of an index, at most so many.
pub(super) const COUNT: &str = r#"SELECT count(*) AS "count" FROM (SELECT 1 AS "one" FROM "record_values"
    WHERE "index_id" = $1 AND "value" >= $2 AND "value" < $3 LIMIT $4) AS "some""#;

/// How many values an index has in ranges; none: more than `rows_max`.
async fn count(db: &Db<'_>, index_id: i64, ranges: &[Range], rows_max: u64) -> Result<Option<u64>> {
    let mut all = 0;
    for range in ranges {
        let more = i64::try_from(rows_max - all + 1).unwrap_or(i64::MAX);
        let values: Vec<Value> =
            vec![index_id.into(), range.from.clone().into(), range.to.clone().into(), more.into()];
        let count: Option<Count> = sql::one(db, COUNT, values).await?;
        all += count.map_or(0, |count| count.count.unsigned_abs());
        if all > rows_max {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// Reads in the order that is asked for, until the page is full or enough was looked at.
async fn read_in_order(
    db: &Db<'_>,
    collection: &Collection,
    query: &Query,
    page: &Page,
    along: &Along,
    found: &mut Found,
) -> Result<()> {
    let mut walk = Walk::new(collection.id, along, query.is_descending, page.after.clone());
    let mut room = Room::of(page);
    let mut seen = page.after.clone();
    loop {
        let piece = walk.piece(db, page.rows_max - found.records.len() + 1).await?;
        if piece.is_empty() {
            found.next = None;
            return Ok(());
        }
        for Candidate { place, row } in piece {
            if found.documents_read == page.scan_rows_max || found.records.len() == page.rows_max {
                found.next = seen;
                return Ok(());
            }
            found.documents_read += 1;
            let record = row.record()?;
            if record.document.as_ref().is_some_and(|document| query.filter.takes(document)) {
                if !room.takes(&record) {
                    found.next = seen;
                    return Ok(());
                }
                found.records.push(record);
            }
            seen = Some(place);
        }
        if walk.is_over() {
            found.next = None;
            return Ok(());
        }
    }
}

/// Looks at everything along the way, and sorts what the filter takes.
async fn sort(
    db: &Db<'_>,
    collection: &Collection,
    query: &Query,
    page: &Page,
    along: &Along,
    found: &mut Found,
) -> Result<()> {
    let mut walk = Walk::new(collection.id, along, false, None);
    let mut taken: Vec<(Place, i64)> = Vec::new();
    loop {
        let piece = walk.piece(db, usize::MAX).await?;
        if piece.is_empty() {
            break;
        }
        for Candidate { mut row, .. } in piece {
            found.documents_read += 1;
            let Some(document) = row.document()? else { continue };
            let place = place_of(&row, &document, &query.order);
            let is_after = page.after.as_ref().is_none_or(|after| match query.is_descending {
                true => place < *after,
                false => place > *after,
            });
            if is_after && query.filter.takes(&document) {
                taken.push((place, row.id));
            }
        }
    }
    taken.sort_unstable();
    if query.is_descending {
        taken.reverse();
    }
    let is_more = taken.len() > page.rows_max;
    taken.truncate(page.rows_max);
    let mut room = Room::of(page);
    let mut seen = page.after.clone();
    for chunk in chunks(&taken) {
        let mut records = by_ids(db, chunk).await?;
        for (place, id) in chunk {
            let Some(record) = records.remove(id) else { continue };
            if !room.takes(&record) {
                found.next = seen;
                return Ok(());
            }
            found.records.push(record);
            seen = Some(place.clone());
        }
    }
    found.next = seen.filter(|_| is_more);
    Ok(())
}

fn place_of(row: &Row, document: &str, order: &Order) -> Place {
    match order {
        Order::Key => Place::Key(row.key.clone()),
        Order::Change => Place::Change(row.seq),
        Order::Path(path) => Place::Value(order_key(path.find(document)), row.id),
    }
}

async fn by_ids(db: &Db<'_>, chunk: &[(Place, i64)]) -> Result<HashMap<i64, Record>> {
    let places = sql::places(1, chunk.len());
    let select = format!(r#"SELECT {COLUMNS} FROM "records" WHERE "id" IN ({places})"#);
    let rows: Vec<Row> = sql::all(db, &select, chunk.iter().map(|(_, id)| (*id).into()).collect()).await?;
    rows.into_iter().map(|row| Ok((row.id, row.record()?))).collect()
}

/// Times, numbers and framing of a record in an answer.
const RECORD_OVERHEAD_BYTES: usize = 100;

/// What is left of a page's bytes.
struct Room {
    bytes: usize,
    is_untouched: bool,
}

impl Room {
    fn of(page: &Page) -> Self {
        Self { bytes: page.bytes_max, is_untouched: true }
    }

    /// Whether there is room for a record, as there is for the first one.
    fn takes(&mut self, record: &Record) -> bool {
        let document = record.document.as_ref().map_or(0, String::len);
        let bytes = record.key.len() + document + RECORD_OVERHEAD_BYTES;
        if bytes > self.bytes && !self.is_untouched {
            return false;
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_untouched = false;
        true
    }
}
