//! The queue: tasks that workers claim, with fencing tokens. docs/queue.md says by which rules.
//!
//! All that is promised is in the tables, the counts of the statistics too. In memory are the names of queues and types, the claims that
//! wait, and the next time at which something is due.

mod api;
mod clockwork;
mod convert;
mod cron;
mod domain;
mod effects;
mod entity;
mod order;
mod registry;
mod rules;
mod schedule;
mod store;
mod upkeep;
mod waiting;

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::{Clock, ms_to_us};
use crate::concurrency::ConcurrencyLimit;
use crate::settings::Settings;
use crate::storage::idempotency::RequestKeys;
use crate::storage::{Storage, Tx};

pub use api::{NAME, server};
pub use upkeep::run as upkeep;

/// Microseconds of a minute.
const MINUTE_US: i64 = 60_000_000;

/// What wakes the other sidecars on the same database when there are tasks.
const TASKS_TOPIC: &str = "queue/tasks";

/// What wakes those in this process who watch a task.
fn watch_topic(task_id: i64) -> String {
    format!("queue/task/{task_id}")
}

/// What tells the other sidecars that rules have changed.
const RULES_TOPIC: &str = "queue/rules";

/// The queue service, cheap to clone.
#[derive(Clone)]
pub struct QueueService(pub(super) Arc<Core>);

/// What it owns.
pub(super) struct Core {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    names: store::Names,
    waiting: Arc<waiting::Waiting>,
    /// One permit for each stream of a worker.
    streams: ConcurrencyLimit,
    /// One permit for each watch.
    watches: ConcurrencyLimit,
    due: clockwork::Due,
    limits: store::Limits,
    /// Becomes true at the stop: those who wait are answered.
    stopping: watch::Sender<bool>,
}

impl QueueService {
    /// The queue on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        let queue = &settings.queue;
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let names = store::Names {
            registry: Arc::default(),
            rules: domain::Rules {
                is_lifo: false,
                ageing_us: 0,
                is_relaxed: false,
                retries_max: count(queue.retries_max),
                backoff_us: ms_to_us(queue.backoff_ms),
                backoff_us_max: ms_to_us(queue.backoff_ms_max),
                timeout_us: 0,
                retention_us: ms_to_us(queue.retention_ms),
                failed_retention_us: ms_to_us(queue.failed_retention_ms),
                key_limits: domain::KeyLimits::default(),
            },
            queues_max: count(queue.queues_max),
            types_max: count(queue.types_max),
            result_bytes_max: queue.result_bytes_max,
            task_lines_max: count(queue.task_lines_max),
            job_result_bytes_max: usize::try_from(settings.jobs.result_data_bytes_max).unwrap_or(usize::MAX),
        };
        let limits = store::Limits {
            rows_max: clockwork::ROWS_PER_STEP,
            worker_timeout_us: ms_to_us(queue.worker_timeout_ms),
            losses_max: count(queue.losses_max),
            runs_max: usize::try_from(queue.missed_runs_max).unwrap_or(usize::MAX),
            keys_max: count(queue.keys_max),
        };
        Self(Arc::new(Core {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            waiting: waiting::Waiting::new(queue.claims_waiting_max),
            streams: ConcurrencyLimit::new("queue.streams_max", queue.streams_max),
            watches: ConcurrencyLimit::new("queue.watches_max", queue.watches_max),
            due: clockwork::Due::default(),
            stopping: watch::Sender::new(false),
            settings: settings.clone(),
            names,
            limits,
            storage,
            clock,
        }))
    }
}

impl Core {
    fn now(&self) -> store::Now {
        let running_since_us = self.clock.running_since_us();
        store::Now {
            us: self.clock.steady_us(),
            wall_us: self.clock.now_us(),
            running_since_us,
            hold_until_us: running_since_us.saturating_add(self.limits.worker_timeout_us),
        }
    }

    /// Has what a transaction leaves be done after its commit.
    async fn follow(self: &Arc<Self>, step: store::Step<'_>) -> crate::error::Result<()> {
        let tx: &Tx<'_> = step.tx;
        let effects = step.finish().await?;
        if self.storage.is_shared() && !effects.called.is_empty() {
            tx.wake(TASKS_TOPIC.to_owned());
        }
        let core = self.clone();
        tx.after_commit(move || {
            core.due.note(effects.due);
            for task_id in effects.changed {
                core.storage.wake().notify(|| watch_topic(task_id));
            }
            for (queue, kind, count) in effects.called {
                core.waiting.call(&queue, &kind, count);
            }
        });
        Ok(())
    }
}
