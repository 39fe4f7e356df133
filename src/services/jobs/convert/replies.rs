//! Domain types to replies.

use pannier_proto::jobs::v1 as pb;

use super::super::domain::{AddOutcome, CountedBy, Failure, Job, JobResult, Stats, Status};
use crate::convert::{duration, timestamp};
use crate::error::Result;
use crate::status::ItemErrors;

/// A job as the wire has it.
pub(in super::super) fn job(job: Job) -> pb::Job {
    pb::Job {
        id: job.id.to_string(),
        r#type: job.job_type,
        status: status(job.status).into(),
        total_count: job.total,
        processed_count: job.counts.processed(),
        successful_count: job.counts.successful,
        failed_count: job.counts.failed,
        auto_complete: job.auto_complete,
        error: job.error.map(failure),
        metadata_json: job.metadata_json,
        revision: job.revision,
        create_time: Some(timestamp(job.create_us)),
        start_time: job.start_us.map(timestamp),
        update_time: Some(timestamp(job.update_us)),
        end_time: job.end_us.map(timestamp),
        counted_by: counted_by(job.counted_by).into(),
    }
}

fn counted_by(by: CountedBy) -> pb::JobCountedBy {
    match by {
        CountedBy::Nothing => pb::JobCountedBy::Nothing,
        CountedBy::Results => pb::JobCountedBy::Results,
        CountedBy::Reports => pb::JobCountedBy::Reports,
    }
}

/// A status as the wire has it.
fn status(status: Status) -> pb::JobStatus {
    match status {
        Status::Pending => pb::JobStatus::Pending,
        Status::Processing => pb::JobStatus::Processing,
        Status::Completed => pb::JobStatus::Completed,
        Status::Failed => pb::JobStatus::Failed,
        Status::Aborted => pb::JobStatus::Aborted,
    }
}

fn failure(failure: Failure) -> pb::JobError {
    pb::JobError { code: failure.code, message: failure.message }
}

/// The outcome of each result, as the wire has it.
pub(in super::super) fn add_results(results: Vec<Result<AddOutcome>>) -> Vec<pb::AddResult> {
    let mut errors = ItemErrors::default();
    let result = |result| match result {
        Ok(outcome) => pb::AddResult { outcome: add_outcome(outcome).into(), error: None },
        Err(error) => pb::AddResult { error: Some(errors.of(&error)), ..Default::default() },
    };
    results.into_iter().map(result).collect()
}

fn add_outcome(outcome: AddOutcome) -> pb::AddOutcome {
    match outcome {
        AddOutcome::Added => pb::AddOutcome::Added,
        AddOutcome::Duplicate => pb::AddOutcome::Duplicate,
        AddOutcome::Replaced => pb::AddOutcome::Replaced,
    }
}

/// A recorded result as the wire has it.
pub(in super::super) fn result(recorded: JobResult) -> pb::JobResult {
    let result = recorded.result;
    pb::JobResult {
        number: recorded.number,
        item_key: result.item_key.unwrap_or_default(),
        url: result.url,
        success: result.error.is_none(),
        error: result.error.map(failure),
        processing_time: result.processing_us.map(duration),
        data_json: result.data_json,
        create_time: Some(timestamp(recorded.create_us)),
    }
}

/// Numbers of jobs as the wire has them.
pub(in super::super) fn stats(stats: Stats) -> pb::StatsResponse {
    let counts = stats.counts.into_iter().map(|counts| pb::JobCounts {
        r#type: counts.job_type,
        status: status(counts.status).into(),
        job_count: counts.jobs,
        successful_count: counts.counts.successful,
        failed_count: counts.counts.failed,
    });
    pb::StatsResponse {
        counts: counts.collect(),
        truncated: stats.truncated,
        oldest_counted_time: stats.oldest_counted_us.map(timestamp),
        oldest_open_time: stats.oldest_open_us.map(timestamp),
    }
}
