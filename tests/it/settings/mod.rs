//! The settings service.

mod bad_input;
mod calls;
mod changes;
mod shared;
mod watch;
