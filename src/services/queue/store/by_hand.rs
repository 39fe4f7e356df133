//! What is done to tasks by hand: cancelling, retrying, redriving dead letters.

use super::ends::{Ending, Step};
use super::list::Place;
use super::rows::{self, Current};
use super::{log, uniques};
use crate::error::{Error, Result};
use crate::services::queue::domain::{EventKind, State};
use crate::services::queue::rules::Next;
use crate::storage::row;

const CANCEL: &str = r#"UPDATE "queue_tasks" SET "is_cancelling" = TRUE WHERE "id" = $1"#;
const FINISHED: &str = r#"SELECT "finish_time", "error" FROM "queue_tasks" WHERE "id" = $1"#;
/// Queued anew: as if it had just been enqueued, but for its id, its create time and its token.
const RENEW: &str = r#"UPDATE "queue_tasks" SET "state" = 0, "order_key" = $1, "create_time" = $2, "failure_count" = 0,
    "loss_count" = 0, "is_cancelling" = FALSE, "worker_id" = NULL, "claim_time" = NULL, "start_time" = NULL, "expire_time" = NULL,
    "finish_time" = NULL, "result" = NULL, "worker_name" = NULL WHERE "id" = $3"#;
pub(super) const DEAD_LETTERS: &str = r#"SELECT "id", "finish_time" FROM "queue_tasks" WHERE "type_id" = $1 AND "state" = 5
    AND "finish_time" IS NOT NULL AND "finish_time" >= $2 AND ("finish_time" > $2 OR "id" > $3)
    ORDER BY "finish_time", "id" LIMIT $4"#;

/// Cancels tasks; tells for each where it stands then.
pub async fn cancel(step: &mut Step<'_>, task_ids: &[i64]) -> Result<Vec<Result<State>>> {
    let mut rows = rows::current(step.tx, task_ids).await?;
    let mut results = Vec::with_capacity(task_ids.len());
    for task_id in task_ids {
        let Ok(place) = rows.binary_search_by_key(task_id, |row| row.id) else {
            results.push(Err(Error::TaskNotFound));
            continue;
        };
        let row = &mut rows[place];
        let state = row.state()?;
        results.push(match state {
            State::Cancelled => Ok(state),
            State::Completed | State::Failed => {
                Err(Error::IllegalTransition { state: state.name(), wanted: "cancelled" })
            }
            State::Claimed | State::Running => {
                if !row.is_cancelling {
                    step.tx.run(CANCEL, vec![row.id.into()]).await?;
                    step.log(row, &Ending::plain(EventKind::CancelRequested), None).await?;
                    row.is_cancelling = true;
                    step.effects.changed.push(row.id);
                }
                Ok(state)
            }
            State::Queued | State::Scheduled | State::Blocked => {
                let named = step.names.of_task(step.tx, row.type_id).await?;
                let next = Next::Finished(State::Cancelled);
                step.advance(row, &named, next, &Ending::plain(EventKind::Cancelled)).await?;
                row.state()
            }
        });
    }
    Ok(results)
}

/// Queues tasks again; answers with the state of each.
pub async fn retry(step: &mut Step<'_>, task_ids: &[i64], first_us: i64) -> Result<Vec<Result<State>>> {
    let mut rows = rows::current(step.tx, task_ids).await?;
    uniques::lock_all(step.tx, rows.iter().filter_map(|row| row.unique_id)).await?;
    let mut results = Vec::with_capacity(task_ids.len());
    for (ready_us, task_id) in (first_us..).zip(task_ids) {
        let Ok(place) = rows.binary_search_by_key(task_id, |row| row.id) else {
            results.push(Err(Error::TaskNotFound));
            continue;
        };
        let row = &mut rows[place];
        let state = row.state()?;
        results.push(match state {
            State::Failed | State::Cancelled | State::Scheduled => match twin(step, row).await? {
                Some(task_id) => Err(Error::TaskDuplicate { task_id }),
                None => renew(step, row, ready_us).await.map(|()| Ok(State::Queued))?,
            },
            _ => Err(Error::IllegalTransition { state: state.name(), wanted: "retried" }),
        });
    }
    Ok(results)
}

/// The unfinished task that keeps a finished one from being queued again, if there is one.
async fn twin(step: &Step<'_>, row: &Current) -> Result<Option<i64>> {
    match row.unique_id {
        Some(unique_id) if row.state()?.is_finished() => uniques::unfinished(step.tx, unique_id).await,
        _ => Ok(None),
    }
}

/// What became of dead letters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redriven {
    /// Queued again.
    pub count: i64,
    /// Left dead: an unfinished task has their unique key.
    pub skipped: i64,
    /// The last one, if there are more.
    pub next: Option<Place>,
}

/// Looks at at most `most` dead letters of some types behind a place, the oldest first, and queues them again.
pub async fn redrive(
    step: &mut Step<'_>,
    type_ids: &[i64],
    most: i64,
    after: Option<Place>,
    first_us: i64,
) -> Result<Redriven> {
    row! {
        struct Dead {
            id: i64,
            finish_time: i64,
        }
    }
    let after = after.unwrap_or(Place { level: 0, key: i64::MIN, id: i64::MIN });
    let mut found: Vec<Dead> = Vec::new();
    for type_id in type_ids {
        let values =
            vec![(*type_id).into(), after.key.into(), after.id.into(), most.saturating_add(1).into()];
        found.extend(step.tx.rows::<Dead>(DEAD_LETTERS, values).await?);
    }
    found.sort_unstable_by_key(|dead| (dead.finish_time, dead.id));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let more = found.len() > most;
    found.truncate(most);
    let last = found.last().map(|dead| Place { level: 0, key: dead.finish_time, id: dead.id });
    let mut redriven = Redriven { next: last.filter(|_| more), ..Redriven::default() };
    let ids: Vec<i64> = found.iter().map(|dead| dead.id).collect();
    let mut rows = rows::current(step.tx, &ids).await?;
    uniques::lock_all(step.tx, rows.iter().filter_map(|row| row.unique_id)).await?;
    for (ready_us, task_id) in (first_us..).zip(&ids) {
        let Ok(place) = rows.binary_search_by_key(task_id, |row| row.id) else { continue };
        // Another may have been faster than the lock.
        if rows[place].state()? != State::Failed {
            continue;
        }
        if twin(step, &rows[place]).await?.is_some() {
            redriven.skipped += 1;
        } else {
            renew(step, &mut rows[place], ready_us).await?;
            redriven.count += 1;
        }
    }
    Ok(redriven)
}

async fn renew(step: &mut Step<'_>, row: &mut Current, ready_us: i64) -> Result<()> {
    row! {
        struct Finished {
            finish_time: Option<i64>,
            error: Option<String>,
        }
    }
    let from = row.state()?;
    if from.is_finished()
        && let Some(end) = step.tx.row::<Finished>(FINISHED, vec![row.id.into()]).await?
    {
        // The row will not tell this end any more.
        let kind = if from == State::Failed { EventKind::Failed } else { EventKind::Cancelled };
        let time_us = end.finish_time.unwrap_or(step.now.us);
        let entry = log::Entry { kind, time_us, run_us: None, error: end.error.as_deref() };
        log::append(step, row, &entry).await?;
    }
    let create_us = row.create_us();
    row.order_key = ready_us;
    let values = vec![row.order_key.into(), Some(create_us).into(), row.id.into()];
    step.tx.run(RENEW, values).await?;
    (row.create_time, row.claim_time, row.start_time, row.worker_id) = (Some(create_us), None, None, None);
    row.loss_count = 0;
    step.log(row, &Ending::plain(EventKind::Requeued), None).await?;
    step.effects.moved(row.type_id, Some(from), Some(State::Queued));
    step.effects.changed.push(row.id);
    row.state = State::Queued.number();
    row.is_cancelling = false;
    Ok(())
}
