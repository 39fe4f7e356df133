//! Enqueue is a BatchEnqueue of one.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert::{self, Parser};
use super::super::domain::NewTask;
use super::super::{Core, store};
use super::only;
use crate::error::{Error, Result};
use crate::storage::Durability;
use crate::storage::idempotency::RequestKey;

/// Tasks on their way into a queue.
struct Batch {
    queue: String,
    tasks: Vec<NewTask>,
    first_us: i64,
    /// Whether an item that fails fails the call.
    is_single: bool,
}

impl Core {
    pub(super) async fn enqueue(
        self: &Arc<Self>,
        mut request: pb::EnqueueRequest,
    ) -> Result<pb::EnqueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "Enqueue", &request);
        let queue = parser.queue_name("queue", request.queue);
        let path = || "item".to_owned();
        let task = parser.enqueue_item(&path, request.item.unwrap_or_default());
        parser.within_ten_years(&path, task.when, self.clock.now_us());
        parser.violations.check()?;

        let answer = self.add(queue, vec![task], key, true).await?;
        match only(answer.results)?.outcome {
            Some(pb::batch_enqueue_result::Outcome::Enqueued(enqueued)) => {
                Ok(pb::EnqueueResponse { enqueued: Some(enqueued) })
            }
            _ => Err(Error::internal("a single task was added without a result")),
        }
    }

    pub(super) async fn batch_enqueue(
        self: &Arc<Self>,
        mut request: pb::BatchEnqueueRequest,
    ) -> Result<pb::BatchEnqueueResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_key(id, "BatchEnqueue", &request);
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
        parser.violations.check()?;
        self.add(queue, tasks, key, false).await
    }

    async fn add(
        self: &Arc<Self>,
        queue: String,
        tasks: Vec<NewTask>,
        request: Option<RequestKey>,
        is_single: bool,
    ) -> Result<pb::BatchEnqueueResponse> {
        let first_us = self.clock.steady_range_us(tasks.len());
        let batch = Batch { queue, tasks, first_us, is_single };
        self.change(Durability::Full, request, batch, |step, core, batch| {
            Box::pin(async move {
                let queue = step.names.ensure_queue(step.tx, &batch.queue, step.now).await?;
                let keys_max = core.count(core.settings.queue.keys_max);
                let results = store::enqueue(step, &queue, &batch.tasks, batch.first_us, keys_max).await?;
                if batch.is_single && results.iter().any(Result::is_err) {
                    return Err(only(results)?.err().unwrap_or_else(|| Error::internal("no result")));
                }
                let results = results.into_iter().map(convert::batch_enqueue_result).collect();
                Ok(pb::BatchEnqueueResponse { results })
            })
        })
        .await
    }
}
