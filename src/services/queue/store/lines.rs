//! Lines that workers write into the log of a task: progress, messages, details.
//!
//! An attempt keeps at most `queue.task_lines_max` of them: the first half and the last ones. Between them stands one row with the number of
//! those left out.

use super::ends::Step;
use super::rows::Current;
use super::sql;
use crate::error::Result;
use crate::services::queue::domain::{EventKind, Line};

const LINE: i64 = EventKind::Line as i64;
const LEFT_OUT: i64 = EventKind::LinesLeftOut as i64;

const INSERT: &str = r#"INSERT INTO "queue_task_logs" ("task_id", "kind", "count", "first_time", "time", "first_token", "token",
    "worker_id", "first_claim_time", "claim_time", "first_start_time", "start_time", "error", "details", "progress")
    VALUES ($1, $2, 1, $3, $3, $4, $4, $5, $6, $6, $7, $7, $8, $9, $10)"#;
pub(super) const COUNT: &str = r#"SELECT count(*) AS "number" FROM "queue_task_logs" WHERE "task_id" = $1 AND "token" = $2 AND "kind" = $3"#;
pub(super) const MIDDLE: &str = r#"SELECT "id" AS "number" FROM "queue_task_logs" WHERE "task_id" = $1 AND "token" = $2
    AND "kind" = $3 ORDER BY "id" LIMIT 1 OFFSET $4"#;
const COUNT_LEFT_OUT: &str = r#"UPDATE "queue_task_logs" SET "count" = "count" + 1, "time" = $1 WHERE "task_id" = $2
    AND "token" = $3 AND "kind" = $4"#;
const DELETE: &str = r#"DELETE FROM "queue_task_logs" WHERE "id" = $1"#;
const LEAVE_OUT: &str = r#"UPDATE "queue_task_logs" SET "kind" = $1, "error" = NULL, "details" = NULL, "progress" = NULL
    WHERE "id" = $2"#;

/// Writes a line of the attempt that holds the task.
pub(super) async fn append(step: &mut Step<'_>, row: &Current, line: &Line) -> Result<()> {
    let tx = step.tx;
    let of_attempt = |kind: i64| vec![row.id.into(), row.token.into(), kind.into()];
    let lines_max = step.names.task_lines_max;
    let count = sql::number(tx, COUNT, of_attempt(LINE)).await?.unwrap_or(0);
    if count >= lines_max {
        // The oldest behind the first half makes room.
        let mut values = of_attempt(LINE);
        values.push((lines_max / 2).into());
        if let Some(middle) = sql::number(tx, MIDDLE, values).await? {
            let values = vec![step.now.us.into(), row.id.into(), row.token.into(), LEFT_OUT.into()];
            if tx.run(COUNT_LEFT_OUT, values).await? > 0 {
                tx.run(DELETE, vec![middle.into()]).await?;
            } else {
                tx.run(LEAVE_OUT, vec![LEFT_OUT.into(), middle.into()]).await?;
            }
        }
    }
    let values = vec![
        row.id.into(),
        LINE.into(),
        step.now.us.into(),
        row.token.into(),
        row.worker_id.into(),
        row.claim_time.into(),
        row.start_time.into(),
        line.message.clone().into(),
        line.details.clone().into(),
        line.progress.into(),
    ];
    tx.run(INSERT, values).await?;
    step.effects.changed.push(row.id);
    Ok(())
}
