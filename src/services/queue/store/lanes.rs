//! Lanes: the parts of a queue's line that the index of claimable tasks keeps in the order of a claim.
//!
//! The index goes by type, priority and time. For strict priority with the oldest first a lane is a type; for any other order it is one
//! priority of a type, and a claim merges the ten lanes of each type by the ranks of their tasks.

use sea_orm::Value;

use super::claim::Claim;
use crate::error::Result;
use crate::services::queue::order::{Order, Rank, priorities};
use crate::storage::{Tx, row};

/// The first of each type in the order of the index.
pub(super) const HEADS: &str = r#"SELECT h."type_id", h."priority", (SELECT min(t."order_key") FROM "queue_tasks" t
    WHERE t."state" = 0 AND t."type_id" = h."type_id" AND t."priority" = h."priority") AS "ready"
    FROM (SELECT y."id" AS "type_id", (SELECT u."priority" FROM "queue_tasks" u WHERE u."state" = 0 AND u."type_id" = y."id"
    ORDER BY u."priority" DESC LIMIT 1) AS "priority" FROM "queue_types" y
    WHERE y."queue_id" = $1 AND y."paused" = 0 AND ($2 = 0 OR y."id" = $2)) h"#;
/// The first keys of a type, to know how many to take of it.
pub(super) const KEYS: &str = r#"SELECT "priority", "order_key" AS "ready" FROM "queue_tasks" WHERE "state" = 0 AND "type_id" = $1
    ORDER BY "priority" DESC, "order_key" LIMIT $2"#;

/// A FROM item with the number of each priority.
pub(super) fn all_priorities() -> String {
    let numbers: Vec<String> =
        priorities().map(|number| format!(r#"SELECT {number} AS "priority""#)).collect();
    format!(r#"({}) p"#, numbers.join(" UNION ALL "))
}

fn direction(is_lifo: bool) -> &'static str {
    if is_lifo { "DESC" } else { "ASC" }
}

/// The first of each priority of each type.
pub(super) fn heads(is_lifo: bool) -> String {
    let first = if is_lifo { "max" } else { "min" };
    format!(
        r#"SELECT y."id" AS "type_id", p."priority", (SELECT {first}(t."order_key") FROM "queue_tasks" t
        WHERE t."state" = 0 AND t."type_id" = y."id" AND t."priority" = p."priority") AS "ready"
        FROM "queue_types" y CROSS JOIN {} WHERE y."queue_id" = $1 AND y."paused" = 0 AND ($2 = 0 OR y."id" = $2)"#,
        all_priorities()
    )
}

/// The first keys of one priority of a type.
pub(super) fn keys(is_lifo: bool) -> String {
    format!(
        r#"SELECT "priority", "order_key" AS "ready" FROM "queue_tasks" WHERE "state" = 0 AND "type_id" = $1 AND "priority" = $2
        ORDER BY "order_key" {} LIMIT $3"#,
        direction(is_lifo)
    )
}

/// The end of a SELECT of the first tasks of a lane: the third value is the priority, if the lane has one, and the last the limit. SQLite numbers
/// placeholders in the order in which they stand.
pub(super) fn ordered(lane: Lane, order: Order) -> String {
    let by = direction(order.is_lifo());
    match lane.priority {
        None => r#"ORDER BY "priority" DESC, "order_key", "id" LIMIT $3"#.to_owned(),
        Some(_) => format!(r#"AND "priority" = $3 ORDER BY "order_key" {by}, "id" {by} LIMIT $4"#),
    }
}

/// A part of a queue's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// The type.
    pub type_id: i64,
    /// Its tasks of this priority; none: all of them.
    pub priority: Option<i64>,
}

row! {
    struct Head {
        type_id: i64,
        priority: Option<i64>,
        ready: Option<i64>,
    }
}

row! {
    struct Key {
        priority: i64,
        ready: i64,
    }
}

/// The lanes of a claim in the order of their first tasks, each with the number of its tasks among the first `count`.
pub(super) async fn plan(tx: &Tx<'_>, claim: &Claim, count: i64) -> Result<Vec<(Lane, i64)>> {
    let is_of_index = claim.order == Order::OF_INDEX;
    let only = match claim.type_ids[..] {
        [only] if is_of_index => return Ok(vec![(Lane { type_id: only, priority: None }, count)]),
        [only] => only,
        _ => 0,
    };
    let heads = if is_of_index { HEADS.to_owned() } else { heads(claim.order.is_lifo()) };
    let found = tx.rows::<Head>(&heads, vec![claim.queue_id.into(), only.into()]).await?;
    let is_wanted = |type_id| claim.type_ids.is_empty() || claim.type_ids.contains(&type_id);
    let mut lanes: Vec<(Rank, Lane)> = found
        .into_iter()
        .filter(|head| is_wanted(head.type_id))
        .filter_map(|head| {
            let priority = head.priority?;
            let lane = Lane { type_id: head.type_id, priority: (!is_of_index).then_some(priority) };
            Some((claim.order.rank(priority, head.ready?), lane))
        })
        .collect();
    lanes.sort_unstable();
    let counts = match lanes.len() {
        0 | 1 => vec![count; lanes.len()],
        lanes if count == 1 => (0..lanes).map(|place| i64::from(place == 0)).collect(),
        _ => shares(tx, claim.order, &lanes, count).await?,
    };
    Ok(lanes.into_iter().map(|(_, lane)| lane).zip(counts).collect())
}

/// The number of each lane's tasks among the first `count` of all.
async fn shares(tx: &Tx<'_>, order: Order, lanes: &[(Rank, Lane)], count: i64) -> Result<Vec<i64>> {
    let mut all: Vec<(Rank, usize)> = Vec::new();
    for (place, (_, lane)) in lanes.iter().enumerate() {
        let mut values: Vec<Value> = vec![lane.type_id.into()];
        values.extend(lane.priority.map(Value::from));
        values.push(count.into());
        let text = if lane.priority.is_none() { KEYS.to_owned() } else { keys(order.is_lifo()) };
        let keys = tx.rows::<Key>(&text, values).await?;
        all.extend(keys.into_iter().map(|key| (order.rank(key.priority, key.ready), place)));
    }
    all.sort_unstable();
    all.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    let mut counts = vec![0; lanes.len()];
    for (_, place) in all {
        counts[place] += 1;
    }
    Ok(counts)
}

row! {
    /// A task by its place in the line.
    pub(super) struct Placed {
        pub(super) id: i64,
        pub(super) priority: i64,
        pub(super) ready: i64,
    }
}

/// The first blocked tasks of a key in an order: a SELECT for each lane, or one for all.
pub(super) fn blocked(order: Order) -> Vec<String> {
    let select = r#"SELECT "id", "priority", "order_key" AS "ready" FROM "queue_tasks" WHERE "key_id" = $1
        AND "type_id" = $2 AND "state" = 7"#;
    if order == Order::OF_INDEX {
        return vec![format!(r#"{select} ORDER BY "priority" DESC, "order_key", "id" LIMIT $3"#)];
    }
    let by = direction(order.is_lifo());
    let of = |priority| {
        format!(r#"{select} AND "priority" = {priority} ORDER BY "order_key" {by}, "id" {by} LIMIT $3"#)
    };
    priorities().map(of).collect()
}

/// The first `most` blocked tasks of a key and type, locked.
pub(super) async fn first_blocked(
    tx: &Tx<'_>,
    order: Order,
    (key_id, type_id): (i64, i64),
    most: i64,
) -> Result<Vec<i64>> {
    let mut found: Vec<(Rank, i64)> = Vec::new();
    for select in blocked(order) {
        let values = vec![key_id.into(), type_id.into(), most.into()];
        let rows = tx.rows::<Placed>(&tx.competing(&select), values).await?;
        found.extend(rows.into_iter().map(|row| (order.rank(row.priority, row.ready), row.id)));
    }
    found.sort_unstable();
    found.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// The last queued task of each priority of a key and type.
pub(super) fn lasts(is_lifo: bool) -> String {
    let last = if is_lifo { "min" } else { "max" };
    format!(
        r#"SELECT p."priority", (SELECT {last}(t."order_key") FROM "queue_tasks" t WHERE t."key_id" = $1 AND t."type_id" = $2
        AND t."state" = 0 AND t."priority" = p."priority") AS "number" FROM {}"#,
        all_priorities()
    )
}

/// The rank of the last queued task of a key and type, if there is one.
pub(super) async fn last_queued(
    tx: &Tx<'_>,
    order: Order,
    key_id: i64,
    type_id: i64,
) -> Result<Option<Rank>> {
    let text = lasts(order.is_lifo());
    let found = tx.rows::<Last>(&text, vec![key_id.into(), type_id.into()]).await?;
    Ok(found.into_iter().filter_map(|row| Some(order.rank(row.priority, row.number?))).max())
}

row! {
    struct Last {
        priority: i64,
        number: Option<i64>,
    }
}
