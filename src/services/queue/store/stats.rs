//! The numbers of a type: tasks by state, rates, ages.
//!
//! The transaction that changes tasks also writes how their number changes ([`note`]), so no crash and no second sidecar takes
//! them apart. Maintenance folds these rows into `queue_counts` and `queue_minutes` ([`fold`]).

use sea_orm::Value;

use super::{lanes, sql};
use crate::error::Result;
use crate::services::queue::domain::State;
use crate::services::queue::effects::Tally;
use crate::services::queue::order::Order;
use crate::storage::{Db, Tx, row};

/// The columns of the states, in the order of [`State::ALL`].
const STATES: &str =
    r#""queued", "scheduled", "claimed", "running", "completed", "failed", "cancelled", "blocked""#;
/// The columns of a delta that are not states, in the order of `queue_minutes`.
const EVENTS: &str = r#""enqueued", "claims", "completions", "failures", "losses", "wait_us", "run_us""#;
const FORGET_MINUTES: &str = r#"DELETE FROM "queue_minutes" WHERE "minute" < $1"#;
/// Deltas of one step of [`fold`].
const FOLD_ROWS: i64 = 1_024;
pub(super) const OLDEST_CLAIM: &str = r#"SELECT min("claim_time") AS "number" FROM "queue_tasks" WHERE "state" IN (2, 3)
    AND "type_id" = $1"#;
pub(super) const NEXT_RUN: &str = r#"SELECT "run_time" AS "number" FROM "queue_tasks" WHERE "state" = 1 AND "expire_time" IS NULL
    AND "type_id" = $1 ORDER BY "run_time" LIMIT 1"#;
pub(super) const NEXT_RETRY: &str = r#"SELECT "run_time" AS "number" FROM "queue_tasks" WHERE "expire_time" IS NOT NULL AND "state" = 1
    AND "type_id" = $1 ORDER BY "expire_time" LIMIT 1"#;

static INSERT: sql::Text = sql::Text::new(|| {
    format!(
        r#"INSERT INTO "queue_deltas" ("type_id", "minute", {STATES}, {EVENTS})
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"#
    )
});
static OLDEST_DELTAS: sql::Text = sql::Text::new(|| {
    format!(
        r#"SELECT "id", "type_id", "minute", {STATES}, {EVENTS} FROM "queue_deltas" ORDER BY "id" LIMIT $1"#
    )
});
static DELETE_DELTAS: sql::Listed =
    sql::Listed::new(|| sql::listed(r#"DELETE FROM "queue_deltas" WHERE "id" IN"#, 1, ""));
static ADD_COUNTS: sql::Text = sql::Text::new(|| {
    let insert = format!(
        r#"INSERT INTO "queue_counts" ("type_id", {STATES}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#
    );
    format!(r#"{insert} ON CONFLICT ("type_id") DO UPDATE SET {}"#, added("queue_counts", STATES))
});
static ADD_MINUTE: sql::Text = sql::Text::new(|| {
    let columns = r#""enqueued", "claimed", "completed", "failed", "lost", "wait_us", "run_us""#;
    let insert = format!(
        r#"INSERT INTO "queue_minutes" ("type_id", "minute", {columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#
    );
    format!(r#"{insert} ON CONFLICT ("type_id", "minute") DO UPDATE SET {}"#, added("queue_minutes", columns))
});
static COUNTS: sql::Text = sql::Text::new(|| {
    let sums = sums(STATES);
    format!(
        r#"SELECT {sums} FROM (SELECT {STATES} FROM "queue_counts" WHERE "type_id" = $1
        UNION ALL SELECT {STATES} FROM "queue_deltas" WHERE "type_id" = $1) AS "both""#
    )
});
static MINUTES: sql::Text = sql::Text::new(|| {
    let sums = sums(EVENTS);
    let span = r#""type_id" = $1 AND "minute" >= $2 AND "minute" < $3"#;
    format!(
        r#"SELECT {sums} FROM (SELECT "enqueued", "claimed" AS "claims", "completed" AS "completions",
        "failed" AS "failures", "lost" AS "losses", "wait_us", "run_us" FROM "queue_minutes" WHERE {span}
        UNION ALL SELECT {EVENTS} FROM "queue_deltas" WHERE {span}) AS "both""#
    )
});

/// `"a" = "table"."a" + excluded."a", …`.
fn added(table: &str, columns: &str) -> String {
    let add = |column: &str| format!(r#"{column} = "{table}".{column} + excluded.{column}"#);
    columns.split(", ").map(add).collect::<Vec<_>>().join(", ")
}

/// `CAST(coalesce(sum("a"), 0) AS bigint) AS "a", …`.
fn sums(columns: &str) -> String {
    let sum = |column: &str| format!("CAST(coalesce(sum({column}), 0) AS bigint) AS {column}");
    columns.split(", ").map(sum).collect::<Vec<_>>().join(", ")
}

row! {
    struct States {
        queued: i64,
        scheduled: i64,
        claimed: i64,
        running: i64,
        completed: i64,
        failed: i64,
        cancelled: i64,
        blocked: i64,
    }
}

row! {
    struct Events {
        enqueued: i64,
        claims: i64,
        completions: i64,
        failures: i64,
        losses: i64,
        wait_us: i64,
        run_us: i64,
    }
}

row! {
    struct Place {
        id: i64,
        type_id: i64,
        minute: i64,
    }
}

impl States {
    fn numbers(&self) -> [i64; State::ALL.len()] {
        [
            self.queued,
            self.scheduled,
            self.claimed,
            self.running,
            self.completed,
            self.failed,
            self.cancelled,
            self.blocked,
        ]
    }
}

impl Events {
    fn tally(&self, states: [i64; State::ALL.len()]) -> Tally {
        Tally {
            states,
            enqueued: self.enqueued,
            claimed: self.claims,
            completed: self.completions,
            failed: self.failures,
            lost: self.losses,
            wait_us: self.wait_us,
            run_us: self.run_us,
        }
    }
}

fn events_of(tally: &Tally) -> [i64; 7] {
    let Tally { enqueued, claimed, completed, failed, lost, wait_us, run_us, .. } = *tally;
    [enqueued, claimed, completed, failed, lost, wait_us, run_us]
}

/// Writes what the transaction did to the tasks of each type.
pub async fn note(tx: &Tx<'_>, minute: i64, tallies: &[(i64, Tally)]) -> Result<()> {
    for (type_id, tally) in tallies.iter().filter(|(_, tally)| !tally.is_empty()) {
        let mut values: Vec<Value> = vec![(*type_id).into(), minute.into()];
        values.extend(tally.states.iter().map(|count| Value::from(*count)));
        values.extend(events_of(tally).map(Value::from));
        tx.run(INSERT.text(), values).await?;
    }
    Ok(())
}

/// Adds the oldest deltas to the counts; answers with whether there may be more.
pub async fn fold(tx: &Tx<'_>) -> Result<bool> {
    use std::collections::BTreeMap;

    let found = tx
        .rows::<(Place, (States, Events))>(&tx.competing(OLDEST_DELTAS.text()), vec![FOLD_ROWS.into()])
        .await?;
    // Sidecars that fold at once add in one order.
    let mut counts: BTreeMap<i64, Tally> = BTreeMap::new();
    let mut minutes: BTreeMap<(i64, i64), Tally> = BTreeMap::new();
    let mut ids = Vec::with_capacity(found.len());
    for (place, (states, events)) in &found {
        ids.push(place.id);
        counts.entry(place.type_id).or_default().add(&Tally { states: states.numbers(), ..Tally::default() });
        minutes.entry((place.type_id, place.minute)).or_default().add(&events.tally(Default::default()));
    }
    for (type_id, tally) in counts.iter().filter(|(_, tally)| !tally.is_empty()) {
        let mut values: Vec<Value> = vec![(*type_id).into()];
        values.extend(tally.states.iter().map(|count| Value::from(*count)));
        tx.run(ADD_COUNTS.text(), values).await?;
    }
    for ((type_id, minute), tally) in minutes.iter().filter(|(_, tally)| !tally.is_empty()) {
        let mut values: Vec<Value> = vec![(*type_id).into(), (*minute).into()];
        values.extend(events_of(tally).map(Value::from));
        tx.run(ADD_MINUTE.text(), values).await?;
    }
    for chunk in sql::chunks(&ids) {
        let values = chunk.iter().map(|id| (*id).into()).collect();
        tx.run(DELETE_DELTAS.text(chunk.len()), values).await?;
    }
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX) >= FOLD_ROWS)
}

/// Forgets minutes that are long over.
pub async fn forget_minutes(tx: &Tx<'_>, minute: i64) -> Result<()> {
    /// Minutes that are kept.
    const MINUTES_KEPT: i64 = 24 * 60;
    tx.run(FORGET_MINUTES, vec![(minute - MINUTES_KEPT).into()]).await?;
    Ok(())
}

/// Tasks of a type by state, in the order of [`State::ALL`].
pub(super) async fn counts(db: &Db<'_>, type_id: i64) -> Result<[i64; State::ALL.len()]> {
    let row = db.row::<States>(COUNTS.text(), vec![type_id.into()]).await?;
    Ok(row.map(|row| row.numbers()).unwrap_or_default())
}

/// What the tables say of a type.
#[derive(Clone, Debug, Default)]
pub struct TypeNumbers {
    /// Tasks by state, and the rest over the minutes of the request.
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
    let states = counts(db, type_id).await?;
    let span = vec![type_id.into(), first.into(), end.into()];
    let events = db.row::<Events>(MINUTES.text(), span).await?;
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
        tally: events.map_or(Tally { states, ..Tally::default() }, |events| events.tally(states)),
        head_us: head.map(first_of),
        oldest: levels.iter().map(|level| (level.0, level.1)).collect(),
        oldest_claim_us: sql::number(db, OLDEST_CLAIM, of_type()).await?,
        next_run_us: next_run_us.into_iter().chain(next_retry_us).min(),
    })
}
