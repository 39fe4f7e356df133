//! A queue of a server, the sidecar or the floor, over gRPC.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use pannier_proto::queue::v1::*;
use tonic::transport::Channel;

use crate::Fallible;
use crate::queue::{Counts, Held, Queue, States, parameters};
use crate::workers::refused;

/// The type of all tasks.
pub(crate) const TYPE: &str = "encode";

/// How a claimer is known.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Holder {
    /// It registers, and unregisters when it leaves.
    Registered,
    /// It is not; its tasks have leases.
    Leased,
}

/// A queue by its name.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(crate) client: QueueServiceClient<Channel>,
    pub(crate) queue: String,
    counts: Arc<Counts>,
    holder: Holder,
    worker_id: i64,
}

impl Lane {
    pub(crate) fn new(channel: Channel, queue: impl Into<String>) -> Self {
        // A thousand tasks are more than tonic's client takes by itself.
        let client = QueueServiceClient::new(channel).max_decoding_message_size(64 << 20);
        Self { client, queue: queue.into(), counts: Arc::default(), holder: Holder::Registered, worker_id: 0 }
    }

    /// The same queue over another channel.
    pub(crate) fn over(&self, channel: Channel) -> Self {
        let other = Self::new(channel, self.queue.clone());
        Self { counts: Arc::clone(&self.counts), holder: self.holder, ..other }
    }

    /// Does not register.
    pub(crate) fn leased(self) -> Self {
        Self { holder: Holder::Leased, ..self }
    }

    /// The next task, which no other call adds.
    pub(crate) fn item(&self) -> EnqueueItem {
        self.item_with(parameters(self.counts.enqueued.fetch_add(1, Ordering::Relaxed)))
    }

    fn item_with(&self, parameters_json: String) -> EnqueueItem {
        EnqueueItem { r#type: TYPE.to_owned(), parameters_json, ..EnqueueItem::default() }
    }

    /// Adds a task with these parameters, in a call of its own.
    pub(crate) async fn enqueue_one(&mut self, parameters_json: String) -> Fallible<()> {
        self.counts.enqueued.fetch_add(1, Ordering::Relaxed);
        let item = self.item_with(parameters_json);
        self.enqueue_item(item).await
    }

    async fn enqueue_item(&mut self, item: EnqueueItem) -> Fallible<()> {
        let request = EnqueueRequest {
            queue: self.queue.clone(),
            item: Some(item),
            request_id: String::new(),
            ..Default::default()
        };
        let answer = self.client.enqueue(request).await.map_err(refused)?.into_inner();
        let enqueued = answer.enqueued.ok_or("Enqueue answered without a task")?;
        is_added(&enqueued).then_some(()).ok_or_else(|| "Enqueue did not add a task".into())
    }

    /// What to claim.
    pub(crate) fn claiming(&self, count: usize, wait: Duration) -> Claiming {
        Claiming {
            queue: self.queue.clone(),
            types: vec![TYPE.to_owned()],
            max_tasks: count as i32,
            wait: (!wait.is_zero())
                .then(|| prost_types::Duration { seconds: 0, nanos: wait.subsec_nanos() as i32 }),
            worker_id: self.worker_id,
            ..Claiming::default()
        }
    }

    /// Takes a task; none if there was none for so long, which is less than a second.
    pub(crate) async fn claim_waiting(&mut self, wait: Duration) -> Fallible<Option<Task>> {
        let request = ClaimRequest {
            claiming: Some(self.claiming(1, wait)),
            request_id: String::new(),
            ..Default::default()
        };
        let answer = self.client.claim(request).await.map_err(refused)?.into_inner();
        Ok(answer.tasks.into_iter().next())
    }

    /// Reports these as done and takes as many as are asked for, in one call.
    pub(crate) async fn exchange(&mut self, held: &[Held], count: usize) -> Fallible<Vec<Held>> {
        let request = ExchangeRequest {
            outcomes: outcomes(held),
            claiming: Some(self.claiming(count, Duration::ZERO)),
            request_id: String::new(),
            ..Default::default()
        };
        let answer = self.client.exchange(request).await.map_err(refused)?.into_inner();
        self.count_completed(held.len(), &answer.results)?;
        all_of(count, answer.tasks)
    }

    /// Counts results, all of which must say that the task is completed.
    pub(crate) fn count_completed(&self, reported: usize, results: &[OutcomeResult]) -> Fallible<()> {
        let is_done = |result: &&OutcomeResult| match &result.result {
            Some(outcome_result::Result::Settled(settled)) => is_completed(settled),
            _ => false,
        };
        let done = results.iter().filter(is_done).count();
        self.counts.completed.fetch_add(done as u64, Ordering::Relaxed);
        if done == reported { Ok(()) } else { Err(format!("{done} of {reported} were completed").into()) }
    }
}

#[tonic::async_trait]
impl Queue for Lane {
    fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    async fn enqueue(&mut self, count: usize) -> Fallible<()> {
        if count == 1 {
            let item = self.item();
            return self.enqueue_item(item).await;
        }
        let items = (0..count).map(|_| self.item()).collect();
        let request = BatchEnqueueRequest {
            queue: self.queue.clone(),
            items,
            request_id: String::new(),
            ..Default::default()
        };
        let answer = self.client.batch_enqueue(request).await.map_err(refused)?.into_inner();
        let is_done = |result: &&BatchEnqueueResult| match &result.outcome {
            Some(batch_enqueue_result::Outcome::Enqueued(enqueued)) => is_added(enqueued),
            _ => false,
        };
        let added = answer.results.iter().filter(is_done).count();
        if added == count { Ok(()) } else { Err(format!("BatchEnqueue added {added} of {count}").into()) }
    }

    async fn arrive(&mut self) -> Fallible<()> {
        if self.holder == Holder::Registered {
            let request = RegisterWorkerRequest { name: "bench".to_owned(), ..Default::default() };
            let answer = self.client.register_worker(request).await.map_err(refused)?.into_inner();
            self.worker_id = answer.worker.ok_or("RegisterWorker answered without a worker")?.id;
        }
        Ok(())
    }

    async fn claim(&mut self, count: usize) -> Fallible<Vec<Held>> {
        let claiming = Some(self.claiming(count, Duration::ZERO));
        let request = ClaimRequest { claiming, request_id: String::new(), ..Default::default() };
        let answer = self.client.claim(request).await.map_err(refused)?.into_inner();
        all_of(count, answer.tasks)
    }

    async fn complete(&mut self, held: &[Held]) -> Fallible<()> {
        let [one] = held else {
            let request =
                SettleRequest { outcomes: outcomes(held), request_id: String::new(), ..Default::default() };
            let answer = self.client.settle(request).await.map_err(refused)?.into_inner();
            return self.count_completed(held.len(), &answer.results);
        };
        let request = CompleteRequest { task_id: one.id, token: one.token, ..Default::default() };
        let answer = self.client.complete(request).await.map_err(refused)?.into_inner();
        let settled = answer.settled.ok_or("Complete answered without a task")?;
        let result = OutcomeResult { result: Some(outcome_result::Result::Settled(settled)) };
        self.count_completed(1, &[result])
    }

    async fn leave(&mut self) -> Fallible<()> {
        if self.worker_id != 0 {
            let request = UnregisterWorkerRequest { worker_id: self.worker_id, request_id: String::new() };
            self.client.unregister_worker(request).await.map_err(refused)?;
            self.worker_id = 0;
        }
        Ok(())
    }

    async fn states(&mut self) -> Fallible<States> {
        let request = StatsRequest { queue: self.queue.clone(), ..Default::default() };
        let answer = self.client.stats(request).await.map_err(refused)?.into_inner();
        let mut counts: HashMap<TaskState, u64> = HashMap::new();
        for count in answer.types.iter().flat_map(|of_type| &of_type.counts) {
            *counts.entry(count.state()).or_default() += count.count as u64;
        }
        let mut take = |state| counts.remove(&state).unwrap_or(0);
        let (queued, completed) = (take(TaskState::Queued), take(TaskState::Completed));
        Ok(States { queued, completed, others: counts.values().sum() })
    }
}

fn is_added(enqueued: &Enqueued) -> bool {
    enqueued.state() == TaskState::Queued && !enqueued.duplicate
}

fn is_completed(settled: &Settled) -> bool {
    settled.state() == TaskState::Completed
}

/// That they are done.
pub(crate) fn outcomes(held: &[Held]) -> Vec<Outcome> {
    let outcome = |held: &Held| Outcome {
        task_id: held.id,
        token: held.token,
        what: Some(outcome::What::Complete(CompleteOutcome::default())),
    };
    held.iter().map(outcome).collect()
}

/// The tasks, which must be as many.
fn all_of(count: usize, tasks: Vec<Task>) -> Fallible<Vec<Held>> {
    if tasks.len() != count {
        return Err(format!("{} tasks were claimed instead of {count}", tasks.len()).into());
    }
    if tasks.iter().any(|task| task.parameters_json.is_empty()) {
        return Err("a task came without its parameters".into());
    }
    Ok(tasks.into_iter().map(|task| Held { id: task.id, token: task.token }).collect())
}
