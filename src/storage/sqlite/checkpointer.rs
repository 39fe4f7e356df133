//! The checkpointer: a thread that copies the WAL into the database while the writer goes on.
//!
//! A checkpoint of 16 MiB writes some 800 pages and waits for their fsync, 30 to 60 ms: no write waits for that. Frames that commits
//! append meanwhile stay behind. The writer copies the last few itself, because only a WAL without frames left starts over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::connection::Place;
use super::executor::{Failure, FailureKind};
use crate::error::{Error, Result};
use crate::storage::counters::Counters;

/// Frames behind which the thread copies once more; fewer are left to the writer.
pub(super) const LAST_FRAMES_MAX: i64 = 256;

/// Passes of one run: a writer that appends faster than the thread copies is caught up with by the next run.
const PASSES_MAX: u32 = 4;

/// What a checkpoint has done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    /// Frames in the WAL.
    pub(super) frames: i64,
    /// Frames of them that the database has.
    pub(super) copied: i64,
    /// A reader or another checkpoint was in the way.
    pub(super) is_busy: bool,
}

impl Copied {
    pub(super) fn is_complete(self) -> bool {
        !self.is_busy && self.copied >= self.frames
    }
}

/// The thread.
pub(super) struct Checkpointer {
    due: SyncSender<()>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    is_running: AtomicBool,
    /// Frames that the database had after the last run.
    copied: AtomicI64,
}

impl Checkpointer {
    /// Starts the thread. It sets `failed` when an fsync fails.
    pub(super) fn start(place: Place, counters: Arc<Counters>, failed: watch::Sender<bool>) -> Result<Self> {
        let (due, runs) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let work = Work { place, counters, failed, shared: shared.clone(), connection: None };
        let thread = std::thread::Builder::new()
            .name("pannier-checkpointer".into())
            .spawn(move || work.serve(&runs))
            .map_err(|error| Error::internal(format!("cannot start the checkpointer thread: {error}")))?;
        Ok(Self { due, shared, thread })
    }

    /// Begins a run, unless one goes on.
    pub(super) fn run(&self) {
        if !self.shared.is_running.swap(true, Ordering::SeqCst) {
            // The thread ends only after the sender is dropped.
            let _ = self.due.try_send(());
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.shared.is_running.load(Ordering::SeqCst)
    }

    /// Frames that the database had after the last run.
    pub(super) fn copied(&self) -> i64 {
        self.shared.copied.load(Ordering::SeqCst)
    }

    /// Notes that the WAL has started over.
    pub(super) fn restarted(&self) {
        self.shared.copied.store(0, Ordering::SeqCst);
    }

    /// Ends the thread after its present run.
    pub(super) fn stop(self) {
        drop(self.due);
        if self.thread.join().is_err() {
            tracing::error!("the checkpointer panicked");
        }
    }
}

struct Work {
    place: Place,
    counters: Arc<Counters>,
    failed: watch::Sender<bool>,
    shared: Arc<Shared>,
    connection: Option<Connection>,
}

impl Work {
    fn serve(mut self, runs: &Receiver<()>) {
        while runs.recv().is_ok() {
            if let Err(failure) = self.run() {
                Counters::add(&self.counters.faults, 1);
                tracing::error!(cause = failure.message, "a checkpoint failed; the WAL keeps its frames");
                self.connection = None;
                if failure.kind == FailureKind::Sync {
                    tracing::error!(
                        "fsync failed: this process stops writing, to recover when it is started again"
                    );
                    self.failed.send_replace(true);
                }
            }
            self.shared.is_running.store(false, Ordering::SeqCst);
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.place.open_writer()?),
        };
        for _ in 0..PASSES_MAX {
            let copied = checkpoint(connection, "PASSIVE")?;
            Counters::add(&self.counters.checkpoints, 1);
            self.shared.copied.store(copied.copied, Ordering::SeqCst);
            let frames = checkpoint(connection, "NOOP").map_or(copied.frames, |now| now.frames);
            if copied.is_busy || !copied.is_complete() || frames - copied.copied <= LAST_FRAMES_MAX {
                break;
            }
        }
        Ok(())
    }
}

/// Runs a checkpoint.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> Result<Copied, Failure> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let (busy, frames, copied): (i64, i64, i64) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Copied { frames, copied, is_busy: busy != 0 })
}

/// Runs a checkpoint that waits for readers for so long at most.
pub(super) fn checkpoint_within(
    connection: &Connection,
    mode: &str,
    wait: Duration,
    usual: Duration,
) -> Result<Copied, Failure> {
    connection.busy_timeout(wait)?;
    let ran = checkpoint(connection, mode);
    connection.busy_timeout(usual)?;
    ran
}
