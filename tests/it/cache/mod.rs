//! The cache service.

mod accesses;
mod bad_input;
mod bad_input_of_reads;
mod batches;
mod calls;
mod compression;
mod concurrency;
mod conditions;
mod delete;
mod evict;
mod expiry;
pub(crate) mod items;
mod lease_loss;
mod lease_waits;
mod leases;
mod limits;
mod list;
mod list_tokens;
mod model;
mod namespace_deletion;
mod namespaces;
mod put_get;
mod request_id;
mod request_id_methods;
mod stats;
mod sweep;
mod touch;
