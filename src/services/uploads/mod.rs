//! Uploads: sessions and their progress, files by SHA-256, reservations, errors, an index that can be taken elsewhere.
//!
//! Files, counts, reservations and errors change together, in one step, under the lock of the session's row. Names that many
//! rows share are numbers. `upkeep` removes reservations that ran out and what deleted sessions leave behind.

mod api;
mod convert;
mod domain;
mod entity;
mod file;
mod store;
mod upkeep;

use std::sync::Arc;

use crate::clock::Clock;
use crate::concurrency::ConcurrencyLimit;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};
pub use upkeep::run as upkeep;

use domain::NameKind;
use store::Names;

/// The uploads service, cheap to clone.
#[derive(Clone)]
pub struct UploadsService(pub(super) Arc<Uploads>);

/// What it owns.
pub(super) struct Uploads {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    names: Names,
    /// One permit for each export.
    exports: ConcurrencyLimit,
}

impl UploadsService {
    /// The uploads on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        // Services are a closed list, by the settings.
        let names = Names::new([
            (NameKind::Source, settings.uploads.sources_max),
            (NameKind::MimeType, settings.uploads.mime_types_max),
        ]);
        Self(Arc::new(Uploads {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            names,
            exports: ConcurrencyLimit::new("uploads.exports_max", settings.uploads.exports_max),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}
