//! The applications' own settings: JSON values under keys, with revisions in the order of commits, and a stream of changes.
//!
//! Those who watch are woken by every change and look for themselves. `upkeep` forgets deletions that are old enough.

mod api;
mod convert;
mod domain;
mod entity;
mod store;
mod upkeep;

use std::sync::Arc;

use crate::clock::Clock;
use crate::concurrency::ConcurrencyLimit;
use crate::settings::Settings as Configuration;
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};
pub use upkeep::run as upkeep;

/// What wakes those who watch: all of them, since a revision is one for all.
const WAKE_TOPIC: &str = "settings";

/// The settings service, cheap to clone.
#[derive(Clone)]
pub struct SettingsService(pub(super) Arc<Settings>);

/// What it owns.
pub(super) struct Settings {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    configuration: Configuration,
    /// One permit for each watch.
    watches: ConcurrencyLimit,
}

impl SettingsService {
    /// The settings on `storage`.
    pub fn new(storage: Storage, clock: Clock, configuration: &Configuration) -> Self {
        Self(Arc::new(Settings {
            request_keys: RequestKeys::new(api::NAME, &clock, &configuration.idempotency),
            watches: ConcurrencyLimit::new("settings.watches_max", configuration.settings.watches_max),
            configuration: configuration.clone(),
            storage,
            clock,
        }))
    }
}
