//! What changes tasks, prepared for a call of its own or for a commit; and the check of a commit.
//!
//! Before one of these that looks at tasks is run, what is due is to be done: see `Core::do_what_is_due`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::outcome::What;
use pannier_proto::transaction::v1::{CheckResult, QueueCheck};

use super::super::convert::{self, Parser};
use super::super::domain::{NewTask, Outcome};
use super::super::{Core, store};
use crate::batch::{Batch, Failing, only};
use crate::error::{Error, Result};
use crate::storage::{Durability, Operation};

/// Tasks on their way into a queue.
struct Adding {
    queue: String,
    tasks: Batch<NewTask>,
    first_us: i64,
}

/// A single outcome: the fields that all these requests have, and what happened.
macro_rules! outcome {
    ($prepare:ident, $request:ident => $response:ident, $what:expr) => {
        pub(in crate::services) fn $prepare(
            self: &Arc<Self>,
            parser: &mut Parser<'_>,
            request: pb::$request,
        ) -> Operation<pb::$response> {
            let what: fn(pb::$request) -> What = $what;
            let durability = parser.durability("durability", request.durability);
            let (task_id, token) = (request.task_id, request.token);
            let outcome = pb::Outcome { task_id, token, what: Some(what(request)) };
            // Its fields stand in the request itself.
            let mut outcomes = Batch::new("", Failing::Single, 1);
            outcomes.accept(parser.outcome(outcome));
            self.prepare_outcomes(outcomes)
                .surviving(durability)
                .try_map(|results| Ok(pb::$response { settled: Some(settled_of(only(results)?)?) }))
        }
    };
}

impl Core {
    outcome!(prepare_start, StartRequest => StartResponse, |_| What::Start(pb::StartOutcome {}));
    outcome!(prepare_extend, ExtendRequest => ExtendResponse, |request| {
        What::Extend(request.extend.unwrap_or_default())
    });
    outcome!(prepare_complete, CompleteRequest => CompleteResponse, |request| {
        What::Complete(request.complete.unwrap_or_default())
    });
    outcome!(prepare_fail, FailRequest => FailResponse, |request| {
        What::Fail(request.fail.unwrap_or_default())
    });
    outcome!(prepare_report, ReportRequest => ReportResponse, |request| {
        What::Report(request.report.unwrap_or_default())
    });
    outcome!(prepare_release, ReleaseRequest => ReleaseResponse, |_| What::Release(pb::ReleaseOutcome {}));
    outcome!(prepare_snooze, SnoozeRequest => SnoozeResponse, |request| {
        What::Snooze(request.snooze.unwrap_or_default())
    });

    pub(in crate::services) fn prepare_settle(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::SettleRequest,
    ) -> Operation<pb::SettleResponse> {
        let failing = parser.failing(request.atomic);
        let durability = parser.durability("durability", request.durability);
        let outcomes = parser.outcomes(request.outcomes, failing);
        self.prepare_outcomes(outcomes).surviving(durability).map(|results| pb::SettleResponse { results })
    }

    fn prepare_outcomes(self: &Arc<Self>, outcomes: Batch<Outcome>) -> Operation<Vec<pb::OutcomeResult>> {
        let (items, chance) = (outcomes.count(), self.clock.chance());
        let locks: Vec<_> = outcomes.items.iter().map(|outcome| store::lock_of(outcome.task_id)).collect();
        let operation = self.prepare_step(outcomes, move |step, _, outcomes| {
            Box::pin(async move {
                let results = store::settle(step, &outcomes.items, chance).await?;
                Ok(convert::outcome_results(outcomes.results(results)?))
            })
        });
        operation.of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_enqueue(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::EnqueueRequest,
    ) -> Operation<pb::EnqueueResponse> {
        let queue = parser.queue_name("queue", request.queue);
        let durability = parser.durability("durability", request.durability).or(self.durability_of(&queue));
        let now_us = self.clock.now_us();
        let item = request.item.unwrap_or_default();
        let tasks = parser.item("item", item, |parser, item| parser.enqueue_item_at(item, now_us));
        self.prepare_adding(queue, tasks)
            .surviving(durability)
            .try_map(|results| Ok(pb::EnqueueResponse { enqueued: Some(enqueued_of(only(results)?)?) }))
    }

    pub(in crate::services) fn prepare_batch_enqueue(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::BatchEnqueueRequest,
    ) -> Operation<pb::BatchEnqueueResponse> {
        let queue = parser.queue_name("queue", request.queue);
        let durability = parser.durability("durability", request.durability).or(self.durability_of(&queue));
        let failing = parser.failing(request.atomic);
        let (now_us, bound) = (self.clock.now_us(), self.batch_bound());
        let tasks = parser.items("items", request.items, bound, failing, |parser, item| {
            parser.enqueue_item_at(item, now_us)
        });
        self.prepare_adding(queue, tasks)
            .surviving(durability)
            .map(|results| pb::BatchEnqueueResponse { results })
    }

    /// What the tasks of a queue and their claims survive, if the queue says so. A queue that is not known yet says nothing.
    pub(super) fn durability_of(&self, queue: &str) -> Option<Durability> {
        let queue = self.names.registry.queue(queue)?;
        queue.rules.is_relaxed.then_some(Durability::Relaxed)
    }

    /// The one way to add tasks.
    fn prepare_adding(
        self: &Arc<Self>,
        queue: String,
        tasks: Batch<NewTask>,
    ) -> Operation<Vec<pb::BatchEnqueueResult>> {
        let items = tasks.count();
        let first_us = self.clock.steady_range_us(tasks.items.len());
        let keys = tasks.items.iter().filter_map(|task| task.limit_key.as_ref());
        let mut locks: Vec<_> = keys.map(|key| store::lock_of_key(&queue, key)).collect();
        let uniques = tasks.items.iter().filter_map(|task| task.unique.as_ref());
        locks.extend(uniques.map(|unique| store::lock_of_unique(&queue, &unique.key)));
        let operation = self.prepare_step(Adding { queue, tasks, first_us }, |step, core, adding| {
            Box::pin(async move {
                let tasks = &adding.tasks;
                // A batch in which all is wrong makes no queue.
                let results = match tasks.items.is_empty() {
                    true => Vec::new(),
                    false => {
                        let keys_max = core.count(core.settings.queue.keys_max);
                        store::enqueue_by_name(step, &adding.queue, &tasks.items, adding.first_us, keys_max)
                            .await?
                    }
                };
                Ok(convert::batch_enqueue_results(tasks.results(results)?))
            })
        });
        operation.of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_cancel(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::CancelRequest,
    ) -> Operation<pb::CancelResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let bound = self.batch_bound();
        let task_ids = parser.items("task_ids", request.task_ids, bound, failing, |_, task_id| task_id);
        let locks: Vec<_> = task_ids.items.iter().map(|task_id| store::lock_of(*task_id)).collect();
        let items = task_ids.count();
        let operation = self.prepare_step(task_ids, move |step, _, task_ids| {
            Box::pin(async move {
                let results = store::cancel(step, &task_ids.items).await?;
                Ok(pb::CancelResponse { results: convert::task_results(task_ids.results(results)?) })
            })
        });
        operation.surviving(durability).of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_retry(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::RetryRequest,
    ) -> Operation<pb::RetryResponse> {
        let durability = parser.durability("durability", request.durability);
        let failing = parser.failing(request.atomic);
        let bound = self.batch_bound();
        let task_ids = parser.items("task_ids", request.task_ids, bound, failing, |_, task_id| task_id);
        let locks: Vec<_> = task_ids.items.iter().map(|task_id| store::lock_of(*task_id)).collect();
        let items = task_ids.count();
        let first_us = self.clock.steady_range_us(items);
        let operation = self.prepare_step(task_ids, move |step, _, task_ids| {
            Box::pin(async move {
                let results = store::retry(step, &task_ids.items, first_us).await?;
                Ok(pb::RetryResponse { results: convert::task_results(task_ids.results(results)?) })
            })
        });
        operation.surviving(durability).of_items(items).locking(locks)
    }

    /// The most items of a batch, and the setting.
    fn batch_bound(&self) -> (u64, &'static str) {
        (self.settings.queue.batch_items_max, "queue.batch_items_max")
    }

    pub(in crate::services) fn prepare_check(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        check: QueueCheck,
    ) -> Operation<CheckResult> {
        if check.states.is_empty() {
            parser.violations.add("states", "is empty: give at least one TaskState");
        }
        let mut states = Vec::with_capacity(check.states.len());
        for (index, number) in check.states.into_iter().enumerate() {
            let field = || format!("states[{index}]");
            match parser.state(&field, number) {
                Some(state) => states.push(state),
                None => parser.violations.add(field(), "must be a state"),
            }
        }
        let task_id = check.task_id;
        let operation = Operation::new(states, move |tx, states| {
            Box::pin(async move {
                let state = store::state_of(tx, task_id).await?.ok_or(Error::TaskNotFound)?;
                if !states.contains(&state) {
                    return Err(Error::CheckFailed { thing: "task", is: state.name() });
                }
                Ok(CheckResult {})
            })
        });
        operation.locking([store::lock_of(task_id)])
    }

    /// An operation that changes tasks, with what follows its commit.
    pub(super) fn prepare_step<I, T, W>(self: &Arc<Self>, input: I, work: W) -> Operation<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        W: for<'s, 'a> Fn(&'s mut store::Step<'a>, &'a Arc<Self>, &'a I) -> BoxFuture<'s, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        Operation::new((self.clone(), input, work), |tx, (core, input, work)| {
            Box::pin(async move {
                let mut step = store::Step::new(tx, &core.names, core.now());
                let answer = work(&mut step, core, input).await?;
                core.follow(step).await?;
                Ok(answer)
            })
        })
    }
}

fn settled_of(result: pb::OutcomeResult) -> Result<pb::Settled> {
    match result.result {
        Some(pb::outcome_result::Result::Settled(settled)) => Ok(settled),
        other => Err(Error::internal(format!("a single outcome has the result {other:?}"))),
    }
}

fn enqueued_of(result: pb::BatchEnqueueResult) -> Result<pb::Enqueued> {
    match result.outcome {
        Some(pb::batch_enqueue_result::Outcome::Enqueued(enqueued)) => Ok(enqueued),
        other => Err(Error::internal(format!("a single Enqueue has the result {other:?}"))),
    }
}
