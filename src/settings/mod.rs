//! Settings: one struct per section, their defaults and their checks. `layers.rs` reads them.
//!
//! Units stand last in the names. Durations are milliseconds, sizes bytes; what zero means is said where it is special.

mod cache;
mod clock;
pub mod describe;
mod hints;
mod jobs;
mod layers;
mod prompts;
mod queue;
mod records;
mod server;
mod settings_service;
mod storage;
mod transaction;
mod units;
mod uploads;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use cache::TTL_MS_MAX;
pub use cache::{CacheSettings, Durability, Eviction};
pub use clock::ClockSettings;
pub use jobs::JobsSettings;
pub use layers::{Loaded, Origin, Problem};
pub use prompts::PromptsSettings;
pub use queue::QueueSettings;
pub(crate) use queue::{BACKOFF_MS_MAX, RETRIES_MAX, TIME_MS_MAX};
pub use records::RecordsSettings;
pub(crate) use server::RESPONSE_BYTES_MIN;
pub use server::ServerSettings;
pub use settings_service::SettingsServiceSettings;
pub use storage::{DatabaseUrl, StorageSettings};
pub use transaction::TransactionSettings;
pub use units::duration;
pub use uploads::UploadsSettings;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the sidecar listens and how much it takes on at once.
    pub server: ServerSettings,
    /// The database.
    pub storage: StorageSettings,
    /// How steps of the wall clock are dealt with.
    pub clock: ClockSettings,
    /// The cache's limits and the defaults of its namespaces.
    pub cache: CacheSettings,
    /// Tracked jobs.
    pub jobs: JobsSettings,
    /// The applications' own settings.
    pub settings: SettingsServiceSettings,
    /// The queue's limits and the defaults of its queues.
    pub queue: QueueSettings,
    /// Commits of several services at once.
    pub transaction: TransactionSettings,
    /// Uploads: sessions, files, reservations, errors.
    pub uploads: UploadsSettings,
    /// The history of prompts.
    pub prompts: PromptsSettings,
    /// Documents in collections.
    pub records: RecordsSettings,
    /// Repeated requests.
    pub idempotency: IdempotencySettings,
    /// The log on stderr.
    pub log: LogSettings,
}

/// Repeated requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencySettings {
    /// How long the answer to a `request_id` is kept.
    pub retention_ms: u64,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self { retention_ms: 24 * 60 * 60 * 1_000 }
    }
}

/// The log on stderr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A level, or directives such as `info,pannier::storage=debug`.
    pub filter: String,
    /// `text` or `json`.
    pub format: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info,sea_orm_migration=warn".into(), format: "text".into() }
    }
}

impl Settings {
    /// Reads all layers: defaults, then `file`, then `environment`, then `flags` (`section.key`, value).
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, Vec<Problem>> {
        layers::load(file, environment, flags)
    }

    /// What is wrong with the values, all of it: (setting, what to do).
    fn violations(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        self.server.check(&mut found);
        self.storage.check(&mut found);
        self.clock.check(&mut found);
        self.cache.check(&mut found);
        self.jobs.check(&mut found, self.server.message_bytes_max);
        self.settings.check(&mut found, self.server.message_bytes_max);
        self.queue.check(&mut found);
        self.transaction.check(&mut found);
        self.uploads.check(&mut found, self.server.message_bytes_max);
        self.prompts.check(&mut found, self.server.message_bytes_max);
        self.records.check(&mut found, self.server.message_bytes_max);
        if !matches!(self.log.format.as_str(), "text" | "json") {
            found.push(("log.format", "must be text or json".into()));
        }
        if self.log.filter.parse::<tracing_subscriber::EnvFilter>().is_err() {
            found.push(("log.filter", "must be a level such as info, or directives".into()));
        }
        // What an index entry of PostgreSQL can hold, less a tag.
        if !self.storage.url.is_empty() && self.cache.key_bytes_max > 2_048 {
            found.push(("cache.key_bytes_max", "must be at most 2048 on PostgreSQL".into()));
        }
        let smallest = self.cache.value_bytes_max + self.cache.metadata_bytes_max;
        if smallest >= self.server.message_bytes_max {
            found.push((
                "server.message_bytes_max",
                format!("must be above cache.value_bytes_max + cache.metadata_bytes_max ({smallest})"),
            ));
        }
        let largest = self.queue.parameters_bytes_max.saturating_add(self.queue.result_bytes_max);
        if largest >= self.server.message_bytes_max {
            found.push((
                "server.message_bytes_max",
                format!("must be above queue.parameters_bytes_max + queue.result_bytes_max ({largest})"),
            ));
        }
        found
    }
}

/// Notes a violation unless `value` lies within `range`.
fn within(
    found: &mut Vec<(&'static str, String)>,
    name: &'static str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
) {
    if !range.contains(&value) {
        found.push((name, format!("must be {} to {}, is {value}", range.start(), range.end())));
    }
}
