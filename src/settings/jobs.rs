//! `[jobs]`: limits and upkeep of tracked jobs.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits and upkeep of tracked jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsSettings {
    /// Bytes of the largest metadata of a job.
    pub metadata_bytes_max: u64,
    /// Bytes of the largest data of a result.
    pub result_data_bytes_max: u64,
    /// Results of one call.
    pub batch_items_max: u64,
    /// How long a job that has ended is kept, with its results; zero: for ever.
    pub retention_ms: u64,
    /// How often jobs whose time is over, and what is left of deleted ones, are removed.
    pub sweep_ms: u64,
    /// Watches at once; further ones are refused with OVERLOADED.
    pub watches_max: u64,
    /// The shortest time between two messages of a watch.
    pub watch_interval_ms_min: u64,
    /// How often a watch looks at its job though nothing told it to.
    pub watch_look_ms: u64,
    /// Jobs that one Stats reads.
    pub stats_jobs_max: u64,
}

impl Default for JobsSettings {
    fn default() -> Self {
        Self {
            metadata_bytes_max: 64 * 1024,
            result_data_bytes_max: 64 * 1024,
            batch_items_max: 5_000,
            retention_ms: 30 * 24 * 60 * 60 * 1_000,
            sweep_ms: 5_000,
            watches_max: 1_000,
            watch_interval_ms_min: 100,
            watch_look_ms: 5_000,
            stats_jobs_max: 100_000,
        }
    }
}

impl JobsSettings {
    /// Half of `message_bytes_max` is what the rows of a page may take, and one row must fit.
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>, message_bytes_max: u64) {
        let json_bytes_max = message_bytes_max / 2;
        within(found, "jobs.metadata_bytes_max", self.metadata_bytes_max, 2..=json_bytes_max);
        within(found, "jobs.result_data_bytes_max", self.result_data_bytes_max, 2..=json_bytes_max);
        within(found, "jobs.batch_items_max", self.batch_items_max, 1..=100_000);
        within(found, "jobs.retention_ms", self.retention_ms, 0..=super::TTL_MS_MAX);
        within(found, "jobs.sweep_ms", self.sweep_ms, 10..=3_600_000);
        within(found, "jobs.watches_max", self.watches_max, 0..=65_536);
        within(found, "jobs.watch_interval_ms_min", self.watch_interval_ms_min, 1..=60_000);
        within(found, "jobs.watch_look_ms", self.watch_look_ms, 10..=600_000);
        within(found, "jobs.stats_jobs_max", self.stats_jobs_max, 1..=10_000_000);
    }
}
