//! Protobuf ⇄ domain.

mod queues;
mod replies;
mod requests;

pub(super) use crate::convert::{duration, timestamp};
pub(super) use queues::{key, queue};
pub(super) use replies::{
    batch_enqueue_result, enqueued, event, outcome_result, settled, state, task, task_result, worker,
};

/// A parser of the queue's requests.
pub(super) type Parser<'s> = crate::convert::Parser<'s, crate::settings::QueueSettings>;
