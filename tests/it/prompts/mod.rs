//! The prompts service.

mod found;
mod search;
mod search_index;
mod search_pages;
mod search_random;
mod stats;
