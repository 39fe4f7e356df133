//! The ceiling: what a careful person would write by hand on rusqlite for one purpose, and no gRPC.
//!
//! WAL; `synchronous=FULL`; prepared statements; and, where several callers write at once, a writer thread that commits what
//! has gathered.

pub(crate) mod cache;
pub(crate) mod prompts;
pub(crate) mod queue;
pub(crate) mod records;
pub(crate) mod uploads;

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::Fallible;

/// Tuned as the sidecar is: page cache, memory map, a checkpoint every 16 MiB of WAL.
const TUNING: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096; PRAGMA mmap_size = 67108864;\
    PRAGMA temp_store = MEMORY;";
/// The most that one commit takes; more than there are callers.
const GROUP_MAX: usize = 512;

/// When a commit returns.
#[derive(Clone, Copy)]
pub(crate) enum Sync {
    /// When the disk has it.
    Full,
    /// When the operating system has it.
    Relaxed,
}

/// What is done on the database.
pub(crate) trait Table: Send + 'static {
    /// One caller's wish.
    type Step: Send + 'static;
    /// What it is told when that is committed.
    type Answer: Send + 'static;

    /// Does the steps of one commit; one answer for each, in their order.
    fn apply(&mut self, connection: &Connection, steps: Vec<Self::Step>) -> Fallible<Vec<Self::Answer>>;
}

/// A connection used by the thread that stands in the operation.
pub(crate) struct Inline<T> {
    connection: Connection,
    table: T,
}

impl<T: Table> Inline<T> {
    /// Opens a database in the folder.
    pub(crate) fn open(folder: &Path, sync: Sync, schema: &str, table: T) -> Fallible<Self> {
        std::fs::create_dir_all(folder)?;
        let connection = Connection::open(folder.join("ceiling.db"))?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err("the ceiling's database refused WAL".into());
        }
        let synchronous = match sync {
            Sync::Full => "FULL",
            Sync::Relaxed => "NORMAL",
        };
        connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}; {TUNING} {schema}"))?;
        Ok(Self { connection, table })
    }

    /// Does the steps in one commit.
    pub(crate) fn commit(&mut self, steps: Vec<T::Step>) -> Fallible<Vec<T::Answer>> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let answers = self.table.apply(&self.connection, steps)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(answers)
    }

    /// Hands the connection to a writer thread, which ends with its last handle, or with its first failure.
    pub(crate) fn into_writer(self) -> Writer<T> {
        let (sender, receiver) = sync_channel(4096);
        std::thread::spawn(move || write_groups(self, &receiver));
        Writer { sender }
    }
}

struct Write<T: Table> {
    step: T::Step,
    answer: oneshot::Sender<Result<T::Answer, String>>,
}

/// A handle to the writer thread.
pub(crate) struct Writer<T: Table> {
    sender: SyncSender<Write<T>>,
}

impl<T: Table> Clone for Writer<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<T: Table> Writer<T> {
    /// Returns when the step is committed.
    pub(crate) async fn run(&self, step: T::Step) -> Fallible<T::Answer> {
        let (answer, committed) = oneshot::channel();
        // The queue is longer than there are callers, so this never waits.
        self.sender.send(Write { step, answer }).map_err(|_| "the ceiling's writer has ended")?;
        committed.await?.map_err(Into::into)
    }
}

/// Takes what has gathered, commits it once, then answers all of it.
fn write_groups<T: Table>(mut inline: Inline<T>, queue: &Receiver<Write<T>>) {
    while let Ok(first) = queue.recv() {
        let group = std::iter::once(first).chain(queue.try_iter()).take(GROUP_MAX);
        let (steps, answers): (Vec<_>, Vec<_>) = group.map(|write| (write.step, write.answer)).unzip();
        match inline.commit(steps) {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // A caller that has gone needs no answer.
                    let _ = answer.send(Ok(done));
                }
            }
            Err(failure) => {
                for answer in answers {
                    let _ = answer.send(Err(failure.to_string()));
                }
                return;
            }
        }
    }
}

/// Unix microseconds.
fn now() -> Fallible<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64)
}
