//! The queue's calls, with what tests mostly ask.

use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use prost_types::{Duration, Timestamp};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use crate::harness::Pannier;

/// A task of a type and nothing else.
pub fn item(kind: &str) -> pb::EnqueueItem {
    pb::EnqueueItem { r#type: kind.into(), ..Default::default() }
}

/// A task with parameters that tell it from others.
pub fn numbered(kind: &str, number: i64) -> pb::EnqueueItem {
    pb::EnqueueItem { parameters_json: format!(r#"{{"n":{number}}}"#), ..item(kind) }
}

/// A state to list; unspecified: all.
pub fn states(state: TaskState) -> Vec<i32> {
    if state == TaskState::Unspecified { Vec::new() } else { vec![state.into()] }
}

/// A claim of at most `max_tasks` of the default queue.
pub fn claiming(types: &[&str], max_tasks: i32) -> pb::Claiming {
    pb::Claiming { types: types.iter().map(ToString::to_string).collect(), max_tasks, ..Default::default() }
}

pub fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// Microseconds of a time on the wire.
pub fn us(time: Option<&Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// An outcome of a task that was claimed.
pub fn outcome(task: &pb::Task, what: pb::outcome::What) -> pb::Outcome {
    pb::Outcome { task_id: task.id, token: task.token, what: Some(what) }
}

pub fn completed() -> pb::outcome::What {
    pb::outcome::What::Complete(pb::CompleteOutcome::default())
}

pub fn failed(error: &str) -> pb::outcome::What {
    pb::outcome::What::Fail(pb::FailOutcome { error: error.into(), ..Default::default() })
}

pub fn released() -> pb::outcome::What {
    pb::outcome::What::Release(pb::ReleaseOutcome {})
}

/// The numbers that tasks were enqueued with, in their order.
pub fn numbers(tasks: &[pb::Task]) -> Vec<i64> {
    tasks
        .iter()
        .map(|task| task.parameters_json[5..task.parameters_json.len() - 1].parse().unwrap())
        .collect()
}

/// What was recorded, or the reason why not.
#[track_caller]
pub fn settled(result: &pb::OutcomeResult) -> Result<pb::Settled, pb::OutcomeResult> {
    match &result.result {
        Some(pb::outcome_result::Result::Settled(settled)) => Ok(*settled),
        _ => Err(result.clone()),
    }
}

impl Pannier {
    pub fn queue(&self) -> QueueServiceClient<Channel> {
        self.queue.clone()
    }

    pub async fn try_enqueue(&self, queue: &str, item: pb::EnqueueItem) -> Result<pb::Enqueued, Status> {
        let request = pb::EnqueueRequest { queue: queue.into(), item: Some(item), ..Default::default() };
        Ok(self.queue().enqueue(request).await?.into_inner().enqueued.unwrap())
    }

    /// Adds a task to the default queue; answers with its id.
    pub async fn enqueue(&self, item: pb::EnqueueItem) -> i64 {
        let enqueued = self.try_enqueue("", item).await.unwrap();
        assert!(!enqueued.duplicate);
        enqueued.task_id
    }

    /// Adds tasks to the default queue; answers with their ids.
    pub async fn enqueue_all(&self, items: Vec<pb::EnqueueItem>) -> Vec<i64> {
        let request = pb::BatchEnqueueRequest { items, ..Default::default() };
        let results = self.queue().batch_enqueue(request).await.unwrap().into_inner().results;
        let id = |result: pb::BatchEnqueueResult| match result.outcome {
            Some(pb::batch_enqueue_result::Outcome::Enqueued(enqueued)) => enqueued.task_id,
            other => panic!("{other:?}"),
        };
        results.into_iter().map(id).collect()
    }

    pub async fn try_claim(&self, claiming: pb::Claiming) -> Result<Vec<pb::Task>, Status> {
        let request = pb::ClaimRequest { claiming: Some(claiming), ..Default::default() };
        Ok(self.queue().claim(request).await?.into_inner().tasks)
    }

    /// Claims what is there, without waiting.
    pub async fn claim(&self, types: &[&str], max_tasks: i32) -> Vec<pb::Task> {
        self.try_claim(claiming(types, max_tasks)).await.unwrap()
    }

    /// Claims one task that must be there.
    pub async fn claim_one(&self) -> pb::Task {
        self.claim(&[], 1).await.pop().expect("a task")
    }

    /// Claims one task for a worker.
    pub async fn claim_for(&self, worker_id: i64) -> Option<pb::Task> {
        self.try_claim(pb::Claiming { worker_id, ..Default::default() }).await.unwrap().pop()
    }

    /// A claim that is on its way and waits.
    pub async fn waiter(&self, claiming: pb::Claiming) -> JoinHandle<Vec<pb::Task>> {
        let mut queue = self.queue();
        let request = pb::ClaimRequest { claiming: Some(claiming), ..Default::default() };
        let waiter = tokio::spawn(async move { queue.claim(request).await.unwrap().into_inner().tasks });
        self.let_arrive().await;
        assert!(!waiter.is_finished(), "it does not wait");
        waiter
    }

    /// Gives spawned callers time to arrive, to have their writes done and to begin to wait.
    pub async fn let_arrive(&self) {
        for _ in 0..5 {
            for _ in 0..5 {
                let _ = self.try_task(0).await;
            }
            // It stands in line behind their writes, and changes nothing.
            let nothing = pb::Outcome { task_id: i64::MAX, token: 1, what: Some(completed()) };
            self.settle_all(vec![nothing]).await;
        }
    }

    /// Lets time pass until what is over its retention has been removed.
    pub async fn sweep_until<'p, F: Future<Output = bool>>(&'p self, is_done: impl Fn(&'p Self) -> F) {
        for _ in 0..200 {
            self.advance_s(10);
            self.let_arrive().await;
            if is_done(self).await {
                return;
            }
        }
        panic!("it is never removed");
    }

    /// Reports outcomes.
    pub async fn settle_all(&self, outcomes: Vec<pb::Outcome>) -> Vec<pb::OutcomeResult> {
        let request = pb::SettleRequest { outcomes, ..Default::default() };
        self.queue().settle(request).await.unwrap().into_inner().results
    }

    /// Reports one outcome that must be recorded.
    pub async fn tell(&self, task: &pb::Task, what: pb::outcome::What) -> pb::Settled {
        settled(&self.settle_all(vec![outcome(task, what)]).await[0]).unwrap()
    }

    pub async fn try_complete(&self, task: &pb::Task) -> Result<pb::Settled, Status> {
        let request = pb::CompleteRequest { task_id: task.id, token: task.token, ..Default::default() };
        Ok(self.queue().complete(request).await?.into_inner().settled.unwrap())
    }

    pub async fn try_task(&self, task_id: i64) -> Result<pb::Task, Status> {
        Ok(self.queue().get(pb::GetRequest { task_id }).await?.into_inner().task.unwrap())
    }

    pub async fn task(&self, task_id: i64) -> pb::Task {
        self.try_task(task_id).await.unwrap()
    }

    pub async fn state_of(&self, task_id: i64) -> TaskState {
        self.task(task_id).await.state()
    }

    /// What happened to a task, as kinds.
    pub async fn log_of(&self, task_id: i64) -> Vec<pb::TaskEventKind> {
        self.events(task_id).await.iter().map(pb::TaskEvent::kind).collect()
    }

    pub async fn events(&self, task_id: i64) -> Vec<pb::TaskEvent> {
        let request = pb::LogsRequest { task_id, page_size: 1_000, ..Default::default() };
        self.queue().logs(request).await.unwrap().into_inner().events
    }

    /// Registers a worker; answers with its id.
    pub async fn worker(&self, name: &str) -> i64 {
        let request = pb::RegisterWorkerRequest { name: name.into(), ..Default::default() };
        self.queue().register_worker(request).await.unwrap().into_inner().worker.unwrap().id
    }

    pub async fn try_beat(&self, worker_id: i64) -> Result<pb::HeartbeatResponse, Status> {
        let request = pb::HeartbeatRequest { worker_id, held: None };
        Ok(self.queue().heartbeat(request).await?.into_inner())
    }

    pub async fn beat(&self, worker_id: i64) -> pb::HeartbeatResponse {
        self.try_beat(worker_id).await.unwrap()
    }

    pub async fn cancel(&self, task_id: i64) -> pb::TaskResult {
        let request = pb::CancelRequest { task_ids: vec![task_id], ..Default::default() };
        self.queue().cancel(request).await.unwrap().into_inner().results.remove(0)
    }

    /// Writes a queue's rules by the fields named.
    pub async fn update_queue(&self, queue: pb::Queue, fields: &[&str]) -> pb::Queue {
        let paths = fields.iter().map(ToString::to_string).collect();
        let request = pb::UpdateQueueRequest {
            queue: Some(queue),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        self.queue().update_queue(request).await.unwrap().into_inner().queue.unwrap()
    }

    pub async fn list(&self, state: TaskState) -> Vec<pb::Task> {
        let request = pb::ListRequest { states: states(state), ..Default::default() };
        self.queue().list(request).await.unwrap().into_inner().tasks
    }

    pub async fn queue_stats(&self) -> Vec<pb::TypeStats> {
        self.queue().stats(pb::StatsRequest::default()).await.unwrap().into_inner().types
    }
}
