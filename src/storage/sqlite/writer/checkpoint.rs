//! When the writer copies the WAL into the database, and when the WAL starts over.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::hooks::Wal;

use super::Writer;
use crate::clock;
use crate::storage::counters::Counters;
use crate::storage::sqlite::checkpointer::{LAST_FRAMES_MAX, checkpoint_within};
use crate::storage::sqlite::executor::Failure;

thread_local! {
    /// Pages of the WAL after the last commit of this thread's connection. SQLite's hook is a plain function: it has no other place.
    static PAGES: Cell<i64> = const { Cell::new(0) };
}

/// The hook.
pub(super) fn note_pages(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    PAGES.set(i64::from(pages));
    Ok(())
}

impl Writer {
    pub(super) fn checkpoint_if_due(&mut self) {
        let Some(open) = &self.open else { return };
        let settings = &self.place.settings;
        let pages_of = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX) / open.page_bytes;
        let (due, most) = (pages_of(settings.checkpoint_bytes), pages_of(settings.wal_bytes_max));
        let pages = PAGES.get();
        let wal_bytes = u64::try_from(pages.saturating_mul(open.page_bytes)).unwrap_or(0);
        self.counters.wal_bytes.store(wal_bytes, Ordering::Relaxed);
        if pages < due {
            self.wal_pages = 0;
            self.checkpointer.as_ref().inspect(|checkpointer| checkpointer.restarted());
        }
        let now = clock::instant();
        // A reader can keep a checkpoint from finishing; past the bound, writing waits for readers for a moment.
        let is_restart = pages >= most && self.restart.is_due(now);
        if !is_restart && pages < due.max(self.wal_pages) {
            return;
        }
        if !is_restart && let Some(checkpointer) = &self.checkpointer {
            if checkpointer.is_running() {
                return;
            }
            if pages - checkpointer.copied().min(pages) > LAST_FRAMES_MAX {
                checkpointer.run();
                // A reader that stays keeps every run from copying more.
                self.wal_pages = pages + LAST_FRAMES_MAX / 2;
                return;
            }
        }
        match self.checkpoint(if is_restart { "RESTART" } else { "PASSIVE" }) {
            Ok(is_complete) => {
                self.wal_pages = pages + due / 4;
                if is_restart {
                    let pause_max = Duration::from_millis(self.place.settings.wal_retry_ms_max);
                    self.restart.tried(is_complete, now, pause_max);
                    if !is_complete {
                        self.restart.warn(&self.place, wal_bytes, now);
                    }
                }
            }
            Err(failure) => self.recover(&failure),
        }
    }

    /// Runs a checkpoint and returns whether it was complete. It waits for readers for `storage.wal_wait_ms` at most.
    pub(super) fn checkpoint(&self, mode: &str) -> Result<bool, Failure> {
        let Some(open) = &self.open else { return Ok(true) };
        let settings = &self.place.settings;
        let wait = Duration::from_millis(settings.wal_wait_ms);
        let usual = Duration::from_millis(settings.busy_timeout_ms);
        let copied = checkpoint_within(&open.executor.connection(), mode, wait, usual)?;
        Counters::add(&self.counters.checkpoints, 1);
        if !copied.is_complete() {
            let (frames, copied) = (copied.frames, copied.copied);
            tracing::debug!(mode, frames, copied, "a reader kept the checkpoint from finishing");
        }
        Ok(copied.is_complete())
    }
}
