//! Counting: what was tallied in memory is written here, read for the statistics, and counted anew after a crash.

use super::{lanes, sql};
use crate::error::Result;
use crate::services::queue::domain::State;
use crate::services::queue::effects::Tally;
use crate::services::queue::order::Order;
use crate::storage::{Db, Tx, row};

const ADD_COUNT: &str = r#"INSERT INTO "queue_counts" ("type_id", "state", "count") VALUES ($1, $2, $3)
    ON CONFLICT ("type_id", "state") DO UPDATE SET "count" = "queue_counts"."count" + excluded."count""#;
const ADD_MINUTE: &str = r#"INSERT INTO "queue_minutes"
    ("type_id", "minute", "enqueued", "claimed", "completed", "failed", "lost", "wait_us", "run_us")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT ("type_id", "minute") DO UPDATE SET "enqueued" = "queue_minutes"."enqueued" + excluded."enqueued",
    "claimed" = "queue_minutes"."claimed" + excluded."claimed",
    "completed" = "queue_minutes"."completed" + excluded."completed",
    "failed" = "queue_minutes"."failed" + excluded."failed", "lost" = "queue_minutes"."lost" + excluded."lost",
    "wait_us" = "queue_minutes"."wait_us" + excluded."wait_us",
    "run_us" = "queue_minutes"."run_us" + excluded."run_us""#;
const COUNTS: &str = r#"SELECT "state", "count" FROM "queue_counts" WHERE "type_id" = $1"#;
const MINUTES: &str = r#"SELECT CAST(sum("enqueued") AS bigint) AS "enqueued", CAST(sum("claimed") AS bigint) AS "claimed",
    CAST(sum("completed") AS bigint) AS "completed", CAST(sum("failed") AS bigint) AS "failed",
    CAST(sum("lost") AS bigint) AS "lost", CAST(sum("wait_us") AS bigint) AS "wait_us",
    CAST(sum("run_us") AS bigint) AS "run_us"
    FROM "queue_minutes" WHERE "type_id" = $1 AND "minute" >= $2 AND "minute" < $3"#;
const FORGET_MINUTES: &str = r#"DELETE FROM "queue_minutes" WHERE "minute" < $1"#;
pub(super) const OLDEST_CLAIM: &str = r#"SELECT min("claim_time") AS "number" FROM "queue_tasks" WHERE "state" IN (2, 3)
    AND "type_id" = $1"#;
pub(super) const NEXT_RUN: &str = r#"SELECT "run_time" AS "number" FROM "queue_tasks" WHERE "state" = 1 AND "expire_time" IS NULL
    AND "type_id" = $1 ORDER BY "run_time" LIMIT 1"#;
pub(super) const NEXT_RETRY: &str = r#"SELECT "run_time" AS "number" FROM "queue_tasks" WHERE "expire_time" IS NOT NULL AND "state" = 1
    AND "type_id" = $1 ORDER BY "expire_time" LIMIT 1"#;

/// Each is answered by an index that holds little else.
const RECOUNTS: [(&[State], &str); 4] = [
    (
        &[State::Queued],
        r#"SELECT "type_id", 0 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "state" = 0
        GROUP BY "type_id""#,
    ),
    (
        &[State::Completed, State::Failed, State::Cancelled],
        r#"SELECT "type_id", "state", count(*) AS "count"
        FROM "queue_tasks" WHERE "finish_time" IS NOT NULL GROUP BY "type_id", "state""#,
    ),
    (
        &[State::Claimed, State::Running],
        r#"SELECT "type_id", "state", count(*) AS "count" FROM "queue_tasks"
        WHERE "state" IN (2, 3) GROUP BY "type_id", "state""#,
    ),
    (
        &[State::Blocked],
        r#"SELECT "type_id", "state", count(*) AS "count" FROM "queue_tasks"
        WHERE "key_id" IS NOT NULL AND "state" = 7 GROUP BY "type_id", "state""#,
    ),
];
/// Those that wait for a time of the wall clock and those that wait for one of the steady clock have an index each.
const RECOUNT_SCHEDULED: [&str; 2] = [
    r#"SELECT "type_id", 1 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "state" = 1
        AND "expire_time" IS NULL GROUP BY "type_id""#,
    r#"SELECT "type_id", 1 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "expire_time" IS NOT NULL
        AND "state" = 1 GROUP BY "type_id""#,
];
const CLEAR: &str = r#"DELETE FROM "queue_counts" WHERE "state" = $1 AND "type_id" <> 0"#;

const RUNNING: &str = r#"SELECT "count" FROM "queue_counts" WHERE "type_id" = $1"#;
const NONE_RUN: &str = r#"DELETE FROM "queue_counts" WHERE "type_id" = $1 AND "count" <= 0"#;

/// Counts that belong to no type: how many sidecars have begun and not ended.
const NO_TYPE: i64 = 0;

/// Minutes that are kept.
const MINUTES_KEPT: i64 = 24 * 60;

/// Adds tallies of (type, Unix minute).
pub async fn add(tx: &Tx<'_>, tallies: &[((i64, i64), Tally)]) -> Result<()> {
    lock(tx).await?;
    for ((type_id, minute), tally) in tallies {
        for (state, count) in State::ALL.iter().zip(tally.states) {
            if count != 0 {
                let values = vec![(*type_id).into(), state.number().into(), count.into()];
                tx.run(ADD_COUNT, values).await?;
            }
        }
        if (Tally { states: Default::default(), ..*tally }).is_empty() {
            continue;
        }
        let values = vec![
            (*type_id).into(),
            (*minute).into(),
            tally.enqueued.into(),
            tally.claimed.into(),
            tally.completed.into(),
            tally.failed.into(),
            tally.lost.into(),
            tally.wait_us.into(),
            tally.run_us.into(),
        ];
        tx.run(ADD_MINUTE, values).await?;
    }
    Ok(())
}

/// Forgets minutes that are long over.
pub async fn forget_minutes(tx: &Tx<'_>, minute: i64) -> Result<()> {
    tx.run(FORGET_MINUTES, vec![(minute - MINUTES_KEPT).into()]).await?;
    Ok(())
}

/// Notes that a sidecar begins; tells how many had begun and not ended in order. If this one is alone, those have crashed.
pub async fn note_begin(tx: &Tx<'_>, is_alone: bool) -> Result<i64> {
    let running = tx.rows::<Count>(COUNTS, vec![NO_TYPE.into()]).await?;
    let running = running.first().map_or(0, |row| row.count);
    let change = if is_alone { 1 - running } else { 1 };
    tx.run(ADD_COUNT, vec![NO_TYPE.into(), 0_i64.into(), change.into()]).await?;
    Ok(running)
}

/// Notes that a sidecar ends in order. After the last one nothing of it is left, so that an empty database is empty.
pub async fn note_end(tx: &Tx<'_>) -> Result<()> {
    tx.run(ADD_COUNT, vec![NO_TYPE.into(), 0_i64.into(), (-1_i64).into()]).await?;
    tx.run(NONE_RUN, vec![NO_TYPE.into()]).await?;
    Ok(())
}

/// Before counts are written: sidecars do it one after the other, so that none waits for another's rows while it holds some.
async fn lock(tx: &Tx<'_>) -> Result<()> {
    tx.lock(RUNNING, [NO_TYPE.into()]).await
}

/// How many steps [`recount`] has.
pub const RECOUNT_STEPS: usize = RECOUNTS.len() + 1;

/// Counts the tasks in some states anew; tells which states.
pub async fn recount(tx: &Tx<'_>, index: usize) -> Result<&'static [State]> {
    let (states, queries): (&[State], &[&str]) = match RECOUNTS.get(index) {
        Some((states, query)) => (states, std::slice::from_ref(query)),
        None => (&[State::Scheduled], &RECOUNT_SCHEDULED),
    };
    lock(tx).await?;
    for state in states {
        tx.run(CLEAR, vec![state.number().into()]).await?;
    }
    for query in queries {
        for row in tx.rows::<TypeCount>(query, Vec::new()).await? {
            let values = vec![row.type_id.into(), row.state.into(), row.count.into()];
            tx.run(ADD_COUNT, values).await?;
        }
    }
    Ok(states)
}

row! {
    struct TypeCount {
        type_id: i64,
        state: i64,
        count: i64,
    }
}

row! {
    struct Count {
        state: i64,
        count: i64,
    }
}

/// What the tables tell of a type.
#[derive(Clone, Debug, Default)]
pub struct TypeNumbers {
    /// What was written of the tallies: tasks by state, and the rest over the minutes asked for.
    pub tally: Tally,
    /// When the task that is claimed next became claimable.
    pub head_us: Option<i64>,
    /// Each priority that has queued tasks, the highest first, and when the oldest of them became claimable.
    pub oldest: Vec<(i64, i64)>,
    /// When the longest held task was claimed.
    pub oldest_claim_us: Option<i64>,
    /// When the next task that waits for its time is due.
    pub next_run_us: Option<i64>,
}

row! {
    struct Level {
        priority: i64,
        oldest: Option<i64>,
        newest: Option<i64>,
    }
}

/// The oldest and the newest queued task of each priority of a type, the highest priority first.
pub(super) fn levels() -> String {
    let of = |which: &str| {
        format!(
            r#"(SELECT {which}(t."order_key") FROM "queue_tasks" t WHERE t."state" = 0 AND t."type_id" = $1
            AND t."priority" = p."priority")"#
        )
    };
    format!(
        r#"SELECT p."priority", {} AS "oldest", {} AS "newest" FROM {}"#,
        of("min"),
        of("max"),
        lanes::all_priorities()
    )
}

/// Numbers of a type, with rates over the minutes from `first` to before `end`.
pub async fn numbers(db: &Db<'_>, type_id: i64, order: Order, first: i64, end: i64) -> Result<TypeNumbers> {
    row! {
        struct Sums {
            enqueued: Option<i64>,
            claimed: Option<i64>,
            completed: Option<i64>,
            failed: Option<i64>,
            lost: Option<i64>,
            wait_us: Option<i64>,
            run_us: Option<i64>,
        }
    }
    let mut tally = Tally::default();
    for row in db.rows::<Count>(COUNTS, vec![type_id.into()]).await? {
        if let Some(state) = State::of(row.state) {
            tally.states[state as usize] = row.count;
        }
    }
    if let Some(sums) = db.row::<Sums>(MINUTES, vec![type_id.into(), first.into(), end.into()]).await? {
        tally.enqueued = sums.enqueued.unwrap_or(0);
        tally.claimed = sums.claimed.unwrap_or(0);
        tally.completed = sums.completed.unwrap_or(0);
        tally.failed = sums.failed.unwrap_or(0);
        tally.lost = sums.lost.unwrap_or(0);
        tally.wait_us = sums.wait_us.unwrap_or(0);
        tally.run_us = sums.run_us.unwrap_or(0);
    }
    let of_type = || vec![type_id.into()];
    let levels: Vec<(i64, i64, i64)> = db
        .rows::<Level>(&levels(), of_type())
        .await?
        .into_iter()
        .filter_map(|level| Some((level.priority, level.oldest?, level.newest?)))
        .collect();
    let first_of = |level: &(i64, i64, i64)| if order.is_lifo() { level.2 } else { level.1 };
    let head = levels.iter().min_by_key(|level| order.rank(level.0, first_of(level)));
    let next_run_us = sql::number(db, NEXT_RUN, of_type()).await?;
    let next_retry_us = sql::number(db, NEXT_RETRY, of_type()).await?;
    Ok(TypeNumbers {
        tally,
        head_us: head.map(first_of),
        oldest: levels.iter().map(|level| (level.0, level.1)).collect(),
        oldest_claim_us: sql::number(db, OLDEST_CLAIM, of_type()).await?,
        next_run_us: next_run_us.into_iter().chain(next_retry_us).min(),
    })
}
