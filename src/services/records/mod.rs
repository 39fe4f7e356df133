//! Records: JSON documents in collections, with revisions, schemas, indexes, changes in the order of commits, and Sync.
//!
//! Everything that changes a collection's records holds the collection's row until its commit (`store/write.rs`), so that changes are
//! numbered in the order of commits and a reader of them misses none. `json` and `schema` are pure. `query` plans. `upkeep` builds
//! indexes and removes what is over.

mod api;
mod convert;
mod document;
mod domain;
mod entity;
mod query;
mod schema;
mod steps;
mod store;
mod upkeep;
mod verdicts;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::concurrency::ConcurrencyLimit;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};
pub use upkeep::run as upkeep;

/// The records service, cheap to clone.
#[derive(Clone)]
pub struct RecordsService(pub(super) Arc<Records>);

/// What it owns.
pub(super) struct Records {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    context: store::Context,
    judging: verdicts::Judging,
    /// One permit for each watch.
    watches: ConcurrencyLimit,
    /// Tells the upkeep that an index is to be built.
    indexing: Arc<Notify>,
}

impl RecordsService {
    /// The records on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        let context = store::Context {
            bounds: domain::Bounds::new(&settings.records),
            verdicts: verdicts::Verdicts::default(),
            is_shared: storage.is_shared(),
        };
        Self(Arc::new(Records {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            context,
            judging: verdicts::Judging::new(storage.clone(), &settings.records),
            watches: ConcurrencyLimit::new("records.watches_max", settings.records.watches_max),
            indexing: Arc::new(Notify::new()),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}

/// What wakes those who watch a collection.
fn wake_topic(collection: &str) -> String {
    format!("records/{collection}")
}
