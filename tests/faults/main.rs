//! Faults: what the sidecar does when it is killed, when its callers misbehave, when its storage fails, and when it is
//! started where it must not.
//!
//! Every test starts the real binary and speaks real gRPC to it. How long they run is steered by the environment:
//! `PANNIER_KILLS` (50; 9 for records), `PANNIER_STORM_CALLS` (10000), `PANNIER_QUEUE_TASKS` (2000), `PANNIER_QUEUE_KILLS` (by the tasks),
//! `PANNIER_FAULTS=all` (each point instead of a part of them), and `PANNIER_SEED` runs the same choices again.

// Tests may fail loudly, print what they did, and look at the real clock.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]
#![cfg(unix)]

mod calls;
mod chance;
mod clock;
mod command_line;
mod commits;
mod configuration;
mod database_full;
mod doctor;
mod exit;
mod files;
mod fleet;
#[cfg(target_os = "linux")]
mod floods;
#[cfg(target_os = "linux")]
mod injected;
mod kill_nine;
mod ledger;
mod life;
mod load;
mod malformed;
mod peers;
mod postgres;
mod queue;
mod records;
#[cfg(target_os = "linux")]
mod shim;
mod sidecar;
mod sockets;
mod start;
mod storm;
mod transfer;
mod turn;
mod wal;
