//! The queue service.

mod bad_input;
mod batches;
mod by_hand;
pub(crate) mod calls;
mod durability;
mod jobs;
mod keys;
mod large_results;
mod leases;
mod life;
mod lines;
mod list;
mod order;
mod removal;
mod request_id;
mod schedules;
mod shared;
mod single;
mod stats;
mod unique;
mod waits;
mod watch;
mod work;
mod workers;
