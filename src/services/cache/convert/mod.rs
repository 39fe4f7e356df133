//! Protobuf ⇄ domain.

mod replies;
mod requests;

pub(super) use replies::{batch_put_result, entry, namespace, stats, timestamp};
pub(super) use requests::Parser;
