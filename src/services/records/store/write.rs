//! Writing records: every change of a record goes through a [`Writer`], which holds its collection until the commit, numbers its
//! changes and counts them.

use sea_orm::Value;

use super::collections;
use super::rows::{Row, refused};
use super::values::Values;
use crate::error::{Error, RecordsError, Result, Violation};
use crate::json;
use crate::services::records::document::Document;
use crate::services::records::domain::{
    Bounds, Change, Collection, Condition, Existing, Origin, PutOutcome, Record,
};
use crate::services::records::verdicts::Verdicts;
use crate::services::records::wake_topic;
use crate::storage::{Db, Tx, branch};

const CURRENT: &str = r#"SELECT "id", "seq", "delete_time", "create_time", "update_time", "client_row_id",
    "mutation_id", "size_bytes", "key", "is_compressed", "document" FROM "records" WHERE "collection_id" = $1 AND "key" = $2"#;
const INSERT: &str = r#"INSERT INTO "records" ("seq", "create_time", "update_time", "client_row_id", "mutation_id",
    "size_bytes", "is_compressed", "document", "collection_id", "key") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#;
const REPLACE: &str = r#"UPDATE "records" SET "seq" = $1, "delete_time" = NULL, "create_time" = $2, "update_time" = $3,
    "client_row_id" = $4, "mutation_id" = $5, "size_bytes" = $6, "is_compressed" = $7, "document" = $8 WHERE "id" = $9"#;
const BURY: &str = r#"UPDATE "records" SET "seq" = $1, "delete_time" = $2, "update_time" = $3, "client_row_id" = $4,
    "mutation_id" = $5, "size_bytes" = 0, "is_compressed" = $6, "document" = NULL WHERE "id" = $7"#;
const SAVE: &str = r#"UPDATE "record_collections" SET "last_seq" = $1, "record_count" = $2, "tombstone_count" = $3,
    "size_bytes" = $4, "branch" = $5 WHERE "id" = $6"#;

/// The largest number of a change: readers of JSON hold whole numbers below 2^53.
const SEQ_MAX: i64 = (1 << 53) - 1;

/// Bytes of documents without a verdict with which a write stops at once.
const UNJUDGED_BYTES_MAX: usize = 64 << 20;

/// What every writer needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// Limits.
    pub bounds: Bounds,
    /// What schemas say of the documents of this write.
    pub verdicts: Verdicts,
    /// Whether other sidecars may have to be told.
    pub is_shared: bool,
}

/// A collection that is being written to.
pub struct Writer<'w> {
    tx: &'w Tx<'w>,
    context: &'w Context,
    collection: Collection,
    values: Values,
    now_us: i64,
    first_seq: i64,
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
    db.row(CURRENT, vec![collection_id.into(), key.into()]).await
}

impl<'w> Writer<'w> {
    /// Takes hold of a collection. Error: CollectionNotFound.
    pub async fn begin(tx: &'w Tx<'w>, context: &'w Context, name: &str, now_us: i64) -> Result<Self> {
        let collection = collections::lock(tx, name).await?;
        let values = Values::of(tx, collection.id).await?;
        Ok(Self { tx, context, values, now_us, first_seq: collection.last_seq, collection })
    }

    /// Stores a document. Errors, with nothing changed: those of the condition; SchemaViolated, DocumentTooLarge, CollectionFull.
    pub async fn put(
        &mut self,
        key: &str,
        document: &Document,
        condition: Condition,
        existing: Existing,
        keep_members: &[String],
    ) -> Result<Put> {
        let row = current(self.tx, self.collection.id, key).await?;
        let standing = row.as_ref().map(Row::standing);
        if let (Existing::Kept, Some(live)) = (existing, standing.filter(|standing| !standing.is_deleted)) {
            return Ok(Put { revision: live.revision, outcome: PutOutcome::Kept });
        }
        condition.check(standing).map_err(refused)?;
        let kept = self.with_kept(document, row.as_ref(), keep_members)?;
        let document = kept.as_ref().unwrap_or(document);
        if let Some(standing) = standing
            && row.as_ref().is_some_and(|row| row.holds(document))
        {
            return Ok(Put { revision: standing.revision, outcome: PutOutcome::Unchanged });
        }
        self.store(key, document, row, None).await
    }

    /// Stores a document for a client's mutation, though it be what is stored; answers with the revision. Errors: as [`Self::put`].
    pub async fn put_for(
        &mut self,
        origin: Origin,
        key: &str,
        document: &Document,
        condition: Condition,
    ) -> Result<i64> {
        let row = current(self.tx, self.collection.id, key).await?;
        condition.check(row.as_ref().map(Row::standing)).map_err(refused)?;
        Ok(self.store(key, document, row, Some(origin)).await?.revision)
    }

    /// The document with the values that the record that is there has under `keep_members`; none: it is as it was given.
    fn with_kept(
        &self,
        document: &Document,
        row: Option<&Row>,
        keep_members: &[String],
    ) -> Result<Option<Document>> {
        let Some(mut row) = row.filter(|_| !keep_members.is_empty()).cloned() else { return Ok(None) };
        let Some(stored) = row.document()? else { return Ok(None) };
        let kept = json::keep_members(document.json(), &stored, keep_members);
        self.made(kept, "keep_members").map(Some)
    }

    /// Changes a document. Errors: RecordNotFound; Invalid for what it makes of the document; as [`Self::put`].
    pub async fn patch(
        &mut self,
        origin: Option<Origin>,
        key: &str,
        change: &Change,
        condition: Condition,
    ) -> Result<Record> {
        let row = current(self.tx, self.collection.id, key).await?;
        condition.check(row.as_ref().map(Row::standing)).map_err(refused)?;
        let Some(row) = row else { return Err(RecordsError::RecordNotFound.into()) };
        let former = row.clone().record()?;
        let Some(former_json) = &former.document else { return Err(RecordsError::RecordNotFound.into()) };
        let changed = match change {
            Change::Merge(patch) => json::merge_patch(former_json, patch),
            Change::Replace { members, removed } => json::replace_members(former_json, members, removed),
        };
        if origin.is_none() && changed == *former_json {
            return Ok(former);
        }
        let document = self.made(changed, "patch_json")?;
        let put = self.store(key, &document, Some(row), origin).await?;
        let document = Some(document.into_json());
        Ok(Record { seq: put.revision, document, update_us: self.now_us, ..former })
    }

    /// A document that was made of a record. Error: Invalid, for the field that makes it so.
    fn made(&self, json: String, field: &str) -> Result<Document> {
        let bounds = &self.context.bounds;
        let limits = json::Limits {
            bytes_max: usize::try_from(bounds.document_bytes_max).unwrap_or(usize::MAX),
            depth_max: usize::try_from(bounds.depth_max).unwrap_or(usize::MAX),
            is_object: true,
        };
        json::check(&json, limits).map_err(|fault| {
            let description = format!("makes a document of the record that {fault}");
            Error::Invalid(vec![Violation { field: field.into(), description }])
        })?;
        Ok(Document::new(json, bounds.compress_bytes_min))
    }

    /// Deletes a record; answers with the deletion's revision, or none if there is no record. Errors: those of the condition.
    pub async fn delete(&mut self, key: &str, condition: Condition) -> Result<Option<i64>> {
        let row = current(self.tx, self.collection.id, key).await?;
        condition.check(row.as_ref().map(Row::standing)).map_err(refused)?;
        match row {
            Some(row) if !row.standing().is_deleted => self.bury(key, row, None).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Deletes a record for a client's mutation; answers with the deletion's revision. What is not there is as the client wants it,
    /// whatever it had seen: zero. Errors: those of the condition.
    pub async fn delete_for(&mut self, origin: Origin, key: &str, condition: Condition) -> Result<i64> {
        match current(self.tx, self.collection.id, key).await? {
            None => Ok(0),
            Some(row) if row.standing().is_deleted => Ok(0),
            Some(row) => {
                condition.check(Some(row.standing())).map_err(refused)?;
                self.bury(key, row, Some(origin)).await
            }
        }
    }

    async fn bury(&mut self, key: &str, row: Row, origin: Option<Origin>) -> Result<i64> {
        let former = self.former(Some(&row))?;
        self.values.change(row.id, former.as_ref().map(|former| (row.seq, former.as_str())), None);
        let revision = self.next_seq()?;
        self.collection.record_count -= 1;
        self.collection.tombstone_count += 1;
        self.collection.size_bytes -= charge(key, row.size_bytes);
        let values: Vec<Value> = vec![
            revision.into(),
            self.now_us.into(),
            self.now_us.into(),
            origin.map(|origin| origin.client_row_id).into(),
            origin.map(|origin| origin.mutation_id).into(),
            false.into(),
            row.id.into(),
        ];
        self.tx.run(BURY, values).await?;
        Ok(revision)
    }

    /// The one place where documents are stored.
    async fn store(
        &mut self,
        key: &str,
        document: &Document,
        row: Option<Row>,
        origin: Option<Origin>,
    ) -> Result<Put> {
        let standing = row.as_ref().map(Row::standing);
        let is_new = standing.is_none_or(|standing| standing.is_deleted);
        let former_bytes = row.as_ref().filter(|_| !is_new).map_or(0, |row| charge(key, row.size_bytes));
        let more_bytes = charge(key, document.size_bytes()) - former_bytes;
        self.allow(document, is_new, more_bytes)?;
        let revision = self.next_seq()?;
        let create_us = row.as_ref().filter(|_| !is_new).map_or(self.now_us, |row| row.create_time);
        self.collection.record_count += i64::from(is_new);
        self.collection.tombstone_count -= i64::from(is_new && standing.is_some());
        self.collection.size_bytes += more_bytes;
        let mut values: Vec<Value> = vec![
            revision.into(),
            create_us.into(),
            self.now_us.into(),
            origin.map(|origin| origin.client_row_id).into(),
            origin.map(|origin| origin.mutation_id).into(),
            document.size_bytes().into(),
            document.is_compressed().into(),
            document.stored().to_vec().into(),
        ];
        let former = self.former(row.as_ref())?;
        let id = match &row {
            Some(row) => {
                values.push(row.id.into());
                self.tx.run(REPLACE, values).await?;
                row.id
            }
            None => {
                values.extend([Value::from(self.collection.id), key.into()]);
                self.tx.insert_written_out(INSERT, values).await?
            }
        };
        let before = row.as_ref().zip(former.as_ref()).map(|(row, former)| (row.seq, former.as_str()));
        self.values.change(id, before, Some(document.json()));
        Ok(Put { revision, outcome: if is_new { PutOutcome::Created } else { PutOutcome::Replaced } })
    }

    /// The number of the next change.
    fn next_seq(&mut self) -> Result<i64> {
        if self.collection.last_seq >= SEQ_MAX {
            return Err(RecordsError::CollectionFull { what: "changes", max: SEQ_MAX }.into());
        }
        self.collection.last_seq += 1;
        Ok(self.collection.last_seq)
    }

    /// The document that is there, if indexes have to know.
    fn former(&self, row: Option<&Row>) -> Result<Option<String>> {
        match row {
            Some(row) if self.values.are_kept() => row.clone().document(),
            _ => Ok(None),
        }
    }

    /// The number of the collection's last change so far.
    pub fn last_seq(&self) -> i64 {
        self.collection.last_seq
    }

    /// Notes which of these documents lack a verdict. Error: Unjudged, if one does. Nothing is written for nothing then.
    pub fn note<'d>(&self, documents: impl IntoIterator<Item = &'d Document>) -> Result<()> {
        for document in documents {
            self.verdict(document.json());
        }
        if self.context.verdicts.waiting_bytes() > 0 { Err(Error::Unjudged) } else { Ok(()) }
    }

    /// What the schema says of a document. None: nothing yet; it is taken for right, and the write is not committed.
    fn verdict(&self, document: &str) -> Option<Result<()>> {
        match self.collection.schema_revision {
            0 => Some(Ok(())),
            revision => self.context.verdicts.of((self.collection.id, revision), document),
        }
    }

    /// Whether the collection takes a document.
    fn allow(&self, document: &Document, is_new: bool, more_bytes: i64) -> Result<()> {
        let (collection, bounds) = (&self.collection, &self.context.bounds);
        let bytes_max = collection.limits.document_bytes_max.unwrap_or(bounds.document_bytes_max);
        if document.size_bytes() > bytes_max {
            return Err(RecordsError::DocumentTooLarge { bytes: document.size_bytes(), bytes_max }.into());
        }
        if let Some(verdict) = self.verdict(document.json()) {
            verdict?;
        } else if self.context.verdicts.waiting_bytes() > UNJUDGED_BYTES_MAX {
            return Err(Error::Unjudged);
        }
        let full = |what, max| Err(RecordsError::CollectionFull { what, max }.into());
        let records_max = collection.limits.records_max.unwrap_or(bounds.records_max);
        if is_new && collection.record_count >= records_max {
            return full("records", records_max);
        }
        let bytes_max = collection.limits.bytes_max.unwrap_or(bounds.bytes_max);
        if more_bytes > 0 && collection.size_bytes + more_bytes > bytes_max {
            return full("bytes", bytes_max);
        }
        Ok(())
    }

    /// Writes what has become of the collection, and wakes its watchers.
    pub async fn finish(self) -> Result<Collection> {
        let mut collection = self.collection;
        if collection.last_seq == self.first_seq {
            return Ok(collection);
        }
        collection.branch =
            branch::enter(self.tx, collection.id, self.first_seq + 1, collection.branch).await?;
        let values: Vec<Value> = vec![
            collection.last_seq.into(),
            collection.record_count.into(),
            collection.tombstone_count.into(),
            collection.size_bytes.into(),
            collection.branch.into(),
            collection.id.into(),
        ];
        self.tx.run(SAVE, values).await?;
        self.values.write(self.tx).await?;
        // A wake-up of other processes costs a commit much: only where somebody has said that it waits.
        if !self.context.is_shared || collection.watched_until_us > self.now_us {
            self.tx.wake(wake_topic(&collection.name));
        }
        Ok(collection)
    }
}

/// What a record is charged.
fn charge(key: &str, document_bytes: i64) -> i64 {
    i64::try_from(key.len()).unwrap_or(i64::MAX).saturating_add(document_bytes)
}
