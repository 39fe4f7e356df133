//! What uploads are: sessions and how they lead on, errors and when to try again, numbers of all. No I/O.

/// Files that one session may count.
pub const COUNT_MAX: i64 = 1 << 40;

/// What a name is of that is stored as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A service that files are uploaded to.
    Service,
    /// A source, such as a chat.
    Source,
    /// A MIME type.
    MimeType,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// At work.
    Running,
    /// Interrupted.
    Paused,
    /// Ended well.
    Completed,
    /// Given up. It can be resumed.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Paused, Self::Completed, Self::Failed];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether a session in it is over.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Whether it leads to `next`; docs/uploads.md draws it.
    pub fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Completed => false,
            Self::Failed => next == Self::Running,
            Self::Running | Self::Paused => self != next,
        }
    }
}

/// Files of a session by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Registered.
    pub success: i64,
    /// Paths whose error is not resolved.
    pub error: i64,
    /// Registered though they were known.
    pub duplicate: i64,
}

impl Counts {
    /// All that is done.
    pub fn processed(self) -> i64 {
        self.success.saturating_add(self.error).saturating_add(self.duplicate)
    }

    /// Both together; `other` may take away.
    pub fn plus(self, other: Self) -> Self {
        Self {
            success: self.success.saturating_add(other.success),
            error: self.error.saturating_add(other.error),
            duplicate: self.duplicate.saturating_add(other.duplicate),
        }
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The row.
    pub row_id: i64,
    /// The id.
    pub id: String,
    /// The number of its source.
    pub source_number: i64,
    /// What is uploaded.
    pub source_id: String,
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// Files that it has; none: not known.
    pub total: Option<i64>,
    /// Files that are done.
    pub counts: Counts,
    /// Paths whose error is not resolved and not counted.
    pub logged_errors: i64,
    /// Where to resume, or empty.
    pub last_processed_file: String,
    /// Why it failed, or empty.
    pub error: String,
    /// A JSON object as given, or empty. Also empty where it was not asked for.
    pub metadata_json: String,
    /// Grows with every change.
    pub revision: i64,
    /// When it began, as its caller says; or when it was made.
    pub start_us: i64,
    /// When it was made.
    pub create_us: i64,
    /// When it last changed.
    pub update_us: i64,
    /// When it ended.
    pub end_us: Option<i64>,
}

/// A session to make.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The id.
    pub id: String,
    /// What is uploaded.
    pub source_id: String,
    /// What people call it.
    pub name: String,
    /// Files that it has, if that is known.
    pub total: Option<i64>,
    /// A JSON object, or empty.
    pub metadata_json: String,
    /// When it began; none: now.
    pub start_us: Option<i64>,
}

/// What is to be changed of a session that is not counted.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// What people call it.
    pub name: Option<String>,
    /// A JSON object, or empty.
    pub metadata_json: Option<String>,
    /// Files that it has.
    pub total: Option<i64>,
    /// Where to resume.
    pub last_processed_file: Option<String>,
}

/// A change of a session.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of what is not counted.
    Update(Update),
    /// Of where it stands; and why it failed, or empty.
    Become(Status, String),
}

/// Why a session stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first does not lead to the second.
    Transition(Status, Status),
    /// It is finished.
    Finished(Status),
    /// The total is below what is processed: so many.
    TotalBelow(i64),
}

impl Session {
    /// A session as it is made.
    pub fn new(new: NewSession, source_number: i64, now_us: i64) -> Self {
        Self {
            row_id: 0,
            id: new.id,
            source_number,
            source_id: new.source_id,
            name: new.name,
            status: Status::Running,
            total: new.total,
            counts: Counts::default(),
            logged_errors: 0,
            last_processed_file: String::new(),
            error: String::new(),
            metadata_json: new.metadata_json,
            revision: 1,
            start_us: new.start_us.unwrap_or(now_us),
            create_us: now_us,
            update_us: now_us,
            end_us: None,
        }
    }

    /// Takes a change.
    pub fn change(&mut self, change: &Change, now_us: i64) -> Result<(), Refusal> {
        match change {
            Change::Update(update) => self.update(update),
            Change::Become(next, error) => self.become_status(*next, error, now_us),
        }
    }

    fn become_status(&mut self, next: Status, error: &str, now_us: i64) -> Result<(), Refusal> {
        if !self.status.leads_to(next) {
            return Err(Refusal::Transition(self.status, next));
        }
        self.status = next;
        error.clone_into(&mut self.error);
        self.end_us = next.is_end().then_some(now_us);
        Ok(())
    }

    fn update(&mut self, update: &Update) -> Result<(), Refusal> {
        if update.total.is_some() || update.last_processed_file.is_some() {
            self.refuse_if_finished()?;
        }
        let processed = self.counts.processed();
        if update.total.is_some_and(|total| total < processed) {
            return Err(Refusal::TotalBelow(processed));
        }
        self.total = update.total.or(self.total);
        let fields = [
            (&mut self.name, &update.name),
            (&mut self.metadata_json, &update.metadata_json),
            (&mut self.last_processed_file, &update.last_processed_file),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                value.clone_into(field);
            }
        }
        Ok(())
    }

    /// Counts what is recorded in the same step, and notes where to resume.
    pub fn advance(&mut self, change: Counts, last_processed_file: &str) -> Result<(), Refusal> {
        self.refuse_if_finished()?;
        self.counts = self.counts.plus(change);
        self.total = self.total.map(|total| total.max(self.counts.processed()));
        last_processed_file.clone_into(&mut self.last_processed_file);
        Ok(())
    }

    /// Refuses if it takes nothing more.
    pub fn refuse_if_finished(&self) -> Result<(), Refusal> {
        if self.status.is_end() { Err(Refusal::Finished(self.status)) } else { Ok(()) }
    }
}

/// A path that could not be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadError {
    /// The row, in the order in which paths failed first.
    pub id: i64,
    /// The session.
    pub session_id: String,
    /// The path.
    pub path: String,
    /// The kind of the last error.
    pub error_type: String,
    /// What it said.
    pub message: String,
    /// How often it failed after the first time.
    pub retry_count: i64,
    /// When it failed first.
    pub create_us: i64,
    /// When it failed last.
    pub update_us: i64,
    /// When it succeeded after all.
    pub resolve_us: Option<i64>,
    /// Whether the session counts it.
    pub is_counted: bool,
}

/// Which files are to be tried again, and when.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often in all.
    pub attempts_max: i64,
    /// How long after the first failure.
    pub backoff_us: i64,
    /// The longest such time.
    pub backoff_us_max: i64,
    /// Of these types; empty: of any.
    pub types: Vec<String>,
}

impl RetryPolicy {
    /// Whether a path that failed so long ago is due to be tried again.
    pub fn is_due(&self, error: &UploadError, age_us: i64) -> bool {
        let is_wanted = self.types.is_empty() || self.types.contains(&error.error_type);
        let may_try = error.retry_count.saturating_add(1) < self.attempts_max;
        error.resolve_us.is_none() && is_wanted && may_try && self.delay_us(error.retry_count) <= age_us
    }

    /// How long after a failure it is tried again, when it was tried again so often.
    fn delay_us(&self, retry_count: i64) -> i64 {
        // Beyond that any time but zero is more than the longest.
        let doublings = u32::try_from(retry_count.clamp(0, 62)).unwrap_or(62);
        self.backoff_us.saturating_mul(1 << doublings).min(self.backoff_us_max)
    }
}

/// Numbers of the files of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFiles {
    /// The service.
    pub service: String,
    /// Files.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// Numbers of the sessions in one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSessions {
    /// The status.
    pub status: Status,
    /// Sessions.
    pub sessions: i64,
    /// Their files.
    pub counts: Counts,
}

/// Numbers of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By service.
    pub services: Vec<ServiceFiles>,
    /// Whether there are more files than were read.
    pub files_truncated: bool,
    /// By status.
    pub sessions: Vec<StatusSessions>,
    /// Whether there are more sessions than were read.
    pub sessions_truncated: bool,
    /// Reservations that are held.
    pub reservations: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transitions_are_those_of_the_drawing() {
        use Status::{Completed, Failed, Paused, Running};
        let legal = [
            (Running, Paused),
            (Paused, Running),
            (Running, Completed),
            (Running, Failed),
            (Paused, Completed),
            (Paused, Failed),
            (Failed, Running),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.leads_to(to), legal.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy =
            RetryPolicy { attempts_max: 5, backoff_us: 10, backoff_us_max: 1_000, types: Vec::new() };
        let delays: Vec<i64> = [0, 1, 2, 6, 7, 62, 63, i64::MAX].map(|n| policy.delay_us(n)).to_vec();
        assert_eq!(delays, [10, 20, 40, 640, 1_000, 1_000, 1_000, 1_000]);
    }
}
