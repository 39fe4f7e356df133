//! Finding records by what their documents hold.

use std::collections::HashMap;
use std::time::Instant;

use sea_orm::Value;

use super::candidates::{Candidate, Walk};
use super::read::{Gathering, PIECE_ROWS, Page};
use super::rows::{COLUMNS, Row};
use super::{collections, indexes};
use crate::clock;
use crate::error::{Error, RecordsError, Result};
use crate::json::{Matcher, Range, order_key};
use crate::services::records::domain::{Collection, Record};
use crate::services::records::query::{Along, Amounts, Order, Place, Plan, Query, Usable, plan};
use crate::storage::{Db, chunks, places, row};

/// How much of what is found.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The page.
    pub page: Page<Place>,
    /// At most so many documents are read in order.
    pub scan_rows_max: u64,
    /// At most so many documents are sorted.
    pub sort_rows_max: u64,
    /// No further document is read once those read have so many bytes.
    pub scan_bytes_max: u64,
    /// When the caller has left.
    pub deadline: Option<Instant>,
}

impl Wanted {
    /// Looks at the clock. Error: DeadlineExceeded.
    fn check_time(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if deadline <= clock::instant() => Err(Error::DeadlineExceeded),
            _ => Ok(()),
        }
    }
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

/// A page of the records that a query asks for. Errors: CollectionNotFound, QueryNeedsIndex.
pub async fn query(db: &Db<'_>, collection: &str, query: &Query, wanted: &Wanted) -> Result<Found> {
    let collection = collections::find(db, collection).await?;
    let plan = planned(db, &collection, query, wanted).await?;
    let search = Search { db, collection_id: collection.id, query, wanted, along: &plan.along };
    let mut found = match plan.is_sorted {
        true => search.sorted().await?,
        false => search.in_order().await?,
    };
    if let Along::Index { path, .. } = plan.along {
        found.index_path = Some(path);
    }
    Ok(found)
}

async fn planned(db: &Db<'_>, collection: &Collection, query: &Query, wanted: &Wanted) -> Result<Plan> {
    let mut usable = Vec::new();
    for index in indexes::kept(db, collection.id).await?.into_iter().filter(|index| index.is_ready) {
        let ranges = query.filter.ranges(&index.path);
        let count = match &ranges {
            Some(ranges) => count(db, index.id, ranges, wanted.sort_rows_max).await?,
            None => None,
        };
        usable.push(Usable { id: index.id, path: index.path, ranges, count });
    }
    let amounts = Amounts {
        rows: u64::try_from(collection.record_count + collection.tombstone_count).unwrap_or(0),
        page_rows: wanted.page.rows_max as u64,
        sort_rows_max: wanted.sort_rows_max,
    };
    let path = match &query.order {
        Order::Path(path) => path.to_string(),
        Order::Key | Order::Change => String::new(),
    };
    let (rows_max, bytes_max) = (wanted.sort_rows_max, wanted.scan_bytes_max);
    let needs_index = RecordsError::QueryNeedsIndex { path, rows_max, bytes_max };
    Ok(plan(query, &usable, amounts).ok_or(needs_index)?)
}

row! {
    #[derive(Debug)]
    struct Count {
        count: i64,
    }
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
        let count: Option<Count> = db.row(COUNT, values).await?;
        all += count.map_or(0, |count| count.count.unsigned_abs());
        if all > rows_max {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// A query that is being answered.
struct Search<'q> {
    db: &'q Db<'q>,
    collection_id: i64,
    query: &'q Query,
    wanted: &'q Wanted,
    along: &'q Along,
}

impl Search<'_> {
    fn found(records: Vec<Record>, next: Option<Place>, documents_read: u64, is_sorted: bool) -> Found {
        Found { records, next, index_path: None, documents_read, is_sorted }
    }

    /// Reads in the order that is asked for, until the page is full or enough was looked at.
    async fn in_order(&self) -> Result<Found> {
        let page = &self.wanted.page;
        let mut walk =
            Walk::new(self.collection_id, self.along, self.query.is_descending, page.after.clone());
        let mut gathering = Gathering::new(page.rows_max, page.budget);
        let (mut read, mut bytes, mut seen) = (0, 0, page.after.clone());
        let matcher = Matcher::new(&self.query.filter, None);
        loop {
            let missing = page.rows_max.saturating_sub(gathering.records.len());
            let piece = walk.piece(self.db, missing.saturating_add(1)).await?;
            for Candidate { place, row } in piece {
                self.wanted.check_time()?;
                let is_enough = read == self.wanted.scan_rows_max || bytes >= self.wanted.scan_bytes_max;
                if is_enough || gathering.records.len() == page.rows_max {
                    return Ok(Self::found(gathering.records, seen, read, false));
                }
                read += 1;
                bytes += row.size_bytes.unsigned_abs();
                let record = row.record()?;
                let is_taken = record.document.as_ref().is_some_and(|document| matcher.takes(document));
                if is_taken && !gathering.take(record)? {
                    return Ok(Self::found(gathering.records, seen, read, false));
                }
                seen = Some(place);
            }
            if walk.is_over() {
                return Ok(Self::found(gathering.records, None, read, false));
            }
        }
    }

    /// Looks at everything along the way, and sorts what the filter takes.
    async fn sorted(&self) -> Result<Found> {
        let page = &self.wanted.page;
        let (mut taken, read) = self.taken().await?;
        taken.sort_unstable();
        if self.query.is_descending {
            taken.reverse();
        }
        let is_more = taken.len() > page.rows_max;
        taken.truncate(page.rows_max);
        let mut gathering = Gathering::new(page.rows_max, page.budget);
        let mut seen = page.after.clone();
        for few in taken.chunks(PIECE_ROWS).flat_map(chunks) {
            let mut records = by_ids(self.db, few).await?;
            for (place, id) in few {
                let Some(record) = records.remove(id) else { continue };
                if !gathering.take(record)? {
                    return Ok(Self::found(gathering.records, seen, read, true));
                }
                seen = Some(place.clone());
            }
        }
        Ok(Self::found(gathering.records, seen.filter(|_| is_more), read, true))
    }

    /// Why what is found cannot be sorted.
    fn too_much(&self) -> RecordsError {
        let path = match &self.query.order {
            Order::Path(path) => path.to_string(),
            Order::Key | Order::Change => String::new(),
        };
        let (rows_max, bytes_max) = (self.wanted.sort_rows_max, self.wanted.scan_bytes_max);
        RecordsError::QueryNeedsIndex { path, rows_max, bytes_max }
    }

    /// Places and numbers of all records that are taken and come after the page before; and how many were looked at.
    async fn taken(&self) -> Result<(Vec<(Place, i64)>, u64)> {
        let mut walk = Walk::new(self.collection_id, self.along, false, None);
        let (mut taken, mut read, mut bytes) = (Vec::new(), 0, 0);
        let path = match &self.query.order {
            Order::Path(path) => Some(path),
            Order::Key | Order::Change => None,
        };
        let matcher = Matcher::new(&self.query.filter, path);
        while !walk.is_over() {
            for Candidate { mut row, .. } in walk.piece(self.db, PIECE_ROWS).await? {
                self.wanted.check_time()?;
                read += 1;
                bytes += row.size_bytes.unsigned_abs();
                if bytes > self.wanted.scan_bytes_max {
                    return Err(self.too_much().into());
                }
                let Some(document) = row.document()? else { continue };
                let (is_taken, value) = matcher.look(&document);
                let place = place_of(&row, value, &self.query.order);
                let is_after = self.wanted.page.after.as_ref().is_none_or(|after| {
                    if self.query.is_descending { place < *after } else { place > *after }
                });
                if is_after && is_taken {
                    taken.push((place, row.id));
                }
            }
        }
        Ok((taken, read))
    }
}

fn place_of(row: &Row, value: Option<&str>, order: &Order) -> Place {
    match order {
        Order::Key => Place::Key(row.key.clone()),
        Order::Change => Place::Change(row.seq),
        Order::Path(_) => Place::Value(order_key(value), row.id),
    }
}

async fn by_ids(db: &Db<'_>, few: &[(Place, i64)]) -> Result<HashMap<i64, Record>> {
    let places = places(1, few.len());
    let select = format!(r#"SELECT {COLUMNS} FROM "records" WHERE "id" IN ({places})"#);
    let rows: Vec<Row> = db.rows(&select, few.iter().map(|(_, id)| (*id).into()).collect()).await?;
    rows.into_iter().map(|row| Ok((row.id, row.record()?))).collect()
}
