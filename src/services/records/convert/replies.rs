//! Records and results as the wire has them.

use pannier_proto::records::v1 as pb;

use crate::convert::timestamp;
use crate::error::Result;
use crate::services::records::domain::{PutOutcome, Record};
use crate::services::records::store::Put;
use crate::status::ItemErrors;

/// A record or a tombstone.
pub(in super::super) fn record(record: Record) -> pb::Record {
    pb::Record {
        key: record.key,
        revision: record.seq,
        deleted: record.document.is_none(),
        document_json: record.document.unwrap_or_default(),
        create_time: Some(timestamp(record.create_us)),
        update_time: Some(timestamp(record.update_us)),
    }
}

/// What became of a document.
pub(in super::super) fn stored(key: String, put: Put) -> pb::PutResult {
    let outcome = match put.outcome {
        PutOutcome::Created => pb::PutOutcome::Created,
        PutOutcome::Replaced => pb::PutOutcome::Replaced,
        PutOutcome::Kept => pb::PutOutcome::Kept,
        PutOutcome::Unchanged => pb::PutOutcome::Unchanged,
    };
    pb::PutResult { key, revision: put.revision, outcome: outcome.into() }
}

/// What became of a document of a batch.
pub(in super::super) fn put_result(
    result: Result<pb::PutResult>,
    errors: &mut ItemErrors,
) -> pb::BatchPutResult {
    use pb::batch_put_result::Outcome;
    let outcome = result.map_or_else(|error| Outcome::Error(errors.of(&error)), Outcome::Put);
    pb::BatchPutResult { outcome: Some(outcome) }
}

/// What became of a document of a batch that was to be changed.
pub(in super::super) fn patch_result(
    result: Result<pb::PatchResult>,
    errors: &mut ItemErrors,
) -> pb::BatchPatchResult {
    use pb::batch_patch_result::Outcome;
    let outcome = result.map_or_else(|error| Outcome::Error(errors.of(&error)), Outcome::Patch);
    pb::BatchPatchResult { outcome: Some(outcome) }
}

/// What became of a record that was to be deleted.
pub(in super::super) fn deletion(revision: Option<i64>) -> pb::DeleteResult {
    pb::DeleteResult { deleted: revision.is_some(), revision: revision.unwrap_or_default() }
}

/// The same of a batch.
pub(in super::super) fn delete_result(
    result: Result<pb::DeleteResult>,
    errors: &mut ItemErrors,
) -> pb::BatchDeleteResult {
    use pb::batch_delete_result::Outcome;
    let outcome = result.map_or_else(|error| Outcome::Error(errors.of(&error)), Outcome::Deletion);
    pb::BatchDeleteResult { outcome: Some(outcome) }
}
