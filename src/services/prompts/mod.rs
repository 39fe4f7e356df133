//! Prompts: the history of what was asked of language models.

pub mod search;
pub mod sketch;
pub mod statistics;
