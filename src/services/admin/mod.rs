//! The sidecar process: identity, configuration, clock.
//!
//! Every value of the status is known at the start; no call reads the database.

mod api;

use std::sync::Arc;

use crate::clock::{Clock, ManualClock};
use crate::settings::Settings;
use crate::storage::{Storage, migrate};

pub use api::{NAME, server};

/// The flags of the process that the status shows.
#[derive(Debug, Default)]
pub struct Process {
    /// The hands of the clock, if calls may move it.
    pub test_clock: Option<ManualClock>,
    /// Whether the data directory is removed at the end.
    pub is_ephemeral: bool,
}

/// The admin service, cheap to clone.
#[derive(Clone)]
pub struct AdminService(Arc<Admin>);

/// What it owns.
struct Admin {
    clock: Clock,
    process: Process,
    storage: &'static str,
    data_directory: String,
    schema_version: String,
    start_us: i64,
    settings: Settings,
}

impl AdminService {
    /// The service of a sidecar that starts now on `storage`.
    pub fn new(storage: &Storage, clock: Clock, settings: &Settings, process: Process) -> Self {
        Self(Arc::new(Admin {
            storage: storage.kind(),
            data_directory: if settings.storage.url.is_empty() { directory(settings) } else { String::new() },
            schema_version: migrate::newest(),
            start_us: clock.now_us(),
            settings: settings.clone(),
            clock,
            process,
        }))
    }
}

fn directory(settings: &Settings) -> String {
    let directory = &settings.storage.directory;
    std::path::absolute(directory).map_or_else(|_| directory.clone(), |path| path.display().to_string())
}
