//! Schedules.

use pannier_proto::queue::v1 as pb;

use super::super::cron::{Cron, CronError};
use super::super::domain::{State, Unique};
use super::super::schedule::{MissedRuns, NewSchedule, Schedule};
use super::{Parser, duration, state, timestamp};

/// Bytes of a cron expression.
const CRON_BYTES_MAX: u64 = 256;

impl Parser<'_> {
    /// A schedule to put.
    pub(in super::super) fn schedule(&mut self, schedule: pb::Schedule) -> NewSchedule {
        self.plain_name(&|| "schedule.name".to_owned(), &schedule.name);
        let item = schedule.item.unwrap_or_default();
        if item.when.is_some() {
            self.violations.add("schedule.item.when", "must be absent: the schedule says when");
        }
        if !item.job_id.is_empty() || !item.job_item_key.is_empty() {
            let message = "must be empty: a job counts an item once, and a schedule enqueues many tasks";
            self.violations.add("schedule.item.job_id", message);
        }
        let (job_id, job_item_key) = Default::default();
        let item = pb::EnqueueItem { when: None, job_id, job_item_key, ..item };
        if schedule.cron.len() as u64 > CRON_BYTES_MAX {
            self.text("schedule.cron", &schedule.cron, 1, CRON_BYTES_MAX, "");
        } else {
            match Cron::parse(&schedule.cron, &schedule.time_zone) {
                Ok(_) => {}
                Err(CronError::Pattern(why)) => {
                    self.violations.add("schedule.cron", format!("is no cron expression: {why}"));
                }
                Err(CronError::Zone) => {
                    self.violations.add("schedule.time_zone", "is no time zone, such as Europe/Berlin");
                    if let Err(CronError::Pattern(why)) = Cron::parse(&schedule.cron, "") {
                        self.violations.add("schedule.cron", format!("is no cron expression: {why}"));
                    }
                }
            }
        }
        let missed_runs = match pb::MissedRuns::try_from(schedule.missed_runs) {
            Ok(pb::MissedRuns::Unspecified | pb::MissedRuns::Skip) => MissedRuns::Skip,
            Ok(pb::MissedRuns::One) => MissedRuns::One,
            Ok(pb::MissedRuns::All) => MissedRuns::All,
            Err(_) => {
                let message = format!("{} is no MissedRuns", schedule.missed_runs);
                self.violations.add("schedule.missed_runs", message);
                MissedRuns::Skip
            }
        };
        let first = self.violations.count();
        let task = self.enqueue_item(item);
        self.violations.place(first, || "schedule.item".to_owned());
        NewSchedule {
            queue: self.queue_name("schedule.queue", schedule.queue),
            task,
            name: schedule.name,
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            missed_runs,
            is_paused: schedule.paused,
        }
    }
}

/// A schedule as the wire has it.
pub(in super::super) fn schedule(schedule: Schedule) -> pb::Schedule {
    let put = schedule.put;
    let small = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    pb::Schedule {
        name: put.name,
        queue: put.queue,
        item: Some(pb::EnqueueItem {
            r#type: put.task.type_name,
            parameters_json: put.task.parameters.unwrap_or_default(),
            priority: small(put.task.priority),
            when: None,
            max_retries: put.task.retries_max.map(small),
            timeout: put.task.timeout_us.map(duration),
            limit_key: put.task.limit_key.unwrap_or_default(),
            unique: put.task.unique.map(unique),
            ..Default::default()
        }),
        cron: put.cron,
        time_zone: put.time_zone,
        missed_runs: match put.missed_runs {
            MissedRuns::Skip => pb::MissedRuns::Skip,
            MissedRuns::One => pb::MissedRuns::One,
            MissedRuns::All => pb::MissedRuns::All,
        }
        .into(),
        paused: put.is_paused,
        next_run_time: schedule.next_run_us.map(timestamp),
        last_run_time: schedule.last_run_us.map(timestamp),
        last_task_id: schedule.last_task_id.unwrap_or(0),
        create_time: Some(timestamp(schedule.create_us)),
        update_time: Some(timestamp(schedule.update_us)),
    }
}

fn unique(unique: Unique) -> pb::Unique {
    let named = State::ALL.into_iter().filter(|state| unique.states & 1 << state.number() != 0);
    pb::Unique {
        key: unique.key,
        states: named.map(|named| state(named).into()).collect(),
        period: unique.period_us.map(duration),
    }
}
