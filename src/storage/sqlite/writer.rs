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
use sea_orm::DatabaseConnection;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpointer::Checkpointer;
use super::connection::Place;
use super::executor::{Executor, Failure, FailureKind};
use super::restart::Restart;
use super::{panicked, pending};
use crate::clock;
use crate::error::{Error, Result};
use crate::settings::Durability;
use crate::storage::counters::Counters;
use crate::storage::{Branch, Db, FollowUp, Tx, Wake, Work};

/// What the writer takes from its queue.
pub(super) enum Queued {
    Write(Write),
    /// The end of the queue: the writer closes the database and replies.
    Close(oneshot::Sender<()>),
}

/// A write on its way to the writer.
pub(super) struct Write {
    durability: Durability,
    deadline: Option<Instant>,
    work: Box<dyn Work<()>>,
    branch: Branch,
    outcome: Result<()>,
    follow_ups: Vec<FollowUp>,
    topics: Vec<String>,
    reply: oneshot::Sender<Result<()>>,
}

impl Write {
    pub(super) fn new(
        durability: Durability,
        deadline: Option<Instant>,
        work: Box<dyn Work<()>>,
        branch: Branch,
        reply: oneshot::Sender<Result<()>>,
    ) -> Self {
        let (follow_ups, topics) = (Vec::new(), Vec::new());
        Self { durability, deadline, work, branch, outcome: Ok(()), follow_ups, topics, reply }
    }

    /// Does the work; tells whether it succeeded.
    fn run(&mut self, executor: &Executor, database: &DatabaseConnection) -> bool {
        let tx = Tx::new(Db::new(database, executor), self.branch);
        let run = catch_unwind(AssertUnwindSafe(|| self.work.run(&tx).now_or_never()));
        let outcome = match run {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(pending()),
            Err(_) => Err(panicked()),
        };
        if outcome.is_ok() {
            (self.follow_ups, self.topics) = tx.into_parts();
        }
        self.outcome = outcome.map_err(|error| {
            let failure = executor.take_failure_unless_fault();
            Executor::explain(error, failure.as_ref())
        });
        self.outcome.is_ok()
    }

    /// Does after the commit what follows it, and wakes whom the work wanted woken.
    fn follow_up(&mut self, wake: &Wake) {
        for follow_up in self.follow_ups.drain(..) {
            if catch_unwind(AssertUnwindSafe(follow_up)).is_err() {
                tracing::error!("what follows a commit panicked");
            }
        }
        for topic in self.topics.drain(..) {
            wake.notify(|| topic);
        }
    }

    /// Answers as the work has ended.
    fn answer(self) {
        // A caller that has left does not want to know.
        let _ = self.reply.send(self.outcome);
    }

    /// Answers that nothing was stored.
    fn fail(self, error: Error) {
        let _ = self.reply.send(Err(error));
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
            checkpointer: None,
            failed: failed_sender,
            wal_pages: 0,
            restart: Restart::default(),
        };
        // A WAL that an earlier process left is copied into the database before anything new is acknowledged: after a
        // failed fsync its pages may be in memory only, and are written again by this.
        let result = writer.connect().and_then(|()| writer.checkpoint("TRUNCATE").map(drop));
        let result = result.map_err(|failure| failure.error()).and_then(|()| {
            let checkpointer =
                Checkpointer::start(writer.place.clone(), writer.counters.clone(), writer.failed.clone())?;
            writer.checkpointer = Some(checkpointer);
            Ok(())
        });
        let is_open = result.is_ok();
        let _ = opened_sender.send(result);
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
    checkpointer: Option<Checkpointer>,
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
            let mut next = Some(first);
            let mut close = None;
            while let Some(queued) = next.take() {
                match queued {
                    Queued::Write(write) => gathered.push(write),
                    Queued::Close(reply) => close = Some(reply),
                }
                if close.is_none() && gathered.len() < group_max {
                    next = queue.try_recv().ok();
                }
            }
            self.commit(gathered.drain(..));
            if let Some(close) = close {
                queue.close();
                self.refuse(&mut queue);
                self.disconnect();
                let _ = close.send(());
                return;
            }
        }
    }

    /// Answers what was queued behind the close.
    fn refuse(&self, queue: &mut mpsc::Receiver<Queued>) {
        while let Ok(late) = queue.try_recv() {
            match late {
                Queued::Write(write) => write.fail(Error::ShuttingDown),
                Queued::Close(reply) => drop(reply.send(())),
            }
        }
    }

    /// Commits what is still wanted of `gathered` as one group and answers everyone.
    fn commit(&mut self, gathered: impl Iterator<Item = Write>) {
        let now = clock::instant();
        let mut durability = Durability::Relaxed;
        let mut group = Vec::new();
        for write in gathered {
            if write.reply.is_closed() || write.deadline.is_some_and(|deadline| deadline <= now) {
                Counters::add(&self.counters.writes_dropped, 1);
                write.fail(Error::DeadlineExceeded);
                continue;
            }
            if write.durability == Durability::Full {
                durability = Durability::Full;
            }
            group.push(write);
        }
        if group.is_empty() {
            return;
        }
        match self.transaction(&mut group, durability) {
            Ok(()) => {
                Counters::add(&self.counters.commits, 1);
                Counters::add(&self.counters.writes, group.len() as u64);
                group.iter_mut().for_each(|write| write.follow_up(&self.wake));
                self.answer(group);
                self.checkpoint_if_due();
            }
            Err(failure) => {
                self.recover(&failure);
                for write in group {
                    write.fail(failure.error());
                }
            }
        }
    }

    /// Gives all of a group their answers. From a thread that is not the runtime's each would be a wake-up of the runtime; so one task
    /// gives them all.
    fn answer(&self, mut group: Vec<Write>) {
        if group.len() == 1 {
            group.remove(0).answer();
            return;
        }
        self.runtime.spawn(async move { group.into_iter().for_each(Write::answer) });
    }

    fn transaction(&mut self, group: &mut [Write], durability: Durability) -> Result<(), Failure> {
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
        // It would be in the way of the last checkpoint.
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.stop();
        }
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
    fn run_all(&self, group: &mut [Write], scope: Scope) -> Result<Ran, Failure> {
        let executor = &self.executor;
        for write in group {
            if scope == Scope::Savepoint {
                executor.run("SAVEPOINT operation")?;
            }
            executor.take_has_written();
            let succeeded = write.run(executor, &self.database);
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
