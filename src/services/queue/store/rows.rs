//! Rows of `queue_tasks` and what they mean.

use uuid::Uuid;

use super::sql;
use crate::error::{Error, Result};
use crate::services::queue::domain::{JobItem, State, Task};
use crate::storage::{Db, Rank, RowLock, Tx, row};

/// All of a task, with the names of its key and schedule.
const TASK: &str = r#"SELECT t."id", t."type_id", t."state", t."priority", t."token", t."failure_count", t."is_cancelling",
    t."order_key", t."create_time", t."run_time", t."claim_time", t."start_time", t."expire_time", t."finish_time", t."worker_id",
    t."retries_max", t."timeout_us", t."error", t."parameters", t."result", t."job_id", t."job_item_key",
    coalesce(t."worker_name", (SELECT w."name" FROM "queue_workers" w WHERE w."id" = t."worker_id")) AS "worker_name",
    (SELECT max(l."time") FROM "queue_task_logs" l WHERE l."task_id" = t."id") AS "log_time",
    (SELECT k."name" FROM "queue_keys" k WHERE k."id" = t."key_id") AS "key_name",
    (SELECT s."name" FROM "queue_schedules" s WHERE s."id" = t."schedule_id") AS "schedule_name",
    p."progress", p."error" AS "progress_message" FROM "queue_tasks" t LEFT JOIN "queue_task_logs" p ON p."id" =
    (SELECT max(l."id") FROM "queue_task_logs" l WHERE l."task_id" = t."id" AND l."kind" = 15 AND l."token" = t."token")"#;

row! {
    /// The same, as a row.
    #[derive(Clone, Debug)]
    pub(super) struct TaskRow {
        pub(super) id: i64,
        pub(super) type_id: i64,
        pub(super) state: i64,
        pub(super) priority: i64,
        pub(super) token: i64,
        failure_count: i64,
        is_cancelling: bool,
        pub(super) order_key: i64,
        create_time: Option<i64>,
        run_time: Option<i64>,
        claim_time: Option<i64>,
        start_time: Option<i64>,
        expire_time: Option<i64>,
        pub(super) finish_time: Option<i64>,
        worker_id: Option<i64>,
        retries_max: Option<i64>,
        timeout_us: Option<i64>,
        error: Option<String>,
        parameters: Option<String>,
        result: Option<String>,
        job_id: Option<Uuid>,
        job_item_key: Option<String>,
        worker_name: Option<String>,
        log_time: Option<i64>,
        key_name: Option<String>,
        schedule_name: Option<String>,
        progress: Option<i64>,
        progress_message: Option<String>,
    }
}

/// A SELECT of whole tasks.
pub(super) fn select(rest: &str) -> String {
    format!("{TASK} {rest}")
}

impl TaskRow {
    /// The task that the row holds.
    pub(super) fn task(self) -> Result<Task> {
        let state = state_in(self.id, self.state)?;
        let create_us = self.create_time.unwrap_or(self.order_key);
        let times = [self.claim_time, self.start_time, self.finish_time, self.log_time];
        Ok(Task {
            update_us: times.into_iter().flatten().fold(create_us, i64::max),
            worker_name: self.worker_name,
            progress: self.progress,
            progress_message: self.progress_message,
            id: self.id,
            type_id: self.type_id,
            state,
            priority: self.priority,
            create_us,
            run_us: self.run_time,
            token: self.token,
            failure_count: self.failure_count,
            retries_max: self.retries_max,
            timeout_us: self.timeout_us,
            limit_key: self.key_name,
            worker_id: self.worker_id,
            claim_us: self.claim_time,
            start_us: self.start_time,
            expire_us: self.expire_time.filter(|_| state.is_held()),
            is_cancelling: self.is_cancelling,
            finish_us: self.finish_time,
            parameters: self.parameters,
            result: self.result,
            error: self.error,
            schedule: self.schedule_name,
            job_item: job_item(self.job_id, self.job_item_key),
        })
    }
}

/// One task.
pub async fn get(db: &Db<'_>, task_id: i64) -> Result<Option<Task>> {
    let text = select(r#"WHERE t."id" = $1"#);
    db.row::<TaskRow>(&text, vec![task_id.into()]).await?.map(TaskRow::task).transpose()
}

row! {
    /// What a change of a task needs to know of it: all but parameters and result.
    #[derive(Clone, Debug)]
    pub(super) struct Current {
        pub(super) id: i64,
        pub(super) type_id: i64,
        pub(super) state: i64,
        pub(super) token: i64,
        pub(super) failure_count: i64,
        pub(super) loss_count: i64,
        pub(super) is_cancelling: bool,
        pub(super) order_key: i64,
        pub(super) create_time: Option<i64>,
        pub(super) run_time: Option<i64>,
        pub(super) claim_time: Option<i64>,
        pub(super) start_time: Option<i64>,
        pub(super) expire_time: Option<i64>,
        pub(super) worker_id: Option<i64>,
        pub(super) retries_max: Option<i64>,
        pub(super) timeout_us: Option<i64>,
        pub(super) key_id: Option<i64>,
        pub(super) job_id: Option<Uuid>,
        pub(super) job_row_id: Option<i64>,
        pub(super) job_item_key: Option<String>,
        pub(super) unique_id: Option<i64>,
    }
}

/// Its columns.
pub(super) const CURRENT: &str = r#"SELECT "id", "type_id", "state", "token", "failure_count", "loss_count", "is_cancelling",
    "order_key", "create_time", "run_time", "claim_time", "start_time", "expire_time", "worker_id", "retries_max", "timeout_us", "key_id",
    "job_id", "job_row_id", "job_item_key", "unique_id" FROM "queue_tasks""#;

static CURRENT_BY_ID: sql::Listed =
    sql::Listed::new(|| sql::listed(&format!(r#"{CURRENT} WHERE "id" IN"#), 1, r#" ORDER BY "id""#));

impl Current {
    /// Where it stands.
    pub(super) fn state(&self) -> Result<State> {
        state_in(self.id, self.state)
    }

    /// When it was enqueued.
    pub(super) fn create_us(&self) -> i64 {
        self.create_time.unwrap_or(self.order_key)
    }
}

/// The item of a job that a task is.
pub(super) fn job_item(job_id: Option<Uuid>, key: Option<String>) -> Option<JobItem> {
    job_id.map(|job_id| JobItem { job_id, key })
}

/// The rows of some tasks, locked, by id; each once.
pub(super) async fn current(tx: &Tx<'_>, task_ids: &[i64]) -> Result<Vec<Current>> {
    let mut sorted = task_ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut found = Vec::with_capacity(sorted.len());
    for chunk in sql::chunks(&sorted) {
        let text = tx.locking(CURRENT_BY_ID.text(chunk.len()));
        let values = chunk.iter().map(|id| (*id).into()).collect();
        found.extend(tx.rows::<Current>(&text, values).await?);
    }
    Ok(found)
}

/// The lock that every change of a task begins with.
pub fn lock_of(task_id: i64) -> RowLock {
    // Ordered as the numbers are, which are never negative where there is a task.
    let select = r#"SELECT "id" FROM "queue_tasks" WHERE "id" = $1"#;
    RowLock::new(Rank::Tasks, task_id.to_be_bytes(), select, vec![task_id.into()])
}

/// Where a task stands, which holds until the commit.
pub async fn state_of(tx: &Tx<'_>, task_id: i64) -> Result<Option<State>> {
    current(tx, &[task_id]).await?.first().map(Current::state).transpose()
}

/// The state that a row has.
pub(super) fn state_in(task_id: i64, number: i64) -> Result<State> {
    State::of(number).ok_or_else(|| Error::CorruptRow {
        table: "queue_tasks",
        column: "state",
        row: task_id,
        cause: format!("{number} is no state"),
    })
}
