//! SQLite behind the two calls: one writer thread that commits in groups, a few reader threads.

mod checkpointer;
mod connection;
mod examine;
mod executor;
mod inspect;
mod reader;
mod restart;
#[cfg(test)]
mod round_trip;
mod wal_readers;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::deadline;
use crate::error::{Error, Result};
use crate::settings::{Durability, StorageSettings};
use crate::storage::counters::Counters;
use crate::storage::{Branch, Query, StorageStats, Wake, Work, panicked};

use connection::Place;
pub(super) use examine::examine;

/// Tells, as `tables`, whether the table of applied migrations is there.
pub(super) const MIGRATIONS_PROBE: &str =
    "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name = 'seaql_migrations'";

pub(super) struct Engine {
    writes: mpsc::Sender<writer::Queued>,
    reads: async_channel::Sender<reader::Queued>,
    counters: Arc<Counters>,
    branch: Branch,
    failed: watch::Receiver<bool>,
    /// Keeps `failed` open where there is no writer.
    _never_failed: Option<watch::Sender<bool>>,
    /// Held until the engine is closed: one process owns the file.
    held: Mutex<Option<inspect::Held>>,
}

impl Engine {
    pub(super) async fn open(settings: &StorageSettings, branch: Branch, wake: Wake) -> Result<Self> {
        let place = Place::new(settings)?;
        let opening = place.clone();
        let held = tokio::task::spawn_blocking(move || inspect::before_opening(&opening))
            .await
            .map_err(|error| Error::internal(error.to_string()))??;
        let counters = Arc::new(Counters::default());
        let mut never_failed = None;
        let (writes, failed) = if settings.read_only {
            // A queue without a reader: `Storage` refuses writes before they come here.
            let (sender, failed) = watch::channel(false);
            never_failed = Some(sender);
            (mpsc::channel(1).0, failed)
        } else {
            writer::start(place.clone(), counters.clone(), wake).await?
        };
        let reads = reader::start(&place, &counters)?;
        let held = Mutex::new(Some(held));
        Ok(Self { writes, reads, counters, branch, failed, _never_failed: never_failed, held })
    }

    pub(super) async fn read(&self, query: Box<dyn Query>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let queued = reader::Queued { deadline: deadline::current(), query, reply };
        self.reads.send(queued).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.unwrap_or(Err(Error::ShuttingDown))
    }

    pub(super) async fn write(&self, durability: Durability, work: Box<dyn Work<()>>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let write = writer::Write::new(durability, deadline::current(), work, self.branch, reply);
        self.writes.send(writer::Queued::Write(write)).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.unwrap_or(Err(Error::ShuttingDown))
    }

    pub(super) fn stats(&self) -> StorageStats {
        self.counters.stats(self.writes.max_capacity() - self.writes.capacity())
    }

    pub(super) fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }

    /// The first of the lock and the database that was removed or replaced.
    pub(super) fn displaced(&self) -> Option<std::path::PathBuf> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()?.displaced().map(std::path::Path::to_owned)
    }

    pub(super) async fn close(&self) {
        self.reads.close();
        let (reply, closed) = oneshot::channel();
        if self.writes.send(writer::Queued::Close(reply)).await.is_ok() {
            // An error here means that the writer was closed before.
            let _ = closed.await;
        }
        // Dropping it releases the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What a job is answered whose operation waited for something that is not the database.
fn pending() -> Error {
    Error::internal("an operation waited for something other than the database")
}
