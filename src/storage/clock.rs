//! The stamp from which the clocks continue at the next start, in the tables `clock` and `clock_steps`.

use super::{Db, Storage, Tx, row};
use crate::clock::{Clock, SECOND_US, Stamp, Step};
use crate::error::{Error, Result};

const STAMP: &str = r#"SELECT "steady_time", "serving_time", "wall_time", "order_time", "is_final" FROM "clock" WHERE "id" = 1"#;
const STEPS: &str =
    r#"SELECT "steady_time", "serving_time", "wall_time" FROM "clock_steps" ORDER BY "steady_time""#;
/// Sidecars that share a database continue from the one that is furthest ahead.
const STORE: &str = r#"INSERT INTO "clock" ("id", "steady_time", "serving_time", "wall_time", "order_time", "is_final")
    VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT ("id") DO UPDATE SET
    "serving_time" = CASE WHEN excluded."steady_time" >= "clock"."steady_time" THEN excluded."serving_time" ELSE "clock"."serving_time" END,
    "wall_time" = CASE WHEN excluded."steady_time" >= "clock"."steady_time" THEN excluded."wall_time" ELSE "clock"."wall_time" END,
    "is_final" = excluded."is_final",
    "order_time" = CASE WHEN excluded."is_final" = FALSE AND excluded."order_time" < "clock"."order_time"
    THEN "clock"."order_time" ELSE excluded."order_time" END,
    "steady_time" = CASE WHEN excluded."steady_time" >= "clock"."steady_time" THEN excluded."steady_time" ELSE "clock"."steady_time" END"#;
const STORE_STEP: &str = r#"INSERT INTO "clock_steps" ("steady_time", "serving_time", "wall_time")
    SELECT CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint)
    WHERE NOT EXISTS (SELECT 1 FROM "clock_steps" WHERE "steady_time" >= $4
    AND "wall_time" - "steady_time" >= $5 AND "wall_time" - "steady_time" <= $6)
    ON CONFLICT ("steady_time") DO UPDATE SET "serving_time" = excluded."serving_time", "wall_time" = excluded."wall_time""#;
const FORGET_STEPS: &str = r#"DELETE FROM "clock_steps" WHERE "steady_time" NOT IN
    (SELECT "steady_time" FROM "clock_steps" ORDER BY "steady_time" DESC LIMIT $1)"#;
const DATABASE_TIME: &str = r#"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS "now_us""#;

/// Sidecars on one database notice a step at times that differ by less.
const SAME_STEP_US: i64 = 5 * SECOND_US;

row! {
    struct StampRow {
        steady_time: i64,
        serving_time: i64,
        wall_time: i64,
        order_time: i64,
        is_final: bool,
    }
}

row! {
    struct StepRow {
        steady_time: i64,
        serving_time: i64,
        wall_time: i64,
    }
}

row! {
    struct Now {
        now_us: i64,
    }
}

/// The last stamp that was stored, if one was.
async fn stamp(db: &Db<'_>) -> Result<Option<Stamp>> {
    Ok(db.row::<StampRow>(STAMP, Vec::new()).await?.map(|row| Stamp {
        at: Step { steady_us: row.steady_time, serving_us: row.serving_time, wall_us: row.wall_time },
        order_us: row.order_time,
        is_final: row.is_final,
    }))
}

async fn steps(db: &Db<'_>) -> Result<Vec<Step>> {
    let rows = db.rows::<StepRow>(STEPS, Vec::new()).await?;
    Ok(rows
        .into_iter()
        .map(|row| Step { steady_us: row.steady_time, serving_us: row.serving_time, wall_us: row.wall_time })
        .collect())
}

async fn store(tx: &Tx<'_>, stamp: &Stamp) -> Result<()> {
    let values = vec![
        stamp.at.steady_us.into(),
        stamp.at.serving_us.into(),
        stamp.at.wall_us.into(),
        stamp.order_us.into(),
        stamp.is_final.into(),
    ];
    tx.run(STORE, values).await?;
    Ok(())
}

async fn store_step(tx: &Tx<'_>, step: Step, steps_max: u64) -> Result<()> {
    let known_us = step.steady_us.saturating_sub(SAME_STEP_US);
    let offset_us = step.offset_us();
    let values = vec![
        step.steady_us.into(),
        step.serving_us.into(),
        step.wall_us.into(),
        known_us.into(),
        (offset_us - SECOND_US).into(),
        (offset_us + SECOND_US).into(),
    ];
    tx.run(STORE_STEP, values).await?;
    tx.run(FORGET_STEPS, vec![i64::try_from(steps_max).unwrap_or(i64::MAX).into()]).await?;
    Ok(())
}

impl Storage {
    /// The stamp and the steps that were stored.
    pub async fn clock_stamp(&self) -> Result<(Option<Stamp>, Vec<Step>)> {
        self.read((), |db, ()| Box::pin(async move { Ok((stamp(db).await?, steps(db).await?)) })).await
    }

    /// Stores the stamp and a step, and answers with the stamp that is stored: that of another sidecar may be further ahead.
    pub async fn store_clock(
        &self,
        durability: super::Durability,
        new: (Stamp, Option<Step>),
        steps_max: u64,
    ) -> Result<Stamp> {
        self.write(durability, new, move |tx, (new, step)| {
            Box::pin(async move {
                store(tx, new).await?;
                if let Some(step) = step {
                    store_step(tx, *step, steps_max).await?;
                }
                let stored = stamp(tx).await?;
                stored.ok_or_else(|| {
                    Error::internal("the stamp of the clocks is not there after it was stored")
                })
            })
        })
        .await
    }

    /// Has `clock` follow the clock of the database, where others share it and `clock` is the system's.
    pub async fn ask_for_time(&self, clock: &Clock) -> Result<()> {
        if !self.is_shared() || !clock.is_system() {
            return Ok(());
        }
        let before_us = clock.mark_us();
        let now = self.read((), |db, ()| Box::pin(db.row::<Now>(DATABASE_TIME, Vec::new()))).await?;
        let now = now.ok_or_else(|| Error::internal("the database did not say its time"))?;
        clock.follow_database(before_us, now.now_us, clock.mark_us());
        Ok(())
    }
}
