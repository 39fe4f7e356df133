//! Indexes of collections: declared, built in small steps, dropped in small steps.

use std::collections::BTreeSet;

use sea_orm::Value;

use super::values;
use crate::error::{Error, Result};
use crate::json::{Path, order_key};
use crate::services::records::document;
use crate::services::records::domain::{Collection, Index};
use crate::storage::{Db, Tx, row};

const BUILDING: i64 = 1;
const READY: i64 = 2;
const DROPPED: i64 = 3;

/// Records of one step of building: at most so many documents of the largest size are in memory.
const BUILD_ROWS: i64 = 64;

/// Values of one step of dropping.
const DROP_ROWS: i64 = 1_024;

const OF_COLLECTION: &str = r#"SELECT "id", "path", "state", "built_seq" FROM "record_indexes"
    WHERE "collection_id" = $1 ORDER BY "path""#;
const DECLARE: &str =
    r#"INSERT INTO "record_indexes" ("collection_id", "path", "state", "built_seq") VALUES ($1, $2, $3, $4)"#;
const DROP: &str = r#"UPDATE "record_indexes" SET "collection_id" = NULL, "state" = 3 WHERE "id" = $1"#;
const DROP_ALL: &str =
    r#"UPDATE "record_indexes" SET "collection_id" = NULL, "state" = 3 WHERE "collection_id" = $1"#;
pub(super) const UNFINISHED: &str = r#"SELECT "id", "collection_id" FROM "record_indexes"
    WHERE "state" <> 2 AND "state" = $1 ORDER BY "id" LIMIT 1"#;
const LOCK_COLLECTION: &str = r#"SELECT "id" FROM "record_collections" WHERE "id" = $1"#;
const LOCK_INDEX: &str = r#"SELECT "id", "path", "state", "built_seq" FROM "record_indexes" WHERE "id" = $1 AND "collection_id" = $2"#;
pub(super) const BUILT_FROM: &str = r#"SELECT "id", "seq", "size_bytes", "is_compressed", "document" FROM "records"
    WHERE "collection_id" = $1 AND "seq" <= $2 ORDER BY "seq" DESC LIMIT $3"#;
const BUILT: &str = r#"UPDATE "record_indexes" SET "state" = $1, "built_seq" = $2 WHERE "id" = $3"#;
pub(super) const LAST_DROPPED: &str = r#"SELECT "value", "record_id" FROM "record_values" WHERE "index_id" = $1
    ORDER BY "value", "record_id" LIMIT 1 OFFSET $2"#;
pub(super) const DROP_UNTIL: &str =
    r#"DELETE FROM "record_values" WHERE "index_id" = $1 AND ("value", "record_id") <= ($2, $3)"#;
const DROP_REST: &str = r#"DELETE FROM "record_values" WHERE "index_id" = $1"#;
const REMOVE: &str = r#"DELETE FROM "record_indexes" WHERE "id" = $1"#;

row! {
    #[derive(Debug)]
    struct Row {
        id: i64,
        path: String,
        state: i64,
        built_seq: i64,
    }
}

/// An index whose values are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its number.
    pub id: i64,
    /// Its path.
    pub path: Path,
    /// Whether queries may use it.
    pub is_ready: bool,
    /// Records with a greater number have their values.
    built_seq: i64,
}

impl Kept {
    /// Whether it has the value of a record with this number.
    pub(super) fn has(&self, seq: i64) -> bool {
        seq > self.built_seq
    }
}

impl Row {
    fn kept(self) -> Result<Kept> {
        let path = Path::parse(&self.path).map_err(|fault| Error::CorruptRow {
            table: "record_indexes",
            column: "path",
            row: self.id,
            cause: fault.to_string(),
        })?;
        Ok(Kept { id: self.id, path, is_ready: self.state == READY, built_seq: self.built_seq })
    }
}

/// The indexes of a collection, by their paths.
pub async fn of_collection(db: &Db<'_>, collection_id: i64) -> Result<Vec<Index>> {
    let rows: Vec<Row> = db.rows(OF_COLLECTION, vec![collection_id.into()]).await?;
    let index = |row: Row| Index { id: row.id, path: row.path, is_ready: row.state == READY };
    Ok(rows.into_iter().map(index).collect())
}

/// The same, ready for use.
pub async fn kept(db: &Db<'_>, collection_id: i64) -> Result<Vec<Kept>> {
    let rows: Vec<Row> = db.rows(OF_COLLECTION, vec![collection_id.into()]).await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Declares the indexes of a collection, whose row is locked. Those that it has on these paths stay, others are dropped. `paths` are written in
/// the one way that a path is written.
pub async fn declare(tx: &Tx<'_>, collection: &Collection, paths: &[String]) -> Result<()> {
    let collection_id = collection.id;
    let mut missing: BTreeSet<&String> = paths.iter().collect();
    for index in of_collection(tx, collection_id).await? {
        if !missing.remove(&index.path) {
            tx.run(DROP, vec![index.id.into()]).await?;
        }
    }
    for path in missing {
        // Without records there is nothing to build.
        let is_empty = collection.record_count == 0 && collection.tombstone_count == 0;
        let state = if is_empty { READY } else { BUILDING };
        let values: Vec<Value> =
            vec![collection_id.into(), path.as_str().into(), state.into(), collection.last_seq.into()];
        tx.run(DECLARE, values).await?;
    }
    Ok(())
}

/// Drops all indexes of a collection, whose row is locked.
pub async fn drop_all(tx: &Tx<'_>, collection_id: i64) -> Result<()> {
    tx.run(DROP_ALL, vec![collection_id.into()]).await?;
    Ok(())
}

row! {
    #[derive(Debug)]
    struct Unfinished {
        id: i64,
        collection_id: Option<i64>,
    }
}

row! {
    #[derive(Debug)]
    struct Material {
        id: i64,
        seq: i64,
        size_bytes: i64,
        is_compressed: bool,
        document: Option<Vec<u8>>,
    }
}

/// Whether there are indexes to be built.
pub async fn have_unbuilt(db: &Db<'_>) -> Result<bool> {
    Ok(db.row::<Unfinished>(UNFINISHED, vec![BUILDING.into()]).await?.is_some())
}

/// Whether dropped indexes have left values.
pub async fn have_dropped(db: &Db<'_>) -> Result<bool> {
    Ok(db.row::<Unfinished>(UNFINISHED, vec![DROPPED.into()]).await?.is_some())
}

/// One step of building an index; false when there is none to be built.
pub async fn build(tx: &Tx<'_>) -> Result<bool> {
    let found: Option<Unfinished> = tx.row(UNFINISHED, vec![BUILDING.into()]).await?;
    let Some(Unfinished { id, collection_id: Some(collection_id) }) = found else { return Ok(false) };
    // Whoever changes records waits meanwhile: none gets a number between what is read and what is noted as built.
    tx.lock(LOCK_COLLECTION, [collection_id.into()]).await?;
    let row = tx.row::<Row>(LOCK_INDEX, vec![id.into(), collection_id.into()]).await?;
    let Some(index) = row.filter(|row| row.state == BUILDING).map(Row::kept).transpose()? else {
        // Another sidecar was faster.
        return Ok(true);
    };
    let values = vec![collection_id.into(), index.built_seq.into(), BUILD_ROWS.into()];
    let material: Vec<Material> = tx.rows(BUILT_FROM, values).await?;
    let is_last = (material.len() as u64) < BUILD_ROWS.unsigned_abs();
    let built_seq = material.last().map_or(0, |last| last.seq - 1);
    let mut entries = Vec::with_capacity(material.len());
    for row in material {
        let Some(stored) = row.document else { continue };
        let document = document::unpack(stored, row.is_compressed, row.size_bytes).map_err(|cause| {
            Error::CorruptRow { table: "records", column: "document", row: row.id, cause }
        })?;
        entries.push((id, order_key(index.path.find(&document)), row.id));
    }
    values::add(tx, &entries).await?;
    let (state, built_seq) = if is_last { (READY, 0) } else { (BUILDING, built_seq) };
    tx.run(BUILT, vec![state.into(), built_seq.into(), id.into()]).await?;
    Ok(true)
}

row! {
    #[derive(Debug)]
    struct End {
        value: Vec<u8>,
        record_id: i64,
    }
}

/// One step of removing what dropped indexes have left; false when there is nothing.
pub async fn clear(tx: &Tx<'_>) -> Result<bool> {
    let found: Option<Unfinished> = tx.row(UNFINISHED, vec![DROPPED.into()]).await?;
    let Some(Unfinished { id, .. }) = found else { return Ok(false) };
    let end: Option<End> = tx.row(LAST_DROPPED, vec![id.into(), (DROP_ROWS - 1).into()]).await?;
    match end {
        Some(end) => {
            tx.run(DROP_UNTIL, vec![id.into(), end.value.into(), end.record_id.into()]).await?;
        }
        None => {
            tx.run(DROP_REST, vec![id.into()]).await?;
            tx.run(REMOVE, vec![id.into()]).await?;
        }
    }
    Ok(true)
}
