//! `[cache]`: the cache's limits and the defaults of its namespaces.

use serde::{Deserialize, Serialize};

use super::within;

/// The cache's limits and the defaults of its namespaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes of the longest key.
    pub key_bytes_max: u64,
    /// Bytes of the largest value.
    pub value_bytes_max: u64,
    /// Bytes of the largest metadata.
    pub metadata_bytes_max: u64,
    /// Tags of one entry.
    pub tags_max: u64,
    /// Items of one call.
    pub batch_items_max: u64,
    /// Rows that one deleting or evicting call may take.
    pub delete_rows_max: u64,
    /// Namespaces that callers see, and as many again that hold nothing but leases.
    pub namespaces_max: u64,
    /// Namespaces that have a label of their own in the metrics; the others share one.
    pub metrics_namespaces_max: u64,
    /// Bytes of the hot set in memory; zero: none.
    pub memory_bytes_max: u64,
    /// On a database that several sidecars use: for how long an entry or a namespace's limits are served from memory before
    /// the database is asked again; zero: not at all.
    pub shared_age_ms_max: u64,
    /// Default of new namespaces: entries; zero: no limit.
    pub entries_max: u64,
    /// Default of new namespaces: bytes; zero: no limit.
    pub bytes_max: u64,
    /// Default of new namespaces: time to live; zero: entries never expire.
    pub ttl_ms: u64,
    /// Default of new namespaces: for how long after its expiry an entry may be served stale.
    pub stale_window_ms: u64,
    /// Default of new namespaces: which entries go first.
    pub eviction: Eviction,
    /// Default of new namespaces: what acknowledged writes survive.
    pub durability: Durability,
    /// Values of this many bytes or more are compressed, if that makes them smaller.
    pub compress_bytes_min: u64,
    /// How often access times and counts are written.
    pub access_flush_ms: u64,
    /// Entries whose accesses wait to be written; accesses beyond that are counted in the statistics only.
    pub access_pending_max: u64,
    /// How often expired entries are looked for.
    pub sweep_ms: u64,
    /// How long a lease holds when the caller does not say.
    pub lease_ttl_ms: u64,
    /// The longest lease.
    pub lease_ttl_ms_max: u64,
    /// How long a caller waits for another's fill when it does not say.
    pub lease_wait_ms: u64,
    /// The longest wait.
    pub lease_wait_ms_max: u64,
}

/// Which entries go first when a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eviction {
    /// The least recently used.
    Lru,
    /// Those that expire soonest.
    Ttl,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// kill -9 and power loss.
    Full,
    /// kill -9.
    Relaxed,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            key_bytes_max: 1_024,
            value_bytes_max: 8 * 1024 * 1024,
            metadata_bytes_max: 64 * 1024,
            tags_max: 32,
            batch_items_max: 5_000,
            delete_rows_max: 10_000,
            namespaces_max: 1_000,
            metrics_namespaces_max: 100,
            memory_bytes_max: 64 * 1024 * 1024,
            shared_age_ms_max: 1_000,
            entries_max: 0,
            bytes_max: 500 * 1024 * 1024,
            ttl_ms: 30 * 24 * 60 * 60 * 1_000,
            stale_window_ms: 0,
            eviction: Eviction::Lru,
            durability: Durability::Full,
            compress_bytes_min: 4_096,
            access_flush_ms: 2_000,
            access_pending_max: 10_000,
            sweep_ms: 5_000,
            lease_ttl_ms: 10_000,
            lease_ttl_ms_max: 300_000,
            lease_wait_ms: 5_000,
            lease_wait_ms_max: 30_000,
        }
    }
}

/// Ten years: the longest time to live.
pub(crate) const TTL_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

impl CacheSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        const GIB: u64 = 1 << 30;
        within(found, "cache.key_bytes_max", self.key_bytes_max, 1..=16_384);
        within(found, "cache.value_bytes_max", self.value_bytes_max, 1..=GIB / 4);
        within(found, "cache.metadata_bytes_max", self.metadata_bytes_max, 2..=GIB / 64);
        within(found, "cache.tags_max", self.tags_max, 0..=1_000);
        within(found, "cache.batch_items_max", self.batch_items_max, 1..=100_000);
        within(found, "cache.delete_rows_max", self.delete_rows_max, 1..=1_000_000);
        within(found, "cache.namespaces_max", self.namespaces_max, 1..=100_000);
        within(found, "cache.metrics_namespaces_max", self.metrics_namespaces_max, 0..=10_000);
        within(found, "cache.memory_bytes_max", self.memory_bytes_max, 0..=64 * GIB);
        within(found, "cache.shared_age_ms_max", self.shared_age_ms_max, 0..=3_600_000);
        within(found, "cache.entries_max", self.entries_max, 0..=1 << 40);
        within(found, "cache.bytes_max", self.bytes_max, 0..=1 << 44);
        within(found, "cache.ttl_ms", self.ttl_ms, 0..=TTL_MS_MAX);
        within(found, "cache.stale_window_ms", self.stale_window_ms, 0..=TTL_MS_MAX);
        within(found, "cache.compress_bytes_min", self.compress_bytes_min, 64..=1 << 40);
        within(found, "cache.access_flush_ms", self.access_flush_ms, 10..=600_000);
        within(found, "cache.access_pending_max", self.access_pending_max, 0..=1_000_000);
        within(found, "cache.sweep_ms", self.sweep_ms, 10..=3_600_000);
        within(found, "cache.lease_ttl_ms_max", self.lease_ttl_ms_max, 1..=3_600_000);
        within(found, "cache.lease_ttl_ms", self.lease_ttl_ms, 1..=self.lease_ttl_ms_max);
        within(found, "cache.lease_wait_ms_max", self.lease_wait_ms_max, 0..=3_600_000);
        within(found, "cache.lease_wait_ms", self.lease_wait_ms, 0..=self.lease_wait_ms_max);
    }
}
