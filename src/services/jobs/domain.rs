//! What a job is: its states, how they lead to one another, and how it is counted. No I/O.

use uuid::Uuid;

/// Items that one job may count.
pub const COUNT_MAX: i64 = 1 << 40;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Made, not begun.
    Pending,
    /// Begun.
    Processing,
    /// Ended well.
    Completed,
    /// Ended by an error; may be taken up again.
    Failed,
    /// Called off.
    Aborted,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Aborted];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }

    /// Whether a job in it has ended.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Aborted)
    }

    /// Whether it leads to `next`; docs/jobs.md draws it.
    pub fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Pending => next != Self::Pending,
            Self::Processing => next.is_end(),
            Self::Failed => next == Self::Processing,
            Self::Completed | Self::Aborted => false,
        }
    }
}

/// The source of a job's counts. Never two, so that they cannot disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedBy {
    /// Nothing has been counted.
    Nothing,
    /// Its results.
    Results,
    /// Reported progress.
    Reports,
}

/// What went wrong with a job or an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The application's code, or empty.
    pub code: String,
    /// The application's message, or empty.
    pub message: String,
}

/// Items by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Succeeded.
    pub successful: i64,
    /// Failed.
    pub failed: i64,
}

impl Counts {
    /// All that is done.
    pub fn processed(self) -> i64 {
        self.successful.saturating_add(self.failed)
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            successful: self.successful.saturating_add(other.successful),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The row.
    pub row_id: i64,
    /// The id.
    pub id: Uuid,
    /// What kind of job it is.
    pub job_type: String,
    /// Where it stands.
    pub status: Status,
    /// What counts it.
    pub counted_by: CountedBy,
    /// Items that it has; none: not known.
    pub total: Option<i64>,
    /// Items that are done.
    pub counts: Counts,
    /// Whether it completes by itself.
    pub auto_complete: bool,
    /// Why it failed or was aborted.
    pub error: Option<Failure>,
    /// A JSON object as given, or empty. Also empty where it was not asked for.
    pub metadata_json: String,
    /// Grows with every change.
    pub revision: i64,
    /// The revision that has set the metadata.
    pub metadata_revision: i64,
    /// When it was made.
    pub create_us: i64,
    /// When it was first begun.
    pub start_us: Option<i64>,
    /// When it last changed.
    pub update_us: i64,
    /// When it ended.
    pub end_us: Option<i64>,
}

/// A job to make.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The id.
    pub id: Uuid,
    /// What kind of job it is.
    pub job_type: String,
    /// Items that it has, if that is known.
    pub total: Option<i64>,
    /// Whether it completes by itself.
    pub auto_complete: bool,
    /// A JSON object, or empty.
    pub metadata_json: String,
    /// Items that are processed already.
    pub counts: Counts,
    /// The time of creation that lists go by; none: now.
    pub create_us: Option<i64>,
}

/// A change of a job by hand: each part, if given, is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobUpdate {
    /// A JSON object, or empty.
    pub metadata_json: Option<String>,
    /// The number of items, if that is known.
    pub total: Option<Option<i64>>,
    /// The error, if there is one.
    pub error: Option<Option<Failure>>,
}

/// Counts that are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The counts stay.
    Nothing,
    /// The counts are these.
    Set(Counts),
    /// The counts grow by these.
    Add(Counts),
}

/// The result of an item, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResult {
    /// The item's key within its job; none: the result is a row of its own.
    pub item_key: Option<String>,
    /// Where it came from, or empty.
    pub url: String,
    /// What went wrong; none: it succeeded.
    pub error: Option<Failure>,
    /// How long it took.
    pub processing_us: Option<i64>,
    /// A JSON object, or empty.
    pub data_json: String,
}

impl NewResult {
    /// What it counts as.
    pub fn counts(&self) -> Counts {
        let failed = i64::from(self.error.is_some());
        Counts { successful: 1 - failed, failed }
    }
}

/// A recorded result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// Its place, from 1.
    pub number: i64,
    /// What was recorded.
    pub result: NewResult,
    /// When it was recorded or last replaced.
    pub create_us: i64,
}

/// What became of one result of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddOutcome {
    /// Recorded.
    Added,
    /// There is one already.
    Duplicate,
    /// Recorded in the place of a failure.
    Replaced,
}

/// Numbers of the jobs of one type in one status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCounts {
    /// The type.
    pub job_type: String,
    /// The status.
    pub status: Status,
    /// Jobs.
    pub jobs: i64,
    /// Their items.
    pub counts: Counts,
}

/// Numbers of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By type and status.
    pub counts: Vec<JobCounts>,
    /// Whether there are more jobs than were read.
    pub truncated: bool,
    /// When the oldest that was counted was made.
    pub oldest_counted_us: Option<i64>,
    /// When the oldest that has not ended was made.
    pub oldest_open_us: Option<i64>,
}

/// Why a job stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first does not lead to the second.
    Transition(Status, Status),
    /// It has ended so.
    Ended(Status),
    /// The total is below what is processed: so many.
    TotalBelow(i64),
    /// More than [`COUNT_MAX`].
    TooMany,
}

impl Job {
    /// A job as it is made.
    pub fn new(new: NewJob, now_us: i64) -> Self {
        let mut job = Self {
            row_id: 0,
            id: new.id,
            job_type: new.job_type,
            status: Status::Pending,
            counted_by: CountedBy::Nothing,
            total: new.total,
            counts: Counts::default(),
            auto_complete: new.auto_complete,
            error: None,
            metadata_json: new.metadata_json,
            revision: 1,
            metadata_revision: 1,
            create_us: new.create_us.unwrap_or(now_us),
            start_us: None,
            update_us: now_us,
            end_us: None,
        };
        if new.counts != Counts::default() {
            job.counts = new.counts;
            job.count_by(CountedBy::Reports, now_us);
        }
        job.complete_if_due(now_us);
        job
    }

    /// Moves it to `next`. `error` is the reason of a failure or an abort. A job that has the status stays as it is, unless `error`
    /// is another than its own.
    pub fn become_status(
        &mut self,
        next: Status,
        error: Option<Failure>,
        now_us: i64,
    ) -> Result<(), Refusal> {
        if self.status == next && (error.is_none() || error == self.error) {
            return Ok(());
        }
        if !self.status.leads_to(next) {
            return Err(Refusal::Transition(self.status, next));
        }
        self.status = next;
        self.error = error;
        self.end_us = next.is_end().then_some(now_us);
        if next == Status::Processing {
            self.start_us = self.start_us.or(Some(now_us));
        }
        Ok(())
    }

    /// Takes reported counts and a total. Counts of a job that its results count are ignored. A report that would change nothing is
    /// no error, though the job has ended.
    pub fn report(&mut self, report: Report, total: Option<i64>, now_us: i64) -> Result<(), Refusal> {
        let counts = match report {
            Report::Set(counts) if self.counted_by != CountedBy::Results => counts,
            Report::Add(counts) if self.counted_by != CountedBy::Results => self.counts.plus(counts),
            _ => self.counts,
        };
        if self.status.is_end()
            && counts == self.counts
            && total.is_none_or(|total| self.total == Some(total))
        {
            return Ok(());
        }
        self.refuse_if_ended()?;
        let before = (self.total, self.counts.processed());
        if report != Report::Nothing && self.counted_by != CountedBy::Results {
            self.count_by(CountedBy::Reports, now_us);
        }
        self.counts = counts;
        if total.is_some() {
            self.take_total(total)?;
        }
        self.settle(before, now_us)
    }

    /// Changes by hand, in any status.
    pub fn update(&mut self, update: &JobUpdate, now_us: i64) -> Result<(), Refusal> {
        let before = (self.total, self.counts.processed());
        if let Some(metadata_json) = update.metadata_json.as_ref().filter(|new| **new != self.metadata_json) {
            self.metadata_json.clone_from(metadata_json);
            self.metadata_revision = self.revision + 1;
        }
        if let Some(error) = &update.error {
            self.error.clone_from(error);
        }
        if let Some(total) = update.total {
            self.take_total(total)?;
        }
        if self.status.is_end() { Ok(()) } else { self.settle(before, now_us) }
    }

    fn take_total(&mut self, total: Option<i64>) -> Result<(), Refusal> {
        let processed = self.counts.processed();
        if total.is_some_and(|total| total < processed) {
            return Err(Refusal::TotalBelow(processed));
        }
        self.total = total;
        Ok(())
    }

    /// Counts results that are recorded in the same transaction. `change` may take away a failure that was replaced. The first results
    /// drop reported counts.
    pub fn count_results(&mut self, change: Counts, now_us: i64) -> Result<(), Refusal> {
        self.refuse_if_ended()?;
        let before = (self.total, self.counts.processed());
        let recorded = self.recorded();
        self.count_by(CountedBy::Results, now_us);
        self.counts = recorded.plus(change);
        self.settle(before, now_us)
    }

    /// The counts of its results.
    pub fn recorded(&self) -> Counts {
        if self.counted_by == CountedBy::Results { self.counts } else { Counts::default() }
    }

    /// Refuses a job that has ended.
    pub fn refuse_if_ended(&self) -> Result<(), Refusal> {
        if self.status.is_end() { Err(Refusal::Ended(self.status)) } else { Ok(()) }
    }

    /// Counting starts a job.
    fn count_by(&mut self, by: CountedBy, now_us: i64) {
        self.counted_by = by;
        if self.status == Status::Pending {
            self.status = Status::Processing;
            self.start_us = Some(now_us);
        }
    }

    /// After a change of counts or total.
    fn settle(&mut self, before: (Option<i64>, i64), now_us: i64) -> Result<(), Refusal> {
        let processed = self.counts.processed();
        if processed > COUNT_MAX {
            return Err(Refusal::TooMany);
        }
        self.total = self.total.map(|total| total.max(processed));
        // A job that was taken up again replaces failures with nothing new to count; it is completed by its caller.
        if before != (self.total, processed) {
            self.complete_if_due(now_us);
        }
        Ok(())
    }

    fn complete_if_due(&mut self, now_us: i64) {
        if self.auto_complete && self.total == Some(self.counts.processed()) {
            self.status = Status::Completed;
            self.end_us = Some(now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transitions_are_those_of_the_drawing() {
        use Status::{Aborted, Completed, Failed, Pending, Processing};
        let legal = [
            (Pending, Processing),
            (Pending, Completed),
            (Pending, Failed),
            (Pending, Aborted),
            (Processing, Completed),
            (Processing, Failed),
            (Processing, Aborted),
            (Failed, Processing),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.leads_to(to), legal.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }
}
