//! The prompts service.

mod bad_input;
pub(crate) mod calls;
mod concurrency;
mod conversations;
mod list;
mod marks;
mod removal;
mod request_id;
mod save;
mod shared;
mod streams;
