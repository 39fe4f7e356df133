//! The log of a task: what its own row does not say any more.
//!
//! Ends of consecutive claims that are equal (kind, worker, error, whether work had begun) share one row, so a task that is released 2,000 times
//! has one row for it. A row has the first and the last of them; nothing is dropped.

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::ends::Step;
use super::rows::{self, Current, TaskRow};
use crate::error::Result;
use crate::services::queue::domain::{Event, EventKind, State, Task};
use crate::services::queue::entity::task_logs;
use crate::storage::Db;

const INSERT: &str = r#"INSERT INTO "queue_task_logs" ("task_id", "kind", "count", "first_time", "time", "first_token", "token",
    "worker_id", "first_claim_time", "claim_time", "first_start_time", "start_time", "run_time", "error")
    VALUES ($1, $2, 1, $3, $3, $4, $4, $5, $6, $6, $7, $7, $8, $9)"#;
/// Adds an end to the row of the claim before, if that ended in the same way.
pub(super) const MERGE: &str = r#"UPDATE "queue_task_logs" SET "count" = "count" + 1, "time" = $1, "token" = $2, "claim_time" = $3,
    "start_time" = $4, "run_time" = $5
    WHERE "id" = (SELECT max(l."id") FROM "queue_task_logs" l WHERE l."task_id" = $6) AND "kind" = $7 AND "token" = $2 - 1
    AND "worker_id" IS NOT DISTINCT FROM $8 AND "error" IS NOT DISTINCT FROM $9
    AND CASE WHEN "start_time" IS NULL THEN 0 ELSE 1 END = $10"#;

/// A row to write.
pub(super) struct Entry<'e> {
    pub(super) kind: EventKind,
    pub(super) time_us: i64,
    pub(super) run_us: Option<i64>,
    pub(super) error: Option<&'e str>,
}

/// Whether a kind is an end of a claim that leaves the task unfinished.
fn is_end_of_claim(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(kind, K::Retried | K::Released | K::Snoozed | K::LeaseExpired | K::WorkerDied | K::Forgotten)
}

/// Writes what happened to a task.
pub(super) async fn append(step: &Step<'_>, row: &Current, entry: &Entry<'_>) -> Result<()> {
    let kind = i64::from(entry.kind as u8);
    let error = entry.error.map(str::to_owned);
    // Of the first claim there is none before it.
    if row.token > 1 && row.claim_time.is_some() && is_end_of_claim(entry.kind) {
        let merge = vec![
            entry.time_us.into(),
            row.token.into(),
            row.claim_time.into(),
            row.start_time.into(),
            entry.run_us.into(),
            row.id.into(),
            kind.into(),
            row.worker_id.into(),
            error.clone().into(),
            i64::from(row.start_time.is_some()).into(),
        ];
        if step.tx.run(MERGE, merge).await? > 0 {
            return Ok(());
        }
    }
    let insert = vec![
        row.id.into(),
        kind.into(),
        entry.time_us.into(),
        row.token.into(),
        row.worker_id.into(),
        row.claim_time.into(),
        row.start_time.into(),
        entry.run_us.into(),
        error.into(),
    ];
    step.tx.run(INSERT, insert).await?;
    Ok(())
}

/// What happened to a task, oldest first, without the first `skipped`; at most `events_max`, and whether there are more.
pub async fn log(
    db: &Db<'_>,
    task_id: i64,
    skipped: usize,
    events_max: usize,
) -> Result<Option<(Vec<Event>, bool)>> {
    let select = rows::select(r#"WHERE t."id" = $1"#);
    let Some(row) = db.row::<TaskRow>(&select, vec![task_id.into()]).await? else { return Ok(None) };
    let task = row.task()?;
    // Each row gives at least one event.
    let rows_max = skipped.saturating_add(events_max).saturating_add(1);
    let rows = task_logs::Entity::find()
        .filter(task_logs::Column::TaskId.eq(task_id))
        .order_by_asc(task_logs::Column::Id)
        .limit(u64::try_from(rows_max).unwrap_or(u64::MAX))
        .all(db)
        .await?;
    let is_whole = rows.len() < rows_max;
    let mut story = Story { events: vec![once(task.create_us, EventKind::Enqueued)], ..Story::default() };
    for row in &rows {
        story.row(row);
    }
    if is_whole {
        story.end(&task);
    }
    let mut events: Vec<Event> = story.events.into_iter().skip(skipped).collect();
    let more = events.len() > events_max;
    events.truncate(events_max);
    Ok(Some((events, more)))
}

fn once(time_us: i64, kind: EventKind) -> Event {
    Event {
        first_us: time_us,
        time_us,
        count: 1,
        kind: i64::from(kind as u8),
        first_token: 0,
        token: 0,
        worker_id: 0,
        error: None,
        run_us: None,
        details: None,
        progress: None,
    }
}

/// The events of a task so far.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
    /// The claim that was told last, and the one whose start was.
    claimed: i64,
    started: i64,
}

impl Story {
    fn row(&mut self, row: &task_logs::Model) {
        let has_claim = row.claim_time.is_some();
        let event = |time_us: i64, first_us: Option<i64>, kind: i64| Event {
            first_us: first_us.unwrap_or(time_us),
            count: row.count,
            kind,
            first_token: if has_claim { row.first_token } else { 0 },
            token: if has_claim { row.token } else { 0 },
            worker_id: row.worker_id.unwrap_or(0),
            ..once(time_us, EventKind::Claimed)
        };
        if let Some(claim_us) = row.claim_time
            && self.claimed != row.token
        {
            self.claimed = row.token;
            self.events.push(event(claim_us, row.first_claim_time, i64::from(EventKind::Claimed as u8)));
        }
        if let Some(start_us) = row.start_time
            && self.started != row.token
        {
            self.started = row.token;
            self.events.push(event(start_us, row.first_start_time, i64::from(EventKind::Started as u8)));
        }
        let end = event(row.time, Some(row.first_time), row.kind);
        let (details, progress) = (row.details.clone(), row.progress);
        self.events.push(Event { error: row.error.clone(), run_us: row.run_time, details, progress, ..end });
    }

    /// What the task's own row says: its last claim, and its end.
    fn end(&mut self, task: &Task) {
        let (token, worker_id) = match task.claim_us {
            Some(_) => (task.token, task.worker_id.unwrap_or(0)),
            None => (0, 0),
        };
        let event = |time_us, kind| Event { first_token: token, token, worker_id, ..once(time_us, kind) };
        if let Some(claim_us) = task.claim_us
            && self.claimed != token
        {
            self.events.push(event(claim_us, EventKind::Claimed));
        }
        if let Some(start_us) = task.start_us
            && self.started != token
        {
            self.events.push(event(start_us, EventKind::Started));
        }
        let Some(finish_us) = task.finish_us else { return };
        let (kind, error) = match task.state {
            State::Completed => (EventKind::Completed, None),
            State::Failed => (EventKind::Failed, task.error.clone()),
            _ => (EventKind::Cancelled, None),
        };
        self.events.push(Event { error, ..event(finish_us, kind) });
    }
}
