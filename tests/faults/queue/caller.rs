//! One who calls: connects anew when its connection breaks, and has every call written down.

use std::sync::{Arc, Mutex};

use pannier_proto::queue::v1 as pb;
use prost_types::Timestamp;
use tonic::{Response, Status};
use uuid::Uuid;

use super::history::*;
use super::recorder::{Recorder, Trouble};
use super::wire::{self, Client};
use crate::calls::Fault;
use crate::chance::Chance;
use crate::fleet::Fleet;
use crate::sidecar::LONG;

/// A caller with a connection of its own.
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) chance: Chance,
    pub(crate) recorder: Arc<Recorder>,
    fleet: Arc<Fleet>,
    client: Option<Client>,
}

/// How a call is made.
#[derive(Clone)]
struct Way {
    rpc: &'static str,
    /// Empty: none; then a failed call is not sent again.
    request_id: String,
}

impl Caller {
    pub(crate) fn new(actor: Actor, chance: Chance, recorder: &Arc<Recorder>, fleet: &Arc<Fleet>) -> Self {
        let (recorder, fleet) = (Arc::clone(recorder), Arc::clone(fleet));
        Self { actor, chance, recorder, fleet, client: None }
    }

    /// A caller on the same connection, as long as that lasts.
    pub(crate) fn beside(&mut self) -> Self {
        let chance = self.chance.fork();
        Self { client: self.client.clone(), ..Self::new(self.actor, chance, &self.recorder, &self.fleet) }
    }

    /// The connection; made if there is none.
    pub(crate) async fn client(&mut self) -> Client {
        if let Some(client) = &self.client {
            return client.clone();
        }
        let post = self.chance.below(self.fleet.size() as u64) as usize;
        let client = wire::connect(&self.fleet, post).await;
        self.client.insert(client).clone()
    }

    /// A request id for a call that is sent again until it is answered, or none for one that is not.
    fn way(&mut self, rpc: &'static str, again: bool) -> Way {
        let id = Uuid::from_u64_pair(self.chance.next(), self.chance.next()).to_string();
        Way { rpc, request_id: if again { id } else { String::new() } }
    }

    /// Makes a call, again and again with the same request id if it has one, and writes it down as one.
    async fn call<R, F>(
        &mut self,
        way: &Way,
        asked: Asked,
        mut send: impl FnMut(Client) -> F,
        read: impl FnOnce(&Recorder, R) -> Reply,
    ) -> Answer
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let outcomes = if let Asked::Work { outcomes, .. } = &asked { outcomes.len() } else { 0 };
        let call = self.recorder.begin(self.actor, asked);
        let answer = loop {
            let client = self.client().await;
            let from = self.recorder.now();
            let sent = tokio::time::timeout(LONG, send(client)).await;
            match sent.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer for very long"))) {
                Ok(response) => break Answer::Given(read(&self.recorder, response.into_inner())),
                Err(status) => {
                    let is_lost = Fault::of(&status).is_some_and(|fault| fault.reason == "LEASE_LOST");
                    if outcomes == 1 && is_lost {
                        break Answer::Given(Reply::Worked(vec![Verdict::Lost], Vec::new()));
                    }
                    let reason = self.trouble(way.rpc, from, &status);
                    match reason.filter(|reason| promises_nothing_was_done(reason)) {
                        Some(reason) => break Answer::Refused(reason),
                        None if way.request_id.is_empty() => break Answer::Unknown,
                        None => {}
                    }
                }
            }
        };
        self.recorder.end(call, answer.clone());
        answer
    }

    /// Notes an error, and answers with the sidecar's reason, if it is from there. The connection is not used again.
    pub(crate) fn trouble(&mut self, rpc: &'static str, from: At, status: &Status) -> Option<String> {
        let (to, code, message) = (self.recorder.now(), status.code(), status.message().to_owned());
        let reason = Fault::of(status).map(|fault| fault.reason);
        self.recorder.trouble(Trouble { rpc, from, to, code, reason: reason.clone(), message });
        self.client = None;
        reason
    }

    /// Adds tasks; one of them by Enqueue, if `single`.
    pub(crate) async fn enqueue(&mut self, specs: Vec<Spec>, again: bool) -> Answer {
        let way = self.way(if specs.len() == 1 { "Enqueue" } else { "BatchEnqueue" }, again);
        let (queue, request_id) = (wire::QUEUE.to_owned(), way.request_id.clone());
        let mut items: Vec<_> = specs.iter().map(wire::item).collect();
        if items.len() == 1 {
            let request = pb::EnqueueRequest { queue, item: items.pop(), request_id, ..Default::default() };
            let send = |mut client: Client| {
                let request = request.clone();
                async move { client.enqueue(request).await }
            };
            let read = |_: &Recorder, answer: pb::EnqueueResponse| {
                Reply::Enqueued(vec![Ok(answer.enqueued.expect("what became of it").task_id)])
            };
            return self.call(&way, Asked::Enqueue(specs), send, read).await;
        }
        let request = pb::BatchEnqueueRequest { queue, items, request_id, ..Default::default() };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.batch_enqueue(request).await }
        };
        let read =
            |_: &Recorder, answer: pb::BatchEnqueueResponse| Reply::Enqueued(wire::enqueued(answer.results));
        self.call(&way, Asked::Enqueue(specs), send, read).await
    }

    pub(crate) async fn register(&mut self) -> Answer {
        let way = self.way("RegisterWorker", true);
        let name = format!("worker {}", self.actor);
        let request_id = way.request_id.clone();
        let request = pb::RegisterWorkerRequest { name, metadata_json: String::new(), request_id };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.register_worker(request).await }
        };
        let read = |_: &Recorder, answer: pb::RegisterWorkerResponse| {
            Reply::Registered(answer.worker.expect("a worker").id)
        };
        self.call(&way, Asked::Register, send, read).await
    }

    pub(crate) async fn unregister(&mut self, worker: i64) -> Answer {
        let way = self.way("UnregisterWorker", true);
        let request = pb::UnregisterWorkerRequest { worker_id: worker, request_id: way.request_id.clone() };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.unregister_worker(request).await }
        };
        let read = |_: &Recorder, _| Reply::Unregistered;
        self.call(&way, Asked::Unregister { worker }, send, read).await
    }

    /// A beat with what a worker holds, which is whole up to a time; `noted` is told when it was noted.
    pub(crate) async fn beat(
        &mut self,
        worker: i64,
        held: Option<Vec<(i64, i64)>>,
        heartbeat_time: Option<Timestamp>,
        noted: &Mutex<Option<Timestamp>>,
    ) -> Answer {
        let way = self.way("Beat", false);
        let task = |held: &(i64, i64)| pb::HeldTask { task_id: held.0, token: held.1 };
        let tasks = held
            .as_ref()
            .map(|held| pb::HeldTasks { tasks: held.iter().map(task).collect(), heartbeat_time });
        let request = pb::HeartbeatRequest { worker_id: worker, held: tasks };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.heartbeat(request).await }
        };
        let read = |_: &Recorder, answer: pb::HeartbeatResponse| {
            *noted.lock().expect("no panic") = answer.heartbeat_time;
            Reply::Beaten(answer.lost_task_ids)
        };
        self.call(&way, Asked::Beat { worker, held }, send, read).await
    }

    /// Claims tasks.
    pub(crate) async fn claim(&mut self, claiming: Claiming) -> Answer {
        let again = self.chance.once_in(2);
        let way = self.way("Claim", again);
        let request = pb::ClaimRequest {
            claiming: Some(self.claiming(&claiming)),
            request_id: way.request_id.clone(),
            ..Default::default()
        };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.claim(request).await }
        };
        let read =
            |recorder: &Recorder, answer: pb::ClaimResponse| wire::worked(recorder, Vec::new(), answer.tasks);
        self.call(&way, Asked::Work { outcomes: Vec::new(), claiming: Some(claiming) }, send, read).await
    }

    /// Reports outcomes and claims tasks.
    pub(crate) async fn exchange(&mut self, outcomes: Vec<Outcome>, claiming: Claiming) -> Answer {
        let again = self.chance.once_in(2);
        let way = self.way("Exchange", again);
        let request = pb::ExchangeRequest {
            outcomes: outcomes.iter().map(wire::outcome).collect(),
            claiming: Some(self.claiming(&claiming)),
            request_id: way.request_id.clone(),
            ..Default::default()
        };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.exchange(request).await }
        };
        let read = |recorder: &Recorder, answer: pb::ExchangeResponse| {
            wire::worked(recorder, answer.results, answer.tasks)
        };
        self.call(&way, Asked::Work { outcomes, claiming: Some(claiming) }, send, read).await
    }

    /// Reports outcomes, mixed.
    pub(crate) async fn settle(&mut self, outcomes: Vec<Outcome>) -> Answer {
        let again = self.chance.once_in(2);
        let way = self.way("Settle", again);
        let request = pb::SettleRequest {
            outcomes: outcomes.iter().map(wire::outcome).collect(),
            request_id: way.request_id.clone(),
            ..Default::default()
        };
        let send = |mut client: Client| {
            let request = request.clone();
            async move { client.settle(request).await }
        };
        let read = |recorder: &Recorder, answer: pb::SettleResponse| {
            wire::worked(recorder, answer.results, Vec::new())
        };
        self.call(&way, Asked::Work { outcomes, claiming: None }, send, read).await
    }

    /// Reports one outcome by the call of its own.
    pub(crate) async fn report(&mut self, outcome: Outcome) -> Answer {
        use pb::outcome::What;
        let again = self.chance.once_in(2);
        let way = self.way("one outcome", again);
        let (request_id, asked) =
            (way.request_id.clone(), Asked::Work { outcomes: vec![outcome], claiming: None });
        let pb::Outcome { task_id, token, what } = wire::outcome(&outcome);
        let what = what.expect("what happened");
        let send = |mut client: Client| {
            let (request_id, what) = (request_id.clone(), what.clone());
            async move {
                let settled = match what {
                    What::Report(_) => panic!("these callers report no progress"),
                    What::Start(_) => {
                        client
                            .start(pb::StartRequest { task_id, token, request_id, ..Default::default() })
                            .await?
                            .into_inner()
                            .settled
                    }
                    What::Extend(extend) => {
                        let request = pb::ExtendRequest {
                            task_id,
                            token,
                            extend: Some(extend),
                            request_id,
                            ..Default::default()
                        };
                        client.extend(request).await?.into_inner().settled
                    }
                    What::Complete(complete) => {
                        let request = pb::CompleteRequest {
                            task_id,
                            token,
                            complete: Some(complete),
                            request_id,
                            ..Default::default()
                        };
                        client.complete(request).await?.into_inner().settled
                    }
                    What::Fail(fail) => {
                        let request = pb::FailRequest {
                            task_id,
                            token,
                            fail: Some(fail),
                            request_id,
                            ..Default::default()
                        };
                        client.fail(request).await?.into_inner().settled
                    }
                    What::Release(_) => {
                        client
                            .release(pb::ReleaseRequest { task_id, token, request_id, ..Default::default() })
                            .await?
                            .into_inner()
                            .settled
                    }
                    What::Snooze(snooze) => {
                        let request = pb::SnoozeRequest {
                            task_id,
                            token,
                            snooze: Some(snooze),
                            request_id,
                            ..Default::default()
                        };
                        client.snooze(request).await?.into_inner().settled
                    }
                };
                Ok(Response::new(settled.expect("what was recorded")))
            }
        };
        let read = |_: &Recorder, settled: pb::Settled| {
            Reply::Worked(vec![Verdict::Recorded(settled.state())], Vec::new())
        };
        self.call(&way, asked, send, read).await
    }

    /// What is not judged is left to chance: types, wait, and whether work begins at once.
    fn claiming(&mut self, claiming: &Claiming) -> pb::Claiming {
        let mut types: Vec<_> = wire::TYPES.iter().map(|name| (*name).to_owned()).collect();
        match self.chance.below(8) {
            0 => types.truncate(2),
            1 => drop(types.remove(0)),
            2 => {}
            _ => types.clear(),
        }
        let wait = if self.chance.once_in(3) { 0 } else { self.chance.below(200_000) };
        wire::claiming(claiming, types, wait, self.chance.once_in(2))
    }
}

/// Whether an error of the sidecar's says that the call changed nothing.
fn promises_nothing_was_done(reason: &str) -> bool {
    !matches!(reason, "DEADLINE_EXCEEDED" | "STORAGE_UNAVAILABLE" | "SHUTTING_DOWN" | "INTERNAL")
}
