//! Requests to domain types, with all that is wrong told at once.

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use prost_types::{Duration, FieldMask, Timestamp};
use uuid::Uuid;

use super::super::domain::{COUNT_MAX, Counts, Failure, JobUpdate, NewJob, NewResult, Report, Status};
use super::super::store::Filter;
use crate::batch::Batch;
use crate::clock::ms_to_us;
use crate::convert::{ERROR_CODE_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX};
use crate::settings::JobsSettings;

const ITEM_KEY_BYTES_MAX: u64 = 1_024;
const URL_BYTES_MAX: u64 = 8_192;

/// Longest processing of one item: ten years.
const PROCESSING_US_MAX: i64 = crate::settings::TTL_MS_MAX as i64 * 1_000;

/// Longest time between two messages of a watch that may be asked for: an hour.
const WATCH_INTERVAL_US_MAX: i64 = 3_600_000_000;

/// The fields that an update may write, in the order of the message.
const UPDATE_FIELDS: [&str; 3] = ["metadata_json", "total_count", "error"];

/// Requests of the jobs, checked against their settings.
pub(in super::super) type Parser<'s> = crate::convert::Parser<'s, JobsSettings>;

impl Parser<'_> {
    /// A status that is none of the unknown.
    pub(in super::super) fn status(&mut self, field: &str, value: i32) -> Status {
        match pb::JobStatus::try_from(value) {
            Ok(pb::JobStatus::Pending) => Status::Pending,
            Ok(pb::JobStatus::Processing) => Status::Processing,
            Ok(pb::JobStatus::Completed) => Status::Completed,
            Ok(pb::JobStatus::Failed) => Status::Failed,
            Ok(pb::JobStatus::Aborted) => Status::Aborted,
            Ok(pb::JobStatus::Unspecified) => {
                self.violations.add(field, "is missing: give a JobStatus");
                Status::Pending
            }
            Err(_) => {
                self.violations.add(field, format!("{value} is no JobStatus"));
                Status::Pending
            }
        }
    }

    /// What to list.
    pub(in super::super) fn filter(
        &mut self,
        statuses: &[i32],
        job_type: String,
        oldest_first: bool,
    ) -> Filter {
        let mut found = Vec::new();
        for (index, value) in statuses.iter().enumerate() {
            found.push(self.status(&format!("statuses[{index}]"), *value));
        }
        found.sort_unstable();
        found.dedup();
        if found.len() == Status::ALL.len() {
            found.clear();
        }
        if !job_type.is_empty() {
            self.name("type", &job_type);
        }
        Filter { statuses: found, job_type, from_us: None, before_us: None, oldest_first }
    }

    /// Bounds it by the time that jobs were made.
    pub(in super::super) fn range(
        &mut self,
        filter: &mut Filter,
        from: Option<&Timestamp>,
        before: Option<&Timestamp>,
    ) {
        filter.from_us = from.map(|time| self.time_us("create_time_from", time));
        filter.before_us = before.map(|time| self.time_us("create_time_before", time));
    }

    /// A job to make. `id` is that of a job whose request gives none.
    pub(in super::super) fn new_job(
        &mut self,
        request: pb::CreateRequest,
        id: impl FnOnce() -> Uuid,
    ) -> NewJob {
        let job_id = self.optional_uuid("job_id", &request.job_id);
        self.name("type", &request.r#type);
        let total = self.total(request.total_count);
        self.metadata(&request.metadata_json);
        let counts = request.counts.map(|counts| self.counts("counts", counts)).unwrap_or_default();
        self.total_of(total, counts);
        NewJob {
            id: job_id.unwrap_or_else(id),
            job_type: request.r#type,
            total,
            auto_complete: request.auto_complete,
            metadata_json: request.metadata_json,
            counts,
            create_us: request.create_time.map(|time| self.time_us("create_time", &time)),
        }
    }

    /// A change by hand: the parts that the mask names, or, without one, those that are given.
    pub(in super::super) fn job_update(
        &mut self,
        mask: Option<&FieldMask>,
        metadata_json: String,
        total: Option<i64>,
        error: Option<pb::JobError>,
    ) -> JobUpdate {
        let given = [!metadata_json.is_empty(), total.is_some(), error.is_some()];
        self.metadata(&metadata_json);
        let total = self.total(total);
        let error = error.map(|error| self.failure(&|name| format!("error.{name}"), error));
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let mut named = if paths.is_empty() { given } else { [false; 3] };
        for (index, path) in paths.iter().enumerate() {
            match UPDATE_FIELDS.iter().position(|field| field == path) {
                Some(position) => named[position] = true,
                None => {
                    let message = format!("{path:?} cannot be written; {} can", UPDATE_FIELDS.join(", "));
                    self.violations.add(format!("update_mask.paths[{index}]"), message);
                }
            }
        }
        if paths.is_empty() && named == [false; 3] {
            self.violations.add("update_mask", "is empty, and so is the update: give a field to write");
        }
        let [has_metadata, has_total, has_error] = named;
        JobUpdate {
            metadata_json: has_metadata.then_some(metadata_json),
            total: has_total.then_some(total),
            error: has_error.then_some(error),
        }
    }

    /// How many items a job has, if that is known.
    pub(in super::super) fn total(&mut self, total: Option<i64>) -> Option<i64> {
        if let Some(total) = total {
            self.item_count("total_count", total);
        }
        total
    }

    fn item_count(&mut self, field: &str, count: i64) {
        if !(0..=COUNT_MAX).contains(&count) {
            self.violations.add(field, format!("must be 0 to {COUNT_MAX}, is {count}"));
        }
    }

    pub(in super::super) fn metadata(&mut self, text: &str) {
        if !text.is_empty() {
            let max = self.settings.metadata_bytes_max;
            self.json_object(&|| "metadata_json".to_owned(), text, max, "jobs.metadata_bytes_max");
        }
    }

    /// What to report: counts, a total or both.
    pub(in super::super) fn report(&mut self, progress: Option<Progress>, total: Option<i64>) -> Report {
        if progress.is_none() && total.is_none() {
            self.violations.add("progress", "is missing, and so is total_count: give one of them");
        }
        match progress {
            None => Report::Nothing,
            Some(Progress::Set(counts)) => {
                let counts = self.counts("set", counts);
                self.total_of(total, counts);
                Report::Set(counts)
            }
            Some(Progress::Add(counts)) => Report::Add(self.counts("add", counts)),
        }
    }

    /// Checks a total against the counts beside it.
    fn total_of(&mut self, total: Option<i64>, counts: Counts) {
        let processed = counts.processed();
        if let Some(total) = total.filter(|total| (0..processed).contains(total)) {
            self.violations.add(
                "total_count",
                format!("must not be below the {processed} items that are set, is {total}"),
            );
        }
    }

    fn counts(&mut self, field: &str, counts: pb::ProgressCounts) -> Counts {
        self.item_count(&format!("{field}.successful_count"), counts.successful_count);
        self.item_count(&format!("{field}.failed_count"), counts.failed_count);
        Counts { successful: counts.successful_count, failed: counts.failed_count }
    }

    /// Why a job takes a status, which must be one that has a reason.
    pub(in super::super) fn reason(
        &mut self,
        status: Status,
        error: Option<pb::JobError>,
    ) -> Option<Failure> {
        let error = error?;
        if !matches!(status, Status::Failed | Status::Aborted) {
            self.violations.add("error", "belongs to FAILED and ABORTED: leave it out otherwise");
        }
        Some(self.failure(&|name| format!("error.{name}"), error))
    }

    fn failure(&mut self, at: &dyn Fn(&str) -> String, error: pb::JobError) -> Failure {
        self.short_text(&|| at("code"), &error.code, 0, ERROR_CODE_BYTES_MAX);
        self.short_text(&|| at("message"), &error.message, 0, ERROR_MESSAGE_BYTES_MAX);
        Failure { code: error.code, message: error.message }
    }

    /// The field is named only where something is wrong: a batch has thousands of texts.
    fn short_text(&mut self, field: &dyn Fn() -> String, text: &str, min: u64, max: u64) {
        if !(min..=max).contains(&(text.len() as u64)) || text.contains('\0') {
            self.text(&field(), text, min, max, "");
        }
    }

    /// Results to record.
    pub(in super::super) fn results(
        &mut self,
        results: Vec<pb::NewResult>,
        atomic: bool,
    ) -> Batch<NewResult> {
        let failing = self.failing(atomic);
        let max = (self.settings.batch_items_max, "jobs.batch_items_max");
        self.items("results", results, max, failing, Self::result)
    }

    fn result(&mut self, result: pb::NewResult) -> NewResult {
        self.short_text(&|| "item_key".into(), &result.item_key, 0, ITEM_KEY_BYTES_MAX);
        if result.item_key.is_empty() && !self.has_request_id() {
            let message =
                "is empty: give one, or give the call a request_id, without which a repeat would count again";
            self.violations.add("item_key", message);
        }
        self.short_text(&|| "url".into(), &result.url, 0, URL_BYTES_MAX);
        let said = result.error.map(|error| self.failure(&|name| format!("error.{name}"), error));
        let error = match result.success {
            Some(false) => Some(said.unwrap_or_default()),
            Some(true) if said.is_some() => {
                self.violations
                    .add("error", "belongs to an item that failed: leave it out, or success false");
                None
            }
            Some(true) => None,
            None => {
                self.violations.add("success", "is missing: give true or false");
                None
            }
        };
        if !result.data_json.is_empty() {
            let max = self.settings.result_data_bytes_max;
            self.json_object(&|| "data_json".into(), &result.data_json, max, "jobs.result_data_bytes_max");
        }
        let processing_us = result
            .processing_time
            .map(|time| self.duration_us("processing_time", &time, 0, PROCESSING_US_MAX));
        NewResult {
            item_key: Some(result.item_key).filter(|key| !key.is_empty()),
            url: result.url,
            error,
            processing_us,
            data_json: result.data_json,
        }
    }

    /// How long to wait at least between two messages of a watch.
    pub(in super::super) fn watch_interval_us(&mut self, interval: Option<&Duration>) -> i64 {
        let min_us = ms_to_us(self.settings.watch_interval_ms_min);
        match interval {
            Some(interval) => self.duration_us("interval_min", interval, min_us, WATCH_INTERVAL_US_MAX),
            None => min_us,
        }
    }
}
