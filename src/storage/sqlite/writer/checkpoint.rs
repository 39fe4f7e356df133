//! When the writer copies the WAL into the database, and when the WAL starts over.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::hooks::Wal;

use super::Writer;
use crate::clock;
use crate::storage::counters::Counters;
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
        }
        // A reader can keep a passive checkpoint from finishing; past the bound, writing waits for readers for a moment.
        let now = clock::instant();
        let is_restart = pages >= most && self.restart.is_due(now);
        if !is_restart && pages < due.max(self.wal_pages) {
            return;
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
        let connection = open.executor.connection();
        let settings = &self.place.settings;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        connection.busy_timeout(Duration::from_millis(settings.wal_wait_ms))?;
        let ran = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        connection.busy_timeout(Duration::from_millis(settings.busy_timeout_ms))?;
        let (busy, in_wal, copied): (i64, i64, i64) = ran?;
        Counters::add(&self.counters.checkpoints, 1);
        let is_complete = busy == 0 && copied >= in_wal;
        if !is_complete {
            tracing::debug!(mode, in_wal, copied, "a reader kept the checkpoint from finishing");
        }
        Ok(is_complete)
    }
}
