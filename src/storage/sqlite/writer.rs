//! The writer: one thread, one connection, group commit.
//!
//! Writes queue to it. It takes what has gathered while the last group was being committed, so nobody waits on purpose:
//! alone, a write is a group of one; under load, many share an fsync. An operation that fails by its own fault takes no other
//! with it: mostly it has written nothing yet, and there is nothing to undo; if it has, the group is rolled back and run
//! again with a savepoint for each. When the disk or the database fails, SQLite may have rolled back more than it says: the
//! whole group fails, nobody is told yes, and the connection is closed and opened anew.

mod checkpoint;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseConnection;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::Place;
use super::executor::{Executor, Failure, FailureKind};
use super::restart::Restart;
use super::{panicked, pending};
use crate::clock;
use crate::error::{Error, Result};
use crate::settings::Durability;
use crate::storage::counters::Counters;
use crate::storage::{Branch, Db, FollowUp, Tx, Wake};

/// A write on its way to the writer.
pub(super) struct Queued {
    pub(super) durability: Durability,
    pub(super) deadline: Option<Instant>,
    pub(super) job: Box<dyn Job>,
}

impl Queued {
    /// The last entry of the queue: when the writer reaches it, it closes and replies.
    pub(super) fn close(reply: oneshot::Sender<()>) -> Self {
        Self { durability: Durability::Relaxed, deadline: None, job: Box::new(Close(reply)) }
    }
}

/// Gives a caller its answer.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// A write operation with its types erased.
pub(super) trait Job: Send {
    /// Whether anybody still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Runs the operation; tells whether it succeeded.
    fn run(&mut self, executor: &Executor, database: &DatabaseConnection) -> bool;
    /// Does after the commit what follows it, and wakes whom the operation wanted woken; the answer, with what `run` gave, is left to be given.
    fn committed(self: Box<Self>, wake: &Wake) -> Answer;
    /// Answers that nothing was stored.
    fn failed(self: Box<Self>, error: Error);
    /// Whether this is the end of the queue.
    fn is_close(&self) -> bool {
        false
    }
}

pub(super) struct Write<I, T, F> {
    pub(super) input: I,
    pub(super) op: F,
    pub(super) branch: Branch,
    pub(super) outcome: Option<Result<T>>,
    pub(super) follow_ups: Vec<FollowUp>,
    pub(super) topics: Vec<String>,
    pub(super) reply: oneshot::Sender<Result<T>>,
}

impl<I, T, F> Job for Write<I, T, F>
where
    I: Send + Sync,
    T: Send + 'static,
    F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, executor: &Executor, database: &DatabaseConnection) -> bool {
        let tx = Tx::new(Db::new(database, executor), self.branch);
        let run = catch_unwind(AssertUnwindSafe(|| (self.op)(&tx, &self.input).now_or_never()));
        let outcome = match run {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(pending()),
            Err(_) => Err(panicked()),
        };
        let succeeded = outcome.is_ok();
        if succeeded {
            (self.follow_ups, self.topics) = tx.into_parts();
        }
        self.outcome = Some(outcome.map_err(|error| {
            let failure = executor.take_failure_unless_fault();
            Executor::explain(error, failure.as_ref())
        }));
        succeeded
    }

    fn committed(self: Box<Self>, wake: &Wake) -> Answer {
        for follow_up in self.follow_ups {
            if catch_unwind(AssertUnwindSafe(follow_up)).is_err() {
                tracing::error!("what follows a commit panicked");
            }
        }
        for topic in self.topics {
            wake.notify(|| topic);
        }
        let outcome = self.outcome.unwrap_or_else(|| Err(Error::internal("a write was never run")));
        let reply = self.reply;
        // A caller that has left does not want to know.
        Box::new(move || drop(reply.send(outcome)))
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

struct Close(oneshot::Sender<()>);

impl Job for Close {
    fn is_wanted(&self) -> bool {
        true
    }

    fn run(&mut self, _executor: &Executor, _database: &DatabaseConnection) -> bool {
        true
    }

    fn committed(self: Box<Self>, _wake: &Wake) -> Answer {
        Box::new(move || {
            let _ = self.0.send(());
        })
    }

    fn failed(self: Box<Self>, _error: Error) {
        let _ = self.0.send(());
    }

    fn is_close(&self) -> bool {
        true
    }
}

/// Opens the writing connection and starts the thread; answers with its queue and with whether it has failed for good.
pub(super) async fn start(
    place: Place,
    counters: Arc<Counters>,
    wake: Wake,
) -> Result<(mpsc::Sender<Queued>, watch::Receiver<bool>)> {
    let queue_max = usize::try_from(place.settings.write_queue_max).unwrap_or(usize::MAX);
    let (sender, queue) = mpsc::channel(queue_max.min(tokio::sync::Semaphore::MAX_PERMITS));
    let (failed_sender, failed) = watch::channel(false);
    let (opened_sender, opened) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        let mut writer = Writer {
            place,
            runtime,
            counters,
            wake,
            open: None,
            failed: failed_sender,
            wal_pages: 0,
            restart: Restart::default(),
        };
        // A WAL that an earlier process left is copied into the database before anything new is acknowledged: after a
        // failed fsync its pages may be in memory only, and are written again by this.
        let result = writer.connect().and_then(|()| writer.checkpoint("TRUNCATE").map(drop));
        let is_open = result.is_ok();
        let _ = opened_sender.send(result.map_err(|failure| failure.error()));
        if is_open {
            writer.serve(queue);
        }
    };
    std::thread::Builder::new()
        .name("pannier-writer".into())
        .spawn(run)
        .map_err(|error| Error::internal(format!("cannot start the writer thread: {error}")))?;
    opened.await.unwrap_or(Err(Error::internal("the writer thread ended while it opened the database")))?;
    Ok((sender, failed))
}

struct Writer {
    place: Place,
    /// Where the callers are.
    runtime: Handle,
    counters: Arc<Counters>,
    wake: Wake,
    open: Option<Open>,
    failed: watch::Sender<bool>,
    /// Pages in the WAL at which the next checkpoint is due.
    wal_pages: i64,
    /// Attempts to start the WAL over.
    restart: Restart,
}

struct Open {
    executor: Arc<Executor>,
    database: DatabaseConnection,
    synchronous: Durability,
    page_bytes: i64,
}

impl Writer {
    fn serve(&mut self, mut queue: mpsc::Receiver<Queued>) {
        let group_max = usize::try_from(self.place.settings.group_max).unwrap_or(usize::MAX);
        let mut gathered = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            gathered.push(first);
            while gathered.len() < group_max && !gathered.last().is_some_and(|last| last.job.is_close()) {
                match queue.try_recv() {
                    Ok(next) => gathered.push(next),
                    Err(_) => break,
                }
            }
            let close = gathered.pop_if(|last| last.job.is_close());
            self.commit(gathered.drain(..));
            if let Some(close) = close {
                queue.close();
                self.refuse(&mut queue);
                self.disconnect();
                close.job.committed(&self.wake)();
                return;
            }
        }
    }

    /// Answers what was queued behind the close.
    fn refuse(&self, queue: &mut mpsc::Receiver<Queued>) {
        while let Ok(late) = queue.try_recv() {
            late.job.failed(Error::ShuttingDown);
        }
    }

    /// Commits what is still wanted of `gathered` as one group and answers everyone.
    fn commit(&mut self, gathered: impl Iterator<Item = Queued>) {
        let now = clock::instant();
        let mut durability = Durability::Relaxed;
        let mut group = Vec::new();
        for queued in gathered {
            if !queued.job.is_wanted() || queued.deadline.is_some_and(|deadline| deadline <= now) {
                Counters::add(&self.counters.writes_dropped, 1);
                queued.job.failed(Error::DeadlineExceeded);
                continue;
            }
            if queued.durability == Durability::Full {
                durability = Durability::Full;
            }
            group.push(queued.job);
        }
        if group.is_empty() {
            return;
        }
        match self.transaction(&mut group, durability) {
            Ok(()) => {
                Counters::add(&self.counters.commits, 1);
                Counters::add(&self.counters.writes, group.len() as u64);
                let answers = group.into_iter().map(|job| job.committed(&self.wake)).collect();
                self.give(answers);
                self.checkpoint_if_due();
            }
            Err(failure) => {
                self.recover(&failure);
                for job in group {
                    job.failed(failure.error());
                }
            }
        }
    }

    /// Gives all of a group their answers. From a thread that is not the runtime's each would be a wake-up of the runtime; so one task
    /// gives them all.
    fn give(&self, mut answers: Vec<Answer>) {
        if answers.len() == 1 {
            answers.remove(0)();
            return;
        }
        self.runtime.spawn(async move { answers.into_iter().for_each(|answer| answer()) });
    }

    fn transaction(&mut self, group: &mut [Box<dyn Job>], durability: Durability) -> Result<(), Failure> {
        if *self.failed.borrow() {
            return Err(Failure::fault("an earlier failure ended this process's writing"));
        }
        if self.open.is_none() {
            self.connect()?;
        }
        let Some(open) = self.open.as_mut() else { return Err(Failure::fault("no connection")) };
        open.set_synchronous(durability)?;
        let executor = &open.executor;
        executor.run("BEGIN IMMEDIATE")?;
        if open.run_all(group, Scope::Bare)? == Ran::Tainted {
            executor.run("ROLLBACK")?;
            executor.run("BEGIN IMMEDIATE")?;
            open.run_all(group, Scope::Savepoint)?;
        }
        executor.run("COMMIT")?;
        if !executor.connection().is_autocommit() {
            Counters::add(&self.counters.autocommit_violations, 1);
            return Err(Failure::fault("the connection was inside a transaction after its commit"));
        }
        Ok(())
    }

    /// After a failed group: nothing is known about the connection, so it is closed.
    fn recover(&mut self, failure: &Failure) {
        Counters::add(&self.counters.faults, 1);
        tracing::error!(cause = failure.message, "a group of writes failed; nothing of it was acknowledged");
        if let Some(open) = &self.open
            && !open.executor.connection().is_autocommit()
            && let Err(error) = open.executor.run("ROLLBACK")
        {
            tracing::warn!(cause = error.message, "the rollback failed as well");
        }
        self.open = None;
        if failure.kind == FailureKind::Sync {
            // The kernel reports a failed fsync once and then forgets the pages: nothing later can be vouched for.
            tracing::error!("fsync failed: this process stops writing, to recover when it is started again");
            self.failed.send_replace(true);
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let connection = self.place.open_writer()?;
        let page_bytes = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        connection.wal_hook(Some(checkpoint::note_pages));
        let executor = Executor::new(connection, self.counters.clone());
        let database = executor.database()?;
        self.wal_pages = 0;
        self.open = Some(Open { executor, database, synchronous: Durability::Full, page_bytes });
        Ok(())
    }

    fn disconnect(&mut self) {
        if self.open.is_some()
            && let Err(failure) = self.checkpoint("TRUNCATE")
        {
            tracing::warn!(
                cause = failure.message,
                "the last checkpoint failed; the next start makes up for it"
            );
        }
        self.open = None;
    }
}

/// What surrounds each operation of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Nothing: what most groups need, and savepoints copy every page before its first change.
    Bare,
    /// A savepoint.
    Savepoint,
}

/// How a group ran.
#[derive(PartialEq, Eq)]
enum Ran {
    /// All that was written belongs to operations that succeeded.
    Clean,
    /// An operation failed after it had written.
    Tainted,
}

impl Open {
    fn run_all(&self, group: &mut [Box<dyn Job>], scope: Scope) -> Result<Ran, Failure> {
        let executor = &self.executor;
        for job in group {
            if scope == Scope::Savepoint {
                executor.run("SAVEPOINT operation")?;
            }
            executor.take_has_written();
            let succeeded = job.run(executor, &self.database);
            if let Some(fault) = executor.take_failure().filter(Failure::is_fault) {
                return Err(fault);
            }
            match scope {
                Scope::Bare if !succeeded && executor.take_has_written() => return Ok(Ran::Tainted),
                Scope::Bare => {}
                Scope::Savepoint => {
                    if !succeeded {
                        executor.run("ROLLBACK TO operation")?;
                    }
                    executor.run("RELEASE operation")?;
                }
            }
        }
        Ok(Ran::Clean)
    }

    fn set_synchronous(&mut self, durability: Durability) -> Result<(), Failure> {
        if self.synchronous != durability {
            let connection = self.executor.connection();
            let level = match durability {
                Durability::Full => "FULL",
                Durability::Relaxed => "NORMAL",
            };
            connection.pragma_update(None, "synchronous", level)?;
            self.synchronous = durability;
        }
        Ok(())
    }
}
