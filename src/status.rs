//! What a caller is told of each error: a gRPC code, a stable reason, a sentence that says what to do, and details.
//!
//! The one place where errors meet the transport. Causes, rows and statements stay in the log.

mod details;
mod records;

use std::collections::HashMap;
use std::time::Duration;

use pannier_proto::errors::v1::ErrorReason;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::answer;
use crate::error::{Error, RecordsError, Result, Violation};

pub use details::ItemErrors;
use details::{cut, details};

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "pannier.dev";

/// When a caller that was refused for lack of room or time should come again.
const RETRY_SOON: Duration = Duration::from_millis(100);

/// When a caller should come again that needs somebody to mend something first.
const RETRY_LATER: Duration = Duration::from_secs(1);

/// What the method of a service answers.
pub type Reply<T> = std::result::Result<Response<T>, Status>;

/// An answer as tonic takes it.
pub fn reply<T>(result: Result<T>) -> Reply<T> {
    result.map(Response::new).map_err(of)
}

struct Description {
    code: Code,
    reason: ErrorReason,
    message: String,
    retry: Option<Duration>,
}

/// The status of an error; what is a fault of ours or of the machine's is logged here, once.
pub fn of(error: Error) -> Status {
    log(&error);
    let Description { code, reason, message, retry } = describe(&error);
    let mut details = details(&error, retry);
    details.set_error_info(reason_name(reason), DOMAIN, place(&error));
    Status::with_error_details(code, cut(message), details)
}

/// What went wrong, wherever it did.
fn root(error: &Error) -> &Error {
    if let Error::At { cause, .. } = error { cause } else { error }
}

/// Where in the request the error is, as ErrorInfo carries it: the place, and of a commit the number of the mutation.
fn place(error: &Error) -> HashMap<String, String> {
    if let Error::Records(RecordsError::SyncOutOfOrder { expected_mutation_id }) = error {
        return [("expected_mutation_id".to_owned(), expected_mutation_id.to_string())].into();
    }
    if let Error::AnswerTooLarge { key, bytes, bytes_max, .. } = root(error) {
        return too_large(key, *bytes, *bytes_max);
    }
    let Error::At { place, .. } = error else { return HashMap::new() };
    let index = place.strip_prefix("mutations[").and_then(|rest| rest.split(']').next());
    let index = index.map(|index| ("mutation".to_owned(), index.to_owned()));
    index.into_iter().chain([("field".to_owned(), place.clone())]).collect()
}

/// The size of an answer and its limit, as ErrorInfo carries them; the key of the row, if it is one row.
fn too_large(key: &str, bytes: u64, bytes_max: u64) -> HashMap<String, String> {
    let key = (!key.is_empty()).then(|| ("key".to_owned(), key.to_owned()));
    let metadata = [
        ("metadata".to_owned(), answer::METADATA.to_owned()),
        ("bytes".to_owned(), bytes.to_string()),
        ("bytes_max".to_owned(), bytes_max.to_string()),
    ];
    metadata.into_iter().chain(key).collect()
}

/// A status of the transport's own, in Pannier's words.
pub fn transport(code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// The reason as ErrorInfo carries it.
fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn describe(error: &Error) -> Description {
    use ErrorReason as R;
    let tell =
        |code, reason, message: &str| Description { code, reason, message: message.to_owned(), retry: None };
    let retry = |after, description: Description| Description { retry: Some(after), ..description };
    match error {
        Error::Invalid(violations) => {
            let text = |v: &Violation| format!("{} {}", v.field, v.description).trim_start().to_owned();
            let first = violations.first().map(text);
            let more = match violations.len() {
                0 | 1 => String::new(),
                count => format!(" (and {} more, see the details)", count - 1),
            };
            let message = format!("{}{more}", first.unwrap_or_default());
            tell(Code::InvalidArgument, R::InvalidArgument, &message)
        }
        Error::PageTokenInvalid => tell(
            Code::InvalidArgument,
            R::PageTokenInvalid,
            "page_token is damaged or belongs to another query: start again without it",
        ),
        Error::RequestIdReused => tell(
            Code::InvalidArgument,
            R::RequestIdReused,
            "request_id was used before with another body: give each new request a new UUID",
        ),
        Error::NamespaceNotFound => tell(
            Code::NotFound,
            R::NamespaceNotFound,
            "there is no such namespace: put an entry into it, or create it with UpdateNamespace",
        ),
        Error::EntryNotFound => tell(
            Code::NotFound,
            R::EntryNotFound,
            "no live entry has this key, and the condition asks for one: put it without the condition",
        ),
        Error::EntryExists => tell(
            Code::AlreadyExists,
            R::EntryExists,
            "a live entry has this key, and the condition asks for none: read it, or put without the condition",
        ),
        Error::EtagMismatch => tell(
            Code::Aborted,
            R::EtagMismatch,
            "the entry has changed since that etag: read it again, then decide",
        ),
        Error::LeaseLost => tell(
            Code::Aborted,
            R::LeaseLost,
            "the lease is no longer held: it ran out, or the key was written or deleted; ask again with GetOrLease",
        ),
        Error::TaskNotFound => {
            tell(Code::NotFound, R::TaskNotFound, "there is no such task; it may be over its retention")
        }
        Error::QueueNotFound => tell(
            Code::NotFound,
            R::QueueNotFound,
            "there is no such queue: enqueue a task into it, or make it with UpdateQueue",
        ),
        Error::ScheduleNotFound => {
            tell(Code::NotFound, R::ScheduleNotFound, "there is no such schedule: make it with PutSchedule")
        }
        Error::TaskLeaseLost => tell(
            Code::Aborted,
            R::LeaseLost,
            "the task is not held with this token any more, and nothing was recorded: stop working on it",
        ),
        Error::IllegalTransition { .. } => tell(
            Code::FailedPrecondition,
            R::IllegalTransition,
            &format!("{error}: read it again, then decide"),
        ),
        Error::ResultTooLarge { .. } => tell(
            Code::ResourceExhausted,
            R::ResultTooLarge,
            &format!("{error}: the task is still held; report a smaller result or a final failure"),
        ),
        Error::TaskDuplicate { .. } => tell(
            Code::AlreadyExists,
            R::TaskDuplicate,
            &format!("{error}: cancel it first, or leave this one"),
        ),
        Error::JobItemDuplicate { .. } => tell(
            Code::AlreadyExists,
            R::JobItemDuplicate,
            &format!("{error}: give each item a key of its own"),
        ),
        Error::JobResultTooLarge { .. } => tell(
            Code::ResourceExhausted,
            R::JobResultTooLarge,
            &format!("{error}: store the rest elsewhere, or raise the setting"),
        ),
        Error::TypeNotFound { .. } => {
            tell(Code::NotFound, R::TypeNotFound, &format!("{error}: the first Enqueue of a type makes it"))
        }
        Error::QueueNotEmpty { .. } => tell(
            Code::FailedPrecondition,
            R::QueueNotEmpty,
            &format!("{error}: delete it with force, or when they are gone"),
        ),
        Error::WorkerLost => tell(
            Code::FailedPrecondition,
            R::WorkerLost,
            "the worker is unknown, has left, or was taken for dead and its tasks went to others: register again",
        ),
        Error::TooManyQueues { .. } => {
            tell(Code::ResourceExhausted, R::TooManyQueues, &format!("{error}: raise queue.queues_max"))
        }
        Error::TooManyTypes { .. } => {
            tell(Code::ResourceExhausted, R::TooManyTypes, &format!("{error}: raise queue.types_max"))
        }
        Error::TooManyKeys { .. } => {
            tell(Code::ResourceExhausted, R::TooManyKeys, &format!("{error}: raise queue.keys_max"))
        }
        Error::TooManyWorkers { .. } => {
            tell(Code::ResourceExhausted, R::TooManyWorkers, &format!("{error}: raise queue.workers_max"))
        }
        Error::TooManySchedules { .. } => tell(
            Code::ResourceExhausted,
            R::TooManySchedules,
            &format!("{error}: delete some, or raise queue.schedules_max"),
        ),
        Error::EntryTooLarge { .. } => tell(
            Code::ResourceExhausted,
            R::EntryTooLarge,
            &format!("{error}: raise the namespace's bytes_max, or put less"),
        ),
        Error::TooManyNamespaces { .. } => tell(
            Code::ResourceExhausted,
            R::TooManyNamespaces,
            &format!("{error}: delete some, or raise cache.namespaces_max"),
        ),
        Error::JobNotFound => tell(
            Code::NotFound,
            R::JobNotFound,
            "there is no such job: the id is wrong, or it was deleted, or jobs.retention_ms is over",
        ),
        Error::JobExists => tell(
            Code::AlreadyExists,
            R::JobExists,
            "there is a job with this id: read it, or leave job_id empty to have one made",
        ),
        Error::JobTransitionIllegal { from, to } if from == to => tell(
            Code::FailedPrecondition,
            R::JobTransitionIllegal,
            &format!("the job is {to} with another error: read the job; UpdateJob changes its error"),
        ),
        Error::JobTransitionIllegal { .. } => tell(
            Code::FailedPrecondition,
            R::JobTransitionIllegal,
            &format!("{error}: read the job, then decide; docs/jobs.md draws the legal transitions"),
        ),
        Error::JobEnded { .. } => tell(
            Code::FailedPrecondition,
            R::JobEnded,
            &format!("{error}; results and progress come too late. One that FAILED can be taken up again"),
        ),
        Error::JobTotalTooSmall { .. } => tell(
            Code::FailedPrecondition,
            R::JobCountInvalid,
            &format!("{error}: give a total of at least as many, or none"),
        ),
        Error::JobCountTooLarge { .. } => {
            tell(Code::FailedPrecondition, R::JobCountInvalid, &format!("{error}: make several jobs of it"))
        }
        Error::SettingNotFound => tell(
            Code::NotFound,
            R::SettingNotFound,
            "there is no such setting: the key is wrong, or it was deleted; Set makes it",
        ),
        Error::SettingExists => tell(
            Code::AlreadyExists,
            R::SettingExists,
            "there is a setting with this key, and the condition asks for none: read it, or set it without the condition",
        ),
        Error::SettingChanged => tell(
            Code::Aborted,
            R::SettingChanged,
            "the setting has changed since that revision: read it again, then decide",
        ),
        Error::TooManySettings { .. } => tell(
            Code::ResourceExhausted,
            R::TooManySettings,
            &format!("{error}: delete some, or raise settings.settings_max"),
        ),
        Error::UploadSessionNotFound => tell(
            Code::NotFound,
            R::UploadSessionNotFound,
            "there is no such upload session: the id is wrong, or it was deleted",
        ),
        Error::UploadSessionExists => tell(
            Code::AlreadyExists,
            R::UploadSessionExists,
            "there is an upload session with this id: read it, or leave session_id empty to have one made",
        ),
        Error::UploadTransitionIllegal { .. } => tell(
            Code::FailedPrecondition,
            R::UploadTransitionIllegal,
            &format!("{error}: read it, then decide; docs/uploads.md draws the legal transitions"),
        ),
        Error::UploadSessionFinished { .. } => tell(
            Code::FailedPrecondition,
            R::UploadSessionFinished,
            &format!("{error}, and takes nothing more: begin another session"),
        ),
        Error::UploadTotalTooSmall { .. } => tell(
            Code::FailedPrecondition,
            R::UploadCountInvalid,
            &format!("{error}: give a total of at least as many"),
        ),
        Error::UploadReservationLost => tell(
            Code::Aborted,
            R::UploadReservationLost,
            "the reservation is not held any more: it ran out, was released, or another has the file since; ask with CheckFiles what became of it",
        ),
        Error::UploadFileReserved => tell(
            Code::Aborted,
            R::UploadFileReserved,
            "another holds a reservation of the file: register it with its token, or wait until it is uploaded",
        ),
        Error::IndexLineInvalid { taken: None, .. } => tell(
            Code::InvalidArgument,
            R::IndexLineInvalid,
            &format!("{error}: mend the line and import it again"),
        ),
        Error::IndexLineInvalid { taken: Some(taken), .. } => tell(
            Code::InvalidArgument,
            R::IndexLineInvalid,
            &format!(
                "{error}; of its message nothing was stored, of those before it all {taken} files: mend the line and import again"
            ),
        ),
        Error::TooManyUploadNames { setting, .. } => {
            tell(Code::ResourceExhausted, R::TooManyUploadNames, &format!("{error}: raise {setting}"))
        }
        Error::PromptNotFound => tell(
            Code::NotFound,
            R::PromptNotFound,
            "there is no such prompt: the id is wrong, or it was deleted, or its retention is over",
        ),
        Error::TooManyPromptMarks { setting, .. } => tell(
            Code::FailedPrecondition,
            R::TooManyPromptMarks,
            &format!("{error}: remove some first, or raise {setting}"),
        ),
        Error::StatsRangeTooLarge => tell(
            Code::ResourceExhausted,
            R::StatsRangeTooLarge,
            &format!(
                "{error}: begin and end at whole hours, ask for a shorter time or fewer groups, or raise the setting"
            ),
        ),
        Error::Records(error) => records::describe(error),
        Error::CheckFailed { .. } => {
            tell(Code::FailedPrecondition, R::CheckFailed, &format!("{error}: read it again, then decide"))
        }
        Error::AnswerTooLarge { .. } => tell(
            Code::ResourceExhausted,
            R::AnswerTooLarge,
            &format!("{error}: send the metadata {} with a higher limit, or ask for less", answer::METADATA),
        ),
        Error::At { place, cause } => {
            let inner = describe(cause);
            Description { message: format!("{place}: {}; nothing was changed", inner.message), ..inner }
        }
        Error::Overloaded { setting } => retry(
            RETRY_SOON,
            tell(
                Code::ResourceExhausted,
                R::Overloaded,
                &format!("more calls at once than {setting} allows: try again shortly, or raise it"),
            ),
        ),
        Error::StorageFull => retry(
            RETRY_LATER,
            tell(
                Code::ResourceExhausted,
                R::StorageFull,
                "storage is full and nothing was stored: free disk space, or delete or evict entries, then try again",
            ),
        ),
        Error::StorageUnavailable { .. } => retry(
            RETRY_LATER,
            tell(
                Code::Unavailable,
                R::StorageUnavailable,
                "the database failed and nothing was acknowledged: try again, a write with the same request_id; the sidecar's log has the cause",
            ),
        ),
        Error::StorageCorrupt { .. } => tell(
            Code::DataLoss,
            R::StorageCorrupt,
            "the database is damaged: run `pannier doctor`, and restore a backup; the sidecar's log has the cause",
        ),
        Error::ShuttingDown => retry(
            RETRY_LATER,
            tell(Code::Unavailable, R::ShuttingDown, "the sidecar is stopping: try again when it is back"),
        ),
        Error::DeadlineExceeded => tell(
            Code::DeadlineExceeded,
            R::DeadlineExceeded,
            "the deadline passed: repeat a write with its request_id to learn its outcome, or allow more time",
        ),
        Error::ConstraintViolated { .. } => tell(
            Code::FailedPrecondition,
            R::ConstraintViolated,
            "the database refused the change by a constraint: the sidecar's log has the cause",
        ),
        Error::CorruptRow { .. } => tell(
            Code::DataLoss,
            R::CorruptRow,
            "a stored row cannot be read: the sidecar's log names it; delete it or restore a backup",
        ),
        Error::Unjudged => retry(
            RETRY_SOON,
            tell(
                Code::Aborted,
                R::RecordBusy,
                "the record or its schema changed each time while the document was judged, and nothing was changed: try again",
            ),
        ),
        Error::ReadOnly => tell(
            Code::FailedPrecondition,
            R::ReadOnly,
            "the sidecar only reads (storage.read_only) and nothing was stored: write through one that does not",
        ),
        Error::ClockNotManual => tell(
            Code::FailedPrecondition,
            R::ClockNotManual,
            "the sidecar runs on the system's clock: start it with --ephemeral --test-clock",
        ),
        Error::Refused(_) | Error::Misconfigured { .. } | Error::Database(_) | Error::Internal { .. } => {
            tell(
                Code::Internal,
                R::Internal,
                "a fault of Pannier's: the sidecar's log has the cause; please report it",
            )
        }
    }
}

fn log(error: &Error) {
    match root(error) {
        Error::StorageUnavailable { .. }
        | Error::StorageCorrupt { .. }
        | Error::ConstraintViolated { .. }
        | Error::CorruptRow { .. }
        | Error::Refused(_)
        | Error::Misconfigured { .. }
        | Error::Database(_)
        | Error::Internal { .. } => tracing::error!(error = %error, "a call failed"),
        _ => tracing::debug!(error = %error, "a call was refused"),
    }
}
