//! What becomes due: run times, retries, leases, workers, keys. Each in small steps.

use super::ends::{Ending, Step};
use super::rows::{CURRENT, Current};
use super::{schedules, sql};
use crate::error::Result;
use crate::services::queue::domain::{EventKind, State, What};
use crate::services::queue::effects::Times;
use crate::services::queue::rules::Next;
use crate::storage::{Db, row};

pub(super) const SCHEDULED: &str = r#"SELECT "id", "type_id" FROM "queue_tasks" WHERE "state" = 1 AND "expire_time" IS NULL
    AND "run_time" <= $1 ORDER BY "run_time" LIMIT $2"#;
pub(super) const DEAD: &str = r#"SELECT "id" AS "number" FROM "queue_workers" WHERE "end_time" IS NULL AND "beat_time" <= $1
    ORDER BY "beat_time" LIMIT $2"#;
const END: &str = r#"UPDATE "queue_workers" SET "end_time" = $1 WHERE "id" = $2"#;
pub(super) const KEYS: &str = r#"SELECT "id", "queue_id" FROM "queue_keys" WHERE "unblock_time" IS NOT NULL AND "unblock_time" <= $1
    ORDER BY "unblock_time" LIMIT $2"#;
pub(super) const NEXT: &str = r#"SELECT
    (SELECT min("expire_time") FROM "queue_tasks" WHERE "expire_time" IS NOT NULL) AS "expire_us",
    (SELECT min("beat_time") FROM "queue_workers" WHERE "end_time" IS NULL) AS "beat_us",
    (SELECT min("unblock_time") FROM "queue_keys" WHERE "unblock_time" IS NOT NULL) AS "unblock_us",
    (SELECT min("run_time") FROM "queue_tasks" WHERE "state" = 1 AND "expire_time" IS NULL) AS "run_us",
    (SELECT min("next_run_time") FROM "queue_schedules" WHERE "next_run_time" IS NOT NULL) AS "schedule_us""#;

static READY: sql::Listed = sql::Listed::new(|| {
    sql::listed(r#"UPDATE "queue_tasks" SET "state" = 0, "expire_time" = NULL WHERE "id" IN"#, 1, "")
});

/// For so long after a worker's end it is looked for tasks of its own: a claim that was on its way when it died.
const ENDED_US: i64 = 60_000_000;

/// What decides about what is due.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of one step.
    pub rows_max: i64,
    /// A worker that has not beaten for so long is dead.
    pub worker_timeout_us: i64,
    /// A task that is lost this often is given up.
    pub losses_max: i64,
    /// Tasks that a schedule enqueues at once.
    pub runs_max: usize,
    /// Limit keys.
    pub keys_max: i64,
}

/// Does one step of all that is due; tells how many rows it took on. `chance` decides the jitter of retries.
pub async fn due(step: &mut Step<'_>, limits: &Limits, chance: u64) -> Result<usize> {
    Ok(schedules::run(step, limits.runs_max, limits.keys_max).await?
        + scheduled(step, limits).await?
        + expired(step, limits, chance).await?
        + dead(step, limits).await?
        + orphans(step, limits, chance).await?
        + unblocked(step, limits).await?)
}

row! {
    struct Ready {
        id: i64,
        type_id: i64,
    }
}

async fn scheduled(step: &mut Step<'_>, limits: &Limits) -> Result<usize> {
    let values = vec![step.now.wall_us.into(), limits.rows_max.into()];
    let found = step.tx.rows::<Ready>(&step.tx.competing(SCHEDULED), values).await?;
    ready(step, &found).await?;
    Ok(found.len())
}

async fn ready(step: &mut Step<'_>, found: &[Ready]) -> Result<()> {
    for chunk in sql::chunks(found) {
        let values = chunk.iter().map(|row| row.id.into()).collect();
        step.tx.run(READY.text(chunk.len()), values).await?;
    }
    for row in found {
        step.effects.moved(row.type_id, Some(State::Scheduled), Some(State::Queued));
        step.effects.changed.push(row.id);
    }
    Ok(())
}

pub(super) fn expired_query() -> String {
    format!(
        r#"{CURRENT} WHERE "expire_time" IS NOT NULL AND "expire_time" <= $1 AND ("state" = 1 OR "claim_time" >= $2)
        ORDER BY "expire_time" LIMIT $3"#
    )
}

pub(super) fn orphans_query() -> String {
    format!(
        r#"{CURRENT} WHERE "state" IN (2, 3) AND "worker_id" IN
        (SELECT w."id" FROM "queue_workers" w WHERE w."end_time" IS NOT NULL AND w."end_time" >= $1) LIMIT $2"#
    )
}

async fn expired(step: &mut Step<'_>, limits: &Limits, chance: u64) -> Result<usize> {
    let select = expired_query();
    let values = vec![step.now.us.into(), step.now.held_before_us().into(), limits.rows_max.into()];
    let found = step.tx.rows::<Current>(&step.tx.competing(&select), values).await?;
    let count = found.len();
    let mut due = Vec::new();
    for (index, mut row) in (0_u64..).zip(found) {
        if row.state()? == State::Scheduled {
            due.push(Ready { id: row.id, type_id: row.type_id });
        } else {
            let chance = chance.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            lose(step, &mut row, EventKind::LeaseExpired, limits, chance).await?;
        }
    }
    ready(step, &due).await?;
    Ok(count)
}

/// Ends the workers that have not beaten.
async fn dead(step: &mut Step<'_>, limits: &Limits) -> Result<usize> {
    if step.now.is_holding() {
        return Ok(0);
    }
    let since_us = step.now.us.saturating_sub(limits.worker_timeout_us);
    let values = vec![since_us.into(), limits.rows_max.into()];
    let found = step.tx.rows::<sql::Number>(&step.tx.competing(DEAD), values).await?;
    for worker_id in found.iter().filter_map(|row| row.number) {
        tracing::warn!(worker_id, "a worker has not beaten and is taken for dead");
        step.tx.run(END, vec![step.now.us.into(), worker_id.into()]).await?;
    }
    Ok(found.len())
}

/// Takes tasks from workers that have come to their end.
async fn orphans(step: &mut Step<'_>, limits: &Limits, chance: u64) -> Result<usize> {
    let select = orphans_query();
    let values = vec![step.now.us.saturating_sub(ENDED_US).into(), limits.rows_max.into()];
    let found = step.tx.rows::<Current>(&step.tx.competing(&select), values).await?;
    let count = found.len();
    for (index, mut row) in (0_u64..).zip(found) {
        let chance = chance.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        lose(step, &mut row, EventKind::WorkerDied, limits, chance).await?;
    }
    Ok(count)
}

/// Keys whose rate has room again.
async fn unblocked(step: &mut Step<'_>, limits: &Limits) -> Result<usize> {
    let values = vec![step.now.us.into(), limits.rows_max.into()];
    let found = step.tx.rows::<Unblocked>(KEYS, values).await?;
    for row in &found {
        let rules = step.names.rules(step.tx, row.queue_id).await?;
        step.look_at_key(row.id, rules.key_limits);
    }
    Ok(found.len())
}

row! {
    struct Unblocked {
        id: i64,
        queue_id: i64,
    }
}

/// Takes a held task away from its holder. If the attempt took too long it has failed; otherwise it takes its old place, at a
/// further loss after the queue's backoff, unless it was lost too often.
pub(super) async fn lose(
    step: &mut Step<'_>,
    row: &mut Current,
    kind: EventKind,
    limits: &Limits,
    chance: u64,
) -> Result<()> {
    let named = step.names.of_task(step.tx, row.type_id).await?;
    let hold = Step::hold(row, &named);
    if hold.is_timed_out(step.now.us) {
        let error = format!("the attempt took longer than its timeout of {} s", hold.timeout_us as f64 / 1e6);
        let what = What::Fail { error: error.clone(), is_final: false, delay_us: None };
        let next = hold.settle(&what, &named.queue.rules, step.now.us, chance);
        let is_failure = next != Next::Finished(State::Cancelled);
        let ending = Ending { error: Some(&error), is_failure, ..Ending::plain(EventKind::Retried) };
        return step.advance(row, &named, next, &ending).await;
    }
    if hold.is_cancelling {
        return step.advance(row, &named, Next::Finished(State::Cancelled), &Ending::plain(kind)).await;
    }
    if !kind.is_counted_loss() {
        return step.advance(row, &named, Next::Queued, &Ending::plain(kind)).await;
    }
    let losses = row.loss_count + 1;
    if losses > limits.losses_max {
        let error = format!("the lease was lost {losses} times (queue.losses_max is {})", limits.losses_max);
        let ending = Ending { error: Some(&error), ..Ending::plain(kind) };
        return step.advance(row, &named, Next::Finished(State::Failed), &ending).await;
    }
    // The first loss says nothing about the task. One that is lost again waits as one that fails does.
    let delay_us = match losses {
        1 => 0,
        more => named.queue.rules.retry_delay_us(more - 1, chance),
    };
    let next = if delay_us == 0 { Next::Queued } else { Next::Scheduled(delay_us) };
    step.advance(row, &named, next, &Ending::plain(kind)).await
}

/// When the next thing is due, as far as the tables tell.
pub async fn next_due(db: &Db<'_>, worker_timeout_us: i64, hold_until_us: i64) -> Result<Times> {
    row! {
        struct Row {
            expire_us: Option<i64>,
            beat_us: Option<i64>,
            unblock_us: Option<i64>,
            run_us: Option<i64>,
            schedule_us: Option<i64>,
        }
    }
    let earliest = |times: &[Option<i64>]| times.iter().flatten().min().copied().unwrap_or(i64::MAX);
    let Some(row) = db.row::<Row>(NEXT, Vec::new()).await? else {
        return Ok(Times::NEVER);
    };
    let dead_us = row.beat_us.map(|beat_us| beat_us.saturating_add(worker_timeout_us).max(hold_until_us));
    Ok(Times {
        due_us: earliest(&[row.expire_us, dead_us, row.unblock_us]),
        run_us: earliest(&[row.run_us, row.schedule_us]),
    })
}
