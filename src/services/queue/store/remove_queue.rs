//! Removing queues and types.
//!
//! A type is removed under a lock that no transaction shares which adds tasks of it. Whether it has tasks is said by its counts, which are exact.

use sea_orm::Value;

use super::ends::Step;
use super::{rows, sql, stats};
use crate::error::{Error, Result};
use crate::services::queue::domain::State;
use crate::storage::{Db, Tx};

/// Types that have no task, as far as is folded, and no schedule. Types that were paused by name are remembered.
pub(super) const UNUSED: &str = r#"SELECT y."id" AS "number" FROM "queue_types" y WHERE y."paused" IN (0, 2)
    AND NOT EXISTS (SELECT 1 FROM "queue_schedules" s WHERE s."type_id" = y."id")
    AND NOT EXISTS (SELECT 1 FROM "queue_deltas" d WHERE d."type_id" = y."id")
    AND NOT EXISTS (SELECT 1 FROM "queue_counts" c WHERE c."type_id" = y."id" AND (c."queued" <> 0 OR c."scheduled" <> 0
    OR c."claimed" <> 0 OR c."running" <> 0 OR c."completed" <> 0 OR c."failed" <> 0 OR c."cancelled" <> 0 OR c."blocked" <> 0))
    ORDER BY y."id" LIMIT 64"#;
const LOCK_QUEUE: &str = r#"SELECT "id" AS "number" FROM "queue_queues" WHERE "name" = $1"#;
const LOCK_TYPE: &str = r#"SELECT "id" AS "number" FROM "queue_types" WHERE "id" = $1"#;
const LOCK_TYPES: &str = r#"SELECT "id" AS "number" FROM "queue_types" WHERE "queue_id" = $1 ORDER BY "id""#;
const SCHEDULES: &str = r#"SELECT count(*) AS "number" FROM "queue_schedules" WHERE "type_id" = $1"#;
const DELETE_TYPE: [&str; 5] = [
    r#"DELETE FROM "queue_schedules" WHERE "type_id" = $1"#,
    r#"DELETE FROM "queue_counts" WHERE "type_id" = $1"#,
    r#"DELETE FROM "queue_deltas" WHERE "type_id" = $1"#,
    r#"DELETE FROM "queue_minutes" WHERE "type_id" = $1"#,
    r#"DELETE FROM "queue_types" WHERE "id" = $1"#,
];
const DELETE_QUEUE: [&str; 3] = [
    r#"DELETE FROM "queue_keys" WHERE "queue_id" = $1"#,
    r#"DELETE FROM "queue_uniques" WHERE "queue_id" = $1"#,
    r#"DELETE FROM "queue_queues" WHERE "id" = $1"#,
];
/// Tasks of a type in any state, by the index of each.
const TASKS: [&str; 6] = [
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "state" = 0 AND "type_id" = $1 LIMIT $2"#,
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "finish_time" IS NOT NULL AND "type_id" = $1
        AND "state" IN (4, 5, 6) LIMIT $2"#,
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "state" IN (2, 3) AND "type_id" = $1 LIMIT $2"#,
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "state" = 1 AND "expire_time" IS NULL AND "type_id" = $1 LIMIT $2"#,
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "expire_time" IS NOT NULL AND "state" = 1 AND "type_id" = $1
        LIMIT $2"#,
    r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "key_id" IS NOT NULL AND "state" = 7 AND "type_id" = $1 LIMIT $2"#,
];

/// Types that nothing has, some of them.
pub async fn unused_types(db: &Db<'_>) -> Result<Vec<i64>> {
    let found = db.rows::<sql::Number>(UNUSED, Vec::new()).await?;
    Ok(found.into_iter().filter_map(|row| row.number).collect())
}

/// Removes those of some types that still have no task and no schedule.
pub async fn remove_types(tx: &Tx<'_>, type_ids: &[i64]) -> Result<()> {
    for type_id in type_ids {
        let of_type = || vec![Value::from(*type_id)];
        // Locked first: the counts are read by a statement that sees what was added before.
        sql::number(tx, &tx.deleting(LOCK_TYPE), of_type()).await?;
        let tasks: i64 = stats::counts(tx, *type_id).await?.iter().map(|count| count.abs()).sum();
        if tasks == 0 && sql::number(tx, SCHEDULES, of_type()).await? == Some(0) {
            delete_type(tx, *type_id).await?;
        }
    }
    Ok(())
}

async fn delete_type(tx: &Tx<'_>, type_id: i64) -> Result<()> {
    for delete in DELETE_TYPE {
        tx.run(delete, vec![type_id.into()]).await?;
    }
    Ok(())
}

/// What became of a queue that was to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// It was there and is gone.
    pub is_deleted: bool,
    /// Tasks that were deleted.
    pub tasks: i64,
    /// It has tasks left.
    pub more: bool,
}

/// Deletes a queue, with its tasks where that is `forced`, at most `tasks_max` of them. Error: QueueNotEmpty.
pub async fn delete_queue(step: &mut Step<'_>, name: &str, forced: bool, tasks_max: i64) -> Result<Deleted> {
    let tx = step.tx;
    let Some(queue_id) = sql::number(tx, &tx.deleting(LOCK_QUEUE), vec![name.into()]).await? else {
        return Ok(Deleted::default());
    };
    let types = tx.rows::<sql::Number>(&tx.deleting(LOCK_TYPES), vec![queue_id.into()]).await?;
    let type_ids: Vec<i64> = types.into_iter().filter_map(|row| row.number).collect();
    let (mut tasks, mut schedules) = (0, 0);
    for type_id in &type_ids {
        tasks += stats::counts(tx, *type_id).await?.iter().sum::<i64>();
        schedules += sql::number(tx, SCHEDULES, vec![(*type_id).into()]).await?.unwrap_or(0);
    }
    if !forced && (tasks > 0 || schedules > 0) {
        return Err(Error::QueueNotEmpty { tasks, schedules });
    }
    let mut deleted = Deleted::default();
    for type_id in &type_ids {
        tx.run(DELETE_TYPE[0], vec![(*type_id).into()]).await?;
        deleted.tasks += delete_tasks(step, *type_id, tasks_max - deleted.tasks).await?;
    }
    if deleted.tasks >= tasks_max {
        deleted.more = true;
        return Ok(deleted);
    }
    for type_id in &type_ids {
        step.effects.forget_type(*type_id);
        delete_type(tx, *type_id).await?;
    }
    step.forget_keys();
    for delete in DELETE_QUEUE {
        tx.run(delete, vec![queue_id.into()]).await?;
    }
    deleted.is_deleted = true;
    Ok(deleted)
}

/// Deletes tasks of a type in any state; answers with how many.
async fn delete_tasks(step: &mut Step<'_>, type_id: i64, most: i64) -> Result<i64> {
    let mut count = 0;
    for select in TASKS {
        if count >= most {
            break;
        }
        let found = step.tx.rows::<sql::Number>(select, vec![type_id.into(), (most - count).into()]).await?;
        let ids: Vec<i64> = found.into_iter().filter_map(|row| row.number).collect();
        let current = rows::current(step.tx, &ids).await?;
        let mut states: Vec<State> = Vec::with_capacity(current.len());
        for row in &current {
            states.push(row.state()?);
            let named = step.names.of_task(step.tx, row.type_id).await?;
            step.release_key(row, row.state()?, &named);
        }
        super::remove::delete(step.tx, current.iter().map(|row| (row.id, row.unique_id))).await?;
        for state in &states {
            step.effects.moved(type_id, Some(*state), None);
        }
        count += i64::try_from(states.len()).unwrap_or(i64::MAX);
    }
    Ok(count)
}
