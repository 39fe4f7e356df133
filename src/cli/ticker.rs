//! How far an export or import has come, on stderr: a line that is rewritten on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::output::{progress, tell};
use crate::clock;
use crate::storage::transfer::{Progress, Step};

/// Between two tellings on a terminal, and elsewhere.
const PAUSE_TERMINAL: Duration = Duration::from_millis(100);
const PAUSE_PLAIN: Duration = Duration::from_secs(5);

pub(super) struct Ticker {
    is_terminal: bool,
    told: Instant,
    /// Whether the cursor stands behind a line that may still be rewritten.
    is_open: bool,
}

impl Ticker {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), told: clock::instant(), is_open: false }
    }

    /// Tells of every table when it is done, and now and then before.
    pub(super) fn tell(&mut self, at: Progress<'_>) {
        let pause = if self.is_terminal { PAUSE_TERMINAL } else { PAUSE_PLAIN };
        let is_due = if at.is_done { at.rows > 0 } else { self.told.elapsed() >= pause };
        if !is_due {
            return;
        }
        self.told = clock::instant();
        let line = line(at);
        if self.is_terminal {
            // To the line's begin, and clear it.
            tell(&format!("\r\x1b[K{line}{}", if at.is_done { "\n" } else { "" }));
            self.is_open = !at.is_done;
        } else {
            progress(&line);
        }
    }
}

fn line(at: Progress<'_>) -> String {
    let done = match at.step {
        Step::Export => "exported",
        Step::Look => "looked at",
        Step::Remove => "removed",
        Step::Import => "imported",
        Step::Compare => "compared",
    };
    match at.rows_total {
        Some(total) if !at.is_done => format!("{done} {} of {total} rows of {}", at.rows, at.table),
        _ => format!("{done} {} rows of {}", at.rows, at.table),
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // What follows, an error mostly, gets a line of its own.
        if self.is_open {
            tell("\n");
        }
    }
}
