//! The prompts service.

mod bad_input;
mod batch_score;
pub(crate) mod calls;
mod concurrency;
mod conversations;
mod found;
mod list;
mod marks;
mod names;
mod removal;
mod request_id;
mod save;
mod search;
mod search_index;
mod search_pages;
mod search_random;
mod shared;
mod shuffled;
mod stats;
mod streams;
mod substring;
mod view;
