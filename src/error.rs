//! Everything that can go wrong, in one closed enum that knows nothing of the transport.
//!
//! `status.rs` says what a caller is told of each. Fields named `cause` are for the log only.

mod records;
mod violations;

use sea_orm::DbErr;
use thiserror::Error;

pub use records::RecordsError;
use violations::cut;
pub use violations::{Violation, Violations};

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// Fields of the request are wrong: all of them.
    #[error("invalid request: {}", list(.0))]
    Invalid(Vec<Violation>),
    /// A page token is damaged or belongs to another query.
    #[error("the page token is damaged or belongs to another query")]
    PageTokenInvalid,
    /// A request id came again with another body.
    #[error("the request_id was used before with another body")]
    RequestIdReused,
    /// There is no such namespace.
    #[error("no such namespace")]
    NamespaceNotFound,
    /// A condition asked for an entry that is not there.
    #[error("no live entry has this key")]
    EntryNotFound,
    /// A condition asked for an absent entry that is there.
    #[error("a live entry has this key")]
    EntryExists,
    /// The entry is another by now.
    #[error("the entry has another etag")]
    EtagMismatch,
    /// The lease is no longer held.
    #[error("the lease is not held any more")]
    LeaseLost,
    /// The entry does not fit into its namespace.
    #[error("the entry needs {bytes} bytes and its namespace holds {bytes_max}")]
    EntryTooLarge {
        /// What the entry would be charged.
        bytes: i64,
        /// The namespace's limit.
        bytes_max: i64,
    },
    /// No further namespace may be made.
    #[error("there are {namespaces_max} namespaces, as many as may be")]
    TooManyNamespaces {
        /// The limit.
        namespaces_max: i64,
    },
    /// A document has no verdict of its schema yet: the write is run again. No caller sees it.
    #[error("a document was not judged")]
    Unjudged,
    /// There is no such job.
    #[error("no such job")]
    JobNotFound,
    /// There is a job with this id.
    #[error("a job has this id")]
    JobExists,
    /// The job's status does not lead to the other.
    #[error("a job that is {from} cannot become {to}")]
    JobTransitionIllegal {
        /// What it is.
        from: &'static str,
        /// What it was to become.
        to: &'static str,
    },
    /// The job has ended.
    #[error("the job has ended: it is {status}")]
    JobEnded {
        /// How it has ended.
        status: &'static str,
    },
    /// The total would be below what is processed.
    #[error("{processed} items are processed, more than the total that was given")]
    JobTotalTooSmall {
        /// What is processed.
        processed: i64,
    },
    /// More items than a job may count.
    #[error("a job counts at most {count_max} items")]
    JobCountTooLarge {
        /// The limit.
        count_max: i64,
    },
    /// There is no such setting.
    #[error("no such setting")]
    SettingNotFound,
    /// There is such a setting, and none was asked for.
    #[error("a setting has this key")]
    SettingExists,
    /// The setting has another revision.
    #[error("the setting has another revision")]
    SettingChanged,
    /// No further setting may be made.
    #[error("there are {settings_max} settings, as many as may be")]
    TooManySettings {
        /// The limit.
        settings_max: i64,
    },
    /// There is no such task.
    #[error("no such task")]
    TaskNotFound,
    /// There is no such queue.
    #[error("no such queue")]
    QueueNotFound,
    /// There is no such schedule.
    #[error("no such schedule")]
    ScheduleNotFound,
    /// The task is not held with that token any more.
    #[error("the task is not held with this token any more")]
    TaskLeaseLost,
    /// The task's state does not allow what was asked.
    #[error("a task that is {state} cannot be {wanted}")]
    IllegalTransition {
        /// Where the task stands.
        state: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
    /// A task's result is too large.
    #[error("the result has {bytes} bytes, and queue.result_bytes_max is {bytes_max}")]
    ResultTooLarge {
        /// Bytes of the result.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// An unfinished task has the same unique key.
    #[error("task {task_id} is unfinished and has the same unique key")]
    TaskDuplicate {
        /// The unfinished task.
        task_id: i64,
    },
    /// The item of a job has a task or a result.
    #[error("the job's item {item_key:?} has {by}")]
    JobItemDuplicate {
        /// The item.
        item_key: String,
        /// What it has.
        by: String,
    },
    /// The result of a task is too large for its job.
    #[error(
        "the result has {bytes} bytes as data of its job, the limit is {bytes_max} (jobs.result_data_bytes_max)"
    )]
    JobResultTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The queue has no such type.
    #[error("the queue has no type {name:?}")]
    TypeNotFound {
        /// The name.
        name: String,
    },
    /// The queue is not empty.
    #[error("the queue has {tasks} tasks and {schedules} schedules")]
    QueueNotEmpty {
        /// Its tasks.
        tasks: i64,
        /// Its schedules.
        schedules: i64,
    },
    /// The worker is not alive.
    #[error("the worker is unknown, has left, or was taken for dead")]
    WorkerLost,
    /// No further queue may be made.
    #[error("there are {queues_max} queues, as many as may be")]
    TooManyQueues {
        /// The limit.
        queues_max: i64,
    },
    /// No further type may be made in a queue.
    #[error("the queue has {types_max} types, as many as may be")]
    TooManyTypes {
        /// The limit.
        types_max: i64,
    },
    /// No further limit key may be made.
    #[error("there are {keys_max} limit keys, as many as may be")]
    TooManyKeys {
        /// The limit.
        keys_max: i64,
    },
    /// No further worker may register.
    #[error("there are {workers_max} live workers, as many as may be")]
    TooManyWorkers {
        /// The limit.
        workers_max: i64,
    },
    /// No further schedule may be made.
    #[error("there are {schedules_max} schedules, as many as may be")]
    TooManySchedules {
        /// The limit.
        schedules_max: i64,
    },
    /// There is no such upload session.
    #[error("no such upload session")]
    UploadSessionNotFound,
    /// There is an upload session with this id.
    #[error("an upload session has this id")]
    UploadSessionExists,
    /// The session's status does not lead to the other.
    #[error("an upload session that is {from} cannot become {to}")]
    UploadTransitionIllegal {
        /// What it is.
        from: &'static str,
        /// What it was to become.
        to: &'static str,
    },
    /// The session has ended.
    #[error("the upload session is finished: it is {status}")]
    UploadSessionFinished {
        /// How it has ended.
        status: &'static str,
    },
    /// The total would be below what is processed.
    #[error("{processed} files are processed, more than the total that was given")]
    UploadTotalTooSmall {
        /// What is processed.
        processed: i64,
    },
    /// The reservation is no longer held.
    #[error("the reservation is not held any more")]
    UploadReservationLost,
    /// Another holds a reservation of the file.
    #[error("another holds a reservation of the file")]
    UploadFileReserved,
    /// A line of an index is wrong.
    #[error("line {line} of the index {problem}")]
    IndexLineInvalid {
        /// The line, from 1, over all messages.
        line: i64,
        /// What is wrong with it.
        problem: String,
        /// Files that were taken from earlier messages, where the import ends here.
        taken: Option<i64>,
    },
    /// No further name may be made.
    #[error("there are {names_max} {what}, as many as may be")]
    TooManyUploadNames {
        /// What is named.
        what: &'static str,
        /// The limit.
        names_max: i64,
        /// The setting that holds it.
        setting: &'static str,
    },
    /// There is no such prompt.
    #[error("no such prompt")]
    PromptNotFound,
    /// The prompt would have too many tags or scores.
    #[error("the prompt would have {count} {what}")]
    TooManyPromptMarks {
        /// What there would be too many of.
        what: &'static str,
        /// How many there would be.
        count: i64,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// Statistics would read too much, or have too many groups.
    #[error(
        "the statistics have more rows or groups than prompts.stats_rows_max and prompts.stats_groups_max allow"
    )]
    StatsRangeTooLarge,
    /// What is wrong with a record, a collection, a cursor or a client.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A check of a commit does not hold.
    #[error("a {thing} that is {is} is not as the check asks")]
    CheckFailed {
        /// What was checked.
        thing: &'static str,
        /// Where it stands.
        is: &'static str,
    },
    /// An answer, or one row of it, is larger than the caller accepts.
    #[error("{what} takes {bytes} bytes, and the caller accepts {bytes_max}")]
    AnswerTooLarge {
        /// The key of the row; empty: the whole answer.
        key: String,
        /// The row or the answer, as the message names it.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// One part of a request that is done as a whole, or not at all.
    #[error("{place}: {cause}")]
    At {
        /// Where it is in the request, such as `mutations[3].cache_put`.
        place: String,
        /// What is wrong there.
        cause: Box<Error>,
    },
    /// More at once than the settings allow.
    #[error("the limit {setting} is reached")]
    Overloaded {
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// No room for the write.
    #[error("storage is full")]
    StorageFull,
    /// The database failed.
    #[error("storage failed: {cause}")]
    StorageUnavailable {
        /// What the database said.
        cause: String,
    },
    /// The database is damaged.
    #[error("storage is corrupt: {cause}")]
    StorageCorrupt {
        /// What the database said.
        cause: String,
    },
    /// The sidecar is stopping.
    #[error("stopping")]
    ShuttingDown,
    /// The deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The database refused by a constraint.
    #[error("constraint violated: {cause}")]
    ConstraintViolated {
        /// What the database said.
        cause: String,
    },
    /// A stored row cannot be read.
    #[error("corrupt row: table {table}, column {column}, row {row}: {cause}")]
    CorruptRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        row: i64,
        /// What is wrong with it.
        cause: String,
    },
    /// A start or a command will not go on with this data; the sentence says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// A write on a sidecar that only reads.
    #[error("storage.read_only is set")]
    ReadOnly,
    /// A call moves the clock of a sidecar that runs on the system's.
    #[error("the sidecar runs on the system's clock")]
    ClockNotManual,
    /// A setting is wrong, as only the one who uses it can tell.
    #[error("{setting} {problem}")]
    Misconfigured {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// What the database said, before the engine has made one of the above of it.
    #[error("database: {0}")]
    Database(#[from] DbErr),
    /// A fault of our own.
    #[error("internal: {cause}")]
    Internal {
        /// What happened.
        cause: String,
    },
}

impl Error {
    /// A fault of our own.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::Internal { cause: cause.into() }
    }

    /// Whether the write is to be run again once its documents are judged.
    pub fn is_unjudged(&self) -> bool {
        match self {
            Self::At { cause, .. } => cause.is_unjudged(),
            error => matches!(error, Self::Unjudged),
        }
    }

    /// The row of that name is larger than an answer may be. An empty name: the answer is.
    pub fn answer_too_large(key: String, bytes: usize, bytes_max: usize) -> Self {
        let key = cut(key);
        let what = if key.is_empty() { "the answer".to_owned() } else { format!("{key:?}") };
        Self::AnswerTooLarge { key, what, bytes: bytes as u64, bytes_max: bytes_max as u64 }
    }

    /// `cause`, at a place of the request: one within the place that it has, if it has one. What the database said is left as it
    /// is: the engine makes something of it.
    pub fn at(place: String, cause: Self) -> Self {
        match cause {
            Self::Database(_) => cause,
            Self::At { place: within, cause } => Self::At { place: format!("{place}.{within}"), cause },
            cause => Self::At { place, cause: Box::new(cause) },
        }
    }
}

fn list(violations: &[Violation]) -> String {
    let lines: Vec<_> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    lines.join("; ")
}
