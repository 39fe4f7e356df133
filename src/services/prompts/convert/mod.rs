//! Protobuf ⇄ domain.

mod filters;
mod replies;
mod requests;
mod search;
mod stats;

pub(super) use filters::{next_of, query};
pub(super) use replies::{conversation, prompt, scores};
pub use requests::Parser;
pub(super) use search::{hits, place_of, search_query, search_token, substring_hits};
pub(super) use stats::{group, total};
