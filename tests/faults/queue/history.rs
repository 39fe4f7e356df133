//! What happened in a run: every call with the moments when it was made and answered, as plain values.

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use pannier_proto::queue::v1::{TaskEventKind, TaskState};

/// A moment: microseconds since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) u64);

impl At {
    /// Later than everything.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// So long after it.
    pub(crate) fn plus(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// So long before it.
    pub(crate) fn minus(self, micros: u64) -> Self {
        if self == Self::NEVER { self } else { Self(self.0.saturating_sub(micros)) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("never");
        }
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A run, from its first call to what was found when all was over.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) terms: Terms,
    pub(crate) calls: Vec<Call>,
    /// Starts of sidecars.
    pub(crate) starts: Vec<Start>,
    /// Every task that is there at the end.
    pub(crate) found: BTreeMap<i64, Found>,
}

/// What the sidecars were set to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// After how long without a beat a worker is dead.
    pub(crate) worker_timeout: u64,
    /// How much the clocks of the recorder and of the sidecars may differ over one lease.
    pub(crate) clock_slack: u64,
}

/// A sidecar's start, after which what is held has a worker's timeout to report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// It did not run before.
    pub(crate) from: At,
    /// It served. NEVER: it was killed first.
    pub(crate) ready: At,
    /// It was killed. NEVER: it ran to the end.
    pub(crate) killed: At,
}

/// One call, with all the times it was sent again with the same request id.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) by: Actor,
    /// Before it was first sent.
    pub(crate) from: At,
    /// After the last answer, or after the failure showed. NEVER: its caller was killed first.
    pub(crate) to: At,
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
}

/// Who calls: a number, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Actor {
    pub(crate) number: u32,
    pub(crate) life: u32,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.life)
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Enqueue and BatchEnqueue.
    Enqueue(Vec<Spec>),
    /// RegisterWorker.
    Register,
    /// UnregisterWorker.
    Unregister { worker: i64 },
    /// Beat, with what the worker holds: task and token. None: not said.
    Beat { worker: i64, held: Option<Vec<(i64, i64)>> },
    /// Claim, Exchange, Settle and the single outcomes.
    Work { outcomes: Vec<Outcome>, claiming: Option<Claiming> },
}

/// A task to add. Its ticket is in its parameters, so that it is known wherever it turns up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) ticket: u64,
    pub(crate) max_retries: u32,
    pub(crate) timeout: Option<u64>,
    pub(crate) delay: u64,
}

/// An outcome that was reported. Its ticket is in its result or error, so that what is recorded names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) task: i64,
    pub(crate) token: i64,
    pub(crate) ticket: u64,
    pub(crate) kind: Kind,
}

/// What was reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Start,
    Extend {
        lease: u64,
    },
    Complete,
    /// `delay`: None is the queue's backoff.
    Fail {
        last: bool,
        delay: Option<u64>,
    },
    Release,
    Snooze {
        delay: u64,
    },
    /// A beat listed the task; no RPC of its own.
    Held,
}

impl Kind {
    /// Whether the claim is over once this is recorded.
    pub(crate) fn ends_the_claim(self) -> bool {
        !matches!(self, Self::Start | Self::Extend { .. } | Self::Held)
    }

    /// Whether the task can be claimed again after it.
    pub(crate) fn leaves_the_task(self) -> bool {
        matches!(self, Self::Fail { last: false, .. } | Self::Release | Self::Snooze { .. })
    }
}

/// What was to be claimed, and how it is held: by a worker or for a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claiming {
    pub(crate) tasks_max: u32,
    pub(crate) hold: Hold,
}

/// What keeps a claim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hold {
    Worker(i64),
    Lease(u64),
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It was answered.
    Given(Reply),
    /// It was refused with the promise that nothing was done; the reason.
    Refused(String),
    /// Nobody knows: it failed, or its caller was killed. It may have been done, and may yet be.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The tasks, one for each spec.
    Enqueued(Vec<Result<i64, String>>),
    Registered(i64),
    Unregistered,
    /// What the worker lost.
    Beaten(Vec<i64>),
    /// A verdict for each outcome, and the tasks claimed.
    Worked(Vec<Verdict>, Vec<Claimed>),
}

/// What became of an outcome.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Recorded; where the task stands now.
    Recorded(TaskState),
    /// LEASE_LOST.
    Lost,
    /// Refused for another reason.
    Refused(String),
    /// The call's answer is not known.
    Unknown,
}

/// A task as the answer to a claim gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    pub(crate) task: i64,
    pub(crate) token: i64,
    pub(crate) ticket: u64,
    pub(crate) failures: u32,
    /// When the lease ends, by the wall clock; only told, not judged.
    pub(crate) lease_end: Option<At>,
}

/// A task as it is found at the end.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The ticket in its parameters.
    pub(crate) ticket: u64,
    pub(crate) state: TaskState,
    /// The state that List gave, where Get gave the one above.
    pub(crate) listed: TaskState,
    pub(crate) token: i64,
    pub(crate) failures: u32,
    /// The ticket of the outcome in its result.
    pub(crate) result: Option<u64>,
    /// The ticket of the outcome in its error.
    pub(crate) error: Option<u64>,
    /// What Logs tells: kind and token. None: it was not asked.
    pub(crate) log: Option<Vec<(TaskEventKind, i64)>>,
}
