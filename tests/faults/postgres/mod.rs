//! PostgreSQL that is stopped, killed, full, unreachable or not the one it should be: calls fail fast and say so, nothing
//! acknowledged is lost, nothing is done twice, and all recovers by itself.
//!
//! Every test has a server of its own, with fsync on, in a temporary folder. Without PostgreSQL on the machine they
//! fail: leave them out by `--skip postgres::`.

mod backends;
mod commit;
mod crowded;
#[cfg(target_os = "linux")]
mod full_disk;
mod network;
mod persist;
mod proxy;
mod restarts;
pub(crate) mod server;
mod start;
mod stop;
mod tls;
mod wake_ups;
