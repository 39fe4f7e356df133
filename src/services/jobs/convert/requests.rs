//! Requests to domain types, with all that is wrong told at once.

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use prost_types::{Duration, Timestamp};

use super::super::domain::{COUNT_MAX, Counts, Failure, NewResult, Report, Status};
use super::super::store::Filter;
use crate::clock::ms_to_us;
use crate::convert::{ERROR_CODE_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX};
use crate::settings::JobsSettings;

const ITEM_KEY_BYTES_MAX: u64 = 1_024;
const URL_BYTES_MAX: u64 = 8_192;

/// Longest processing of one item: ten years.
const PROCESSING_US_MAX: i64 = crate::settings::TTL_MS_MAX as i64 * 1_000;

/// Longest time between two messages of a watch that may be asked for: an hour.
const WATCH_INTERVAL_US_MAX: i64 = 3_600_000_000;

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
                if let Some(total) = total.filter(|total| (0..counts.processed()).contains(total)) {
                    let message = format!(
                        "must not be below the {} items that are set, is {total}",
                        counts.processed()
                    );
                    self.violations.add("total_count", message);
                }
                Report::Set(counts)
            }
            Some(Progress::Add(counts)) => Report::Add(self.counts("add", counts)),
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

    pub(in super::super) fn results(&mut self, results: Vec<pb::NewResult>) -> Vec<NewResult> {
        if !self.batch("results", results.len(), self.settings.batch_items_max, "jobs.batch_items_max") {
            return Vec::new();
        }
        let results = results.into_iter().enumerate();
        results
            .map(|(index, result)| self.result(&|name| format!("results[{index}].{name}"), result))
            .collect()
    }

    fn result(&mut self, at: &dyn Fn(&str) -> String, result: pb::NewResult) -> NewResult {
        self.short_text(&|| at("item_key"), &result.item_key, 1, ITEM_KEY_BYTES_MAX);
        self.short_text(&|| at("url"), &result.url, 0, URL_BYTES_MAX);
        let said = result.error.map(|error| self.failure(&|name| at(&format!("error.{name}")), error));
        let error = match result.success {
            Some(false) => Some(said.unwrap_or_default()),
            Some(true) if said.is_some() => {
                self.violations
                    .add(at("error"), "belongs to an item that failed: leave it out, or success false");
                None
            }
            Some(true) => None,
            None => {
                self.violations.add(at("success"), "is missing: give true or false");
                None
            }
        };
        if !result.data_json.is_empty() {
            let max = self.settings.result_data_bytes_max;
            self.json_object(&|| at("data_json"), &result.data_json, max, "jobs.result_data_bytes_max");
        }
        let processing_us = result
            .processing_time
            .map(|time| self.duration_us(&at("processing_time"), &time, 0, PROCESSING_US_MAX));
        NewResult {
            item_key: result.item_key,
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
