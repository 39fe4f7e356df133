//! PostgreSQL behind the two calls: a few sessions, each with a connection of its own, take operations from one queue.
//!
//! An operation belongs to the session that took it and runs to its end, whatever becomes of its caller. A read is a
//! transaction with one snapshot. A write is a READ COMMITTED transaction, run again when it met another one: after a
//! serialisation failure, a deadlock, or a row that came in between (a unique violation). Other sidecars may share the
//! database: rows are locked before they are changed, and wake-ups go through LISTEN and NOTIFY.

mod connection;
mod examine;
mod executor;
mod failure;
mod job;
mod listen;
mod outage;
#[cfg(test)]
mod round_trip;
mod session;

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::deadline;
use crate::error::{Error, Result};
use crate::settings::{Durability, StorageSettings};
use crate::storage::counters::Counters;
use crate::storage::{Branch, Query, StorageStats, Wake, Work, panicked};

use connection::Place;
pub(super) use examine::examine;
use outage::Outage;

/// Tells, as `tables`, whether the table of applied migrations is there.
pub(super) const MIGRATIONS_PROBE: &str = "SELECT count(*) AS tables FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = 'seaql_migrations'";

pub(super) struct Engine {
    queue: async_channel::Sender<job::Job>,
    counters: Arc<Counters>,
    sessions: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    outage: Arc<Outage>,
    /// Listens for wake-ups, and looks for the end of an outage.
    watchers: [JoinHandle<()>; 2],
    /// Never becomes true: what PostgreSQL acknowledges is its own to vouch for.
    failed: watch::Sender<bool>,
}

impl Engine {
    pub(super) async fn open(settings: &StorageSettings, branch: Branch, wake: Wake) -> Result<Self> {
        let place = Place::new(settings)?;
        let first = place.open_first().await?;
        let queue_max = usize::try_from(settings.write_queue_max).unwrap_or(usize::MAX);
        let (sender, queue) = async_channel::bounded(queue_max);
        let counters = Arc::new(Counters::default());
        let outage = Arc::new(Outage::none(first));
        let queue = session::Queue { receiver: queue, sender: sender.downgrade() };
        let sessions = (0..settings.connections).map(|_| {
            let (outage, wake) = (outage.clone(), wake.clone());
            let session = session::Session::new(place.clone(), counters.clone(), outage, wake, branch);
            tokio::spawn(session.run(queue.clone()))
        });
        let sessions = tokio::sync::Mutex::new(sessions.collect());
        let watchers = [
            tokio::spawn(listen::run(place.clone(), wake, outage.clone())),
            tokio::spawn(outage.clone().seek_end(place)),
        ];
        let failed = watch::channel(false).0;
        Ok(Self { queue: sender, counters, sessions, outage, watchers, failed })
    }

    pub(super) async fn read(&self, query: Box<dyn Query>) -> Result<()> {
        self.run(job::What::Read(query)).await
    }

    pub(super) async fn write(&self, durability: Durability, work: Box<dyn Work<()>>) -> Result<()> {
        self.run(job::What::Write(job::Begin::Write(durability), work)).await
    }

    /// The same for a change of the schema: alone among all sidecars, and for as long as it takes.
    pub(super) async fn change_schema(&self, work: Box<dyn Work<()>>) -> Result<()> {
        self.run(job::What::Write(job::Begin::SchemaChange, work)).await
    }

    async fn run(&self, what: job::What) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let job = job::Job { deadline: deadline::current(), what, reply };
        self.queue.send(job).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.unwrap_or_else(|_| Err(self.unanswered()))
    }

    /// Why an operation was dropped without an answer: the engine closed, or the session panicked.
    fn unanswered(&self) -> Error {
        if self.queue.is_closed() { Error::ShuttingDown } else { panicked() }
    }

    pub(super) fn stats(&self) -> StorageStats {
        self.counters.stats(self.queue.len())
    }

    pub(super) fn failed(&self) -> watch::Receiver<bool> {
        self.failed.subscribe()
    }

    /// Finishes what is queued and closes the connections.
    pub(super) async fn close(&self) {
        self.queue.close();
        self.outage.close();
        for watcher in &self.watchers {
            watcher.abort();
        }
        for session in self.sessions.lock().await.drain(..) {
            // A session that panicked has ended as well.
            let _ = session.await;
        }
    }
}
