//! `pannier.records.v1.RecordsService`.

mod asking;
mod bad_input;
mod batches;
mod branches;
pub mod calls;
mod changes;
mod collections;
mod documents;
mod indexes;
mod items;
mod outage;
mod query;
mod random_queries;
mod random_sync;
mod request_id;
mod retention;
mod schema;
mod shared;
mod shuffled;
mod sizes;
mod sync;
mod watch;
