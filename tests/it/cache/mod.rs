//! The cache service.

mod accesses;
mod batches;
mod calls;
mod compression;
mod conditions;
mod delete;
mod evict;
mod expiry;
mod items;
mod lease_loss;
mod lease_waits;
mod leases;
mod limits;
mod list;
mod list_tokens;
mod namespace_deletion;
mod namespaces;
mod put_get;
mod request_id;
mod request_id_methods;
mod stats;
mod sweep;
mod touch;
