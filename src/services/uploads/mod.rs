//! Uploads: sessions and their progress, files by SHA-256, reservations, errors, an index that can be taken elsewhere.
//!
//! Files, counts, reservations and errors change together, in one step, under the lock of the session's row. Names that many
//! rows share are numbers; `registry` keeps them in memory. `upkeep` removes reservations that ran out and what deleted sessions
//! leave behind.

mod api;
mod convert;
mod domain;
mod entity;
mod file;
mod registry;
mod store;
mod upkeep;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::settings::Settings;
use crate::storage::Storage;

pub use api::{NAME, server};
pub use upkeep::run as upkeep;

use api::Context;
use registry::Registry;
use store::Names;

/// The uploads service, cheap to clone.
#[derive(Clone)]
pub struct UploadsService(pub(super) Arc<Uploads>);

/// What it owns.
pub(super) struct Uploads {
    storage: Storage,
    clock: Clock,
    settings: Settings,
    context: Context,
    /// One permit for each export.
    exports: Arc<Semaphore>,
}

impl UploadsService {
    /// The uploads on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let names = Names {
            registry: Registry::default(),
            sources_max: bound(settings.uploads.sources_max),
            mime_types_max: bound(settings.uploads.mime_types_max),
            is_reading: false,
        };
        let half = settings.server.message_bytes_max / 2;
        let exports_max = usize::try_from(settings.uploads.exports_max).unwrap_or(usize::MAX);
        Self(Arc::new(Uploads {
            context: Context::new(names, usize::try_from(half).unwrap_or(usize::MAX)),
            exports: Arc::new(Semaphore::new(exports_max.min(Semaphore::MAX_PERMITS))),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}
