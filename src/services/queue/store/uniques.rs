//! Unique keys: a task with a key stands in the way of others with it.
//!
//! A key is a row that Enqueue and Retry lock before they look for its tasks: of two callers at once, the second sees the first one's task.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;

use super::ends::Step;
use super::rows::state_in;
use super::sql;
use crate::error::Result;
use crate::services::queue::domain::{State, Unique};
use crate::storage::{Rank, RowLock, Tx, row};

const INSERT: &str = r#"INSERT INTO "queue_uniques" ("queue_id", "key") VALUES ($1, $2)"#;
pub(super) const BY_ID: &str = r#"SELECT "id" AS "number" FROM "queue_uniques" WHERE "id" = $1"#;
pub(super) const DELETE_UNUSED: &str = r#"DELETE FROM "queue_uniques" WHERE "id" = $1 AND NOT EXISTS
    (SELECT 1 FROM "queue_tasks" t WHERE t."unique_id" = "queue_uniques"."id" AND t."unique_id" IS NOT NULL)"#;

static BY_KEYS: sql::Listed = sql::Listed::new(|| {
    sql::listed(r#"SELECT "id", "key" FROM "queue_uniques" WHERE "queue_id" = $1 AND "key" IN"#, 2, "")
});
static BY_IDS: sql::Listed = sql::Listed::new(|| {
    sql::listed(r#"SELECT "id", "key" FROM "queue_uniques" WHERE "id" IN"#, 1, r#" ORDER BY "id""#)
});
static UNFINISHED: sql::Text = sql::Text::new(|| latest(Unique::default_states()));

row! {
    struct Key {
        id: i64,
        key: String,
    }
}

row! {
    /// A task of a unique key.
    struct Standing {
        id: i64,
        state: i64,
        order_key: i64,
        create_time: Option<i64>,
    }
}

/// The latest task of a unique key in each of the states that bits name.
pub(super) fn latest(states: i64) -> String {
    let of = |state: &State| {
        format!(
            r#"SELECT max("id") AS "latest" FROM "queue_tasks" WHERE "unique_id" = $1 AND "unique_id" IS NOT NULL
            AND "state" = {}"#,
            state.number()
        )
    };
    let named = State::ALL.iter().filter(|state| states & 1 << state.number() != 0);
    format!(
        r#"SELECT t."id", t."state", t."order_key", t."create_time"
        FROM ({}) AS "of_states" JOIN "queue_tasks" t ON t."id" = "latest""#,
        named.map(of).collect::<Vec<_>>().join(" UNION ALL ")
    )
}

/// The lock of a unique key, by the names of its queue and of itself.
pub fn lock_of(queue: &str, key: &str) -> RowLock {
    let select = r#"SELECT "id" FROM "queue_uniques" WHERE "key" = $1
        AND "queue_id" = (SELECT "id" FROM "queue_queues" WHERE "name" = $2)"#;
    RowLock::new(Rank::Uniques, format!("{queue}\0{key}"), select, vec![key.into(), queue.into()])
}

/// The ids of a queue's keys, locked; keys that are missing are made.
pub(super) async fn ensure(
    step: &Step<'_>,
    queue_id: i64,
    keys: &BTreeSet<&str>,
) -> Result<BTreeMap<String, i64>> {
    let tx = step.tx;
    let keys: Vec<&str> = keys.iter().copied().collect();
    let mut ids = Vec::with_capacity(keys.len());
    for chunk in sql::chunks(&keys) {
        let mut values: Vec<Value> = vec![queue_id.into()];
        values.extend(chunk.iter().map(|key| Value::from(*key)));
        let found = tx.rows::<Key>(BY_KEYS.text(chunk.len()), values).await?;
        ids.extend(found.into_iter().map(|found| found.id));
    }
    let mut known = BTreeMap::new();
    for found in lock(tx, ids).await? {
        known.insert(found.key, found.id);
    }
    for key in keys {
        if !known.contains_key(key) {
            let id = tx.insert_written_out(INSERT, vec![queue_id.into(), key.into()]).await?;
            known.insert(key.to_owned(), id);
        }
    }
    Ok(known)
}

/// Locks keys in the order of their ids; answers with those that are there.
async fn lock(tx: &Tx<'_>, mut ids: Vec<i64>) -> Result<Vec<Key>> {
    ids.sort_unstable();
    ids.dedup();
    let mut locked = Vec::with_capacity(ids.len());
    for chunk in sql::chunks(&ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        locked.extend(tx.rows::<Key>(&tx.locking(BY_IDS.text(chunk.len())), values).await?);
    }
    Ok(locked)
}

/// Locks the keys of tasks.
pub(super) async fn lock_all(tx: &Tx<'_>, ids: impl Iterator<Item = i64>) -> Result<()> {
    lock(tx, ids.collect()).await.map(drop)
}

/// The latest task that stands in the way of a new one with a key, and its state.
pub(super) async fn in_the_way(step: &Step<'_>, id: i64, unique: &Unique) -> Result<Option<(i64, State)>> {
    let mut found = match unique.states == Unique::default_states() {
        true => step.tx.rows::<Standing>(UNFINISHED.text(), vec![id.into()]).await?,
        false => step.tx.rows::<Standing>(&latest(unique.states), vec![id.into()]).await?,
    };
    found.sort_unstable_by_key(|task| std::cmp::Reverse(task.id));
    for task in found {
        let state = state_in(task.id, task.state)?;
        let create_us = task.create_time.unwrap_or(task.order_key);
        if unique.is_met_by(state, create_us, step.now.us) {
            return Ok(Some((task.id, state)));
        }
    }
    Ok(None)
}

/// An unfinished task with a key.
pub(super) async fn unfinished(tx: &Tx<'_>, id: i64) -> Result<Option<i64>> {
    let found = tx.rows::<Standing>(UNFINISHED.text(), vec![id.into()]).await?;
    Ok(found.first().map(|task| task.id))
}

/// Deletes keys that no task has any more. One that another transaction has locked gets a task, or is deleted with the next of its tasks.
pub(super) async fn delete_unused(tx: &Tx<'_>, ids: &BTreeSet<i64>) -> Result<()> {
    for id in ids {
        // Locked first: the second statement sees the tasks of transactions that held the lock before.
        if sql::number(tx, &tx.competing(BY_ID), vec![(*id).into()]).await?.is_some() {
            tx.run(DELETE_UNUSED, vec![(*id).into()]).await?;
        }
    }
    Ok(())
}
