//! The prompts service.

pub(crate) mod calls;
mod save;
