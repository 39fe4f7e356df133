//! Workers: who is alive, and what each holds.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use super::due::{self, Limits};
use super::ends::{Ending, Step};
use super::rows::{self, CURRENT, Current};
use super::sql;
use crate::error::{Error, Result};
use crate::services::queue::domain::{EventKind, What, Worker};
use crate::services::queue::entity::workers;
use crate::storage::{Db, Tx, row};

/// Tasks that are told of a worker in a list.
const TASKS_TOLD_MAX: i64 = 100;

const WORKER: &str =
    r#"SELECT "beat_time" AS "number" FROM "queue_workers" WHERE "id" = $1 AND "end_time" IS NULL"#;
const BEAT: &str = r#"UPDATE "queue_workers" SET "beat_time" = $1 WHERE "id" = $2"#;
const END: &str = r#"UPDATE "queue_workers" SET "end_time" = $1 WHERE "id" = $2"#;
pub(super) const HELD: &str = r#"SELECT "id", "token", "claim_time", "is_cancelling" FROM "queue_tasks" WHERE "worker_id" = $1
    AND "state" IN (2, 3)"#;
pub(super) const CANCELLING: &str = r#"SELECT "id", "token", "claim_time", "is_cancelling" FROM "queue_tasks" WHERE "worker_id" = $1
    AND "state" IN (2, 3) AND "is_cancelling" = TRUE"#;
pub(super) const TOLD: &str =
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "worker_id" = $1 AND "state" IN (2, 3) LIMIT $2"#;

const COUNTS: &str = r#"SELECT "completed", "failed" FROM "queue_worker_counts" WHERE "worker_id" = $1"#;

/// Makes a worker known. Error: TooManyWorkers.
pub async fn register(
    tx: &Tx<'_>,
    name: &str,
    metadata_json: &str,
    workers_max: i64,
    now_us: i64,
) -> Result<Worker> {
    let alive = workers::Entity::find().filter(workers::Column::EndTime.is_null()).count(&**tx).await?;
    if i64::try_from(alive).unwrap_or(i64::MAX) >= workers_max {
        return Err(Error::TooManyWorkers { workers_max });
    }
    let row = workers::ActiveModel {
        name: Set(name.to_owned()),
        metadata_json: Set(metadata_json.to_owned()),
        create_time: Set(now_us),
        beat_time: Set(now_us),
        ..Default::default()
    };
    Ok(Worker {
        id: tx.insert(row).await?,
        name: name.to_owned(),
        metadata_json: metadata_json.to_owned(),
        create_us: now_us,
        beat_us: now_us,
        end_us: None,
        completed_count: 0,
        failed_count: 0,
        task_ids: Vec::new(),
    })
}

/// What a worker is told when it beats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Tasks that it should stop.
    pub cancelled: Vec<i64>,
    /// Tasks that it does not hold any more.
    pub lost: Vec<i64>,
    /// When its beat was noted.
    pub beat_us: i64,
}

/// What a worker says to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// As (task, token).
    pub tasks: Vec<(i64, i64)>,
    /// Up to when that is all. None: nobody knows.
    pub whole_us: Option<i64>,
}

row! {
    struct Held {
        id: i64,
        token: i64,
        claim_time: Option<i64>,
        is_cancelling: bool,
    }
}

/// The clocks of two sidecars may differ by this part of a worker's timeout before a task is taken for forgotten that is not.
const CLOCKS: i64 = 16;

/// Notes that a worker is alive. `listed` is what it says to hold; what it has forgotten is queued again. Error: WorkerLost.
pub async fn beat(
    step: &mut Step<'_>,
    worker_id: i64,
    listed: Option<&Listed>,
    limits: &Limits,
) -> Result<Told> {
    let tx = step.tx;
    let last_beat_us = sql::number(tx, &tx.locking(WORKER), vec![worker_id.into()]).await?;
    let last_beat_us = last_beat_us.ok_or(Error::WorkerLost)?;
    tx.run(BEAT, vec![step.now.us.into(), worker_id.into()]).await?;
    let Some(listed) = listed else {
        let cancelled = tx.rows::<Held>(CANCELLING, vec![worker_id.into()]).await?;
        let cancelled = cancelled.iter().map(|held| held.id).collect();
        return Ok(Told { cancelled, lost: Vec::new(), beat_us: step.now.us });
    };
    // No list is whole up to a time at which its worker had not beaten yet: a clock was set, or it is made up.
    let whole_us = listed.whole_us.map_or(i64::MIN, |whole_us| whole_us.min(last_beat_us));
    let whole_us = whole_us.saturating_sub(limits.worker_timeout_us / CLOCKS);
    let held = tx.rows::<Held>(HELD, vec![worker_id.into()]).await?;
    let tokens: HashMap<i64, i64> = held.iter().map(|held| (held.id, held.token)).collect();
    let named: HashSet<i64> = listed.tasks.iter().map(|(task_id, _)| *task_id).collect();
    let forgotten: Vec<i64> = held
        .iter()
        .filter(|held| !named.contains(&held.id) && held.claim_time.is_some_and(|us| us < whole_us))
        .map(|held| held.id)
        .collect();
    for mut row in rows::current(tx, &forgotten).await? {
        if row.worker_id == Some(worker_id) && row.state()?.is_held() {
            due::lose(step, &mut row, EventKind::Forgotten, limits, 0).await?;
        }
    }
    let is_lost = |(task_id, token): &&(i64, i64)| tokens.get(task_id) != Some(token);
    Ok(Told {
        cancelled: held.iter().filter(|held| held.is_cancelling).map(|held| held.id).collect(),
        lost: listed.tasks.iter().filter(is_lost).map(|(task_id, _)| *task_id).collect(),
        beat_us: step.now.us,
    })
}

/// Takes a worker's leave: queues again what it holds. Answers with how many tasks that were, or none if it was not there.
pub async fn unregister(step: &mut Step<'_>, worker_id: i64) -> Result<Option<i64>> {
    let tx = step.tx;
    if sql::number(tx, &tx.locking(WORKER), vec![worker_id.into()]).await?.is_none() {
        return Ok(None);
    }
    tx.run(END, vec![step.now.us.into(), worker_id.into()]).await?;
    Ok(Some(release_all(step, worker_id).await?))
}

/// Queues again all that a worker holds.
async fn release_all(step: &mut Step<'_>, worker_id: i64) -> Result<i64> {
    let select = format!(r#"{CURRENT} WHERE "worker_id" = $1 AND "state" IN (2, 3) ORDER BY "id""#);
    let held = step.tx.rows::<Current>(&step.tx.locking(&select), vec![worker_id.into()]).await?;
    let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
    for mut row in held {
        let named = step.names.of_task(step.tx, row.type_id).await?;
        let next = Step::hold(&row, &named).settle(&What::Release, &named.queue.rules, step.now.us, 0);
        step.advance(&mut row, &named, next, &Ending::plain(EventKind::Released)).await?;
    }
    Ok(count)
}

row! {
    struct Counts {
        completed: i64,
        failed: i64,
    }
}

/// Workers, the latest first.
pub async fn list(
    db: &Db<'_>,
    with_ended: bool,
    before_id: Option<i64>,
    rows_max: u64,
) -> Result<Vec<Worker>> {
    let mut query = workers::Entity::find().order_by_desc(workers::Column::Id).limit(rows_max);
    if !with_ended {
        query = query.filter(workers::Column::EndTime.is_null());
    }
    if let Some(before_id) = before_id {
        query = query.filter(workers::Column::Id.lt(before_id));
    }
    let mut found = Vec::new();
    for row in query.all(db).await? {
        let values = vec![row.id.into(), TASKS_TOLD_MAX.into()];
        let task_ids = db.rows::<sql::Number>(TOLD, values).await?;
        let counts = db.row::<Counts>(COUNTS, vec![row.id.into()]).await?;
        found.push(Worker {
            id: row.id,
            name: row.name,
            metadata_json: row.metadata_json,
            create_us: row.create_time,
            beat_us: row.beat_time,
            end_us: row.end_time,
            completed_count: counts.as_ref().map_or(0, |counts| counts.completed),
            failed_count: counts.as_ref().map_or(0, |counts| counts.failed),
            task_ids: task_ids.into_iter().filter_map(|row| row.number).collect(),
        });
    }
    Ok(found)
}
