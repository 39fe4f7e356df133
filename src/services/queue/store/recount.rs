//! Counting the tasks again: the repair of counts that are wrong though they cannot be, as after a change of the tables by hand.

use sea_orm::Value;

use super::{sql, stats};
use crate::error::Result;
use crate::services::queue::domain::State;
use crate::services::queue::effects::Tally;
use crate::storage::{Db, Tx, row};

/// Tasks by type and state. Each part is answered by an index that holds little else.
const COUNTED: [&str; 6] = [
    r#"SELECT "type_id", 0 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "state" = 0 GROUP BY "type_id""#,
    r#"SELECT "type_id", 1 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "state" = 1
        AND "expire_time" IS NULL GROUP BY "type_id""#,
    r#"SELECT "type_id", 1 AS "state", count(*) AS "count" FROM "queue_tasks" WHERE "expire_time" IS NOT NULL
        AND "state" = 1 GROUP BY "type_id""#,
    r#"SELECT "type_id", "state", count(*) AS "count" FROM "queue_tasks" WHERE "state" IN (2, 3)
        GROUP BY "type_id", "state""#,
    r#"SELECT "type_id", "state", count(*) AS "count" FROM "queue_tasks" WHERE "finish_time" IS NOT NULL
        GROUP BY "type_id", "state""#,
    r#"SELECT "type_id", "state", count(*) AS "count" FROM "queue_tasks" WHERE "key_id" IS NOT NULL AND "state" = 7
        GROUP BY "type_id", "state""#,
];
const COLUMNS: [&str; State::ALL.len()] =
    ["queued", "scheduled", "claimed", "running", "completed", "failed", "cancelled", "blocked"];
const RECOUNTS: &str = r#"SELECT "queued" AS "number" FROM "queue_counts" WHERE "type_id" = 0"#;
/// Changes nothing when another Recount came in between.
const NOTE_RECOUNT: &str = r#"INSERT INTO "queue_counts" ("type_id", "queued", "scheduled", "claimed", "running", "completed",
    "failed", "cancelled", "blocked") VALUES (0, 1, 0, 0, 0, 0, 0, 0, 0)
    ON CONFLICT ("type_id") DO UPDATE SET "queued" = "queue_counts"."queued" + 1 WHERE "queue_counts"."queued" = $1"#;

/// What is counted, minus what is recorded, in one statement: one snapshot on every database.
static DIFFERENCES: sql::Text = sql::Text::new(|| {
    let mut parts: Vec<String> = COUNTED.map(str::to_owned).to_vec();
    for (state, column) in COLUMNS.iter().enumerate() {
        for table in ["queue_counts", "queue_deltas"] {
            parts.push(format!(
                r#"SELECT "type_id", {state} AS "state", -"{column}" AS "count" FROM "{table}" WHERE "type_id" <> 0"#
            ));
        }
    }
    format!(
        r#"SELECT "type_id", "state", CAST(sum("count") AS bigint) AS "difference" FROM ({}) AS "all"
        GROUP BY "type_id", "state" HAVING sum("count") <> 0 ORDER BY "type_id", "state""#,
        parts.join(" UNION ALL ")
    )
});

row! {
    /// By how much a count was too low.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Difference {
        pub type_id: i64,
        pub state: i64,
        pub difference: i64,
    }
}

/// What is wrong with the counts.
#[derive(Clone, Debug)]
pub struct Differences {
    /// By type and state.
    pub all: Vec<Difference>,
    /// How many Recounts came before.
    recounts: i64,
}

/// Counts the tasks. Inside a read, so that no write waits.
pub async fn differences(db: &Db<'_>) -> Result<Differences> {
    let recounts = sql::number(db, RECOUNTS, Vec::new()).await?.unwrap_or(0);
    Ok(Differences { all: db.rows(DIFFERENCES.text(), Vec::new()).await?, recounts })
}

/// Corrects the counts by what was found. False: another Recount came in between, and nothing is done.
///
/// What changed since the tasks were counted is right by itself: both the tasks and their counts changed.
pub async fn correct(tx: &Tx<'_>, found: &Differences, minute: i64) -> Result<bool> {
    if tx.run(NOTE_RECOUNT, vec![Value::from(found.recounts)]).await? == 0 {
        return Ok(false);
    }
    for wrong in &found.all {
        let mut tally = Tally::default();
        if let Some(count) = State::of(wrong.state).and_then(|state| tally.states.get_mut(state as usize)) {
            *count = wrong.difference;
            stats::note(tx, minute, &[(wrong.type_id, tally)]).await?;
        }
    }
    Ok(true)
}
