//! The settings service.

mod bad_input;
pub(crate) mod calls;
mod changes;
mod shared;
mod watch;
