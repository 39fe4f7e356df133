//! The jobs service.

mod calls;
mod life;
mod list;
mod list_results;
mod progress;
mod results;
mod stats;
mod transitions;
mod watch;
mod watch_end;
