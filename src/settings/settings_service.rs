//! `[settings]`: limits and upkeep of the applications' own settings.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits and upkeep of the applications' own settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsServiceSettings {
    /// Bytes of the longest key.
    pub key_bytes_max: u64,
    /// Bytes of the largest value.
    pub value_bytes_max: u64,
    /// Settings at once.
    pub settings_max: u64,
    /// Items of a batch.
    pub batch_items_max: u64,
    /// How long a deletion is kept for those who watch; who was away for longer reloads.
    pub deleted_retention_ms: u64,
    /// How often deletions whose time is over are removed.
    pub sweep_ms: u64,
    /// Watches at once; further ones are refused with OVERLOADED.
    pub watches_max: u64,
    /// Changes in one message of a watch.
    pub watch_changes_max: u64,
    /// How often a watch looks though nothing told it to.
    pub watch_look_ms: u64,
}

impl Default for SettingsServiceSettings {
    fn default() -> Self {
        Self {
            key_bytes_max: 512,
            value_bytes_max: 64 * 1024,
            settings_max: 100_000,
            batch_items_max: 1_000,
            deleted_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            sweep_ms: 60_000,
            watches_max: 1_000,
            watch_changes_max: 256,
            watch_look_ms: 5_000,
        }
    }
}

impl SettingsServiceSettings {
    /// `message_bytes_max` bounds what one row of an answer may take.
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>, message_bytes_max: u64) {
        within(found, "settings.key_bytes_max", self.key_bytes_max, 1..=2_048);
        within(found, "settings.value_bytes_max", self.value_bytes_max, 2..=message_bytes_max / 4);
        within(found, "settings.settings_max", self.settings_max, 1..=1 << 30);
        within(found, "settings.batch_items_max", self.batch_items_max, 1..=100_000);
        within(found, "settings.deleted_retention_ms", self.deleted_retention_ms, 1..=super::TTL_MS_MAX);
        within(found, "settings.sweep_ms", self.sweep_ms, 10..=3_600_000);
        within(found, "settings.watches_max", self.watches_max, 0..=65_536);
        within(found, "settings.watch_changes_max", self.watch_changes_max, 1..=10_000);
        within(found, "settings.watch_look_ms", self.watch_look_ms, 10..=600_000);
    }
}
