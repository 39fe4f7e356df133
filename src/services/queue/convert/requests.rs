//! Requests to domain types, with all that is wrong told at once.

use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState as PbState;
use prost_types::Duration;

use super::super::domain::{
    Claiming, Holder, JobItem, Line, NewTask, Outcome, PRIORITY_DEFAULT, PRIORITY_MAX, QUEUE_DEFAULT,
    Requested, State, Unique, What, When,
};
use super::super::store::{Filter, Listed};
use super::Parser;
use crate::answer::Budget;
use crate::batch::{Batch, Failing};
use crate::clock::ms_to_us;
use crate::convert::ERROR_MESSAGE_BYTES_MAX;
use crate::settings::{RETRIES_MAX, TIME_MS_MAX};

/// Bytes of the name of a queue, type or schedule.
const NAME_BYTES_MAX: usize = 128;

/// Bytes of a limit key, a unique key or a worker's name.
const KEY_BYTES_MAX: u64 = 256;

/// Bytes of an item's key in its job.
const ITEM_KEY_BYTES_MAX: u64 = 1_024;

/// The longest time between two messages of a watch: an hour.
const WATCH_INTERVAL_US_MAX: i64 = 3_600_000_000;

/// The progress of a task that is done, in millionths.
pub(super) const PROGRESS_WHOLE: f64 = 1e6;

/// Types that one request may name.
const TYPES_MAX: usize = 256;

impl Parser<'_> {
    /// The name of a queue; empty: the default one.
    pub(in super::super) fn queue_name(&mut self, field: &str, name: String) -> String {
        if name.is_empty() {
            return QUEUE_DEFAULT.to_owned();
        }
        self.plain_name(&|| field.to_owned(), &name);
        name
    }

    /// Checks the name of a queue, type or schedule.
    pub(in super::super) fn plain_name(&mut self, field: &dyn Fn() -> String, name: &str) {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            let message =
                format!("must be 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_', '-', ':' and '/'");
            self.violations.add(field(), message);
        }
    }

    /// The names of types that a request asks for; none: all.
    pub(in super::super) fn types(&mut self, field: &str, mut names: Vec<String>) -> Vec<String> {
        if names.len() > TYPES_MAX {
            self.violations.add(field, format!("must be at most {TYPES_MAX} types, are {}", names.len()));
            return Vec::new();
        }
        for (index, name) in names.iter().enumerate() {
            self.plain_name(&|| format!("{field}[{index}]"), name);
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Checks a text for people or a key.
    pub(in super::super) fn key_text(&mut self, field: &dyn Fn() -> String, text: &str) {
        if text.is_empty() || text.len() as u64 > KEY_BYTES_MAX || text.chars().any(char::is_control) {
            let message = format!("must be 1 to {KEY_BYTES_MAX} bytes without control characters");
            self.violations.add(field(), message);
        }
    }

    /// Any JSON, or none for an empty text.
    fn optional_json(
        &mut self,
        field: &dyn Fn() -> String,
        text: String,
        max: u64,
        setting: &str,
    ) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        self.json(field, &text, max, setting);
        Some(text)
    }

    fn optional_us(
        &mut self,
        field: &dyn Fn() -> String,
        value: Option<&Duration>,
        min_us: i64,
        max_us: i64,
    ) -> Option<i64> {
        value.map(|value| self.duration_us(&field(), value, min_us, max_us))
    }

    /// A task to add. Fields are named relative to the item.
    pub(in super::super) fn enqueue_item(&mut self, item: pb::EnqueueItem) -> NewTask {
        let at = str::to_owned;
        self.plain_name(&|| at("type"), &item.r#type);
        let priority = match i64::from(item.priority) {
            0 => PRIORITY_DEFAULT,
            priority => {
                if !(1..=PRIORITY_MAX).contains(&priority) {
                    let message = format!("must be 1 to {PRIORITY_MAX}, or 0 for {PRIORITY_DEFAULT}");
                    self.violations.add(at("priority"), message);
                }
                priority
            }
        };
        let retries_max = item.max_retries.map(i64::from);
        if retries_max.is_some_and(|retries| !(0..=RETRIES_MAX as i64).contains(&retries)) {
            self.violations.add(at("max_retries"), format!("must be 0 to {RETRIES_MAX}"));
        }
        let timeout_us_max = ms_to_us(self.settings.timeout_ms_max);
        if !item.limit_key.is_empty() {
            self.key_text(&|| at("limit_key"), &item.limit_key);
        }
        let max = self.settings.parameters_bytes_max;
        NewTask {
            parameters: self.optional_json(
                &|| at("parameters_json"),
                item.parameters_json,
                max,
                "queue.parameters_bytes_max",
            ),
            priority,
            when: self.when(at, item.when),
            retries_max,
            timeout_us: self.optional_us(&|| at("timeout"), item.timeout.as_ref(), 1, timeout_us_max),
            limit_key: Some(item.limit_key).filter(|key| !key.is_empty()),
            unique: item.unique.map(|unique| self.unique(at, unique)),
            schedule_id: None,
            job_item: self.job_item(at, &item.job_id, item.job_item_key),
            type_name: item.r#type,
        }
    }

    fn job_item(&mut self, at: fn(&str) -> String, job_id: &str, key: String) -> Option<JobItem> {
        if job_id.is_empty() {
            if !key.is_empty() {
                self.violations.add(at("job_item_key"), "belongs to a job_id: give both, or neither");
            }
            return None;
        }
        if key.len() as u64 > ITEM_KEY_BYTES_MAX || key.contains('\0') {
            self.text(&at("job_item_key"), &key, 0, ITEM_KEY_BYTES_MAX, "");
        }
        let job_id = self.uuid(&at("job_id"), job_id);
        Some(JobItem { job_id, key: Some(key).filter(|key| !key.is_empty()) })
    }

    fn when(&mut self, at: fn(&str) -> String, when: Option<pb::enqueue_item::When>) -> When {
        match when {
            None => When::Now,
            Some(pb::enqueue_item::When::RunTime(time)) => When::At(self.time_us(&at("run_time"), &time)),
            Some(pb::enqueue_item::When::Delay(delay)) => {
                When::After(self.duration_us(&at("delay"), &delay, 0, ms_to_us(TIME_MS_MAX)))
            }
        }
    }

    /// A task to add, whose run time is not too far ahead of `now_us`.
    pub(in super::super) fn enqueue_item_at(&mut self, item: pb::EnqueueItem, now_us: i64) -> NewTask {
        let task = self.enqueue_item(item);
        self.within_ten_years(task.when, now_us);
        task
    }

    fn within_ten_years(&mut self, when: When, now_us: i64) {
        if let When::At(run_us) = when
            && run_us > now_us.saturating_add(ms_to_us(TIME_MS_MAX))
        {
            self.violations.add("run_time", "must be at most ten years ahead");
        }
    }

    fn unique(&mut self, at: fn(&str) -> String, unique: pb::Unique) -> Unique {
        self.key_text(&|| at("unique.key"), &unique.key);
        let mut states = Vec::new();
        for (index, number) in unique.states.iter().enumerate() {
            match self.state(&|| at(&format!("unique.states[{index}]")), *number) {
                Some(state) => states.push(state),
                None => {
                    let field = at(&format!("unique.states[{index}]"));
                    self.violations.add(field, "must be a state");
                }
            }
        }
        let period_us_max = ms_to_us(TIME_MS_MAX);
        Unique {
            key: unique.key,
            states: if states.is_empty() { Unique::default_states() } else { Unique::bits(states) },
            period_us: self.optional_us(&|| at("unique.period"), unique.period.as_ref(), 1, period_us_max),
        }
    }

    /// A state, or none where none is said.
    pub(in super::super) fn state(&mut self, field: &dyn Fn() -> String, number: i32) -> Option<State> {
        match PbState::try_from(number) {
            Ok(PbState::Unspecified) => None,
            Ok(PbState::Scheduled) => Some(State::Scheduled),
            Ok(PbState::Queued) => Some(State::Queued),
            Ok(PbState::Blocked) => Some(State::Blocked),
            Ok(PbState::Claimed) => Some(State::Claimed),
            Ok(PbState::Running) => Some(State::Running),
            Ok(PbState::Completed) => Some(State::Completed),
            Ok(PbState::Failed) => Some(State::Failed),
            Ok(PbState::Cancelled) => Some(State::Cancelled),
            Err(_) => {
                self.violations.add(field(), format!("{number} is no TaskState"));
                // Told once.
                Some(State::Queued)
            }
        }
    }

    /// What to claim.
    pub(in super::super) fn claiming(&mut self, claiming: pb::Claiming) -> Claiming {
        let settings = self.settings;
        let tasks_max = match i64::from(claiming.max_tasks) {
            0 => 1,
            tasks => {
                let max = settings.claim_tasks_max;
                if u64::try_from(tasks).is_ok_and(|tasks| tasks <= max) {
                    tasks
                } else {
                    let message = format!("must be 0 to {max} (queue.claim_tasks_max)");
                    self.violations.add("claiming.max_tasks", message);
                    1
                }
            }
        };
        let wait_us_max = ms_to_us(settings.claim_wait_ms_max);
        let field = |name: &str| format!("claiming.{name}");
        let wait_us = self.optional_us(&|| field("wait"), claiming.wait.as_ref(), 0, wait_us_max);
        let lease_us_max = ms_to_us(settings.lease_ms_max);
        let lease_us = self.optional_us(&|| field("lease"), claiming.lease.as_ref(), 1, lease_us_max);
        if claiming.worker_id < 0 {
            self.violations.add(field("worker_id"), "must not be negative");
        }
        if claiming.worker_id != 0 && lease_us.is_some() {
            self.violations.add(field("lease"), "is not for registered workers: their beats keep the lease");
        }
        Claiming {
            queue: self.queue_name("claiming.queue", claiming.queue),
            types: self.types("claiming.types", claiming.types),
            tasks_max,
            wait_us: wait_us.unwrap_or(0),
            order: self.claim_order("claiming.order", claiming.order),
            holder: match claiming.worker_id {
                0 => Holder::Lease(lease_us.unwrap_or_else(|| ms_to_us(settings.lease_ms))),
                worker_id => Holder::Worker(worker_id),
            },
            is_start: claiming.start,
        }
    }

    /// The order of claims.
    pub(in super::super) fn claim_order(&mut self, field: &str, order: i32) -> Requested {
        match pb::ClaimOrder::try_from(order) {
            Ok(pb::ClaimOrder::Unspecified | pb::ClaimOrder::QueueDefault) => Requested::QueueDefault,
            Ok(pb::ClaimOrder::Priority) => Requested::Priority,
            Ok(pb::ClaimOrder::Fifo) => Requested::Fifo,
            Ok(pb::ClaimOrder::Lifo) => Requested::Lifo,
            Err(_) => {
                self.violations.add(field, format!("ClaimOrder: unknown value {order}"));
                Requested::QueueDefault
            }
        }
    }

    /// The conditions of a list.
    pub(in super::super) fn listed(&mut self, request: &pb::ListRequest) -> Filter {
        let mut states = Vec::with_capacity(request.states.len());
        for (index, number) in request.states.iter().enumerate() {
            let field = || format!("states[{index}]");
            match self.state(&field, *number) {
                Some(state) => states.push(state),
                None => self.violations.add(field(), "must be a state"),
            }
        }
        states.sort_unstable_by_key(|state| state.number());
        states.dedup();
        if request.worker_id < 0 {
            self.violations.add("worker_id", "must not be negative");
        }
        if !request.worker_name.is_empty() {
            self.key_text(&|| "worker_name".to_owned(), &request.worker_name);
        }
        let from = request.create_time_from.as_ref();
        let before = request.create_time_before.as_ref();
        Filter {
            type_ids: Vec::new(),
            states,
            worker_id: Some(request.worker_id).filter(|id| *id != 0),
            worker_name: Some(request.worker_name.clone()).filter(|name| !name.is_empty()),
            from_us: from.map(|time| self.time_us("create_time_from", time)),
            before_us: before.map(|time| self.time_us("create_time_before", time)),
            after: None,
            rows_max: 0,
            budget: Budget::of_call(),
        }
    }

    /// The tasks of a watch, and the shortest time between two messages for one of them.
    pub(in super::super) fn watched(&mut self, task_ids: &[i64], interval: Option<&Duration>) -> i64 {
        self.batch("task_ids", task_ids.len(), self.settings.watch_tasks_max, "queue.watch_tasks_max");
        let least_us = ms_to_us(self.settings.watch_interval_ms_min);
        match interval {
            Some(interval) => self.duration_us("interval_min", interval, least_us, WATCH_INTERVAL_US_MAX),
            None => least_us,
        }
    }

    /// All that a worker says to hold.
    pub(in super::super) fn held(&mut self, held: pb::HeldTasks) -> Listed {
        let max = self.settings.batch_items_max;
        if held.tasks.len() as u64 > max {
            self.violations.add("held.tasks", format!("must be at most {max} (queue.batch_items_max)"));
        }
        Listed {
            whole_us: held.heartbeat_time.map(|time| self.time_us("held.heartbeat_time", &time)),
            tasks: held.tasks.into_iter().map(|task| (task.task_id, task.token)).collect(),
        }
    }

    /// The outcomes of a batch.
    pub(in super::super) fn outcomes(
        &mut self,
        outcomes: Vec<pb::Outcome>,
        failing: Failing,
    ) -> Batch<Outcome> {
        let bound = (self.settings.batch_items_max, "queue.batch_items_max");
        self.items("outcomes", outcomes, bound, failing, Self::outcome)
    }

    /// The same where there may be none.
    pub(in super::super) fn outcomes_or_none(&mut self, outcomes: Vec<pb::Outcome>) -> Batch<Outcome> {
        match outcomes.is_empty() {
            true => Batch::new("outcomes", Failing::Item, 0),
            false => self.outcomes(outcomes, Failing::Item),
        }
    }

    fn line(&mut self, report: pb::ReportOutcome) -> Line {
        if report.progress.is_none() && report.message.is_empty() && report.details_json.is_empty() {
            self.violations.add("report", "is empty: give a progress, a message or details");
        }
        let progress = report.progress.map(|progress| {
            if !(0.0..=1.0).contains(&progress) {
                self.violations.add("report.progress", format!("must be 0.0 to 1.0, is {progress}"));
            }
            (progress.clamp(0.0, 1.0) * PROGRESS_WHOLE).round() as i64
        });
        if report.message.len() as u64 > ERROR_MESSAGE_BYTES_MAX || report.message.contains('\0') {
            self.text("report.message", &report.message, 0, ERROR_MESSAGE_BYTES_MAX, "");
        }
        if !report.details_json.is_empty() {
            let max = self.settings.line_details_bytes_max;
            let setting = "queue.line_details_bytes_max";
            self.json_object(&|| "report.details_json".to_owned(), &report.details_json, max, setting);
        }
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Line { progress, message: given(report.message), details: given(report.details_json) }
    }

    /// One outcome. Fields are named relative to it.
    pub(in super::super) fn outcome(&mut self, outcome: pb::Outcome) -> Outcome {
        use pb::outcome::What as PbWhat;
        let at = str::to_owned;
        let settings = self.settings;
        let what = match outcome.what {
            Some(PbWhat::Start(_)) => What::Start,
            Some(PbWhat::Extend(extend)) => {
                let most = ms_to_us(settings.lease_ms_max);
                let lease_us = self.optional_us(&|| at("extend.lease"), extend.lease.as_ref(), 1, most);
                What::Extend(lease_us.unwrap_or_else(|| ms_to_us(settings.lease_ms)))
            }
            // A result that is too large is refused with RESULT_TOO_LARGE once its task is known to be held.
            Some(PbWhat::Complete(complete))
                if complete.result_json.len() as u64 > settings.result_bytes_max =>
            {
                What::Complete(Some(complete.result_json))
            }
            Some(PbWhat::Complete(complete)) => What::Complete(self.optional_json(
                &|| at("complete.result_json"),
                complete.result_json,
                settings.result_bytes_max,
                "queue.result_bytes_max",
            )),
            Some(PbWhat::Fail(fail)) => {
                if fail.error.len() as u64 > ERROR_MESSAGE_BYTES_MAX || fail.error.contains('\0') {
                    self.text(&at("fail.error"), &fail.error, 0, ERROR_MESSAGE_BYTES_MAX, "");
                }
                let most = ms_to_us(TIME_MS_MAX);
                if fail.r#final && fail.retry_delay.is_some() {
                    self.violations.add(at("fail.retry_delay"), "is of no use where `final` is true");
                }
                What::Fail {
                    error: fail.error,
                    is_final: fail.r#final,
                    delay_us: self.optional_us(
                        &|| at("fail.retry_delay"),
                        fail.retry_delay.as_ref(),
                        0,
                        most,
                    ),
                }
            }
            Some(PbWhat::Report(report)) => What::Report(self.line(report)),
            Some(PbWhat::Release(_)) => What::Release,
            Some(PbWhat::Snooze(snooze)) => {
                let delay = snooze.delay.unwrap_or_default();
                What::Snooze(self.duration_us(&at("snooze.delay"), &delay, 1, ms_to_us(TIME_MS_MAX)))
            }
            None => {
                self.violations.add(at("what"), "is missing: say what happened to the task");
                What::Start
            }
        };
        Outcome { task_id: outcome.task_id, token: outcome.token, what }
    }
}
