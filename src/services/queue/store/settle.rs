//! Recording outcomes: one way for all kinds, single and mixed.

use super::Now;
use super::ends::{Ending, Step};
use super::rows::{self, Current};
use super::{job_results, lines};
use crate::error::{Error, Result};
use crate::services::queue::domain::{EventKind, Outcome, Settled, State, What};
use crate::services::queue::rules::Next;

/// Records outcomes in their order, each with a result of its own. `chance` decides the jitter of retries.
pub async fn settle(step: &mut Step<'_>, outcomes: &[Outcome], chance: u64) -> Result<Vec<Result<Settled>>> {
    let task_ids: Vec<i64> = outcomes.iter().map(|outcome| outcome.task_id).collect();
    let mut rows = rows::current(step.tx, &task_ids).await?;
    let mut results = Vec::with_capacity(outcomes.len());
    for (index, outcome) in (0_u64..).zip(outcomes) {
        let row = match rows.binary_search_by_key(&outcome.task_id, |row| row.id) {
            Ok(place) => &mut rows[place],
            Err(_) => {
                results.push(Err(Error::TaskNotFound));
                continue;
            }
        };
        if !is_held(row, outcome.token, step.now)? {
            results.push(Err(Error::TaskLeaseLost));
            continue;
        }
        if let Some(error) = too_large(step, row, &outcome.what) {
            results.push(Err(error));
            continue;
        }
        // Each task's own chance, though one number was drawn for the call.
        let chance = chance.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        results.push(Ok(record(step, row, &outcome.what, chance).await?));
    }
    // Now and not at the end: a claim that follows in the same transaction finds what there is room for, and locks keys itself.
    step.release_keys().await?;
    Ok(results)
}

/// Why a result is refused: it is larger than results may be, or than those of its job.
fn too_large(step: &Step<'_>, row: &Current, what: &What) -> Option<Error> {
    let What::Complete(Some(result)) = what else { return None };
    let (bytes, bytes_max) = (result.len() as u64, step.names.result_bytes_max);
    if bytes > bytes_max {
        return Some(Error::ResultTooLarge { bytes, bytes_max });
    }
    let (bytes, bytes_max) = (job_results::data_bytes(result), step.names.job_result_bytes_max);
    let is_too_large = row.job_row_id.is_some() && bytes > bytes_max;
    is_too_large.then_some(Error::JobResultTooLarge { bytes, bytes_max })
}

/// Whether a token is that of the lease which holds the task now.
fn is_held(row: &Current, token: i64, now: Now) -> Result<bool> {
    let is_kept = row.claim_time.is_some_and(|claim_us| claim_us < now.held_before_us());
    let is_live = is_kept || row.expire_time.is_none_or(|expire_us| now.us < expire_us);
    Ok(row.state()?.is_held() && row.token == token && is_live)
}

async fn record(step: &mut Step<'_>, row: &mut Current, what: &What, chance: u64) -> Result<Settled> {
    if let What::Report(line) = what {
        lines::append(step, row, line).await?;
    }
    let named = step.names.of_task(step.tx, row.type_id).await?;
    let next = Step::hold(row, &named).settle(what, &named.queue.rules, step.now.us, chance);
    step.advance(row, &named, next, &ending(what, next)).await?;
    let state = row.state()?;
    Ok(Settled {
        task_id: row.id,
        state,
        run_us: row.run_time.filter(|_| state == State::Scheduled),
        expire_us: row.expire_time.filter(|_| state.is_held()),
        is_cancelling: row.is_cancelling && state.is_held(),
    })
}

fn ending(what: &What, next: Next) -> Ending<'_> {
    let is_cancelled = next == Next::Finished(State::Cancelled);
    match what {
        What::Start | What::Extend(_) | What::Report(_) => Ending::plain(EventKind::Started),
        What::Complete(result) => Ending { result: result.as_deref(), ..Ending::plain(EventKind::Completed) },
        What::Fail { error, .. } => Ending {
            error: Some(error.as_str()),
            is_failure: !is_cancelled,
            ..Ending::plain(EventKind::Retried)
        },
        What::Release => Ending::plain(EventKind::Released),
        What::Snooze(_) => Ending::plain(EventKind::Snoozed),
    }
}
