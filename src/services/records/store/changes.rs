//! Changes of a collection in the order of commits: their numbers are given under the lock of the collection's row, so that whoever
//! sees one sees all before it.

use sea_orm::Value;
use uuid::Uuid;

use super::collections;
use super::read::{Gathering, PIECE_ROWS, Page};
use super::rows::{COLUMNS, Row};
use crate::answer::Budget;
use crate::error::{RecordsError, Result};
use crate::services::records::domain::{Collection, Position, Record};
use crate::storage::{Db, branch};

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// At the beginning.
    Beginning,
    /// After what was told.
    At(Position),
}

/// What changed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// In the order of commits.
    pub records: Vec<Record>,
    /// Where to go on.
    pub position: Position,
    /// Whether there is more.
    pub more: bool,
}

/// Where a collection ends. Error: CollectionNotFound.
pub async fn end(db: &Db<'_>, collection: &str) -> Result<Position> {
    Ok(Position::end(&collections::find(db, collection).await?))
}

/// What changed in a collection. Errors: CollectionNotFound, CursorReset.
pub async fn changes(
    db: &Db<'_>,
    collection: &str,
    start: Start,
    rows_max: usize,
    budget: Budget,
) -> Result<Changes> {
    let collection = collections::find(db, collection).await?;
    changes_of(db, &collection, start, rows_max, budget).await.map(|(changes, _)| changes)
}

/// The same of a collection that is read already; and the rest of the budget.
pub(super) async fn changes_of(
    db: &Db<'_>,
    collection: &Collection,
    start: Start,
    rows_max: usize,
    budget: Budget,
) -> Result<(Changes, Budget)> {
    let mut position = match start {
        Start::Beginning => Position::beginning(collection),
        Start::At(position) => position,
    };
    if position.is_behind(collection) || is_foreign(db, collection, &position).await? {
        return Err(RecordsError::CursorReset.into());
    }
    let start = position;
    let mut gathering = Gathering::new(rows_max, budget);
    loop {
        let values: Vec<Value> = vec![collection.id.into(), position.seq.into(), position.scan_head.into()];
        let piece: Vec<Row> = db.rows(&CHANGES, values).await?;
        let is_last = piece.len() < PIECE_ROWS;
        for row in piece {
            let seq = row.seq;
            if !gathering.take(row.record()?)? {
                let budget = gathering.budget();
                position.branch = branch_of(db, collection, &start, &position).await?;
                return Ok((Changes { records: gathering.records, position, more: true }, budget));
            }
            position.seq = seq;
        }
        if is_last {
            position.seq = collection.last_seq;
            position.branch = branch_of(db, collection, &start, &position).await?;
            let budget = gathering.budget();
            return Ok((Changes { records: gathering.records, position, more: false }, budget));
        }
    }
}

/// Whether the reader's collection is another, or its last change none of this database's history.
pub(super) async fn is_foreign(db: &Db<'_>, collection: &Collection, position: &Position) -> Result<bool> {
    Ok(position.is_ahead(collection)
        || !branch::has(db, collection.id, position.known(), position.branch).await?)
}

/// The branch of the last change that a reader knows of, who went on from `start`.
async fn branch_of(
    db: &Db<'_>,
    collection: &Collection,
    start: &Position,
    position: &Position,
) -> Result<Uuid> {
    if position.known() == start.known() {
        return Ok(start.branch);
    }
    Ok(branch::at(db, collection.id, position.known()).await?.unwrap_or_default())
}

/// The next changes. What was deleted before the reader began with nothing is nothing to it.
pub(super) static CHANGES: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        r#"SELECT {COLUMNS} FROM "records" WHERE "collection_id" = $1 AND "seq" > $2
        AND ("delete_time" IS NULL OR "seq" > $3) ORDER BY "seq" LIMIT {PIECE_ROWS}"#
    )
});

/// Records that were changed last, those before the change `page.after`; and where the next page begins. Error: CollectionNotFound.
pub async fn page_of_changes(
    db: &Db<'_>,
    collection: &str,
    page: &Page<i64>,
) -> Result<(Vec<Record>, Option<i64>)> {
    let id = collections::find(db, collection).await?.id;
    let mut gathering = Gathering::new(page.rows_max, page.budget);
    let mut before = page.after.unwrap_or(i64::MAX);
    loop {
        let piece: Vec<Row> = db.rows(&NEWEST, vec![id.into(), before.into()]).await?;
        let is_last = piece.len() < PIECE_ROWS;
        for row in piece {
            let seq = row.seq;
            if !gathering.take(row.record()?)? {
                return Ok((gathering.records, Some(before)));
            }
            before = seq;
        }
        if is_last {
            return Ok((gathering.records, None));
        }
    }
}

/// The next of the newest records.
pub(super) static NEWEST: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        r#"SELECT {COLUMNS} FROM "records" WHERE "collection_id" = $1 AND "seq" < $2 AND "delete_time" IS NULL
        ORDER BY "seq" DESC LIMIT {PIECE_ROWS}"#
    )
});
