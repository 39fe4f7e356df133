//! Protobuf ⇄ domain.

mod replies;
mod requests;

pub(super) use replies::{add_outcome, job, result, stats};
pub(super) use requests::Parser;
