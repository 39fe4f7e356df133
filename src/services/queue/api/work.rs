//! Work: tasks pushed down a stream as far as the worker's credit goes, outcomes taken from it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt as _};
use pannier_proto::errors::v1::ErrorReason as Reason;
use pannier_proto::queue::v1 as pb;
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::super::Core;
use super::super::convert::{self, Parser};
use super::super::domain::{Claiming, Holder, Outcome, What};
use super::super::store::{Listed, Told};
use super::super::waiting::Ticket;
use super::exchange::{Exchange, no_outcomes};
use crate::answer;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::request_end::RequestEnd;
use crate::status;

/// What is sent down the stream.
pub(super) type Messages = BoxStream<'static, Answer>;

type Answer = std::result::Result<pb::WorkResponse, Status>;

/// Messages that wait for a worker to read them. While they do nothing more is read from it.
const UNREAD_MAX: usize = 8;

/// A worker's stream.
struct Work {
    core: Arc<Core>,
    claiming: Claiming,
    worker_id: i64,
    /// Whether the stream has registered the worker.
    is_own: bool,
    credit: i64,
    /// What was given by this stream and is held: task and token.
    held: HashMap<i64, i64>,
    next_beat_us: i64,
    /// When the first beat was noted.
    heartbeat_time: Option<Timestamp>,
    answers: mpsc::Sender<Answer>,
    /// How the worker's messages end.
    end: RequestEnd,
}

/// How a stream goes on.
enum Step {
    On,
    /// The worker has taken its leave.
    Leave,
    /// The connection is gone, or the sidecar stops: the worker may come back.
    Break,
}

impl Core {
    pub(super) async fn work(
        self: &Arc<Self>,
        mut messages: Streaming<pb::WorkRequest>,
        end: RequestEnd,
    ) -> Result<Messages> {
        let permit = self.streams.acquire()?;
        let first = messages.message().await.ok().flatten().unwrap_or_default();
        let (sender, answers) = mpsc::channel(UNREAD_MAX);
        let mut work = self.open(&first, sender, end).await?;
        let serve = async move {
            let _permit = permit;
            work.serve(first, messages).await;
        };
        tokio::spawn(answer::scope(answer::bytes_max(), serve));
        Ok(ReceiverStream::new(answers).boxed())
    }

    async fn open(
        self: &Arc<Self>,
        first: &pb::WorkRequest,
        answers: mpsc::Sender<Answer>,
        end: RequestEnd,
    ) -> Result<Work> {
        let mut parser = Parser::new(&self.settings.queue);
        let open = first.open.clone().unwrap_or_default();
        if first.open.is_none() {
            parser.violations.add("open", "is missing: the first message must open the stream");
        }
        if open.worker_id < 0 {
            parser.violations.add("open.worker_id", "must not be negative");
        }
        let is_own = open.worker_id == 0;
        if is_own {
            parser.key_text(&|| "open.worker_name".to_owned(), &open.worker_name);
        } else if !open.worker_name.is_empty() {
            parser.violations.add("open.worker_name", "is not for a registered worker");
        }
        let claiming = Claiming {
            queue: parser.queue_name("open.queue", open.queue),
            types: parser.types("open.types", open.types),
            tasks_max: 0,
            wait_us: 0,
            order: parser.claim_order("open.order", open.order),
            holder: Holder::Worker(open.worker_id),
            is_start: open.start,
        };
        parser.violations.check()?;
        let (worker_id, heartbeat_time) = if is_own {
            let answer = self.register(open.worker_name, String::new(), None).await?;
            answer.worker.map_or((0, None), |worker| (worker.id, worker.heartbeat_time))
        } else {
            self.do_what_is_due().await?;
            let told = self.beat_of(open.worker_id, None).await?;
            (open.worker_id, Some(convert::timestamp(told.beat_us)))
        };
        Ok(Work {
            core: self.clone(),
            claiming: Claiming { holder: Holder::Worker(worker_id), ..claiming },
            worker_id,
            is_own,
            credit: 0,
            held: HashMap::new(),
            next_beat_us: self.clock.steady_us().saturating_add(self.heartbeat_interval_us() / 2),
            heartbeat_time,
            answers,
            end,
        })
    }
}

impl Work {
    async fn serve(&mut self, first: pb::WorkRequest, mut messages: Streaming<pb::WorkRequest>) {
        let opened = pb::WorkOpened {
            worker_id: self.worker_id,
            heartbeat_interval: Some(convert::duration(self.core.heartbeat_interval_us())),
            heartbeat_time: self.heartbeat_time,
        };
        let opened = pb::WorkResponse { opened: Some(opened), ..Default::default() };
        let mut step = match self.send(opened).await {
            Step::On => self.hear(pb::WorkRequest { open: None, ..first }).await,
            step => Ok(step),
        };
        loop {
            step = match step {
                Ok(Step::On) => self.turn(&mut messages).await,
                Ok(Step::Break) => return,
                Ok(Step::Leave) => {
                    if let Err(error) = self.leave().await {
                        tracing::warn!(error = %error, "tasks of a worker that took its leave wait for it to be dead");
                    }
                    return;
                }
                Err(error) => {
                    // The worker has left if it does not hear this.
                    let _ = self.answers.send(Err(status::of(error))).await;
                    return;
                }
            };
        }
    }

    /// Gives what there is, then waits for the worker or for tasks.
    async fn turn(&mut self, messages: &mut Streaming<pb::WorkRequest>) -> Result<Step> {
        let ticket = match self.credit {
            0 => None,
            _ => Some(self.core.waiting.enter(&self.claiming.queue, &self.claiming.types)?),
        };
        let answer = self.exchange(no_outcomes(), Vec::new()).await?;
        if !answer.tasks.is_empty() {
            return Ok(self.send(answer).await);
        }
        let mut stopping = self.core.stopping.subscribe();
        let message = tokio::select! {
            message = messages.message() => message,
            () = called(ticket.as_ref()) => return Ok(Step::On),
            () = self.answers.closed() => return Ok(Step::Break),
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Error::ShuttingDown),
        };
        match message {
            Ok(Some(message)) => self.hear(message).await,
            // A reset may be noticed at the answers first.
            Ok(None) if !self.end.is_broken() && !self.answers.is_closed() => Ok(Step::Leave),
            Ok(None) | Err(_) => Ok(Step::Break),
        }
    }

    /// Takes a message from the worker.
    async fn hear(&mut self, message: pb::WorkRequest) -> Result<Step> {
        let core = self.core.clone();
        let mut parser = Parser::new(&core.settings.queue);
        if message.open.is_some() {
            parser.violations.add("open", "is only for the first message");
        }
        let credit = self.credit.saturating_add(i64::from(message.credit));
        let credit_max = core.count(core.settings.queue.claim_tasks_max);
        if message.credit < 0 || credit > credit_max {
            let text = format!(
                "must not be negative, and not add up to more than {credit_max} (queue.claim_tasks_max)"
            );
            parser.violations.add("credit", text);
        }
        let is_beat = message.held.is_some() || (message.outcomes.is_empty() && message.credit == 0);
        let ends: Vec<_> = message.outcomes.iter().map(|outcome| (outcome.task_id, outcome.token)).collect();
        let listed = message.held.map(|held| parser.held(held));
        let outcomes = parser.outcomes_or_none(message.outcomes);
        parser.violations.check()?;
        self.credit = credit;
        let has_list = listed.is_some();
        // Their outcomes follow: these tasks are not forgotten.
        let listed = listed.map(|listed| Listed { tasks: [listed.tasks, ends.clone()].concat(), ..listed });
        let told = self.beat(is_beat, listed).await?;
        if outcomes.count() == 0 && told.cancelled.is_empty() && !has_list {
            return Ok(Step::On);
        }
        for task_id in &told.lost {
            self.held.remove(task_id);
        }
        let answer = self.exchange(outcomes, ends).await?;
        let answer = pb::WorkResponse {
            cancel_task_ids: told.cancelled,
            lost_task_ids: told.lost,
            heartbeat_time: has_list.then(|| convert::timestamp(told.beat_us)),
            ..answer
        };
        Ok(self.send(answer).await)
    }

    /// Notes that the worker is alive, unless that was done a moment ago and this message is no beat; answers with what it should stop.
    async fn beat(&mut self, is_beat: bool, listed: Option<Listed>) -> Result<Told> {
        let now_us = self.core.clock.steady_us();
        if !is_beat && now_us < self.next_beat_us {
            return Ok(Told::default());
        }
        self.next_beat_us = now_us.saturating_add(self.core.heartbeat_interval_us() / 2);
        self.core.do_what_is_due().await?;
        self.core.beat_of(self.worker_id, listed).await
    }

    /// Records outcomes, of these tasks and tokens, and claims as many tasks as there is credit for, in one transaction.
    async fn exchange(
        &mut self,
        outcomes: Batch<Outcome>,
        ends: Vec<(i64, i64)>,
    ) -> Result<pb::WorkResponse> {
        let claiming = Claiming { tasks_max: self.credit, ..self.claiming.clone() };
        let claiming = (self.credit > 0).then_some(claiming);
        if outcomes.count() == 0 && claiming.is_none() {
            return Ok(pb::WorkResponse::default());
        }
        let exchange = Exchange { outcomes, claiming, request: None, durability: None };
        let answer = self.core.run(exchange).await?;
        for ((task_id, token), result) in ends.into_iter().zip(&answer.results) {
            if !is_held_on(result) && self.held.get(&task_id) == Some(&token) {
                self.held.remove(&task_id);
            }
        }
        self.held.extend(answer.tasks.iter().map(|task| (task.id, task.token)));
        self.credit -= i64::try_from(answer.tasks.len()).unwrap_or(0);
        Ok(pb::WorkResponse { tasks: answer.tasks, results: answer.results, ..Default::default() })
    }

    async fn send(&self, answer: pb::WorkResponse) -> Step {
        let mut stopping = self.core.stopping.subscribe();
        tokio::select! {
            sent = self.answers.send(Ok(answer)) => if sent.is_ok() { Step::On } else { Step::Break },
            _ = stopping.wait_for(|stopping| *stopping) => Step::Break,
        }
    }

    /// Gives back what the worker holds.
    async fn leave(&mut self) -> Result<()> {
        if self.is_own {
            self.core.unregister(self.worker_id, None).await?;
            return Ok(());
        }
        let release = |(task_id, token)| Outcome { task_id, token, what: What::Release };
        let mut outcomes = no_outcomes();
        self.held.drain().map(release).for_each(|outcome| outcomes.accept(outcome));
        if outcomes.count() > 0 {
            self.core.run(Exchange { outcomes, claiming: None, request: None, durability: None }).await?;
        }
        Ok(())
    }
}

/// Whether a task is still held after an outcome. An outcome that is wrong leaves its task as it is.
fn is_held_on(result: &pb::OutcomeResult) -> bool {
    use pb::outcome_result::Result as Of;
    match &result.result {
        Some(Of::Settled(settled)) => {
            matches!(settled.state(), pb::TaskState::Claimed | pb::TaskState::Running)
        }
        Some(Of::Error(error)) => !matches!(error.reason(), Reason::LeaseLost | Reason::TaskNotFound),
        None => false,
    }
}

/// Waits to be called for tasks; for ever without credit.
async fn called(ticket: Option<&Ticket>) {
    match ticket {
        Some(ticket) => {
            ticket.called().await;
            ticket.follow();
        }
        None => std::future::pending().await,
    }
}
