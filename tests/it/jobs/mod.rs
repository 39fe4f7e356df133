//! The jobs service.

mod bad_input;
pub(crate) mod calls;
mod concurrency;
mod durable;
mod life;
mod list;
mod list_results;
mod model;
mod progress;
mod random_calls;
mod removal;
mod request_id;
mod results;
mod shared;
mod stats;
mod transitions;
pub(crate) mod watch;
mod watch_end;
