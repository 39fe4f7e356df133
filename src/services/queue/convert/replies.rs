//! Domain types to replies.

use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState as PbState;

use super::super::domain::{Enqueued, Event, EventKind, Settled, State, Task, Worker};
use super::super::store::Named;
use super::requests::PROGRESS_WHOLE;
use super::{duration, timestamp};
use crate::error::Result;
use crate::status::ItemErrors;

/// A state as the wire has it.
pub(in super::super) fn state(state: State) -> PbState {
    match state {
        State::Queued => PbState::Queued,
        State::Scheduled => PbState::Scheduled,
        State::Claimed => PbState::Claimed,
        State::Running => PbState::Running,
        State::Completed => PbState::Completed,
        State::Failed => PbState::Failed,
        State::Cancelled => PbState::Cancelled,
        State::Blocked => PbState::Blocked,
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A task as the wire has it; what it does not say itself is its queue's.
pub(in super::super) fn task(task: Task, named: &Named) -> pb::Task {
    let (job_id, job_item_key) = match task.job_item {
        Some(item) => (item.job_id.to_string(), item.key.unwrap_or_default()),
        None => Default::default(),
    };
    let rules = &named.queue.rules;
    let timeout_us = task.timeout_us.unwrap_or(rules.timeout_us);
    let is_held = task.state.is_held();
    pb::Task {
        id: task.id,
        queue: named.queue.name.clone(),
        r#type: named.kind.name.clone(),
        state: state(task.state).into(),
        priority: small(task.priority),
        parameters_json: task.parameters.unwrap_or_default(),
        create_time: Some(timestamp(task.create_us)),
        run_time: task.run_us.map(timestamp),
        token: task.token,
        failure_count: small(task.failure_count),
        max_retries: small(task.retries_max.unwrap_or(rules.retries_max)),
        timeout: (timeout_us > 0).then(|| duration(timeout_us)),
        limit_key: task.limit_key.unwrap_or_default(),
        worker_id: task.worker_id.unwrap_or(0),
        claim_time: task.claim_us.map(timestamp),
        lease_expire_time: task.expire_us.filter(|_| is_held).map(timestamp),
        cancel_requested: task.is_cancelling && is_held,
        finish_time: task.finish_us.map(timestamp),
        result_json: task.result.unwrap_or_default(),
        error: task.error.unwrap_or_default(),
        schedule: task.schedule.unwrap_or_default(),
        job_id,
        job_item_key,
        worker_name: task.worker_name.unwrap_or_default(),
        update_time: Some(timestamp(task.update_us)),
        progress: task.progress.map(progress),
        progress_message: task.progress_message.unwrap_or_default(),
    }
}

/// What became of a task that was to be added.
fn enqueued(enqueued: Enqueued) -> pb::Enqueued {
    pb::Enqueued {
        task_id: enqueued.task_id,
        duplicate: enqueued.is_duplicate,
        state: state(enqueued.state).into(),
    }
}

/// The same for the items of a batch.
pub(in super::super) fn batch_enqueue_results(results: Vec<Result<Enqueued>>) -> Vec<pb::BatchEnqueueResult> {
    use pb::batch_enqueue_result::Outcome;
    let mut errors = ItemErrors::default();
    let outcome = |result| match result {
        Ok(done) => Outcome::Enqueued(enqueued(done)),
        Err(error) => Outcome::Error(errors.of(&error)),
    };
    results.into_iter().map(outcome).map(|it| pb::BatchEnqueueResult { outcome: Some(it) }).collect()
}

/// A recorded outcome.
fn settled(settled: Settled) -> pb::Settled {
    pb::Settled {
        task_id: settled.task_id,
        state: state(settled.state).into(),
        run_time: settled.run_us.map(timestamp),
        lease_expire_time: settled.expire_us.map(timestamp),
        cancel_requested: settled.is_cancelling,
    }
}

/// The same for the outcomes of a batch.
pub(in super::super) fn outcome_results(results: Vec<Result<Settled>>) -> Vec<pb::OutcomeResult> {
    use pb::outcome_result::Result as Of;
    let mut errors = ItemErrors::default();
    let result = |result| match result {
        Ok(done) => Of::Settled(settled(done)),
        Err(error) => Of::Error(errors.of(&error)),
    };
    results.into_iter().map(result).map(|it| pb::OutcomeResult { result: Some(it) }).collect()
}

/// The results of a Cancel or a Retry.
pub(in super::super) fn task_results(results: Vec<Result<State>>) -> Vec<pb::TaskResult> {
    use pb::task_result::Result as Of;
    let mut errors = ItemErrors::default();
    let result = |result| match result {
        Ok(now) => Of::State(state(now).into()),
        Err(error) => Of::Error(errors.of(&error)),
    };
    results.into_iter().map(result).map(|it| pb::TaskResult { result: Some(it) }).collect()
}

/// An entry of a task's log. Kinds have the same numbers everywhere.
pub(in super::super) fn event(event: Event) -> pb::TaskEvent {
    let is_line = event.kind == i64::from(EventKind::Line as u8);
    let text = event.error.unwrap_or_default();
    pb::TaskEvent {
        time: Some(timestamp(event.time_us)),
        kind: small(event.kind),
        token: event.token,
        worker_id: event.worker_id,
        run_time: event.run_us.map(timestamp),
        count: event.count,
        first_time: Some(timestamp(event.first_us)),
        first_token: event.first_token,
        message: if is_line { text.clone() } else { String::new() },
        error: if is_line { String::new() } else { text },
        details_json: event.details.unwrap_or_default(),
        progress: event.progress.map(progress),
    }
}

/// Millionths as the wire has them.
fn progress(millionths: i64) -> f64 {
    millionths as f64 / PROGRESS_WHOLE
}

/// A worker as the wire has it.
pub(in super::super) fn worker(worker: Worker) -> pb::Worker {
    pb::Worker {
        id: worker.id,
        name: worker.name,
        metadata_json: worker.metadata_json,
        create_time: Some(timestamp(worker.create_us)),
        heartbeat_time: Some(timestamp(worker.beat_us)),
        end_time: worker.end_us.map(timestamp),
        task_ids: worker.task_ids,
        completed_count: worker.completed_count,
        failed_count: worker.failed_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_events_have_the_numbers_of_the_wire() {
        let kinds = [
            (EventKind::Enqueued, pb::TaskEventKind::Enqueued),
            (EventKind::Claimed, pb::TaskEventKind::Claimed),
            (EventKind::Started, pb::TaskEventKind::Started),
            (EventKind::Completed, pb::TaskEventKind::Completed),
            (EventKind::Retried, pb::TaskEventKind::Retried),
            (EventKind::Failed, pb::TaskEventKind::Failed),
            (EventKind::Released, pb::TaskEventKind::Released),
            (EventKind::Snoozed, pb::TaskEventKind::Snoozed),
            (EventKind::LeaseExpired, pb::TaskEventKind::LeaseExpired),
            (EventKind::WorkerDied, pb::TaskEventKind::WorkerDied),
            (EventKind::Forgotten, pb::TaskEventKind::Forgotten),
            (EventKind::CancelRequested, pb::TaskEventKind::CancelRequested),
            (EventKind::Cancelled, pb::TaskEventKind::Cancelled),
            (EventKind::Requeued, pb::TaskEventKind::Requeued),
            (EventKind::Line, pb::TaskEventKind::Line),
            (EventKind::LinesLeftOut, pb::TaskEventKind::LinesLeftOut),
        ];
        for (ours, theirs) in kinds {
            assert_eq!(i32::from(ours as u8), theirs as i32);
        }
    }
}
