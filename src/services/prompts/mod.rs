//! Prompts: the history of what was asked of language models and what came of it.
//!
//! Entries, bodies, tags, scores and conversations change together, in one step. Names that many rows share are numbers.
//! `filter` says which prompts a list takes, `search` what a search is, `statistics` and `sketch` what is counted; `upkeep` is retention,
//! `derived` the index of words and the numbers.

mod api;
mod convert;
mod derived;
mod domain;
mod entity;
mod filter;
mod search;
mod sketch;
mod statistics;
mod store;
mod upkeep;

use std::sync::Arc;

use crate::clock::Clock;
use crate::concurrency::ConcurrencyLimit;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};
pub use derived::run as derived;
pub use upkeep::run as upkeep;

use store::NameLimits;

/// The prompts service, cheap to clone.
#[derive(Clone)]
pub struct PromptsService(pub(super) Arc<Prompts>);

/// What it owns.
pub(super) struct Prompts {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    names: Arc<NameLimits>,
    /// One permit for each import.
    imports: ConcurrencyLimit,
    /// One permit for each export.
    exports: ConcurrencyLimit,
}

impl PromptsService {
    /// The prompts on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        Self(Arc::new(Prompts {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            names: Arc::new(NameLimits::new(settings.prompts.names_max)),
            imports: ConcurrencyLimit::new("prompts.imports_max", settings.prompts.imports_max),
            exports: ConcurrencyLimit::new("prompts.exports_max", settings.prompts.exports_max),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}
