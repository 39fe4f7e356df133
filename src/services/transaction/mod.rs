//! One call that changes several services, all or nothing.
//!
//! It has no rules and no tables of its own: each service prepares its mutations as operations (`prepare_…` in its
//! `api/mutations.rs`), as it does for its own calls, and here they are run one after the other in one transaction.
//! docs/transaction.md says what is promised.

mod api;
mod convert;
mod domain;

use std::sync::Arc;

use crate::clock::Clock;
use crate::services::{cache, jobs, prompts, queue, records, settings, uploads};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};

/// The transaction service, cheap to clone.
#[derive(Clone)]
pub struct TransactionService(Arc<Transaction>);

/// The services that it composes, by the names of their sections in the settings.
pub struct Services {
    /// The cache.
    pub cache: cache::CacheService,
    /// Tracked jobs.
    pub jobs: jobs::JobsService,
    /// The queue.
    pub queue: queue::QueueService,
    /// The applications' own settings.
    pub settings: settings::SettingsService,
    /// Uploads.
    pub uploads: uploads::UploadsService,
    /// The history of prompts.
    pub prompts: prompts::PromptsService,
    /// Documents in collections.
    pub records: records::RecordsService,
}

struct Transaction {
    storage: Storage,
    request_keys: RequestKeys,
    configuration: Settings,
    services: Services,
}

impl TransactionService {
    /// Commits on `storage` that change `services`.
    pub fn new(storage: Storage, clock: &Clock, configuration: &Settings, services: Services) -> Self {
        let request_keys = RequestKeys::new(api::NAME, clock, &configuration.idempotency);
        Self(Arc::new(Transaction { storage, request_keys, configuration: configuration.clone(), services }))
    }
}
