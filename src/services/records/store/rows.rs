//! Rows of `records` and `record_collections`, and what they mean.

use sea_orm::{NotSet, Set};

use crate::error::{Error, RecordsError, Result};
use crate::services::records::document::{Document, unpack};
use crate::services::records::domain::{Collection, Limits, Origin, Record, Refusal, Standing};
use crate::services::records::entity::collections;
use crate::storage::row;

/// The columns of [`Row`].
pub(super) const COLUMNS: &str = r#""id", "seq", "delete_time", "create_time", "update_time", "client_row_id",
    "mutation_id", "size_bytes", "key", "is_compressed", "document""#;

row! {
    /// A row of `records`.
    #[derive(Clone, Debug)]
    pub(super) struct Row {
        pub(super) id: i64,
        pub(super) seq: i64,
        delete_time: Option<i64>,
        pub(super) create_time: i64,
        update_time: i64,
        client_row_id: Option<i64>,
        mutation_id: Option<i64>,
        pub(super) size_bytes: i64,
        pub(super) key: String,
        is_compressed: bool,
        document: Option<Vec<u8>>,
    }
}

impl Row {
    /// What a change has to know of it.
    pub(super) fn standing(&self) -> Standing {
        let origin = self.client_row_id.zip(self.mutation_id);
        Standing {
            revision: self.seq,
            is_deleted: self.delete_time.is_some(),
            origin: origin.map(|(client_row_id, mutation_id)| Origin { client_row_id, mutation_id }),
        }
    }

    /// Whether there is this document.
    pub(super) fn holds(&self, document: &Document) -> bool {
        self.is_compressed == document.is_compressed() && self.document.as_deref() == Some(document.stored())
    }

    /// The document; none: it was deleted.
    pub(super) fn document(&mut self) -> Result<Option<String>> {
        let corrupt =
            |cause: String| Error::CorruptRow { table: "records", column: "document", row: self.id, cause };
        match (self.document.take(), self.delete_time) {
            (None, Some(_)) => Ok(None),
            (Some(stored), None) => {
                unpack(stored, self.is_compressed, self.size_bytes).map(Some).map_err(corrupt)
            }
            (None, None) => Err(corrupt("is missing".into())),
            (Some(_), Some(_)) => Err(corrupt("is there though it was deleted".into())),
        }
    }

    /// The record or tombstone.
    pub(super) fn record(mut self) -> Result<Record> {
        Ok(Record {
            document: self.document()?,
            key: self.key,
            seq: self.seq,
            create_us: self.create_time,
            update_us: self.update_time,
        })
    }
}

/// The collection that a row holds.
pub(super) fn collection(row: collections::Model) -> Collection {
    Collection {
        id: row.id,
        name: row.name,
        incarnation: row.incarnation,
        revision: row.revision,
        schema_revision: row.schema_revision,
        limits: Limits {
            records_max: row.records_max,
            bytes_max: row.bytes_max,
            document_bytes_max: row.document_bytes_max,
            tombstone_retention_us: row.tombstone_retention_us,
        },
        last_seq: row.last_seq,
        branch: row.branch,
        purged_seq: row.purged_seq,
        record_count: row.record_count,
        tombstone_count: row.tombstone_count,
        size_bytes: row.size_bytes,
        watched_until_us: row.watched_until_time,
        create_us: row.create_time,
        update_us: row.update_time,
    }
}

/// The row of a collection, without its number.
pub(super) fn row_of(collection: &Collection) -> collections::ActiveModel {
    collections::ActiveModel {
        id: NotSet,
        name: Set(collection.name.clone()),
        incarnation: Set(collection.incarnation),
        revision: Set(collection.revision),
        schema_revision: Set(collection.schema_revision),
        records_max: Set(collection.limits.records_max),
        bytes_max: Set(collection.limits.bytes_max),
        document_bytes_max: Set(collection.limits.document_bytes_max),
        tombstone_retention_us: Set(collection.limits.tombstone_retention_us),
        last_seq: Set(collection.last_seq),
        branch: Set(collection.branch),
        purged_seq: Set(collection.purged_seq),
        record_count: Set(collection.record_count),
        tombstone_count: Set(collection.tombstone_count),
        size_bytes: Set(collection.size_bytes),
        watched_until_time: Set(collection.watched_until_us),
        create_time: Set(collection.create_us),
        update_time: Set(collection.update_us),
    }
}

/// Why a record stays as it is, as its caller is told.
pub(super) fn refused(refusal: Refusal) -> Error {
    let error = match refusal {
        Refusal::NotFound => RecordsError::RecordNotFound,
        Refusal::Exists => RecordsError::RecordExists,
        Refusal::Changed => RecordsError::RecordChanged,
    };
    error.into()
}
