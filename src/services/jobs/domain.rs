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

/// What a job's counts come from. Never both, so that they cannot disagree.
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
    /// What the item is called within its job.
    pub item_key: String,
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
    /// It is counted by something else: by this.
    CountedBy(CountedBy),
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
            create_us: now_us,
            start_us: None,
            update_us: now_us,
            end_us: None,
        };
        job.complete_if_due(now_us);
        job
    }

    /// Takes it to `next`. `error` says why, where it fails or is aborted.
    pub fn become_status(
        &mut self,
        next: Status,
        error: Option<Failure>,
        now_us: i64,
    ) -> Result<(), Refusal> {
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

    /// Takes reported counts and a total.
    pub fn report(&mut self, report: Report, total: Option<i64>, now_us: i64) -> Result<(), Refusal> {
        self.refuse_if_ended()?;
        let before = (self.total, self.counts.processed());
        if report != Report::Nothing {
            self.count_by(CountedBy::Reports, now_us)?;
        }
        self.counts = match report {
            Report::Nothing => self.counts,
            Report::Set(counts) => counts,
            Report::Add(counts) => self.counts.plus(counts),
        };
        let processed = self.counts.processed();
        if total.is_some_and(|total| total < processed) {
            return Err(Refusal::TotalBelow(processed));
        }
        self.total = total.or(self.total);
        self.settle(before, now_us)
    }

    /// Counts results that are recorded in the same step. `change` may take away a failure that was replaced.
    pub fn count_results(&mut self, change: Counts, now_us: i64) -> Result<(), Refusal> {
        self.refuse_if_ended()?;
        let before = (self.total, self.counts.processed());
        self.count_by(CountedBy::Results, now_us)?;
        self.counts = self.counts.plus(change);
        self.settle(before, now_us)
    }

    /// Refuses unless its counts may come from `by`.
    pub fn refuse_unless_counted_by(&self, by: CountedBy) -> Result<(), Refusal> {
        match self.counted_by {
            CountedBy::Nothing => Ok(()),
            current if current == by => Ok(()),
            other => Err(Refusal::CountedBy(other)),
        }
    }

    /// Refuses unless it takes results of items.
    pub fn refuse_unless_open(&self) -> Result<(), Refusal> {
        self.refuse_if_ended()?;
        self.refuse_unless_counted_by(CountedBy::Results)
    }

    fn refuse_if_ended(&self) -> Result<(), Refusal> {
        if self.status.is_end() { Err(Refusal::Ended(self.status)) } else { Ok(()) }
    }

    /// Counting begins a job.
    fn count_by(&mut self, by: CountedBy, now_us: i64) -> Result<(), Refusal> {
        self.refuse_unless_counted_by(by)?;
        self.counted_by = by;
        if self.status == Status::Pending {
            self.become_status(Status::Processing, None, now_us)?;
        }
        Ok(())
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
