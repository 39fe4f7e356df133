//! `[queue]`: the queue's limits and the defaults of its queues.

use serde::{Deserialize, Serialize};

use super::within;

/// The longest time anything of the queue may be told to take: ten years.
pub(crate) const TIME_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

/// The longest backoff, and the longest period of a rate: 30 days.
pub(crate) const BACKOFF_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The most retries.
pub(crate) const RETRIES_MAX: u64 = 1_000;

/// The queue's limits and the defaults of its queues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Bytes of the largest parameters.
    pub parameters_bytes_max: u64,
    /// Bytes of the largest result.
    pub result_bytes_max: u64,
    /// Items of one call.
    pub batch_items_max: u64,
    /// Tasks of one claim, and the most credit of a stream.
    pub claim_tasks_max: u64,
    /// The longest wait of a claim.
    pub claim_wait_ms_max: u64,
    /// Claims that wait at once; further ones are refused with OVERLOADED.
    pub claims_waiting_max: u64,
    /// Streams of workers at once; further ones are refused with OVERLOADED.
    pub streams_max: u64,
    /// Watches at once; further ones are refused with OVERLOADED.
    pub watches_max: u64,
    /// Tasks of one watch.
    pub watch_tasks_max: u64,
    /// The shortest time between two messages of a watch for one task.
    pub watch_interval_ms_min: u64,
    /// The longest time between two looks of a watch at its tasks: changes by another sidecar are seen by looking.
    pub watch_look_ms: u64,
    /// How long a task is held by a caller that is no registered worker, when it does not say.
    pub lease_ms: u64,
    /// The longest lease.
    pub lease_ms_max: u64,
    /// The longest time that one attempt may be given.
    pub timeout_ms_max: u64,
    /// A worker that has not beaten for so long is dead. 14 s, so that its tasks are back within 15.
    pub worker_timeout_ms: u64,
    /// Live workers.
    pub workers_max: u64,
    /// How long workers that are dead or have left are remembered.
    pub worker_retention_ms: u64,
    /// Lines of a worker, with its progress, that the log keeps of one attempt: the first half and the last ones.
    pub task_lines_max: u64,
    /// Bytes of the details of a line.
    pub line_details_bytes_max: u64,
    /// Lost leases (expired, or lost with their worker) that a task survives; the next loss makes it FAILED.
    pub losses_max: u64,
    /// Queues at once.
    pub queues_max: u64,
    /// Types in one queue.
    pub types_max: u64,
    /// Limit keys that are in use or have limits of their own.
    pub keys_max: u64,
    /// Schedules at once.
    pub schedules_max: u64,
    /// Tasks that a schedule enqueues for runs that it missed, at most.
    pub missed_runs_max: u64,
    /// Default of new queues: how often a failed attempt is retried.
    pub retries_max: u64,
    /// Default of new queues: the delay before the first retry; each further one doubles it.
    pub backoff_ms: u64,
    /// Default of new queues: the longest delay.
    pub backoff_ms_max: u64,
    /// Default of new queues: how long completed and cancelled tasks are kept; zero: for ever.
    pub retention_ms: u64,
    /// Default of new queues: how long failed tasks are kept; zero: for ever.
    pub failed_retention_ms: u64,
    /// How often what is over its retention is looked for.
    pub sweep_ms: u64,
    /// How often changes of counts are folded into the counts.
    pub stats_fold_ms: u64,
    /// What is due is looked for at least this often, though nothing said that anything is.
    pub due_ms_max: u64,
}

impl Default for QueueSettings {
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
        Self {
            parameters_bytes_max: 256 * 1024,
            result_bytes_max: 1024 * 1024,
            batch_items_max: 10_000,
            claim_tasks_max: 1_000,
            claim_wait_ms_max: 60_000,
            claims_waiting_max: 2_048,
            streams_max: 1_024,
            watches_max: 1_000,
            watch_tasks_max: 100,
            watch_interval_ms_min: 100,
            watch_look_ms: 2_000,
            lease_ms: 60_000,
            lease_ms_max: DAY_MS,
            timeout_ms_max: 7 * DAY_MS,
            worker_timeout_ms: 14_000,
            workers_max: 10_000,
            worker_retention_ms: DAY_MS,
            task_lines_max: 100,
            line_details_bytes_max: 16 * 1024,
            losses_max: 10,
            queues_max: 1_000,
            types_max: 256,
            keys_max: 100_000,
            schedules_max: 1_000,
            missed_runs_max: 100,
            retries_max: 3,
            backoff_ms: 1_000,
            backoff_ms_max: 60 * 60 * 1_000,
            retention_ms: 7 * DAY_MS,
            failed_retention_ms: 30 * DAY_MS,
            sweep_ms: 10_000,
            stats_fold_ms: 1_000,
            due_ms_max: 5_000,
        }
    }
}

impl QueueSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        const GIB: u64 = 1 << 30;
        within(found, "queue.parameters_bytes_max", self.parameters_bytes_max, 2..=GIB / 8);
        within(found, "queue.result_bytes_max", self.result_bytes_max, 2..=GIB / 8);
        within(found, "queue.batch_items_max", self.batch_items_max, 1..=100_000);
        within(found, "queue.claim_tasks_max", self.claim_tasks_max, 1..=10_000);
        within(found, "queue.claim_wait_ms_max", self.claim_wait_ms_max, 0..=3_600_000);
        within(found, "queue.claims_waiting_max", self.claims_waiting_max, 1..=1_000_000);
        within(found, "queue.streams_max", self.streams_max, 1..=1_000_000);
        within(found, "queue.watches_max", self.watches_max, 0..=65_536);
        within(found, "queue.watch_tasks_max", self.watch_tasks_max, 1..=1_000);
        within(found, "queue.watch_interval_ms_min", self.watch_interval_ms_min, 1..=60_000);
        within(found, "queue.watch_look_ms", self.watch_look_ms, 10..=600_000);
        within(found, "queue.lease_ms_max", self.lease_ms_max, 1..=TIME_MS_MAX);
        within(found, "queue.lease_ms", self.lease_ms, 1..=self.lease_ms_max);
        within(found, "queue.timeout_ms_max", self.timeout_ms_max, 1..=TIME_MS_MAX);
        within(found, "queue.worker_timeout_ms", self.worker_timeout_ms, 100..=24 * 3_600_000);
        within(found, "queue.workers_max", self.workers_max, 1..=1_000_000);
        within(found, "queue.worker_retention_ms", self.worker_retention_ms, 0..=TIME_MS_MAX);
        within(found, "queue.task_lines_max", self.task_lines_max, 2..=10_000);
        within(found, "queue.line_details_bytes_max", self.line_details_bytes_max, 2..=1 << 20);
        within(found, "queue.losses_max", self.losses_max, 0..=1_000_000);
        within(found, "queue.queues_max", self.queues_max, 1..=100_000);
        within(found, "queue.types_max", self.types_max, 1..=10_000);
        within(found, "queue.keys_max", self.keys_max, 1..=10_000_000);
        within(found, "queue.schedules_max", self.schedules_max, 1..=100_000);
        within(found, "queue.missed_runs_max", self.missed_runs_max, 1..=10_000);
        within(found, "queue.retries_max", self.retries_max, 0..=RETRIES_MAX);
        within(found, "queue.backoff_ms_max", self.backoff_ms_max, 0..=BACKOFF_MS_MAX);
        within(found, "queue.backoff_ms", self.backoff_ms, 0..=self.backoff_ms_max);
        within(found, "queue.retention_ms", self.retention_ms, 0..=TIME_MS_MAX);
        within(found, "queue.failed_retention_ms", self.failed_retention_ms, 0..=TIME_MS_MAX);
        within(found, "queue.sweep_ms", self.sweep_ms, 10..=3_600_000);
        within(found, "queue.stats_fold_ms", self.stats_fold_ms, 10..=600_000);
        within(found, "queue.due_ms_max", self.due_ms_max, 10..=600_000);
    }
}
