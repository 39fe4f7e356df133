//! The readers: a few threads, each with a connection that can only read; an operation hops to one of them once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use sea_orm::DatabaseConnection;
use tokio::sync::oneshot;

use super::connection::Place;
use super::executor::{Executor, Failure};
use super::{panicked, pending};
use crate::clock;
use crate::error::{Error, Result};
use crate::storage::counters::Counters;
use crate::storage::{Db, Query};

/// Virtual-machine steps between two looks at the deadline.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// A read on its way to a reader.
pub(super) struct Queued {
    pub(super) deadline: Option<Instant>,
    pub(super) query: Box<dyn Query>,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

impl Queued {
    /// Reads and answers; tells of a fault that the connection may not survive.
    fn run(self, executor: &Executor, database: &DatabaseConnection) -> Option<Failure> {
        let db = Db::new(database, executor);
        let run = catch_unwind(AssertUnwindSafe(|| self.query.run(&db).now_or_never()));
        let outcome = match run {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(pending()),
            Err(_) => Err(panicked()),
        };
        let failure = executor.take_failure();
        self.answer(outcome.map_err(|error| Executor::explain(error, failure.as_ref())));
        failure.filter(Failure::is_fault)
    }

    fn answer(self, outcome: Result<()>) {
        // A caller that has left does not want to know.
        let _ = self.reply.send(outcome);
    }
}

/// Starts the threads; answers with their queue.
pub(super) fn start(place: &Place, counters: &Arc<Counters>) -> Result<async_channel::Sender<Queued>> {
    let queue_max = usize::try_from(place.settings.read_queue_max).unwrap_or(usize::MAX);
    let (sender, queue) = async_channel::bounded(queue_max);
    for number in 0..place.settings.readers {
        let mut reader = Reader {
            place: place.clone(),
            counters: counters.clone(),
            open: None,
            deadline: Deadline::new(),
        };
        let queue: async_channel::Receiver<Queued> = queue.clone();
        std::thread::Builder::new()
            .name(format!("pannier-reader-{number}"))
            .spawn(move || {
                while let Ok(queued) = queue.recv_blocking() {
                    reader.serve(queued);
                }
            })
            .map_err(|error| Error::internal(format!("cannot start a reader thread: {error}")))?;
    }
    Ok(sender)
}

struct Reader {
    place: Place,
    counters: Arc<Counters>,
    open: Option<(Arc<Executor>, DatabaseConnection)>,
    deadline: Deadline,
}

impl Reader {
    fn serve(&mut self, queued: Queued) {
        let passed = queued.deadline.is_some_and(|deadline| deadline <= clock::instant());
        if passed || queued.reply.is_closed() {
            return queued.answer(Err(Error::DeadlineExceeded));
        }
        self.deadline.set(queued.deadline);
        Counters::add(&self.counters.reads, 1);
        let failure = match self.begin() {
            Ok(()) => self.open.as_ref().and_then(|(executor, database)| queued.run(executor, database)),
            Err(failure) => {
                queued.answer(Err(failure.error()));
                Some(failure)
            }
        };
        self.deadline.set(None);
        let ended = self.end();
        if let Some(failure) = failure.or(ended.err()) {
            tracing::warn!(cause = failure.message, "a read failed; its connection is opened anew");
            self.open = None;
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let (executor, _) = match &mut self.open {
            Some(open) => open,
            none => {
                let connection = self.place.open_reader()?;
                self.deadline.watch(&connection)?;
                let executor = Executor::new(connection, self.counters.clone());
                let database = executor.database()?;
                none.insert((executor, database))
            }
        };
        executor.run("BEGIN")
    }

    fn end(&mut self) -> Result<(), Failure> {
        match &self.open {
            Some((executor, _)) if !executor.connection().is_autocommit() => executor.run("COMMIT"),
            _ => Ok(()),
        }
    }
}

/// The deadline of the read that is running, where SQLite's progress handler sees it.
struct Deadline {
    base: Instant,
    /// Microseconds since `base`; `u64::MAX`: none.
    until_us: Arc<AtomicU64>,
}

impl Deadline {
    fn new() -> Self {
        Self { base: clock::instant(), until_us: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    fn set(&self, deadline: Option<Instant>) {
        let until_us = deadline.map_or(u64::MAX, |deadline| {
            u64::try_from(deadline.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
        });
        self.until_us.store(until_us, Ordering::Relaxed);
    }

    fn watch(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (base, until_us) = (self.base, self.until_us.clone());
        let passed = move || {
            let until_us = until_us.load(Ordering::Relaxed);
            until_us != u64::MAX && base.elapsed().as_micros() >= u128::from(until_us)
        };
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(passed))
    }
}
