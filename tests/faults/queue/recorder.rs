//! Writes down every call, and everything that kills.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tonic::Code;

use super::history::*;
use crate::fleet::Witness;

/// The history of a run as it grows, shared by all who call.
pub(crate) struct Recorder {
    begun: Instant,
    /// What the wall clock showed then, in Unix microseconds.
    wall: u64,
    books: Mutex<Books>,
    tickets: AtomicU64,
    finished: AtomicU64,
}

#[derive(Default)]
struct Books {
    history: History,
    troubles: Vec<Trouble>,
}

/// An error that a call ended with, other than LEASE_LOST.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) rpc: &'static str,
    pub(crate) from: At,
    pub(crate) to: At,
    pub(crate) code: Code,
    /// Of the sidecar's ErrorInfo; errors of the connection have none.
    pub(crate) reason: Option<String>,
    pub(crate) message: String,
}

impl Recorder {
    pub(crate) fn new(terms: Terms) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let books = Books { history: History { terms, ..History::default() }, ..Books::default() };
        Self {
            begun: Instant::now(),
            wall: wall.as_micros() as u64,
            books: Mutex::new(books),
            tickets: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panics with the books in hand")
    }

    pub(crate) fn now(&self) -> At {
        At(self.begun.elapsed().as_micros() as u64)
    }

    /// A time of the wall clock as a moment of the run.
    pub(crate) fn at(&self, unix_micros: u64) -> At {
        At(unix_micros.saturating_sub(self.wall))
    }

    /// A number that nothing else in the run has.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes a call that is about to be sent; the answer names it.
    pub(crate) fn begin(&self, by: Actor, asked: Asked) -> usize {
        let mut books = self.books();
        let from = self.now();
        books.history.calls.push(Call { by, from, to: At::NEVER, asked, answer: Answer::Unknown });
        books.history.calls.len() - 1
    }

    /// Notes how it ended. A call whose caller is killed does not get here.
    pub(crate) fn end(&self, call: usize, answer: Answer) {
        if let Answer::Given(Reply::Worked(verdicts, _)) = &answer {
            let is_end = |verdict: &&Verdict| {
                matches!(verdict, Verdict::Recorded(TaskState::Completed | TaskState::Failed))
            };
            self.finished.fetch_add(verdicts.iter().filter(is_end).count() as u64, Ordering::Relaxed);
        }
        let mut books = self.books();
        let to = self.now();
        let call = &mut books.history.calls[call];
        (call.to, call.answer) = (to, answer);
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.books().troubles.push(trouble);
    }

    /// How many tasks came to their end, as far as was answered.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// What was written down so far.
    pub(crate) fn history(&self) -> History {
        self.books().history.clone()
    }

    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        self.books().troubles.clone()
    }
}

impl Witness for Recorder {
    fn starting(&self) -> usize {
        let mut books = self.books();
        let from = self.now();
        books.history.starts.push(Start { from, ready: At::NEVER, killed: At::NEVER });
        books.history.starts.len() - 1
    }

    fn serves(&self, start: usize) {
        self.books().history.starts[start].ready = self.now();
    }

    fn killing(&self, start: usize) {
        self.books().history.starts[start].killed = self.now();
    }
}
