//! Removing what is over its retention, in small steps.

use super::ends::Step;
use super::{sql, uniques};
use crate::clock::Clock;
use crate::error::Result;
use crate::services::queue::domain::State;
use crate::storage::{Db, Tx, row};

pub(super) const OLDEST: &str = r#"SELECT y."id" AS "type_id", q."retention_us", q."failed_retention_us",
    (SELECT min(t."finish_time") FROM "queue_tasks" t WHERE t."type_id" = y."id" AND t."state" = 4
    AND t."finish_time" IS NOT NULL) AS "completed",
    (SELECT min(t."finish_time") FROM "queue_tasks" t WHERE t."type_id" = y."id" AND t."state" = 5
    AND t."finish_time" IS NOT NULL) AS "failed",
    (SELECT min(t."finish_time") FROM "queue_tasks" t WHERE t."type_id" = y."id" AND t."state" = 6
    AND t."finish_time" IS NOT NULL) AS "cancelled"
    FROM "queue_types" y JOIN "queue_queues" q ON q."id" = y."queue_id""#;
pub(super) const OVER: &str = r#"SELECT "id", "unique_id" FROM "queue_tasks" WHERE "type_id" = $1 AND "state" = $2
    AND "finish_time" IS NOT NULL AND "finish_time" <= $3 ORDER BY "finish_time" LIMIT $4"#;
pub(super) const WORKERS: &str = r#"SELECT "id" AS "number" FROM "queue_workers" WHERE "end_time" IS NOT NULL AND "end_time" <= $1
    ORDER BY "end_time" LIMIT $2"#;
const KEYS: &str = r#"SELECT "id" AS "number" FROM "queue_keys" WHERE "id" > $1 ORDER BY "id" LIMIT $2"#;
const UNUSED: &str = r#"SELECT "id" AS "number" FROM "queue_keys" WHERE "id" = $1 AND "has_own" = FALSE
    AND "claims_time" <= $2 AND NOT EXISTS
    (SELECT 1 FROM "queue_tasks" t WHERE t."key_id" = "queue_keys"."id" AND t."key_id" IS NOT NULL)"#;
pub(super) const DELETE_UNUSED: &str = r#"DELETE FROM "queue_keys" WHERE "id" = $1 AND NOT EXISTS
    (SELECT 1 FROM "queue_tasks" t WHERE t."key_id" = "queue_keys"."id" AND t."key_id" IS NOT NULL)"#;

static DELETE_LOGS: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"DELETE FROM "queue_task_logs" WHERE "task_id" IN"#, 1, ""));
static DELETE_TASKS: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"DELETE FROM "queue_tasks" WHERE "id" IN"#, 1, ""));
static DELETE_COUNTS: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"DELETE FROM "queue_worker_counts" WHERE "worker_id" IN"#, 1, ""));
static DELETE_WORKERS: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"DELETE FROM "queue_workers" WHERE "id" IN"#, 1, ""));

/// Tasks of a type and state that finished before a time are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    type_id: i64,
    state: State,
    until_us: i64,
}

/// Which types have tasks that are over their retention.
pub async fn over(db: &Db<'_>, clock: &Clock) -> Result<Vec<Over>> {
    row! {
        struct Oldest {
            type_id: i64,
            retention_us: i64,
            failed_retention_us: i64,
            completed: Option<i64>,
            failed: Option<i64>,
            cancelled: Option<i64>,
        }
    }
    let mut found = Vec::new();
    for row in db.rows::<Oldest>(OLDEST, Vec::new()).await? {
        let ends = [
            (State::Completed, row.completed, row.retention_us),
            (State::Failed, row.failed, row.failed_retention_us),
            (State::Cancelled, row.cancelled, row.retention_us),
        ];
        for (state, oldest_us, retention_us) in ends {
            let until_us = clock.before_us(retention_us);
            if retention_us > 0 && oldest_us.is_some_and(|oldest_us| oldest_us <= until_us) {
                found.push(Over { type_id: row.type_id, state, until_us });
            }
        }
    }
    Ok(found)
}

/// Removes at most `rows_max` of them, with their logs; tells how many.
pub async fn remove(step: &mut Step<'_>, over: Over, rows_max: i64) -> Result<usize> {
    let values = vec![over.type_id.into(), over.state.number().into(), over.until_us.into(), rows_max.into()];
    row! {
        struct Row {
            id: i64,
            unique_id: Option<i64>,
        }
    }
    let found = step.tx.rows::<Row>(&step.tx.competing(OVER), values).await?;
    delete(step.tx, found.iter().map(|row| (row.id, row.unique_id))).await?;
    for _ in &found {
        step.effects.moved(over.type_id, Some(over.state), None);
    }
    Ok(found.len())
}

/// Deletes tasks with their logs, and unique keys that no other task has.
pub(super) async fn delete(tx: &Tx<'_>, tasks: impl Iterator<Item = (i64, Option<i64>)>) -> Result<()> {
    let (ids, unique_ids): (Vec<i64>, Vec<Option<i64>>) = tasks.unzip();
    for chunk in sql::chunks(&ids) {
        for delete in [&DELETE_LOGS, &DELETE_TASKS] {
            let values = chunk.iter().map(|id| (*id).into()).collect();
            tx.run(delete.text(chunk.len()), values).await?;
        }
    }
    uniques::delete_unused(tx, &unique_ids.into_iter().flatten().collect()).await
}

/// Forgets workers that ended before a time; tells how many.
pub async fn remove_workers(step: &mut Step<'_>, until_us: i64, rows_max: i64) -> Result<usize> {
    let values = vec![until_us.into(), rows_max.into()];
    let found = step.tx.rows::<sql::Number>(&step.tx.competing(WORKERS), values).await?;
    let ids: Vec<i64> = found.into_iter().filter_map(|row| row.number).collect();
    for chunk in sql::chunks(&ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        step.tx.run(DELETE_WORKERS.text(chunk.len()), values).await?;
        let values = chunk.iter().map(|id| (*id).into()).collect();
        step.tx.run(DELETE_COUNTS.text(chunk.len()), values).await?;
    }
    Ok(ids.len())
}

/// Forgets those of the next `rows_max` keys after `after` that nothing needs; tells which was the last looked at, if there was
/// one.
pub async fn remove_keys(step: &mut Step<'_>, after: i64, rows_max: i64) -> Result<Option<i64>> {
    let tx = step.tx;
    let found = tx.rows::<sql::Number>(KEYS, vec![after.into(), rows_max.into()]).await?;
    let ids: Vec<i64> = found.into_iter().filter_map(|row| row.number).collect();
    for id in &ids {
        let values = vec![(*id).into(), step.now.us.into()];
        if sql::number(tx, &tx.competing(UNUSED), values).await?.is_some() {
            // Looked at again now that the key is locked: a task may have come meanwhile.
            tx.run(DELETE_UNUSED, vec![(*id).into()]).await?;
        }
    }
    Ok(ids.last().copied())
}
