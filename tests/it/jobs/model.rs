//! Jobs in a few lines, in memory: what the real ones must answer.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1::{AddOutcome, JobStatus};

/// What the model knows of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub status: JobStatus,
    pub total: Option<i64>,
    pub auto_complete: bool,
    pub reported: Option<(i64, i64)>,
    /// (item, success)
    pub results: Vec<(String, bool)>,
    pub made_s: i64,
    pub started_s: Option<i64>,
    pub ended_s: Option<i64>,
    pub changes: i64,
}

impl Known {
    pub fn new(total: Option<i64>, auto_complete: bool, now_s: i64) -> Self {
        let mut known = Self {
            status: JobStatus::Pending,
            total,
            auto_complete,
            reported: None,
            results: Vec::new(),
            made_s: now_s,
            started_s: None,
            ended_s: None,
            changes: 1,
        };
        if auto_complete && total == Some(0) {
            known.end(JobStatus::Completed, now_s);
        }
        known
    }

    /// (successful, failed)
    pub fn counts(&self) -> (i64, i64) {
        if let Some(reported) = self.reported {
            return reported;
        }
        let count = |wanted: bool| self.results.iter().filter(|(_, success)| *success == wanted).count();
        (i64::try_from(count(true)).unwrap(), i64::try_from(count(false)).unwrap())
    }

    fn processed(&self) -> i64 {
        self.counts().0 + self.counts().1
    }

    fn has_ended(&self) -> bool {
        !matches!(self.status, JobStatus::Pending | JobStatus::Processing)
    }

    fn end(&mut self, status: JobStatus, now_s: i64) {
        (self.status, self.ended_s) = (status, Some(now_s));
    }

    fn begin(&mut self, now_s: i64) {
        if self.status == JobStatus::Pending {
            self.status = JobStatus::Processing;
            self.started_s = Some(now_s);
        }
    }

    pub fn move_to(&mut self, next: JobStatus, now_s: i64) -> Result<(), ErrorReason> {
        if next == self.status {
            return Ok(());
        }
        let legal = match self.status {
            JobStatus::Pending => next != JobStatus::Pending,
            JobStatus::Processing => !matches!(next, JobStatus::Pending | JobStatus::Processing),
            JobStatus::Failed => next == JobStatus::Processing,
            _ => false,
        };
        if !legal {
            return Err(ErrorReason::JobTransitionIllegal);
        }
        self.changes += 1;
        (self.status, self.ended_s) = (next, None);
        if next == JobStatus::Processing {
            self.started_s = self.started_s.or(Some(now_s));
        } else {
            self.end(next, now_s);
        }
        Ok(())
    }

    /// `counts` are set, or added if `is_step`.
    pub fn report(
        &mut self,
        counts: Option<(i64, i64)>,
        is_step: bool,
        total: Option<i64>,
        now_s: i64,
    ) -> Result<(), ErrorReason> {
        let mut next = self.clone();
        // Results overrule reported counts.
        if let Some((successful, failed)) = counts.filter(|_| self.results.is_empty()) {
            next.begin(now_s);
            let before = if is_step { self.counts() } else { (0, 0) };
            next.reported = Some((before.0 + successful, before.1 + failed));
        }
        let is_same = next.counts() == self.counts() && total.is_none_or(|total| self.total == Some(total));
        if self.has_ended() {
            return if is_same { Ok(()) } else { Err(ErrorReason::JobEnded) };
        }
        if total.is_some_and(|total| total < next.processed()) {
            return Err(ErrorReason::JobCountInvalid);
        }
        next.total = total.or(self.total);
        self.take(next, now_s);
        Ok(())
    }

    pub fn add(
        &mut self,
        items: &[(String, bool)],
        replace_failed: bool,
        now_s: i64,
    ) -> Result<Vec<AddOutcome>, ErrorReason> {
        let mut next = self.clone();
        let mut outcomes: Vec<AddOutcome> = Vec::new();
        for (index, (key, success)) in items.iter().enumerate() {
            let came_before = items[..index].iter().any(|(earlier, _)| earlier == key);
            let recorded = next.results.iter_mut().find(|(recorded, _)| !key.is_empty() && recorded == key);
            outcomes.push(match recorded {
                None => {
                    next.results.push((key.clone(), *success));
                    AddOutcome::Added
                }
                Some(recorded) if replace_failed && !recorded.1 && !came_before => {
                    recorded.1 = *success;
                    AddOutcome::Replaced
                }
                Some(_) => AddOutcome::Duplicate,
            });
        }
        if outcomes.iter().all(|outcome| *outcome == AddOutcome::Duplicate) {
            return Ok(outcomes);
        }
        if self.has_ended() {
            return Err(ErrorReason::JobEnded);
        }
        next.begin(now_s);
        next.reported = None;
        self.take(next, now_s);
        Ok(outcomes)
    }

    /// Becomes `next`, with a raised total and by itself completed where that is due.
    fn take(&mut self, mut next: Self, now_s: i64) {
        next.total = next.total.map(|total| total.max(next.processed()));
        let has_moved = (next.total, next.processed()) != (self.total, self.processed());
        if has_moved && next.auto_complete && next.total == Some(next.processed()) {
            next.end(JobStatus::Completed, now_s);
        }
        // A replaced failure that failed again in the same way changes nothing that the job tells.
        if next.visible() != self.visible() {
            next.changes = self.changes + 1;
        }
        *self = next;
    }

    fn visible(&self) -> (JobStatus, Option<i64>, (i64, i64), bool, bool) {
        let (reported, recorded) = (self.reported.is_some(), !self.results.is_empty());
        (self.status, self.total, self.counts(), reported, recorded)
    }
}
