//! Queues as a whole: their rules, pausing, and their limit keys.

use std::collections::BTreeSet;

use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set};

use super::ends::Step;
use super::names::{self, Names, PAUSED_QUEUE, PAUSED_TYPE};
use super::{keys, sql};
use crate::error::{Error, Result};
use crate::services::queue::domain::{Key, KeyLimits, Queue, Rules, RulesPatch};
use crate::services::queue::entity::{keys as key_rows, queues, types};
use crate::storage::{Db, Tx};

const PAUSE: &str = r#"UPDATE "queue_types" SET "paused" = "paused" + $1 WHERE "id" = $2"#;
const QUEUED: &str = r#"SELECT count(*) AS "number" FROM (SELECT 1 FROM "queue_tasks" WHERE "type_id" = $1
    AND "state" = 0 LIMIT $2) AS "some""#;
const BLOCKED: &str = r#"SELECT "id" FROM "queue_keys" WHERE "queue_id" = $1 AND "has_own" = FALSE
    AND "blocked_count" > 0 ORDER BY "id""#;
const UNBLOCK_ALL: &str = r#"UPDATE "queue_keys" SET "unblock_time" = $1 WHERE "queue_id" = $2
    AND "has_own" = FALSE AND "blocked_count" > 0"#;

/// Waiting claims that are called for the tasks of one type when it goes on.
const CALLED_MAX: i64 = 1_000;

/// Changes a queue's rules, or makes it with them; tells whether it was made. Error: TooManyQueues.
pub async fn update(step: &mut Step<'_>, name: &str, patch: &RulesPatch) -> Result<(Queue, bool)> {
    let (tx, now) = (step.tx, step.now);
    let Some(former) = locked(tx, name).await? else {
        let rules = step.names.rules.patched(patch);
        return Ok((step.names.create_queue(tx, name, rules, now).await?, true));
    };
    let rules: Rules = former.rules.patched(patch);
    let row = queues::ActiveModel { update_time: Set(now.us), ..names::columns(&rules) };
    queues::Entity::update_many().set(row).filter(queues::Column::Id.eq(former.id)).exec(&**tx).await?;
    if rules.key_limits != former.rules.key_limits {
        // Blocked tasks are looked at again under the new limits.
        tx.lock(BLOCKED, [former.id.into()]).await?;
        tx.run(UNBLOCK_ALL, vec![now.us.into(), former.id.into()]).await?;
        step.effects.due_at(now.us);
    }
    Ok((Queue { rules, update_us: now.us, ..former }, false))
}

async fn locked(tx: &Tx<'_>, name: &str) -> Result<Option<Queue>> {
    let query = queues::Entity::find().filter(queues::Column::Name.eq(name));
    Ok(query.lock(LockType::NoKeyUpdate).one(&**tx).await?.map(names::domain))
}

/// A queue as the table has it. Error: QueueNotFound.
pub async fn get(db: &Db<'_>, name: &str) -> Result<Queue> {
    let row = queues::Entity::find().filter(queues::Column::Name.eq(name)).one(db).await?;
    row.map(names::domain).ok_or(Error::QueueNotFound)
}

/// Queues by name.
pub async fn list(db: &Db<'_>, after: Option<&str>, rows_max: u64) -> Result<Vec<Queue>> {
    let mut query = queues::Entity::find().order_by_asc(queues::Column::Name).limit(rows_max);
    if let Some(after) = after {
        query = query.filter(queues::Column::Name.gt(after));
    }
    Ok(query.all(db).await?.into_iter().map(names::domain).collect())
}

/// The types of a queue as (id, name, whether it is paused), by name.
pub async fn types_of(db: &Db<'_>, queue_id: i64) -> Result<Vec<(i64, String, bool)>> {
    let rows = types::Entity::find()
        .filter(types::Column::QueueId.eq(queue_id))
        .order_by_asc(types::Column::Name)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name, row.paused != 0)).collect())
}

/// Pauses a queue, or some of its types, or lets them go on. Errors: QueueNotFound, TypeNotFound.
pub async fn pause(step: &mut Step<'_>, name: &str, type_names: &[String], is_paused: bool) -> Result<Queue> {
    let tx = step.tx;
    let mut queue = locked(tx, name).await?.ok_or(Error::QueueNotFound)?;
    let mut ids = Vec::with_capacity(type_names.len());
    for type_name in type_names {
        let found = step.names.type_id(tx, queue.id, type_name).await?;
        ids.push(found.ok_or_else(|| Error::TypeNotFound { name: type_name.clone() })?);
    }
    let bit = if type_names.is_empty() { PAUSED_QUEUE } else { PAUSED_TYPE };
    if type_names.is_empty() {
        queues::Entity::update_many()
            .col_expr(queues::Column::IsPaused, Expr::value(is_paused))
            .filter(queues::Column::Id.eq(queue.id))
            .exec(&**tx)
            .await?;
        queue.is_paused = is_paused;
    }
    let rows = types::Entity::find()
        .filter(types::Column::QueueId.eq(queue.id))
        .order_by_asc(types::Column::Id)
        .lock(LockType::NoKeyUpdate)
        .all(&**tx)
        .await?;
    for row in rows {
        let is_meant = type_names.is_empty() || ids.contains(&row.id);
        if !is_meant || (row.paused & bit != 0) == is_paused {
            continue;
        }
        let change = if is_paused { bit } else { -bit };
        tx.run(PAUSE, vec![change.into(), row.id.into()]).await?;
        if row.paused + change == 0 {
            let queued = sql::number(tx, QUEUED, vec![row.id.into(), CALLED_MAX.into()]).await?;
            step.effects.queued.push((row.id, queued.unwrap_or(0)));
        }
    }
    Ok(queue)
}

/// Gives a key limits of its own, or takes them back. Errors: QueueNotFound, TooManyKeys.
pub async fn update_key(
    step: &mut Step<'_>,
    queue_name: &str,
    name: &str,
    limits: Option<KeyLimits>,
    keys_max: i64,
) -> Result<Key> {
    let queue = step.names.queue(step.tx, queue_name).await?.ok_or(Error::QueueNotFound)?;
    let mut keys = keys::ensure(step, &queue, &BTreeSet::from([name]), keys_max).await?;
    let id = keys.remove(name).ok_or_else(|| Error::internal("a key was asked for and not given"))??.id;
    let own = limits.unwrap_or_default();
    let row = key_rows::ActiveModel {
        has_own: Set(limits.is_some()),
        held_max: Set(own.held_max),
        claims_max: Set(own.claims_max),
        claims_period_us: Set(own.claims_period_us),
        ..Default::default()
    };
    key_rows::Entity::update_many().set(row).filter(key_rows::Column::Id.eq(id)).exec(&**step.tx).await?;
    let mut key = keys::find(step, id).await?;
    let applied = key.limits(&queue.rules.key_limits);
    keys::unblock(step, &mut key, &applied).await?;
    keys::save(step, &key).await?;
    Ok(Key { name: name.to_owned(), limits, held_count: key.held_count })
}

/// The limit keys of a queue by name.
pub async fn list_keys(db: &Db<'_>, queue_id: i64, after: Option<&str>, rows_max: u64) -> Result<Vec<Key>> {
    let mut query = key_rows::Entity::find()
        .filter(key_rows::Column::QueueId.eq(queue_id))
        .order_by_asc(key_rows::Column::Name)
        .limit(rows_max);
    if let Some(after) = after {
        query = query.filter(key_rows::Column::Name.gt(after));
    }
    let rows = query.all(db).await?;
    Ok(rows
        .into_iter()
        .map(|row| Key {
            limits: row.has_own.then_some(KeyLimits {
                held_max: row.held_max,
                claims_max: row.claims_max,
                claims_period_us: row.claims_period_us,
            }),
            name: row.name,
            held_count: row.held_count,
        })
        .collect())
}

/// How many of each type are queued, up to a bound: for those who wait though nobody called them.
pub async fn queued(db: &Db<'_>, names: &Names, queue_name: &str) -> Result<Vec<(String, i64)>> {
    let Some(queue) = names.queue(db, queue_name).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (id, name, is_paused) in types_of(db, queue.id).await? {
        if !is_paused {
            let count = sql::number(db, QUEUED, vec![id.into(), CALLED_MAX.into()]).await?;
            found.push((name, count.unwrap_or(0)));
        }
    }
    Ok(found)
}
