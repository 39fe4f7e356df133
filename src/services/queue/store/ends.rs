//! How the claim of a task ends, whoever ends it: its worker, the clock, or somebody who cancels it. Also the state of a
//! transaction that does this to many tasks.

use std::collections::BTreeMap;

use sea_orm::Value;

use super::job_results::JobResults;
use super::names::{Named, Names};
use super::rows::Current;
use super::{Now, keys, log, stats};
use crate::error::Result;
use crate::services::queue::MINUTE_US;
use crate::services::queue::domain::{EventKind, KeyLimits, State};
use crate::services::queue::effects::Effects;
use crate::services::queue::rules::{Hold, Next};
use crate::storage::Tx;

const START: &str = r#"UPDATE "queue_tasks" SET "state" = 3, "start_time" = $1 WHERE "id" = $2"#;
const EXTEND: &str = r#"UPDATE "queue_tasks" SET "expire_time" = $1 WHERE "id" = $2"#;
/// Worker and claim time stay: they tell who finished it.
const FINISH: &str = r#"UPDATE "queue_tasks" SET "state" = $1, "finish_time" = $2, "expire_time" = NULL,
    "failure_count" = $3, "error" = $4, "result" = $5,
    "worker_name" = (SELECT w."name" FROM "queue_workers" w WHERE w."id" = "queue_tasks"."worker_id") WHERE "id" = $6"#;
const REQUEUE: &str = r#"UPDATE "queue_tasks" SET "state" = $1, "order_key" = $2, "create_time" = $3, "run_time" = $4,
    "expire_time" = $5, "failure_count" = $6, "error" = coalesce($7, "error"), "worker_id" = NULL, "claim_time" = NULL,
    "start_time" = NULL, "loss_count" = $8 WHERE "id" = $9"#;

const WORKER_COUNTS: &str = r#"INSERT INTO "queue_worker_counts" ("worker_id", "completed", "failed") VALUES ($1, $2, $3)
    ON CONFLICT ("worker_id") DO UPDATE SET "completed" = "queue_worker_counts"."completed" + excluded."completed",
    "failed" = "queue_worker_counts"."failed" + excluded."failed""#;

/// A transaction that changes tasks.
pub struct Step<'t> {
    /// The database.
    pub tx: &'t Tx<'t>,
    /// Queues and types.
    pub names: &'t Names,
    /// When.
    pub now: Now,
    /// What follows the commit.
    pub effects: Effects,
    /// How many keys there are, once they were counted.
    pub(super) key_count: Option<i64>,
    /// The highest key that is locked.
    pub(super) keys_locked_to: i64,
    /// Keys that may have more room now.
    released: BTreeMap<i64, Released>,
    /// What jobs are told of tasks that have ended.
    job_results: JobResults,
    /// What workers have done: tasks completed and attempts failed.
    worker_counts: BTreeMap<i64, (i64, i64)>,
}

/// What has become less with a key.
#[derive(Clone, Copy)]
pub(super) struct Released {
    /// Tasks that were held.
    pub(super) held: i64,
    /// Tasks that were blocked.
    pub(super) blocked: i64,
    /// The limits that the queue sets.
    pub(super) limits: KeyLimits,
}

/// Why a claim ends, or goes on.
pub(super) struct Ending<'e> {
    pub(super) kind: EventKind,
    pub(super) is_failure: bool,
    pub(super) error: Option<&'e str>,
    pub(super) result: Option<&'e str>,
}

impl Ending<'_> {
    pub(super) fn plain(kind: EventKind) -> Self {
        Self { kind, is_failure: false, error: None, result: None }
    }

    fn is_loss(&self) -> bool {
        matches!(self.kind, EventKind::LeaseExpired | EventKind::WorkerDied | EventKind::Forgotten)
    }
}

impl<'t> Step<'t> {
    /// A step in `tx` at `now`.
    pub fn new(tx: &'t Tx<'t>, names: &'t Names, now: Now) -> Self {
        Self {
            tx,
            names,
            now,
            effects: Effects::default(),
            key_count: None,
            keys_locked_to: 0,
            released: BTreeMap::new(),
            job_results: JobResults::default(),
            worker_counts: BTreeMap::new(),
        }
    }

    /// Ends the transaction's work: gives the capacity of tasks that are held no more to others of their keys, records results of jobs, and
    /// writes how the numbers of tasks have changed.
    pub async fn finish(mut self) -> Result<Effects> {
        self.release_keys().await?;
        // The locks of jobs come last, behind those of tasks and keys.
        std::mem::take(&mut self.job_results).record(self.tx, self.now.wall_us).await?;
        stats::note(self.tx, self.now.us / MINUTE_US, &self.effects.tallies).await?;
        for (worker_id, (completed, failed)) in std::mem::take(&mut self.worker_counts) {
            self.tx.run(WORKER_COUNTS, vec![worker_id.into(), completed.into(), failed.into()]).await?;
        }
        // Waiting claims are called by the names of types.
        for (type_id, count) in std::mem::take(&mut self.effects.queued) {
            let Named { kind, queue } = self.names.of_task(self.tx, type_id).await?;
            self.effects.called.push((queue.name.clone(), kind.name.clone(), count));
        }
        Ok(self.effects)
    }

    /// Gives the room of tasks that are held no more to others of their keys, in the order of the keys' ids.
    pub(super) async fn release_keys(&mut self) -> Result<()> {
        for (key_id, released) in std::mem::take(&mut self.released) {
            keys::release(self, key_id, released).await?;
        }
        Ok(())
    }

    /// Has a key looked at when others release theirs.
    pub(super) fn look_at_key(&mut self, key_id: i64, limits: KeyLimits) {
        self.released.entry(key_id).or_insert(Released { held: 0, blocked: 0, limits });
    }

    /// What decides about a held task.
    pub(super) fn hold(row: &Current, named: &Named) -> Hold {
        Hold {
            failure_count: row.failure_count,
            retries_max: row.retries_max.unwrap_or(named.queue.rules.retries_max),
            timeout_us: row.timeout_us.unwrap_or(named.queue.rules.timeout_us),
            claim_us: row.claim_time.unwrap_or(0),
            expire_us: row.expire_time,
            is_cancelling: row.is_cancelling,
            has_worker: row.worker_id.is_some(),
        }
    }

    /// Brings a held task to what comes next, in the table and in `row`.
    pub(super) async fn advance(
        &mut self,
        row: &mut Current,
        named: &Named,
        next: Next,
        ending: &Ending<'_>,
    ) -> Result<()> {
        let from = row.state()?;
        self.effects.changed.push(row.id);
        match next {
            Next::Running => {
                if from == State::Running {
                    return Ok(());
                }
                self.tx.run(START, vec![self.now.us.into(), row.id.into()]).await?;
                row.start_time = Some(self.now.us);
                row.state = State::Running.number();
                self.effects.moved(row.type_id, Some(from), Some(State::Running));
            }
            Next::Held(expire_us) => {
                if row.expire_time != expire_us {
                    self.tx.run(EXTEND, vec![expire_us.into(), row.id.into()]).await?;
                    row.expire_time = expire_us;
                }
                if let Some(expire_us) = expire_us {
                    self.effects.due_at(expire_us);
                }
            }
            Next::Finished(state) => self.end(row, named, state, ending).await?,
            Next::Queued => self.requeue(row, named, None, ending).await?,
            Next::Scheduled(delay_us) => self.requeue(row, named, Some(delay_us), ending).await?,
        }
        Ok(())
    }

    async fn end(
        &mut self,
        row: &mut Current,
        named: &Named,
        state: State,
        ending: &Ending<'_>,
    ) -> Result<()> {
        let from = row.state()?;
        if ending.is_loss() {
            self.log(row, ending, None).await?;
        }
        row.failure_count += i64::from(ending.is_failure);
        let values = vec![
            state.number().into(),
            self.now.us.into(),
            row.failure_count.into(),
            ending.error.map(str::to_owned).into(),
            ending.result.map(str::to_owned).into(),
            row.id.into(),
        ];
        self.tx.run(FINISH, values).await?;
        self.job_results.note(row, state, ending, self.now.us);
        self.count(row, from, state, ending);
        self.release_key(row, from, named);
        row.state = state.number();
        row.expire_time = None;
        Ok(())
    }

    async fn requeue(
        &mut self,
        row: &mut Current,
        named: &Named,
        delay_us: Option<i64>,
        ending: &Ending<'_>,
    ) -> Result<()> {
        let from = row.state()?;
        let run_us = delay_us.map(|delay_us| self.now.wall_us.saturating_add(delay_us));
        self.log(row, ending, run_us).await?;
        row.failure_count += i64::from(ending.is_failure);
        row.loss_count += i64::from(ending.kind.is_counted_loss());
        let state = if delay_us.is_some() { State::Scheduled } else { State::Queued };
        if let Some(delay_us) = delay_us {
            let due_us = self.now.us.saturating_add(delay_us);
            row.create_time = Some(row.create_us());
            row.order_key = due_us;
            row.run_time = run_us;
            row.expire_time = Some(due_us);
            self.effects.due_at(due_us);
        } else {
            row.expire_time = None;
        }
        let values: Vec<Value> = vec![
            state.number().into(),
            row.order_key.into(),
            row.create_time.into(),
            row.run_time.into(),
            row.expire_time.into(),
            row.failure_count.into(),
            ending.error.map(str::to_owned).into(),
            row.loss_count.into(),
            row.id.into(),
        ];
        self.tx.run(REQUEUE, values).await?;
        self.count(row, from, state, ending);
        self.release_key(row, from, named);
        row.state = state.number();
        (row.worker_id, row.claim_time, row.start_time) = (None, None, None);
        Ok(())
    }

    fn count(&mut self, row: &Current, from: State, to: State, ending: &Ending<'_>) {
        self.effects.moved(row.type_id, Some(from), Some(to));
        if let Some(worker_id) = row.worker_id.filter(|_| to == State::Completed || ending.is_failure) {
            let counts = self.worker_counts.entry(worker_id).or_default();
            counts.0 += i64::from(to == State::Completed);
            counts.1 += i64::from(ending.is_failure);
        }
        let now_us = self.now.us;
        let tally = self.effects.tally(row.type_id);
        tally.failed += i64::from(ending.is_failure);
        tally.lost += i64::from(ending.is_loss());
        if to == State::Completed {
            tally.completed += 1;
            tally.run_us += (now_us - row.claim_time.unwrap_or(now_us)).max(0);
        }
    }

    /// Forgets what was to be done for keys: they are deleted.
    pub(super) fn forget_keys(&mut self) {
        self.released.clear();
    }

    /// Notes that a task of a key is held or blocked no more.
    pub(super) fn release_key(&mut self, row: &Current, from: State, named: &Named) {
        let Some(key_id) = row.key_id else { return };
        let limits = named.queue.rules.key_limits;
        let released = self.released.entry(key_id).or_insert(Released { held: 0, blocked: 0, limits });
        released.held += i64::from(from.is_held());
        released.blocked += i64::from(from == State::Blocked);
    }

    /// Writes what the task's row does not say any more.
    pub(super) async fn log(&self, row: &Current, ending: &Ending<'_>, run_us: Option<i64>) -> Result<()> {
        let entry = log::Entry { kind: ending.kind, time_us: self.now.us, run_us, error: ending.error };
        log::append(self, row, &entry).await
    }
}
