//! `pannier.records.v1` through its API.

mod bad_input;
mod batches;
mod calls;
mod changes;
mod collections;
mod documents;
mod outage;
mod random_sync;
mod request_id;
mod retention;
mod shared;
mod sizes;
mod sync;
mod watch;
