//! `[records]`: limits and upkeep of documents in collections.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits and upkeep of documents in collections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordsSettings {
    /// Bytes of the longest key.
    pub key_bytes_max: u64,
    /// Bytes of the largest document, and of the largest patch.
    pub document_bytes_max: u64,
    /// How deep objects and arrays of a document may be nested.
    pub depth_max: u64,
    /// Documents of at least so many bytes are compressed when that makes them smaller.
    pub compress_bytes_min: u64,
    /// Collections at once.
    pub collections_max: u64,
    /// Deleted collections whose last number is kept by name; further ones share one.
    pub deleted_collections_max: u64,
    /// Records of a collection that does not say otherwise.
    pub records_max: u64,
    /// Bytes of keys and documents of a collection that does not say otherwise.
    pub bytes_max: u64,
    /// Bytes of the largest schema.
    pub schema_bytes_max: u64,
    /// Steps that a schema may take with one document.
    pub schema_steps_max: u64,
    /// Bytes of all patterns of a schema when they are compiled.
    pub schema_pattern_bytes_max: u64,
    /// Threads that judge documents by schemas at once.
    pub schema_threads_max: u64,
    /// Indexes of a collection.
    pub indexes_max: u64,
    /// Conditions of a filter.
    pub query_conditions_max: u64,
    /// Documents that a page of a query looks at, at most, where it reads them in the order that is asked for.
    pub query_scan_rows_max: u64,
    /// Bytes of documents that a page of a query looks at; a page has one document at least.
    pub query_scan_bytes_max: u64,
    /// Documents that a query sorts, at most, where no index has the order that is asked for.
    pub query_sort_rows_max: u64,
    /// Items of a batch.
    pub batch_items_max: u64,
    /// Members that a put keeps, or a patch removes, by name.
    pub keep_members_max: u64,
    /// How long a deletion is kept in a collection that does not say otherwise; who was away for longer begins anew.
    pub tombstone_retention_ms: u64,
    /// How often deletions and clients whose time is over, and what deleted collections leave behind, are removed.
    pub sweep_ms: u64,
    /// Watches at once; further ones are refused with OVERLOADED.
    pub watches_max: u64,
    /// Changes in one message of a watch.
    pub watch_changes_max: u64,
    /// How often a watch looks though nothing told it to.
    pub watch_look_ms: u64,
    /// How long a watch is silent at most.
    pub heartbeat_ms: u64,
    /// Mutations of one Sync.
    pub sync_mutations_max: u64,
    /// Collections of which one Sync asks for changes.
    pub sync_collections_max: u64,
    /// Outcomes of a client that it has not acknowledged.
    pub sync_outcomes_max: u64,
    /// Clients at once.
    pub clients_max: u64,
    /// How long a client that is not seen is remembered.
    pub client_retention_ms: u64,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Default for RecordsSettings {
    fn default() -> Self {
        Self {
            key_bytes_max: 512,
            document_bytes_max: 1024 * 1024,
            depth_max: 64,
            compress_bytes_min: 512,
            collections_max: 1_000,
            deleted_collections_max: 10_000,
            records_max: 10_000_000,
            bytes_max: 64 << 30,
            schema_bytes_max: 64 * 1024,
            schema_steps_max: 1_000_000,
            schema_pattern_bytes_max: 64 << 20,
            schema_threads_max: 2,
            indexes_max: 16,
            query_conditions_max: 256,
            query_scan_rows_max: 10_000,
            query_scan_bytes_max: 64 << 20,
            query_sort_rows_max: 10_000,
            batch_items_max: 5_000,
            keep_members_max: 64,
            tombstone_retention_ms: 30 * DAY_MS,
            sweep_ms: 60_000,
            watches_max: 1_000,
            watch_changes_max: 256,
            watch_look_ms: 5_000,
            heartbeat_ms: 15_000,
            sync_mutations_max: 1_000,
            sync_collections_max: 64,
            sync_outcomes_max: 10_000,
            clients_max: 100_000,
            client_retention_ms: 90 * DAY_MS,
        }
    }
}

impl RecordsSettings {
    /// Half of `message_bytes_max` is what the rows of a page may take, and one row must fit.
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>, message_bytes_max: u64) {
        // What an index entry of PostgreSQL can hold.
        within(found, "records.key_bytes_max", self.key_bytes_max, 36..=2_048);
        within(found, "records.document_bytes_max", self.document_bytes_max, 2..=message_bytes_max / 4);
        within(found, "records.depth_max", self.depth_max, 1..=100);
        within(found, "records.compress_bytes_min", self.compress_bytes_min, 0..=1 << 40);
        within(found, "records.collections_max", self.collections_max, 1..=100_000);
        within(found, "records.deleted_collections_max", self.deleted_collections_max, 1..=1_000_000);
        within(found, "records.records_max", self.records_max, 1..=1 << 40);
        within(found, "records.bytes_max", self.bytes_max, 1..=1 << 50);
        within(found, "records.schema_bytes_max", self.schema_bytes_max, 2..=message_bytes_max / 4);
        within(found, "records.schema_steps_max", self.schema_steps_max, 1..=1_000_000_000);
        within(found, "records.schema_pattern_bytes_max", self.schema_pattern_bytes_max, 1_024..=1 << 32);
        within(found, "records.schema_threads_max", self.schema_threads_max, 1..=64);
        within(found, "records.indexes_max", self.indexes_max, 0..=64);
        within(found, "records.query_conditions_max", self.query_conditions_max, 1..=10_000);
        within(found, "records.query_scan_rows_max", self.query_scan_rows_max, 1..=1_000_000);
        within(found, "records.query_scan_bytes_max", self.query_scan_bytes_max, 1..=1 << 40);
        within(found, "records.query_sort_rows_max", self.query_sort_rows_max, 0..=100_000);
        within(found, "records.batch_items_max", self.batch_items_max, 1..=100_000);
        within(found, "records.keep_members_max", self.keep_members_max, 0..=10_000);
        within(found, "records.tombstone_retention_ms", self.tombstone_retention_ms, 1..=super::TTL_MS_MAX);
        within(found, "records.sweep_ms", self.sweep_ms, 10..=3_600_000);
        within(found, "records.watches_max", self.watches_max, 0..=65_536);
        within(found, "records.watch_changes_max", self.watch_changes_max, 1..=10_000);
        within(found, "records.watch_look_ms", self.watch_look_ms, 10..=600_000);
        within(found, "records.heartbeat_ms", self.heartbeat_ms, 10..=3_600_000);
        within(found, "records.sync_mutations_max", self.sync_mutations_max, 1..=10_000);
        within(found, "records.sync_collections_max", self.sync_collections_max, 1..=1_000);
        let mutations = self.sync_mutations_max.min(1_000_000);
        within(found, "records.sync_outcomes_max", self.sync_outcomes_max, mutations..=1_000_000);
        within(found, "records.clients_max", self.clients_max, 1..=10_000_000);
        within(found, "records.client_retention_ms", self.client_retention_ms, 1..=super::TTL_MS_MAX);
    }
}
