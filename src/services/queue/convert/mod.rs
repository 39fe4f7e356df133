//! Protobuf ⇄ domain.

mod queues;
mod replies;
mod requests;
mod schedules;

pub(super) use crate::convert::{duration, timestamp};
pub(super) use queues::{key, queue};
pub(super) use replies::{batch_enqueue_results, event, outcome_results, state, task, task_results, worker};
pub(super) use schedules::schedule;

/// A parser of the queue's requests.
pub(super) type Parser<'s> = crate::convert::Parser<'s, crate::settings::QueueSettings>;
