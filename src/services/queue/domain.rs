//! What the queue is about: tasks, their states and order, outcomes, queues and workers. No I/O.
//!
//! Times named `_us` are by the steady clock, but for those named `run_us`, which are by the wall clock.

use uuid::Uuid;

pub use super::order::Requested;
pub use super::rules::{KeyLimits, Rules, RulesPatch};

/// The priority of a task that names none.
pub const PRIORITY_DEFAULT: i64 = 5;

/// The highest priority; the lowest is 1.
pub const PRIORITY_MAX: i64 = 10;

/// The queue that is meant when none is named.
pub const QUEUE_DEFAULT: &str = "default";

/// Where a task stands. The numbers are those in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Can be claimed.
    Queued = 0,
    /// Waits for its run time.
    Scheduled = 1,
    /// Held.
    Claimed = 2,
    /// Held, and begun.
    Running = 3,
    /// Done.
    Completed = 4,
    /// Given up.
    Failed = 5,
    /// Cancelled.
    Cancelled = 6,
    /// Could be claimed if the limits of its key had room.
    Blocked = 7,
}

impl State {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Scheduled,
        Self::Claimed,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Blocked,
    ];

    /// As the table has it.
    pub fn number(self) -> i64 {
        i64::from(self as u8)
    }

    /// The state of a number in the table.
    pub fn of(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied())
    }

    /// Whether a worker has it.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }

    /// Whether it has come to its end.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Scheduled => "SCHEDULED",
            Self::Claimed => "CLAIMED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Blocked => "BLOCKED",
        }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The row.
    pub id: i64,
    /// The name.
    pub name: String,
    /// How it works.
    pub rules: Rules,
    /// Whether claims are stopped.
    pub is_paused: bool,
    /// When it was made.
    pub create_us: i64,
    /// When it was last changed.
    pub update_us: i64,
}

/// A type of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The row.
    pub id: i64,
    /// Its queue.
    pub queue_id: i64,
    /// The name.
    pub name: String,
}

/// When a new task can be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// At a time of the wall clock.
    At(i64),
    /// After so many microseconds.
    After(i64),
}

/// A task that is to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// The type's name.
    pub type_name: String,
    /// JSON, or none.
    pub parameters: Option<String>,
    /// 1 to 10.
    pub priority: i64,
    /// When it can be claimed.
    pub when: When,
    /// None: the queue's.
    pub retries_max: Option<i64>,
    /// None: the queue's.
    pub timeout_us: Option<i64>,
    /// The key whose limits it counts against.
    pub limit_key: Option<String>,
    /// Not if there is one like it.
    pub unique: Option<Unique>,
    /// The schedule that adds it.
    pub schedule_id: Option<i64>,
    /// The item of a job that it is.
    pub job_item: Option<JobItem>,
}

/// An item of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobItem {
    /// The job.
    pub job_id: Uuid,
    /// What it is called there; none: the task's id.
    pub key: Option<String>,
}

/// When a task counts as one that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The key.
    pub key: String,
    /// A bit for each state in which an earlier task stands in the way.
    pub states: i64,
    /// For how long after its enqueueing; none: as long as it is in one of the states.
    pub period_us: Option<i64>,
}

impl Unique {
    /// The states that count when none are named: all that are unfinished.
    pub fn default_states() -> i64 {
        Self::bits(State::ALL.into_iter().filter(|state| !state.is_finished()))
    }

    /// The bits of some states.
    pub fn bits(states: impl IntoIterator<Item = State>) -> i64 {
        states.into_iter().fold(0, |bits, state| bits | 1 << state.number())
    }

    /// Whether a task that was enqueued at `create_us` and stands at `state` is in the way.
    pub fn is_met_by(&self, state: State, create_us: i64, now_us: i64) -> bool {
        let is_recent = self.period_us.is_none_or(|period_us| now_us < create_us.saturating_add(period_us));
        is_recent && self.states & 1 << state.number() != 0
    }
}

/// What became of a task that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The task, or the one that was there.
    pub task_id: i64,
    /// Whether one like it was there.
    pub is_duplicate: bool,
    /// Where it stands.
    pub state: State,
}

/// What happened to a held task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The task.
    pub task_id: i64,
    /// The token of the claim.
    pub token: i64,
    /// What happened.
    pub what: What,
}

/// What can happen to a held task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Work has begun.
    Start,
    /// The lease shall last so long from now.
    Extend(i64),
    /// Done, with a result.
    Complete(Option<String>),
    /// The attempt has failed.
    Fail {
        /// What went wrong.
        error: String,
        /// Whether trying again is useless.
        is_final: bool,
        /// When to try again; none: after the backoff.
        delay_us: Option<i64>,
    },
    /// A line of the worker.
    Report(Line),
    /// Given back unworked.
    Release,
    /// Put off by so much.
    Snooze(i64),
}

/// A line that a worker writes into the log of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// How far the task is, in millionths.
    pub progress: Option<i64>,
    /// A message for people.
    pub message: Option<String>,
    /// A JSON object.
    pub details: Option<String>,
}

/// A recorded outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The task.
    pub task_id: i64,
    /// Where it stands now.
    pub state: State,
    /// When it is tried again.
    pub run_us: Option<i64>,
    /// When the lease ends.
    pub expire_us: Option<i64>,
    /// Whether it is held and should be stopped.
    pub is_cancelling: bool,
}

/// A task as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The row.
    pub id: i64,
    /// Its type.
    pub type_id: i64,
    /// Where it stands.
    pub state: State,
    /// 1 to 10.
    pub priority: i64,
    /// JSON, or none.
    pub parameters: Option<String>,
    /// When it was enqueued.
    pub create_us: i64,
    /// The run time asked for, or that of the last retry or snooze.
    pub run_us: Option<i64>,
    /// Claims so far.
    pub token: i64,
    /// Failed attempts.
    pub failure_count: i64,
    /// None: the queue's.
    pub retries_max: Option<i64>,
    /// None: the queue's.
    pub timeout_us: Option<i64>,
    /// Its limit key's name.
    pub limit_key: Option<String>,
    /// Who holds it or held it last.
    pub worker_id: Option<i64>,
    /// That worker's name, if it has one.
    pub worker_name: Option<String>,
    /// When something last happened to it.
    pub update_us: i64,
    /// The progress of the last attempt, in millionths.
    pub progress: Option<i64>,
    /// The message of its last line.
    pub progress_message: Option<String>,
    /// When it was claimed last.
    pub claim_us: Option<i64>,
    /// When work on the last claim began, where that was reported.
    pub start_us: Option<i64>,
    /// When its lease ends.
    pub expire_us: Option<i64>,
    /// Whether it was cancelled while held.
    pub is_cancelling: bool,
    /// When it came to its end.
    pub finish_us: Option<i64>,
    /// What it was completed with.
    pub result: Option<String>,
    /// What the last failed attempt said.
    pub error: Option<String>,
    /// The schedule that added it.
    pub schedule: Option<String>,
    /// The item of a job that it is.
    pub job_item: Option<JobItem>,
}

/// What to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claiming {
    /// The queue's name.
    pub queue: String,
    /// The types' names; none: all.
    pub types: Vec<String>,
    /// At most so many.
    pub tasks_max: i64,
    /// How long to wait.
    pub wait_us: i64,
    /// The order in which they are taken.
    pub order: Requested,
    /// Who holds them.
    pub holder: Holder,
    /// Whether work begins at once.
    pub is_start: bool,
}

/// Who holds what is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A registered worker, as long as it beats.
    Worker(i64),
    /// Anybody, for so long.
    Lease(i64),
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The row.
    pub id: i64,
    /// The name it gave itself.
    pub name: String,
    /// A JSON object, or empty.
    pub metadata_json: String,
    /// When it registered.
    pub create_us: i64,
    /// When it last beat.
    pub beat_us: i64,
    /// When it was taken for dead or left.
    pub end_us: Option<i64>,
    /// Tasks that it has completed.
    pub completed_count: i64,
    /// Attempts of it that have failed.
    pub failed_count: i64,
    /// What it holds, or some of it.
    pub task_ids: Vec<i64>,
}

/// What happened to a task. The numbers are those in the log's table and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "said in the protocol")]
pub enum EventKind {
    Enqueued = 1,
    Claimed = 2,
    Started = 3,
    Completed = 4,
    Retried = 5,
    Failed = 6,
    Released = 7,
    Snoozed = 8,
    LeaseExpired = 9,
    WorkerDied = 10,
    Forgotten = 11,
    CancelRequested = 12,
    Cancelled = 13,
    Requeued = 14,
    Line = 15,
    LinesLeftOut = 16,
}

impl EventKind {
    /// Whether it is a loss that counts against `queue.losses_max`.
    pub fn is_counted_loss(self) -> bool {
        matches!(self, Self::LeaseExpired | Self::WorkerDied)
    }
}

/// What happened to a task, once or several times in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened first.
    pub first_us: i64,
    /// When it happened last.
    pub time_us: i64,
    /// How often it happened.
    pub count: i64,
    /// What; as [`EventKind`] has it.
    pub kind: i64,
    /// The first claim that it belongs to; 0: none.
    pub first_token: i64,
    /// The last claim that it belongs to; 0: none.
    pub token: i64,
    /// The worker of that claim; 0: none.
    pub worker_id: i64,
    /// What went wrong; of a line its message.
    pub error: Option<String>,
    /// When it was to be tried again.
    pub run_us: Option<i64>,
    /// The details of a line.
    pub details: Option<String>,
    /// The progress of a line, in millionths.
    pub progress: Option<i64>,
}

/// A key whose limits tasks count against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Its own limits; none: the queue's.
    pub limits: Option<KeyLimits>,
    /// Tasks that are held.
    pub held_count: i64,
}
