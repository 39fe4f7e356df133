//! What a caller is told of the errors of records.

use pannier_proto::errors::v1::ErrorReason as R;

use super::{Code, Description};
use crate::error::RecordsError;

pub(super) fn describe(error: &RecordsError) -> Description {
    let tell =
        |code, reason, message: &str| Description { code, reason, message: message.to_owned(), retry: None };
    match error {
        RecordsError::CollectionNotFound => tell(
            Code::NotFound,
            R::CollectionNotFound,
            "there is no such collection: the name is wrong, or it was deleted; CreateCollection makes it",
        ),
        RecordsError::CollectionExists => tell(
            Code::AlreadyExists,
            R::CollectionExists,
            "there is a collection with this name: use it, or change it with UpdateCollection",
        ),
        RecordsError::CollectionChanged => tell(
            Code::Aborted,
            R::CollectionChanged,
            "the collection's declaration has changed since that revision: read it again, then decide",
        ),
        RecordsError::TooManyCollections { .. } => tell(
            Code::ResourceExhausted,
            R::TooManyCollections,
            &format!("{error}: delete some, or raise records.collections_max"),
        ),
        RecordsError::CollectionFull { .. } => tell(
            Code::ResourceExhausted,
            R::CollectionFull,
            &format!("{error}: delete some records, or raise the collection's limit"),
        ),
        RecordsError::RecordNotFound => tell(
            Code::NotFound,
            R::RecordNotFound,
            "there is no such record: the key is wrong, or it was deleted; Put makes it",
        ),
        RecordsError::RecordExists => tell(
            Code::AlreadyExists,
            R::RecordExists,
            "there is a record with this key, and INSERT asks for none: read it, or put with REPLACE or KEEP",
        ),
        RecordsError::RecordChanged => tell(
            Code::Aborted,
            R::RecordChanged,
            "the record has changed since that revision: read it again, then decide",
        ),
        RecordsError::DocumentTooLarge { .. } => tell(
            Code::ResourceExhausted,
            R::DocumentTooLarge,
            &format!("{error}: make it smaller, or raise the collection's document_bytes_max"),
        ),
        RecordsError::SchemaViolated(violations) => {
            let first = violations.first().map(|first| format!(": {} {}", first.field, first.description));
            let first = first.unwrap_or_default();
            let message =
                format!("the document is not as its collection's schema asks{first} (all in the details)");
            tell(Code::InvalidArgument, R::SchemaViolated, &message)
        }
        RecordsError::SchemaStepsExceeded { .. } => tell(
            Code::ResourceExhausted,
            R::SchemaStepsExceeded,
            &format!(
                "{error}: simplify the schema, whose references double, make the document smaller, or raise records.schema_steps_max"
            ),
        ),
        RecordsError::QueryNeedsIndex { .. } => tell(
            Code::ResourceExhausted,
            R::QueryNeedsIndex,
            &format!("{error}: declare an index on that path, or filter by an indexed one"),
        ),
        cursor_or_client => describe_sync(cursor_or_client),
    }
}

/// Cursors and clients.
fn describe_sync(error: &RecordsError) -> Description {
    let tell = |code, reason, message: String| Description { code, reason, message, retry: None };
    match error {
        RecordsError::CursorInvalid => tell(
            Code::InvalidArgument,
            R::CursorInvalid,
            format!("{error}: give what Changes, Watch or Sync gave last for this collection, or nothing"),
        ),
        RecordsError::CursorReset => tell(
            Code::FailedPrecondition,
            R::CursorReset,
            "deletions may have been missed since that cursor: begin anew with an empty one, and drop what that does not tell"
                .into(),
        ),
        RecordsError::SyncClientUnknown => tell(
            Code::FailedPrecondition,
            R::SyncClientUnknown,
            "the client is not known any more, and nothing was applied: begin anew with an empty client_id; what was pushed before and not answered may have been applied"
                .into(),
        ),
        RecordsError::SyncOutOfOrder { .. } => tell(
            Code::FailedPrecondition,
            R::SyncOutOfOrder,
            format!("{error}, and nothing was applied: push from there on"),
        ),
        RecordsError::SyncMutationReused { .. } => tell(
            Code::InvalidArgument,
            R::SyncMutationReused,
            format!("{error}, and nothing was applied: two clients have one id, or one has changed what it had pushed"),
        ),
        RecordsError::SyncUnacknowledged { .. } => tell(
            Code::ResourceExhausted,
            R::SyncUnacknowledged,
            format!("{error} (records.sync_outcomes_max): acknowledge those that were received by last_mutation_id"),
        ),
        RecordsError::TooManySyncClients { .. } => tell(
            Code::ResourceExhausted,
            R::TooManySyncClients,
            format!("{error}: raise records.clients_max; those that are not seen are forgotten after records.client_retention_ms"),
        ),
        other => tell(Code::Internal, R::Internal, format!("a fault of Pannier's: {other}")),
    }
}
