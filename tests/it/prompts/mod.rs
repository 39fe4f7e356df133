//! The prompts service.

pub(crate) mod calls;
mod found;
mod save;
mod search;
mod search_index;
mod search_pages;
mod search_random;
mod shared;
mod stats;
