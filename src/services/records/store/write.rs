//! Writing records: every change of a record goes through a [`Writer`], which holds its collection until the commit, numbers its
//! changes and counts them.

use sea_orm::Value;

use super::rows::{COLUMNS, Row, refused};
use super::{collections, sql};
use crate::error::{Error, RecordsError, Result};
use crate::services::records::document::Document;
use crate::services::records::domain::{
    Bounds, Collection, Condition, Existing, Origin, PutOutcome, Record,
};
use crate::services::records::json;
use crate::services::records::topic_of;
use crate::storage::{Db, Tx};

const INSERT: &str = r#"INSERT INTO "records" ("collection_id", "seq", "revision", "create_time", "update_time", "client_row_id",
    "mutation_id", "size_bytes", "key", "is_compressed", "document") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"#;
const REPLACE: &str = r#"UPDATE "records" SET "seq" = $1, "revision" = $2, "delete_time" = NULL, "create_time" = $3,
    "update_time" = $4, "client_row_id" = $5, "mutation_id" = $6, "size_bytes" = $7, "is_compressed" = $8, "document" = $9
    WHERE "id" = $10"#;
const BURY: &str = r#"UPDATE "records" SET "seq" = $1, "revision" = $2, "delete_time" = $3, "update_time" = $3,
    "client_row_id" = $4, "mutation_id" = $5, "size_bytes" = 0, "is_compressed" = $6, "document" = NULL WHERE "id" = $7"#;
const SAVE: &str = r#"UPDATE "record_collections" SET "last_seq" = $1, "record_count" = $2, "tombstone_count" = $3,
    "size_bytes" = $4 WHERE "id" = $5"#;

/// A collection that is being written to.
pub struct Writer<'w> {
    tx: &'w Tx<'w>,
    collection: Collection,
    bounds: Bounds,
    now_us: i64,
    has_changed: bool,
}

/// What became of a document.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    /// The revision that the record has now.
    pub revision: i64,
    /// What was done.
    pub outcome: PutOutcome,
}

/// The record of a key, or its tombstone.
pub(super) async fn current(db: &Db<'_>, collection_id: i64, key: &str) -> Result<Option<Row>> {
    let select = format!(r#"SELECT {COLUMNS} FROM "records" WHERE "collection_id" = $1 AND "key" = $2"#);
    sql::one(db, &select, vec![collection_id.into(), key.into()]).await
}

impl<'w> Writer<'w> {
    /// Takes hold of a collection. Error: CollectionNotFound.
    pub async fn begin(tx: &'w Tx<'w>, name: &str, bounds: Bounds, now_us: i64) -> Result<Self> {
        let collection = collections::lock(tx, name).await?;
        Ok(Self { tx, collection, bounds, now_us, has_changed: false })
    }

    /// Stores a document. Errors, with nothing changed: those of the condition; SchemaViolated, DocumentTooLarge, CollectionFull.
    pub async fn put(
        &mut self,
        key: &str,
        document: &Document,
        condition: Condition,
        existing: Existing,
    ) -> Result<Put> {
        let row = current(self.tx, self.collection.id, key).await?;
        let standing = row.as_ref().map(Row::standing);
        if let (Existing::Kept, Some(live)) = (existing, standing.filter(|standing| !standing.is_deleted)) {
            return Ok(Put { revision: live.revision, outcome: PutOutcome::Kept });
        }
        condition.check(standing).map_err(refused)?;
        if let Some(row) = &row
            && row.holds(document.stored(), document.is_compressed())
        {
            return Ok(Put { revision: row.standing().revision, outcome: PutOutcome::Unchanged });
        }
        self.store(key, document, row, None).await
    }

    /// Stores a document for a client's mutation, though it be what is stored. Errors: as [`Self::put`].
    pub async fn put_for(
        &mut self,
        key: &str,
        document: &Document,
        condition: Condition,
        origin: Origin,
    ) -> Result<i64> {
        let row = current(self.tx, self.collection.id, key).await?;
        condition.check(row.as_ref().map(Row::standing)).map_err(refused)?;
        Ok(self.store(key, document, row, Some(origin)).await?.revision)
    }

    /// Changes a document by a merge patch. Errors: RecordNotFound; as [`Self::put`].
    pub async fn patch(
        &mut self,
        key: &str,
        patch: &str,
        condition: Condition,
        origin: Option<Origin>,
    ) -> Result<Record> {
        let mut row = current(self.tx, self.collection.id, key).await?;
        condition.check(row.as_ref().map(Row::standing)).map_err(refused)?;
        let found = row.as_mut().map(Row::document).transpose()?.flatten();
        let (Some(row), Some(former)) = (row, found) else {
            return Err(RecordsError::RecordNotFound.into());
        };
        let merged = json::merge_patch(&former, patch);
        let limits = json::Limits {
            bytes_max: u64::try_from(self.bounds.document_bytes_max).unwrap_or(u64::MAX),
            depth_max: self.bounds.depth_max,
        };
        json::check(&merged, limits).map_err(|problem| json::violation("patch_json", &problem))?;
        let document = Document::new(merged, self.bounds.compress_bytes_min);
        let (seq, revision, create_us) = (row.seq, row.standing().revision, row.create_time);
        let put = match origin.is_none() && document.json() == former {
            true => None,
            false => Some(self.store_over(key, &document, row, Some(former), origin).await?),
        };
        let update_us = if put.is_some() { self.now_us } else { row_time(self.tx, &self.collection, key).await? };
        Ok(Record {
            key: key.to_owned(),
            seq: put.map_or(seq, |_| self.collection.last_seq),
            revision: put.map_or(revision, |put| put.revision),
            document: Some(document.json().to_owned()),
            create_us,
            update_us,
        })
    }
}
