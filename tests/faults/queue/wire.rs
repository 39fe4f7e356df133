//! Between the words of a history and the messages of the protocol.

use std::time::Duration;

use pannier_proto::errors::v1::{ErrorReason, ItemError};
use pannier_proto::queue::v1 as pb;
use pb::queue_service_client::QueueServiceClient;
use serde_json::json;
use tonic::transport::Channel;

use super::history::*;
use super::recorder::Recorder;
use crate::fleet::Fleet;

pub(crate) type Client = QueueServiceClient<Channel>;

/// The job that some of the tasks are items of.
pub(crate) const JOB: &str = "0198c5a0-6d1e-7aaa-8bbb-3c3c3c3c3c3c";
/// The queue of a run.
pub(crate) const QUEUE: &str = "chaos";
/// Types of its tasks.
pub(crate) const TYPES: [&str; 3] = ["a", "b", "c"];

/// The queue of a sidecar, when that is there.
pub(crate) async fn connect(fleet: &Fleet, post: usize) -> Client {
    Client::new(fleet.channel(post).await).max_decoding_message_size(usize::MAX)
}

pub(crate) fn duration(micros: u64) -> Option<prost_types::Duration> {
    let duration = Duration::from_micros(micros);
    Some(prost_types::Duration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 })
}

/// Whether a task is an item of the run's job.
pub(crate) fn is_of_job(ticket: u64) -> bool {
    ticket % 3 == 1
}

/// A task to add. What is not judged follows from the ticket.
pub(crate) fn item(spec: &Spec) -> pb::EnqueueItem {
    let mark = spec.ticket;
    pb::EnqueueItem {
        r#type: TYPES[(mark % TYPES.len() as u64) as usize].to_owned(),
        parameters_json: json!({ "ticket": mark, "more": "x".repeat((mark % 97) as usize) }).to_string(),
        priority: (mark % 11) as i32,
        max_retries: Some(spec.max_retries as i32),
        timeout: spec.timeout.and_then(duration),
        when: (spec.delay > 0).then(|| duration(spec.delay)).flatten().map(pb::enqueue_item::When::Delay),
        limit_key: if mark.is_multiple_of(16) { format!("key {}", mark % 3) } else { String::new() },
        job_id: if is_of_job(mark) { JOB.to_owned() } else { String::new() },
        ..Default::default()
    }
}

/// The results of a batch.
pub(crate) fn enqueued(results: Vec<pb::BatchEnqueueResult>) -> Vec<Result<i64, String>> {
    let result = |result: pb::BatchEnqueueResult| match result.outcome.expect("an outcome") {
        pb::batch_enqueue_result::Outcome::Enqueued(enqueued) => Ok(enqueued.task_id),
        pb::batch_enqueue_result::Outcome::Error(error) => Err(reason(&error)),
    };
    results.into_iter().map(result).collect()
}

pub(crate) fn outcome(outcome: &Outcome) -> pb::Outcome {
    use pb::outcome::What;
    let ticket = outcome.ticket;
    let what = match outcome.kind {
        Kind::Start => What::Start(pb::StartOutcome {}),
        Kind::Extend { lease } => What::Extend(pb::ExtendOutcome { lease: duration(lease) }),
        Kind::Complete => {
            What::Complete(pb::CompleteOutcome { result_json: json!({ "outcome": ticket }).to_string() })
        }
        Kind::Fail { last, delay } => What::Fail(pb::FailOutcome {
            error: ticket.to_string(),
            r#final: last,
            retry_delay: delay.and_then(duration),
        }),
        Kind::Release => What::Release(pb::ReleaseOutcome {}),
        Kind::Snooze { delay } => What::Snooze(pb::SnoozeOutcome { delay: duration(delay) }),
        Kind::Held => unreachable!("what a beat lists is no outcome"),
    };
    pb::Outcome { task_id: outcome.task, token: outcome.token, what: Some(what) }
}

pub(crate) fn claiming(claiming: &Claiming, types: Vec<String>, wait: u64, start: bool) -> pb::Claiming {
    let (worker_id, lease) = match claiming.hold {
        Hold::Worker(worker) => (worker, None),
        Hold::Lease(lease) => (0, duration(lease)),
    };
    pb::Claiming {
        queue: QUEUE.to_owned(),
        types,
        max_tasks: claiming.tasks_max as i32,
        wait: duration(wait),
        worker_id,
        lease,
        start,
        ..Default::default()
    }
}

/// The answer to outcomes and a claim.
pub(crate) fn worked(recorder: &Recorder, results: Vec<pb::OutcomeResult>, tasks: Vec<pb::Task>) -> Reply {
    let verdict = |result: pb::OutcomeResult| match result.result.expect("a result") {
        pb::outcome_result::Result::Settled(settled) => Verdict::Recorded(settled.state()),
        pb::outcome_result::Result::Error(error) => refusal(reason(&error)),
    };
    let claimed = |task: pb::Task| Claimed {
        task: task.id,
        token: task.token,
        ticket: number_in(&task.parameters_json, "ticket").expect("the parameters as enqueued"),
        failures: task.failure_count as u32,
        lease_end: task.lease_expire_time.map(|end| recorder.at(unix_micros(end))),
    };
    Reply::Worked(results.into_iter().map(verdict).collect(), tasks.into_iter().map(claimed).collect())
}

/// A verdict by a reason.
pub(crate) fn refusal(reason: String) -> Verdict {
    if reason == "LEASE_LOST" { Verdict::Lost } else { Verdict::Refused(reason) }
}

fn reason(error: &ItemError) -> String {
    let name = ErrorReason::try_from(error.reason).unwrap_or_default().as_str_name();
    name.trim_start_matches("ERROR_REASON_").to_owned()
}

fn unix_micros(time: prost_types::Timestamp) -> u64 {
    time.seconds as u64 * 1_000_000 + time.nanos as u64 / 1_000
}

/// A number in a JSON object.
pub(crate) fn number_in(json: &str, name: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(json).ok()?.get(name)?.as_u64()
}
