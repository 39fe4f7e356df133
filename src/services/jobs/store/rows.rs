//! Rows of `jobs` and `job_results`, and what they mean.

use sea_orm::{NotSet, Set, Value};

use crate::error::{Error, Result};
use crate::services::jobs::domain::{
    COUNT_MAX, CountedBy, Counts, Failure, Job, JobResult, NewResult, Refusal, Status,
};
use crate::services::jobs::entity::{jobs, results};

/// What a status is stored as.
pub(super) fn status_number(status: Status) -> i64 {
    match status {
        Status::Pending => 1,
        Status::Processing => 2,
        Status::Completed => 3,
        Status::Failed => 4,
        Status::Aborted => 5,
    }
}

/// The status that is stored in the row `row_id`.
pub(super) fn status(number: i64, row_id: i64) -> Result<Status> {
    let found = Status::ALL.into_iter().find(|status| status_number(*status) == number);
    found.ok_or_else(|| corrupt("status", row_id, number))
}

/// What being counted by its results is stored as.
pub(super) const COUNTED_BY_RESULTS: i64 = 1;

/// What counts a job, as it is stored.
pub(super) fn counted_by_number(by: CountedBy) -> i64 {
    match by {
        CountedBy::Nothing => 0,
        CountedBy::Results => COUNTED_BY_RESULTS,
        CountedBy::Reports => 2,
    }
}

fn corrupt(column: &'static str, row: i64, value: i64) -> Error {
    Error::CorruptRow { table: "jobs", column, row, cause: format!("{value} is unknown") }
}

/// The job that a row holds.
pub(super) fn job(row: jobs::Model) -> Result<Job> {
    let counted_by = match row.counted_by {
        0 => CountedBy::Nothing,
        COUNTED_BY_RESULTS => CountedBy::Results,
        2 => CountedBy::Reports,
        other => return Err(corrupt("counted_by", row.row_id, other)),
    };
    Ok(Job {
        status: status(row.status, row.row_id)?,
        counted_by,
        row_id: row.row_id,
        id: row.id,
        job_type: row.job_type,
        total: row.total_count,
        counts: Counts { successful: row.successful_count, failed: row.failed_count },
        auto_complete: row.auto_complete,
        error: failure(row.error_code, row.error_message),
        metadata_json: row.metadata_json,
        revision: row.revision,
        metadata_revision: row.metadata_revision,
        create_us: row.create_time,
        start_us: row.start_time,
        update_us: row.update_time,
        end_us: row.end_time,
    })
}

fn failure(code: Option<String>, message: Option<String>) -> Option<Failure> {
    code.map(|code| Failure { code, message: message.unwrap_or_default() })
}

/// The row of a new job.
pub(super) fn inserted(job: &Job) -> jobs::ActiveModel {
    jobs::ActiveModel {
        row_id: NotSet,
        id: Set(job.id),
        job_type: Set(job.job_type.clone()),
        status: Set(status_number(job.status)),
        counted_by: Set(counted_by_number(job.counted_by)),
        total_count: Set(job.total),
        successful_count: Set(job.counts.successful),
        failed_count: Set(job.counts.failed),
        auto_complete: Set(job.auto_complete),
        error_code: Set(job.error.as_ref().map(|error| error.code.clone())),
        error_message: Set(job.error.as_ref().map(|error| error.message.clone())),
        revision: Set(job.revision),
        metadata_revision: Set(job.metadata_revision),
        create_time: Set(job.create_us),
        start_time: Set(job.start_us),
        update_time: Set(job.update_us),
        end_time: Set(job.end_us),
        metadata_json: Set(job.metadata_json.clone()),
    }
}

/// The columns to write of a job that has another status or error, or other metadata.
pub(super) fn changed(before: &Job, job: &Job) -> jobs::ActiveModel {
    let has_metadata = job.metadata_revision != before.metadata_revision;
    jobs::ActiveModel {
        id: NotSet,
        job_type: NotSet,
        auto_complete: NotSet,
        create_time: NotSet,
        metadata_json: if has_metadata { Set(job.metadata_json.clone()) } else { NotSet },
        ..inserted(job)
    }
}

/// What is to be written of a job that has other counts only, in the order of the statement: no column of an index.
pub(super) fn count_values(job: &Job) -> [Value; 7] {
    [
        counted_by_number(job.counted_by).into(),
        job.total.into(),
        job.counts.successful.into(),
        job.counts.failed.into(),
        job.revision.into(),
        job.update_us.into(),
        job.row_id.into(),
    ]
}

/// The result that a row holds.
pub(super) fn result(row: results::Model) -> JobResult {
    JobResult {
        number: row.number,
        result: NewResult {
            item_key: row.item_key,
            url: row.url,
            error: failure(row.error_code, row.error_message),
            processing_us: row.processing_us,
            data_json: row.data_json,
        },
        create_us: row.create_time,
    }
}

/// Why a job stays as it is, as its caller is told.
pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Transition(from, to) => Error::JobTransitionIllegal { from: from.name(), to: to.name() },
        Refusal::Ended(status) => Error::JobEnded { status: status.name() },
        Refusal::TotalBelow(processed) => Error::JobTotalTooSmall { processed },
        Refusal::TooMany => Error::JobCountTooLarge { count_max: COUNT_MAX },
    }
}
