//! Claim and Exchange: outcomes in, tasks out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pannier_proto::queue::v1 as pb;
use tokio::runtime::Handle;
use tokio::sync::futures::Notified;

use super::super::convert::{self, Parser};
use super::super::domain::{Claiming, Outcome, State, What};
use super::super::order::Order;
use super::super::{Core, store};
use crate::answer::Budget;
use crate::batch::{Batch, Failing};
use crate::clock;
use crate::deadline;
use crate::error::{Error, Result};
use crate::storage::idempotency::{self, RequestKey};
use crate::storage::{Durability, Tx, Wakened};
use crate::waiting;

/// A wait ends so long before the call's deadline, that its answer may arrive.
const BEFORE_DEADLINE: Duration = Duration::from_millis(100);

/// Outcomes to record, and what to claim.
pub(super) struct Exchange {
    pub(super) outcomes: Batch<Outcome>,
    pub(super) claiming: Option<Claiming>,
    pub(super) request: Option<RequestKey>,
    /// What it survives; none: what the queue says that it claims from.
    pub(super) durability: Option<Durability>,
}

/// One transaction of an exchange.
struct Attempt {
    budget: Budget,
    core: Arc<Core>,
    outcomes: Batch<Outcome>,
    claiming: Option<Claiming>,
    request: Option<RequestKey>,
    /// What an earlier transaction of the same call has recorded.
    recorded: Option<Arc<Vec<pb::OutcomeResult>>>,
    chance: u64,
    taken: Arc<Taken>,
    runtime: Handle,
}

/// What an attempt gave.
struct Attempted {
    answer: pb::ExchangeResponse,
    is_over: bool,
    is_cut_short: bool,
}

impl Core {
    pub(super) async fn claim(self: &Arc<Self>, mut request: pb::ClaimRequest) -> Result<pb::ClaimResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Claim", &request);
        let durability = parser.durability("durability", request.durability);
        let claiming = parser.claiming(request.claiming.unwrap_or_default());
        parser.violations.check()?;
        let exchange =
            Exchange { outcomes: no_outcomes(), claiming: Some(claiming), request: key, durability };
        Ok(pb::ClaimResponse { tasks: self.run(exchange).await?.tasks })
    }

    pub(super) async fn exchange(
        self: &Arc<Self>,
        mut request: pb::ExchangeRequest,
    ) -> Result<pb::ExchangeResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "Exchange", &request);
        let outcomes = parser.outcomes_or_none(request.outcomes);
        let durability = parser.durability("durability", request.durability);
        let claiming = request.claiming.map(|claiming| parser.claiming(claiming));
        parser.violations.check()?;
        self.run(Exchange { outcomes, claiming, request: key, durability }).await
    }

    /// Records the outcomes and claims, and if there is nothing to claim waits for it.
    pub(super) async fn run(self: &Arc<Self>, exchange: Exchange) -> Result<pb::ExchangeResponse> {
        let Exchange { mut outcomes, claiming, request, durability } = exchange;
        let of_queue = || self.durability_of(&claiming.as_ref()?.queue);
        let durability = durability.or_else(of_queue).unwrap_or(Durability::Full);
        let ticket = match &claiming {
            Some(claiming) if claiming.wait_us > 0 => {
                Some(self.waiting.enter(&claiming.queue, &claiming.types)?)
            }
            _ => None,
        };
        // A request that came twice waits twice; who is answered first wakes the other.
        let repeats = request
            .as_ref()
            .filter(|_| ticket.is_some())
            .map(|key| self.storage.wake().subscribe(key.topic()));
        let until_us = self.until_us(claiming.as_ref().map_or(0, |claiming| claiming.wait_us));
        let budget = Budget::of_call();
        let guard = Guard { core: self.clone(), taken: Arc::default(), is_armed: true };
        let mut recorded: Option<Arc<Vec<pb::OutcomeResult>>> = None;
        loop {
            let repeated = repeats.as_ref().map(Wakened::next);
            let attempt = Attempt {
                budget,
                core: self.clone(),
                outcomes: std::mem::replace(&mut outcomes, no_outcomes()),
                claiming: claiming.clone(),
                request: request.clone(),
                recorded: recorded.clone(),
                chance: self.clock.chance(),
                taken: guard.taken.clone(),
                runtime: Handle::current(),
            };
            let done = match self.attempt(attempt, durability).await {
                Ok(done) => done,
                Err(error) => return after_recording(recorded, error),
            };
            let is_late = self.clock.steady_us() >= until_us || *self.stopping.borrow();
            let wait = match &ticket {
                _ if done.is_over || !done.answer.tasks.is_empty() => None,
                _ if done.is_cut_short => Some(None),
                Some(ticket) if !is_late => Some(Some(ticket)),
                _ => None,
            };
            let Some(wait) = wait else {
                guard.disarm();
                return Ok(done.answer);
            };
            recorded.get_or_insert(Arc::new(done.answer.results));
            if let Some(ticket) = wait {
                let mut stopping = self.stopping.subscribe();
                let waited = waiting::aside(async {
                    tokio::select! {
                        () = ticket.called() => {}
                        () = woken(repeated) => {}
                        () = self.clock.sleep_until_steady(until_us) => {}
                        _ = stopping.wait_for(|stopping| *stopping) => {}
                    }
                });
                if let Err(error) = waited.await {
                    return after_recording(recorded, error);
                }
                ticket.follow();
            }
        }
    }

    async fn attempt(self: &Arc<Self>, attempt: Attempt, durability: Durability) -> Result<Attempted> {
        self.do_what_is_due().await?;
        self.storage.write(durability, attempt, |tx, it| Box::pin(it.run(tx))).await
    }

    /// When a wait of `wait_us` ends, with the call's deadline in mind.
    fn until_us(&self, wait_us: i64) -> i64 {
        let rest = deadline::current().map(|until| {
            let rest = until.saturating_duration_since(clock::instant());
            let margin = BEFORE_DEADLINE.min(rest / 4);
            i64::try_from((rest - margin).as_micros()).unwrap_or(i64::MAX)
        });
        self.clock.steady_us().saturating_add(wait_us.min(rest.unwrap_or(i64::MAX)))
    }

    /// Gives tasks back that were claimed for a caller who has left.
    async fn give_back(self: &Arc<Self>, taken: Vec<(i64, i64)>) {
        let outcome = |(task_id, token)| Outcome { task_id, token, what: What::Release };
        let outcomes: Vec<Outcome> = taken.into_iter().map(outcome).collect();
        // Not by way of `run`, which would make a guard of its own.
        let given = self
            .storage
            .write(Durability::Full, (self.clone(), outcomes), |tx, (core, outcomes)| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    store::settle(&mut step, outcomes, 0).await?;
                    core.follow(step).await
                })
            })
            .await;
        if let Err(error) = given {
            tracing::warn!(error = %error, "tasks of a caller who has left wait for their lease to end");
        }
    }
}

/// The answer when a wait for tasks fails: outcomes that an earlier transaction has recorded are told, whatever became of the wait.
fn after_recording(
    recorded: Option<Arc<Vec<pb::OutcomeResult>>>,
    error: Error,
) -> Result<pb::ExchangeResponse> {
    match recorded {
        Some(results) if !results.is_empty() => {
            tracing::debug!(error = %error, "a wait for tasks has failed after outcomes were recorded");
            Ok(pb::ExchangeResponse { results: results.to_vec(), tasks: Vec::new() })
        }
        _ => Err(error),
    }
}

/// Waits for a wake-up; for ever without a place among those who wait.
async fn woken(repeated: Option<Notified<'_>>) {
    match repeated {
        Some(repeated) => repeated.await,
        None => std::future::pending().await,
    }
}

/// What a claim alone reports.
pub(super) fn no_outcomes() -> Batch<Outcome> {
    Batch::new("outcomes", Failing::Item, 0)
}

impl Attempt {
    async fn run(&self, tx: &Tx<'_>) -> Result<Attempted> {
        let is_first = self.recorded.is_none();
        // Looked for each time: while this call waited, a repeat of it may have been given tasks.
        let kept = idempotency::recall::<pb::ExchangeResponse>(tx, self.request.as_ref()).await?;
        if let Some(answer) = kept.filter(|answer| is_first || !answer.tasks.is_empty()) {
            return Ok(Attempted { answer, is_over: true, is_cut_short: false });
        }
        let core = &self.core;
        let mut step = store::Step::new(tx, &core.names, core.now());
        let results = match &self.recorded {
            Some(recorded) => recorded.to_vec(),
            None => self.record(&mut step).await?,
        };
        let (tasks, is_cut_short) = self.claim(&mut step).await?;
        let answer = pb::ExchangeResponse { results, tasks };
        // A claim that has found nothing is not kept: the same request waits again.
        let is_worth_keeping = !answer.results.is_empty() || !answer.tasks.is_empty();
        let has_kept = self.recorded.as_ref().is_some_and(|recorded| !recorded.is_empty());
        if has_kept && !answer.tasks.is_empty() {
            idempotency::keep_instead(tx, self.request.as_ref(), &answer).await?;
        } else if !has_kept && is_worth_keeping {
            // Of two sidecars that answer the request at once, one meets the other's answer here, and gives that.
            idempotency::keep(tx, self.request.as_ref(), &answer).await?;
        }
        core.follow(step).await?;
        if let Some(key) = self.request.as_ref().filter(|_| !answer.tasks.is_empty() && self.waits()) {
            tx.wake(key.topic());
        }
        if self.request.is_none() && !answer.tasks.is_empty() {
            let taken = answer.tasks.iter().map(|task| (task.id, task.token)).collect();
            let (core, slot, runtime) = (core.clone(), self.taken.clone(), self.runtime.clone());
            tx.after_commit(move || {
                if let Some(taken) = slot.fill(taken) {
                    runtime.spawn(async move { core.give_back(taken).await });
                }
            });
        }
        Ok(Attempted { answer, is_over: self.claiming.is_none(), is_cut_short })
    }

    /// Whether the call waits for tasks.
    fn waits(&self) -> bool {
        self.claiming.as_ref().is_some_and(|claiming| claiming.wait_us > 0)
    }

    async fn record(&self, step: &mut store::Step<'_>) -> Result<Vec<pb::OutcomeResult>> {
        if self.outcomes.count() == 0 {
            return Ok(Vec::new());
        }
        let results = store::settle(step, &self.outcomes.items, self.chance).await?;
        Ok(convert::outcome_results(self.outcomes.results(results)?))
    }

    async fn claim(&self, step: &mut store::Step<'_>) -> Result<(Vec<pb::Task>, bool)> {
        let (names, tx) = (step.names, step.tx);
        let Some(claiming) = &self.claiming else { return Ok((Vec::new(), false)) };
        let queue = names.queue(tx, &claiming.queue).await?;
        let mut type_ids = Vec::with_capacity(claiming.types.len());
        if let Some(queue) = &queue {
            for name in &claiming.types {
                type_ids.extend(names.type_id(tx, queue.id, name).await?);
            }
        }
        let order = queue.as_ref().map_or(Order::OF_INDEX, |queue| Order::of(&queue.rules, claiming.order));
        let is_unknown = type_ids.is_empty() && !claiming.types.is_empty();
        let queue_id = queue.filter(|_| !is_unknown).map(|queue| queue.id);
        let claim = store::Claim {
            // No queue has this id: nothing is found, and a worker that is not alive is told so.
            queue_id: queue_id.unwrap_or(-1),
            type_ids,
            order,
            tasks_max: claiming.tasks_max,
            budget: self.budget,
            holder: claiming.holder,
            state: if claiming.is_start { State::Running } else { State::Claimed },
        };
        let claimed = store::claim(step, &claim).await?;
        let mut tasks = Vec::with_capacity(claimed.tasks.len());
        for task in claimed.tasks {
            let named = names.of_task(tx, task.type_id).await?;
            tasks.push(convert::task(task, &named));
        }
        Ok((tasks, claimed.is_cut_short))
    }
}

/// Tasks that were claimed for a caller, as (task, token): if the caller leaves before the answer is out, they are given back.
#[derive(Default)]
pub(super) struct Taken(Mutex<Slot>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Full(Vec<(i64, i64)>),
    /// The caller has left.
    Left,
}

impl Taken {
    /// Notes tasks; hands them back if the caller has left.
    fn fill(&self, taken: Vec<(i64, i64)>) -> Option<Vec<(i64, i64)>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Left) {
            return Some(taken);
        }
        *slot = Slot::Full(taken);
        None
    }
}

/// Dropped with the call: unless it was disarmed, the caller has left.
struct Guard {
    core: Arc<Core>,
    taken: Arc<Taken>,
    is_armed: bool,
}

impl Guard {
    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        let mut slot = self.taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Full(taken) = std::mem::replace(&mut *slot, Slot::Left)
            && let Ok(runtime) = Handle::try_current()
        {
            let core = self.core.clone();
            runtime.spawn(async move { core.give_back(taken).await });
        }
    }
}
