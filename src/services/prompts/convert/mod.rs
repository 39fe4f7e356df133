//! Protobuf ⇄ domain.

mod filters;
mod replies;
mod requests;

pub(super) use filters::{key_of, query};
pub(super) use replies::{conversation, prompt, scores};
pub use requests::Parser;
