//! Lists of tasks.
//!
//! A list first finds ids and sizes, then reads whole rows of as many as fit into an answer.

use sea_orm::Value;

use super::{rows, sql};
use crate::answer::Budget;
use crate::error::Result;
use crate::services::queue::domain::{PRIORITY_MAX, State, Task};
use crate::storage::{Db, row};

/// Rows that a list without an index of its own looks at for one page.
const LOOKED_AT_MAX: i64 = 10_000;

const BYTES: &str = r#"coalesce(octet_length("parameters"), 0) + coalesce(octet_length("result"), 0) + coalesce(octet_length("error"), 0) AS "bytes""#;

/// Names, numbers, times and framing of a task in an answer.
pub(super) const TASK_OVERHEAD_BYTES: usize = 512;

/// Which tasks to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of these types.
    pub type_ids: Vec<i64>,
    /// In one of these states; none: in any.
    pub states: Vec<State>,
    /// Held or last held by this worker.
    pub worker_id: Option<i64>,
    /// Held or last held by a worker of this name.
    pub worker_name: Option<String>,
    /// Enqueued then or later.
    pub from_us: Option<i64>,
    /// Enqueued earlier.
    pub before_us: Option<i64>,
    /// Those after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub rows_max: i64,
    /// At most this many bytes.
    pub budget: Budget,
}

/// A task's place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The priority of a queued task, negative, so that the highest is first; otherwise zero.
    pub level: i64,
    /// The order key or the finish time; zero in lists by id.
    pub key: i64,
    /// The task.
    pub id: i64,
}

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page begins, if there is one.
    pub next: Option<Place>,
}

row! {
    #[derive(Clone, Copy, Debug)]
    struct Found {
        id: i64,
        level: i64,
        key: i64,
        bytes: i64,
    }
}

impl Found {
    fn place(&self) -> Place {
        Place { level: self.level, key: self.key, id: self.id }
    }
}

/// A page of tasks; see the protocol for the order.
pub async fn list(db: &Db<'_>, filter: &Filter) -> Result<Page> {
    let (found, rest) = match filter.states[..] {
        _ if filter.is_narrow() => by_id(db, filter).await?,
        [State::Queued] => (in_line(db, filter).await?, None),
        [state] if state.is_finished() => (finished(db, filter, state).await?, None),
        [state] if state.is_held() => (held(db, filter, state).await?, None),
        _ => by_id(db, filter).await?,
    };
    let rows_max = usize::try_from(filter.rows_max).unwrap_or(usize::MAX);
    let (mut budget, mut count) = (filter.budget, 0);
    for row in found.iter().take(rows_max) {
        let bytes = usize::try_from(row.bytes).unwrap_or(usize::MAX);
        if !budget.take(bytes.saturating_add(TASK_OVERHEAD_BYTES), || row.id.to_string())? {
            break;
        }
        count += 1;
    }
    let next = match found.get(count) {
        Some(_) => found.get(count - 1).map(Found::place),
        None => rest,
    };
    let mut tasks = Vec::with_capacity(count);
    for row in &found[..count] {
        // One that was removed since is left out.
        tasks.extend(rows::get(db, row.id).await?);
    }
    Ok(Page { tasks, next })
}

async fn in_line(db: &Db<'_>, filter: &Filter) -> Result<Vec<Found>> {
    let select = format!(
        r#"SELECT "id", -"priority" AS "level", "order_key" AS "key", {BYTES} FROM "queue_tasks" WHERE "state" = 0
        AND "type_id" = $1 AND "priority" <= $2 AND ("priority" < $2 OR "order_key" > $3 OR ("order_key" = $3 AND "id" > $4))
        ORDER BY "priority" DESC, "order_key", "id" LIMIT $5"#
    );
    let after = filter.after.unwrap_or(Place { level: -PRIORITY_MAX, key: i64::MIN, id: i64::MIN });
    let mut found = Vec::new();
    for type_id in &filter.type_ids {
        let values = vec![
            (*type_id).into(),
            (-after.level).into(),
            after.key.into(),
            after.id.into(),
            (filter.rows_max + 1).into(),
        ];
        found.extend(db.rows::<Found>(&select, values).await?);
    }
    found.sort_unstable_by_key(Found::place);
    Ok(found)
}

async fn finished(db: &Db<'_>, filter: &Filter, state: State) -> Result<Vec<Found>> {
    let select = format!(
        r#"SELECT "id", 0 AS "level", "finish_time" AS "key", {BYTES} FROM "queue_tasks" WHERE "type_id" = $1 AND "state" = $2
        AND "finish_time" IS NOT NULL AND ("finish_time" < $3 OR ("finish_time" = $3 AND "id" < $4))
        AND "finish_time" <= $3 ORDER BY "finish_time" DESC, "id" DESC LIMIT $5"#
    );
    let before = filter.after.unwrap_or(Place { level: 0, key: i64::MAX, id: i64::MAX });
    let mut found = Vec::new();
    for type_id in &filter.type_ids {
        let values = vec![
            (*type_id).into(),
            state.number().into(),
            before.key.into(),
            before.id.into(),
            (filter.rows_max + 1).into(),
        ];
        found.extend(db.rows::<Found>(&select, values).await?);
    }
    found.sort_unstable_by_key(|row| std::cmp::Reverse(row.place()));
    Ok(found)
}

async fn held(db: &Db<'_>, filter: &Filter, state: State) -> Result<Vec<Found>> {
    let select = format!(
        r#"SELECT "id", 0 AS "level", 0 AS "key", {BYTES} FROM "queue_tasks" WHERE "state" IN (2, 3) AND "state" = $1 AND "id" < $2
        AND {} ORDER BY "id" DESC LIMIT $3"#,
        of_types(&filter.type_ids)
    );
    let before = filter.after.map_or(i64::MAX, |place| place.id);
    let values = vec![state.number().into(), before.into(), (filter.rows_max + 1).into()];
    db.rows::<Found>(&select, values).await
}

/// Where filters leave few of many tasks, a page ends after a number of rows that were looked at.
async fn by_id(db: &Db<'_>, filter: &Filter) -> Result<(Vec<Found>, Option<Place>)> {
    const LOWEST: &str = r#"SELECT min("id") AS "number" FROM
        (SELECT "id" FROM "queue_tasks" WHERE "id" < $1 ORDER BY "id" DESC LIMIT $2) AS "some""#;
    let before = filter.after.map_or(i64::MAX, |place| place.id);
    let lowest = sql::number(db, LOWEST, vec![before.into(), LOOKED_AT_MAX.into()]).await?;
    let Some(lowest) = lowest else { return Ok((Vec::new(), None)) };
    let (conditions, name) = filter.conditions();
    let select = format!(
        r#"SELECT "id", 0 AS "level", 0 AS "key", {BYTES} FROM "queue_tasks" WHERE "id" < $1 AND "id" >= $2 AND {conditions}
        ORDER BY "id" DESC LIMIT ${}"#,
        // Placeholders are numbered in the order in which they stand.
        if name.is_some() { 4 } else { 3 }
    );
    let mut values = vec![before.into(), lowest.into()];
    values.extend(name.map(Value::from));
    values.push((filter.rows_max + 1).into());
    let found = db.rows::<Found>(&select, values).await?;
    const MORE: &str =
        r#"SELECT "id" AS "number" FROM "queue_tasks" WHERE "id" < $1 ORDER BY "id" DESC LIMIT 1"#;
    let more = sql::number(db, MORE, vec![lowest.into()]).await?;
    Ok((found, more.map(|_| Place { level: 0, key: 0, id: lowest })))
}

impl Filter {
    /// Whether it has conditions that no index serves.
    fn is_narrow(&self) -> bool {
        self.worker_id.is_some()
            || self.worker_name.is_some()
            || self.from_us.is_some()
            || self.before_us.is_some()
    }

    /// The conditions of a list by id, and the value of `$3`, if there is one.
    fn conditions(&self) -> (String, Option<&str>) {
        const CREATED: &str = r#"coalesce("create_time", "order_key")"#;
        let mut all = vec![of_types(&self.type_ids)];
        if !self.states.is_empty() {
            let states: Vec<String> = self.states.iter().map(|state| state.number().to_string()).collect();
            all.push(format!(r#""state" IN ({})"#, states.join(", ")));
        }
        all.extend(self.worker_id.map(|worker_id| format!(r#""worker_id" = {worker_id}"#)));
        all.extend(self.from_us.map(|us| format!("{CREATED} >= {us}")));
        all.extend(self.before_us.map(|us| format!("{CREATED} < {us}")));
        if self.worker_name.is_some() {
            all.push(
                r#"("worker_name" = $3 OR ("worker_name" IS NULL AND "worker_id" IN
                (SELECT w."id" FROM "queue_workers" w WHERE w."name" = $3)))"#
                    .to_owned(),
            );
        }
        (all.join(" AND "), self.worker_name.as_deref())
    }
}

fn of_types(type_ids: &[i64]) -> String {
    let ids: Vec<String> = type_ids.iter().map(ToString::to_string).collect();
    format!(r#""type_id" IN ({})"#, ids.join(", "))
}
