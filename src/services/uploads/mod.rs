//! Uploads: sessions and their progress, files by SHA-256, reservations, errors, an index that can be taken elsewhere.
//!
//! Files, counts, reservations and errors change together, in one step, under the lock of the session's row. Names that many
//! rows share are numbers; `registry` keeps them in memory. `upkeep` removes reservations that ran out and what deleted sessions
//! leave behind.
//!
//! Each mutation is a [`Step`]. The service's own calls run it in a transaction of its own; who composes several services parses
//! it by [`UploadsService::parse`] and runs it by [`UploadsService::run_in`]. There is no other way, so no rule is missed.

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
use crate::error::Result;
use crate::settings::Settings;
use crate::storage::{Storage, Tx};

pub use api::{
    BatchRegisterFiles, BatchReserveFiles, CompleteSession, Context, CreateSession, DeleteSession,
    ExtendReservations, FailSession, Forget, NAME, PauseSession, RecordError, RegisterFile,
    ReleaseReservations, ReserveFile, ResumeSession, Step, UpdateSession, server,
};
pub use convert::Parser;
pub use upkeep::run as upkeep;

use registry::Registry;
use store::Names;

/// The uploads service, cheap to clone.
#[derive(Clone)]
pub struct UploadsService(Arc<Uploads>);

struct Uploads {
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

    /// Parses and checks a mutation, to be run in a transaction of the caller's. Its `request_id` and `durability` are not
    /// looked at: they are that transaction's. Error: Invalid, with the fields as the request alone would name them.
    pub fn parse<S: Step>(&self, request: S::Request) -> Result<S> {
        self.0.parse(request)
    }

    /// Runs a mutation as one step of a transaction of the caller's. It takes locks from the session to its files; who runs
    /// several does so in ascending order of the sessions' ids.
    ///
    /// Its errors are those of the call and come before anything is written but names. `now_us` is the clock's, read before the
    /// transaction: it may be run again.
    pub async fn run_in<S: Step>(&self, tx: &Tx<'_>, step: &S, now_us: i64) -> Result<S::Response> {
        step.run(tx, &self.0.context, now_us).await
    }
}
