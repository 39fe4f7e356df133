//! Limits per key: how much room there is, who is blocked by the lack of it, and who comes back.
//!
//! What holds after every transaction: tasks of a key are blocked only while enough others of their type are queued to use all
//! room there is, or there is no room; then a task of the key is held, or the time is noted at which the rate has room.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;

use super::ends::{Released, Step};
use super::{lanes, sql};
use crate::error::{Error, Result};
use crate::services::queue::domain::{KeyLimits, Queue, State};
use crate::services::queue::order::{Order, Requested};
use crate::services::queue::rules::{KeyUse, ROOM_MAX};
use crate::storage::{Rank, RowLock, Tx, row};

const BY_ID: &str = r#"SELECT "id", "queue_id", "name", "has_own", "held_max", "claims_max", "claims_period_us", "held_count",
    "blocked_count", "claims_time", "unblock_time" FROM "queue_keys" WHERE "id" = $1"#;
const SAVE: &str = r#"UPDATE "queue_keys" SET "held_count" = $1, "blocked_count" = $2, "claims_time" = $3,
    "unblock_time" = $4 WHERE "id" = $5"#;
const INSERT: &str = r#"INSERT INTO "queue_keys" ("queue_id", "name", "has_own", "held_max", "claims_max",
    "claims_period_us", "held_count", "blocked_count", "claims_time") VALUES ($1, $2, FALSE, 0, 0, 0, 0, 0, 0)"#;
const COUNT: &str = r#"SELECT count(*) AS "number" FROM "queue_keys""#;
/// At most so many, so that the count costs no more than what it decides.
pub(super) const QUEUED: &str = r#"SELECT count(*) AS "number" FROM (SELECT 1 FROM "queue_tasks" WHERE "key_id" = $1
    AND "type_id" = $2 AND "state" = 0 LIMIT $3) AS "some""#;
pub(super) const BLOCKED_TYPES: &str = r#"SELECT y."id" AS "number" FROM "queue_types" y WHERE y."queue_id" = $1 AND EXISTS
    (SELECT 1 FROM "queue_tasks" t WHERE t."key_id" = $2 AND t."type_id" = y."id"
    AND t."state" = 7)"#;

static BY_NAMES: sql::Listed = sql::Listed::new(|| {
    let by_names = r#"SELECT "id" AS "number" FROM "queue_keys" WHERE "queue_id" = $1 AND "name" IN"#;
    sql::listed(by_names, 2, "")
});
static BY_IDS: sql::Listed = sql::Listed::new(|| {
    let by_ids = BY_ID.strip_suffix("= $1").unwrap_or(BY_ID);
    sql::listed(&format!("{by_ids}IN"), 1, r#" ORDER BY "id""#)
});
static UNBLOCK: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"UPDATE "queue_tasks" SET "state" = 0 WHERE "id" IN"#, 1, ""));
static BLOCK: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"UPDATE "queue_tasks" SET "state" = 7 WHERE "id" IN"#, 1, ""));

row! {
    /// A key, locked.
    #[derive(Clone, Debug)]
    pub(super) struct KeyRow {
        pub(super) id: i64,
        pub(super) queue_id: i64,
        pub(super) name: String,
        has_own: bool,
        held_max: i64,
        claims_max: i64,
        claims_period_us: i64,
        pub(super) held_count: i64,
        pub(super) blocked_count: i64,
        claims_time: i64,
        unblock_time: Option<i64>,
    }
}

impl KeyRow {
    /// The limits that apply.
    pub(super) fn limits(&self, of_queue: &KeyLimits) -> KeyLimits {
        if !self.has_own {
            return *of_queue;
        }
        KeyLimits {
            held_max: self.held_max,
            claims_max: self.claims_max,
            claims_period_us: self.claims_period_us,
        }
    }

    fn used(&self) -> KeyUse {
        KeyUse { held_count: self.held_count, claims_us: self.claims_time }
    }

    /// How many more may be claimed.
    pub(super) fn room(&self, limits: &KeyLimits, now_us: i64) -> i64 {
        limits.room(self.used(), now_us)
    }

    /// Counts claims.
    pub(super) fn claim(&mut self, limits: &KeyLimits, count: i64, now_us: i64) {
        let used = limits.claim(self.used(), count, now_us);
        (self.held_count, self.claims_time) = (used.held_count, used.claims_us);
    }

    /// Counts blocked tasks.
    pub(super) fn block(&mut self, limits: &KeyLimits, count: i64, now_us: i64) {
        self.blocked_count += count;
        self.unblock_time = self.unblock_time.or(limits.rate_us(self.used(), now_us));
    }
}

/// The lock of a key, by the names of its queue and of itself.
pub fn lock_of(queue: &str, name: &str) -> RowLock {
    let select = r#"SELECT "id" FROM "queue_keys" WHERE "name" = $1
        AND "queue_id" = (SELECT "id" FROM "queue_queues" WHERE "name" = $2)"#;
    RowLock::new(Rank::Keys, format!("{queue}\0{name}"), select, vec![name.into(), queue.into()])
}

/// The keys of those names, locked; those that are not there are made, as far as there may be more.
pub(super) async fn ensure(
    step: &mut Step<'_>,
    queue: &Queue,
    names: &BTreeSet<&str>,
    keys_max: i64,
) -> Result<BTreeMap<String, Result<KeyRow>>> {
    let names: Vec<&str> = names.iter().copied().collect();
    let mut key_ids = Vec::with_capacity(names.len());
    for chunk in sql::chunks(&names) {
        let mut values: Vec<Value> = vec![queue.id.into()];
        values.extend(chunk.iter().map(|name| Value::from(*name)));
        let found = step.tx.rows::<sql::Number>(BY_NAMES.text(chunk.len()), values).await?;
        key_ids.extend(found.into_iter().filter_map(|row| row.number));
    }
    key_ids.sort_unstable();
    let mut keys = BTreeMap::new();
    for chunk in sql::chunks(&key_ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        for key in step.tx.rows::<KeyRow>(&step.tx.locking(BY_IDS.text(chunk.len())), values).await? {
            step.keys_locked_to = step.keys_locked_to.max(key.id);
            keys.insert(key.name.clone(), Ok(key));
        }
    }
    for name in names {
        if !keys.contains_key(name) {
            keys.insert(name.to_owned(), make(step, queue, name, keys_max).await?);
        }
    }
    Ok(keys)
}

async fn make(step: &mut Step<'_>, queue: &Queue, name: &str, keys_max: i64) -> Result<Result<KeyRow>> {
    let key_count = match step.key_count {
        Some(count) => count,
        None => sql::number(step.tx, COUNT, Vec::new()).await?.unwrap_or(0),
    };
    if key_count >= keys_max {
        return Ok(Err(Error::TooManyKeys { keys_max }));
    }
    step.key_count = Some(key_count + 1);
    let id = step.tx.insert_written_out(INSERT, vec![queue.id.into(), name.into()]).await?;
    find(step, id).await.map(Ok)
}

/// A key that a task has, locked. Who locks several does so in ascending order: then no two transactions wait for each other.
pub(super) async fn find(step: &mut Step<'_>, key_id: i64) -> Result<KeyRow> {
    let found = step.tx.row::<KeyRow>(&step.tx.locking(BY_ID), vec![key_id.into()]).await?;
    step.keys_locked_to = step.keys_locked_to.max(key_id);
    found.ok_or_else(|| Error::CorruptRow {
        table: "queue_keys",
        column: "id",
        row: key_id,
        cause: "a task has this key and it is not there".into(),
    })
}

/// The same for those who cannot lock their keys in order, because they meet them one after the other: none if that would be a
/// wait out of order.
pub(super) async fn find_in_order(step: &mut Step<'_>, key_id: i64) -> Result<Option<KeyRow>> {
    if key_id > step.keys_locked_to {
        return find(step, key_id).await.map(Some);
    }
    step.tx.row::<KeyRow>(&step.tx.competing(BY_ID), vec![key_id.into()]).await
}

/// Writes what was counted.
pub(super) async fn save(step: &mut Step<'_>, key: &KeyRow) -> Result<()> {
    if let Some(unblock_us) = key.unblock_time {
        step.effects.due_at(unblock_us);
    }
    let values = vec![
        key.held_count.into(),
        key.blocked_count.into(),
        key.claims_time.into(),
        key.unblock_time.into(),
        key.id.into(),
    ];
    step.tx.run(SAVE, values).await?;
    Ok(())
}

/// How many tasks of a key and type are queued, counted up to `most`.
pub(super) async fn queued_count(tx: &Tx<'_>, key_id: i64, type_id: i64, most: i64) -> Result<i64> {
    let count = sql::number(tx, QUEUED, vec![key_id.into(), type_id.into(), most.into()]).await?;
    Ok(count.unwrap_or(0))
}

/// Takes tasks out of the line: their key has no room.
pub(super) async fn block(step: &mut Step<'_>, type_id: i64, task_ids: &[i64]) -> Result<()> {
    for chunk in sql::chunks(task_ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        step.tx.run(BLOCK.text(chunk.len()), values).await?;
    }
    for _ in task_ids {
        step.effects.moved(type_id, Some(State::Queued), Some(State::Blocked));
    }
    Ok(())
}

/// Gives the room of tasks that are held no more to blocked ones.
pub(super) async fn release(step: &mut Step<'_>, key_id: i64, released: Released) -> Result<()> {
    let mut key = find(step, key_id).await?;
    key.held_count = (key.held_count - released.held).max(0);
    key.blocked_count = (key.blocked_count - released.blocked).max(0);
    let limits = key.limits(&released.limits);
    unblock(step, &mut key, &limits).await?;
    save(step, &key).await
}

/// Lets as many tasks of each type back into the line as there is room for, and notes when to look again.
pub(super) async fn unblock(step: &mut Step<'_>, key: &mut KeyRow, limits: &KeyLimits) -> Result<()> {
    key.unblock_time = None;
    if key.blocked_count <= 0 {
        return Ok(());
    }
    let is_unlimited = limits.held_max == 0 && limits.claims_max == 0;
    let room = key.room(limits, step.now.us);
    if room > 0 {
        let values = vec![key.queue_id.into(), key.id.into()];
        let types = step.tx.rows::<sql::Number>(BLOCKED_TYPES, values).await?;
        if types.is_empty() {
            // The count is off; the rows are right.
            key.blocked_count = 0;
        }
        for type_id in types.into_iter().filter_map(|row| row.number) {
            let queued = match is_unlimited {
                true => 0,
                false => queued_count(step.tx, key.id, type_id, room).await?,
            };
            unblock_type(step, key, type_id, room - queued).await?;
        }
    }
    if key.blocked_count > 0 {
        key.unblock_time = match is_unlimited {
            // There are more than one step takes.
            true => Some(step.now.us),
            false => limits.rate_us(key.used(), step.now.us),
        };
    }
    Ok(())
}

async fn unblock_type(step: &mut Step<'_>, key: &mut KeyRow, type_id: i64, most: i64) -> Result<()> {
    if most <= 0 {
        return Ok(());
    }
    let tx = step.tx;
    let order = Order::of(&step.names.rules(tx, key.queue_id).await?, Requested::QueueDefault);
    let task_ids = lanes::first_blocked(tx, order, (key.id, type_id), most.min(ROOM_MAX)).await?;
    for chunk in sql::chunks(&task_ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        tx.run(UNBLOCK.text(chunk.len()), values).await?;
    }
    for _ in &task_ids {
        step.effects.moved(type_id, Some(State::Blocked), Some(State::Queued));
    }
    key.blocked_count = (key.blocked_count - i64::try_from(task_ids.len()).unwrap_or(0)).max(0);
    Ok(())
}
