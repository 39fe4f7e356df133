//! Prompts: the history of what was asked of language models and what came of it.
//!
//! Entries, bodies, tags, scores and conversations change together, in one step. Names that many rows share are numbers; `registry`
//! keeps them in memory. `filter` says which prompts a list takes, `search` what a search is, `statistics` and `sketch` what is counted; `upkeep`
//! is retention, `derived` the index of words and the numbers.

mod api;
mod convert;
mod derived;
mod domain;
mod entity;
mod filter;
mod registry;
mod search;
mod sketch;
mod statistics;
mod store;
mod upkeep;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::settings::Settings;
use crate::storage::Storage;

pub use api::{NAME, server};
pub use derived::run as derived;
pub use upkeep::run as upkeep;

use registry::Registry;
use store::NameNumbers;

/// The prompts service, cheap to clone.
#[derive(Clone)]
pub struct PromptsService(pub(super) Arc<Prompts>);

/// What it owns.
pub(super) struct Prompts {
    storage: Storage,
    clock: Clock,
    settings: Settings,
    names: NameNumbers,
    /// One permit for each import.
    imports: Arc<Semaphore>,
    /// One permit for each export.
    exports: Arc<Semaphore>,
}

impl PromptsService {
    /// The prompts on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        let names_max = i64::try_from(settings.prompts.names_max).unwrap_or(i64::MAX);
        let names = NameNumbers { registry: Registry::default(), names_max, is_reading: false };
        let permits = |max: u64| {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)))
        };
        Self(Arc::new(Prompts {
            names,
            imports: permits(settings.prompts.imports_max),
            exports: permits(settings.prompts.exports_max),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}
