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
use crate::batch::Failing;
use crate::error::{Error, Result};
use crate::storage::Operation;

/// Tasks on their way into a queue.
struct Batch {
    queue: String,
    tasks: Vec<NewTask>,
    first_us: i64,
    failing: Failing,
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
            let (task_id, token) = (request.task_id, request.token);
            let outcome = pb::Outcome { task_id, token, what: Some(what(request)) };
            let outcome = parser.outcome(&String::new, outcome);
            let settled = self.prepare_outcomes(vec![outcome], Failing::Single);
            settled.map(|results| pb::$response { settled: results.into_iter().find_map(settled_of) })
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
    outcome!(prepare_release, ReleaseRequest => ReleaseResponse, |_| What::Release(pb::ReleaseOutcome {}));
    outcome!(prepare_snooze, SnoozeRequest => SnoozeResponse, |request| {
        What::Snooze(request.snooze.unwrap_or_default())
    });

    pub(in crate::services) fn prepare_settle(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::SettleRequest,
    ) -> Operation<pb::SettleResponse> {
        let outcomes = parser.outcomes("outcomes", request.outcomes, 1);
        let settled = self.prepare_outcomes(outcomes, Failing::of_batch(parser.is_part()));
        settled.map(|results| pb::SettleResponse { results })
    }

    fn prepare_outcomes(
        self: &Arc<Self>,
        outcomes: Vec<Outcome>,
        failing: Failing,
    ) -> Operation<Vec<pb::OutcomeResult>> {
        let (items, chance) = (outcomes.len(), self.clock.chance());
        let locks: Vec<_> = outcomes.iter().map(|outcome| store::lock_of(outcome.task_id)).collect();
        let operation = self.prepare_step(outcomes, move |step, _, outcomes| {
            Box::pin(async move {
                let results = store::settle(step, outcomes, chance).await?;
                let results = failing.results(results, "outcomes")?;
                Ok(results.into_iter().map(convert::outcome_result).collect())
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
        let path = || "item".to_owned();
        let task = parser.enqueue_item(&path, request.item.unwrap_or_default());
        parser.within_ten_years(&path, task.when, self.clock.now_us());
        let added = self.prepare_batch(queue, vec![task], Failing::Single);
        added.map(|results| pb::EnqueueResponse { enqueued: results.into_iter().find_map(enqueued_of) })
    }

    pub(in crate::services) fn prepare_batch_enqueue(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::BatchEnqueueRequest,
    ) -> Operation<pb::BatchEnqueueResponse> {
        let queue = parser.queue_name("queue", request.queue);
        let max = self.settings.queue.batch_items_max;
        let mut tasks = Vec::with_capacity(request.items.len());
        if parser.batch("items", request.items.len(), max, "queue.batch_items_max") {
            let now_us = self.clock.now_us();
            for (index, item) in request.items.into_iter().enumerate() {
                let path = || format!("items[{index}]");
                let task = parser.enqueue_item(&path, item);
                parser.within_ten_years(&path, task.when, now_us);
                tasks.push(task);
            }
        }
        let added = self.prepare_batch(queue, tasks, Failing::of_batch(parser.is_part()));
        added.map(|results| pb::BatchEnqueueResponse { results })
    }

    fn prepare_batch(
        self: &Arc<Self>,
        queue: String,
        tasks: Vec<NewTask>,
        failing: Failing,
    ) -> Operation<Vec<pb::BatchEnqueueResult>> {
        let items = tasks.len();
        let first_us = self.clock.steady_range_us(items);
        let keys = tasks.iter().filter_map(|task| task.limit_key.as_ref());
        let locks: Vec<_> = keys.map(|key| store::lock_of_key(&queue, key)).collect();
        let batch = Batch { queue, tasks, first_us, failing };
        let operation = self.prepare_step(batch, |step, core, batch| {
            Box::pin(async move {
                let queue = step.names.ensure_queue(step.tx, &batch.queue, step.now).await?;
                let keys_max = core.count(core.settings.queue.keys_max);
                let results = store::enqueue(step, &queue, &batch.tasks, batch.first_us, keys_max).await?;
                let results = batch.failing.results(results, "items")?;
                Ok(results.into_iter().map(convert::batch_enqueue_result).collect())
            })
        });
        operation.of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_cancel(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::CancelRequest,
    ) -> Operation<pb::CancelResponse> {
        self.check_task_ids(parser, &request.task_ids);
        let locks: Vec<_> = request.task_ids.iter().map(|task_id| store::lock_of(*task_id)).collect();
        let (items, failing) = (request.task_ids.len(), Failing::of_batch(parser.is_part()));
        let operation = self.prepare_step(request.task_ids, move |step, _, task_ids| {
            Box::pin(async move {
                let results = failing.results(store::cancel(step, task_ids).await?, "task_ids")?;
                Ok(pb::CancelResponse { results: results.into_iter().map(convert::task_result).collect() })
            })
        });
        operation.of_items(items).locking(locks)
    }

    pub(in crate::services) fn prepare_retry(
        self: &Arc<Self>,
        parser: &mut Parser<'_>,
        request: pb::RetryRequest,
    ) -> Operation<pb::RetryResponse> {
        self.check_task_ids(parser, &request.task_ids);
        let locks: Vec<_> = request.task_ids.iter().map(|task_id| store::lock_of(*task_id)).collect();
        let (items, failing) = (request.task_ids.len(), Failing::of_batch(parser.is_part()));
        let first_us = self.clock.steady_range_us(items);
        let operation = self.prepare_step(request.task_ids, move |step, _, task_ids| {
            Box::pin(async move {
                let results = failing.results(store::retry(step, task_ids, first_us).await?, "task_ids")?;
                Ok(pb::RetryResponse { results: results.into_iter().map(convert::task_result).collect() })
            })
        });
        operation.of_items(items).locking(locks)
    }

    fn check_task_ids(&self, parser: &mut Parser<'_>, task_ids: &[i64]) {
        let max = self.settings.queue.batch_items_max;
        parser.batch("task_ids", task_ids.len(), max, "queue.batch_items_max");
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

fn settled_of(result: pb::OutcomeResult) -> Option<pb::Settled> {
    match result.result {
        Some(pb::outcome_result::Result::Settled(settled)) => Some(settled),
        _ => None,
    }
}

fn enqueued_of(result: pb::BatchEnqueueResult) -> Option<pb::Enqueued> {
    match result.outcome {
        Some(pb::batch_enqueue_result::Outcome::Enqueued(enqueued)) => Some(enqueued),
        _ => None,
    }
}
