//! Protobuf ⇄ domain.

mod replies;
mod requests;

pub(super) use replies::{add_results, job, result, stats};
pub(super) use requests::Parser;
