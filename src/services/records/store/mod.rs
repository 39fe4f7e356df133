//! The queries of records: one function is one step inside a transaction.
//!
//! Locks are taken in this order: a client, then collections by their names. Everything that changes what a collection holds holds
//! its row, so its changes are numbered in the order of commits.

mod candidates;
mod changes;
mod collections;
mod heights;
mod indexes;
#[cfg(test)]
mod plans;
mod query;
mod read;
mod remove;
mod rows;
mod sync;
mod values;
mod write;

pub use changes::{Changes, Start, changes, end, page_of_changes};
pub use collections::{
    create, declared, delete, list as list_collections, lock_of, schema_of, update, watched,
};
pub use indexes::build as build_index;
pub use query::{Found, Wanted, query};
pub use read::{Page, check, find_record, find_records, list, record_bytes};
pub use remove::{due, forget_client, purge, remove_remains};
pub use sync::{Mutation, Pull, Push, Settled, What, pull, push};
pub use write::{Context, Put, Writer};
