//! A session: one connection, one operation at a time, taken from the engine's queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use sqlx::postgres::PgConnection;

use super::connection::Place;
use super::executor::Executor;
use super::failure::{Failure, FailureKind};
use super::job::Job;
use super::outage::Outage;
use crate::clock;
use crate::error::Error;
use crate::storage::Wake;
use crate::storage::counters::Counters;

/// The database itself ends a statement in time; only if its word does not come, the connection is given up.
const GRACE: Duration = Duration::from_millis(500);

/// An operation that waits for a session.
pub(super) struct Queued {
    pub(super) deadline: Option<Instant>,
    pub(super) job: Box<dyn Job>,
}

pub(super) struct Session {
    place: Place,
    pub(super) counters: Arc<Counters>,
    outage: Arc<Outage>,
    pub(super) wake: Wake,
    first: Option<PgConnection>,
    open: Option<Open>,
}

struct Open {
    executor: Arc<Executor>,
    database: DatabaseConnection,
    generation: u64,
}

impl Session {
    pub(super) fn new(
        place: Place,
        counters: Arc<Counters>,
        outage: Arc<Outage>,
        wake: Wake,
        first: Option<PgConnection>,
    ) -> Self {
        Self { place, counters, outage, wake, first, open: None }
    }

    /// Serves until the queue is closed and empty.
    pub(super) async fn run(mut self, queue: async_channel::Receiver<Queued>) {
        while let Ok(Queued { deadline, job }) = queue.recv().await {
            let is_late = deadline.is_some_and(|deadline| deadline <= clock::instant());
            if is_late || !job.is_wanted() {
                if job.is_write() {
                    Counters::add(&self.counters.writes_dropped, 1);
                }
                job.failed(Error::DeadlineExceeded);
                continue;
            }
            if !job.is_write() {
                Counters::add(&self.counters.reads, 1);
            }
            job.run(&mut self, deadline).await;
        }
        if let Some(Open { executor, database, .. }) = self.open.take() {
            drop(database);
            executor.close().await;
        }
    }

    /// The connection, opened if there is none that can be trusted.
    pub(super) async fn open(&mut self) -> Result<(Arc<Executor>, DatabaseConnection), Failure> {
        if self.open.as_ref().is_some_and(|open| open.generation != self.outage.generation()) {
            self.open = None;
        }
        let open = match &self.open {
            Some(open) => open,
            None => {
                let opened = self.connect().await?;
                self.open.insert(opened)
            }
        };
        let patience = Duration::from_millis(self.place.settings.statement_ms_max) + GRACE;
        open.executor.set_patience(patience);
        Ok((open.executor.clone(), open.database.clone()))
    }

    async fn connect(&mut self) -> Result<Open, Failure> {
        let generation =
            self.outage.may_connect().map_err(|message| Failure { kind: FailureKind::Lost, message })?;
        let connection = match self.first.take() {
            Some(connection) => Ok(connection),
            None => self.place.open().await,
        };
        let connection = connection.inspect_err(|failure| {
            Counters::add(&self.counters.faults, 1);
            tracing::warn!(cause = failure.message, database = self.place.name(), "no connection");
            self.outage.failed(&failure.message);
        })?;
        self.outage.ended();
        let executor = Executor::new(connection, self.counters.clone());
        let database = executor.database()?;
        Ok(Open { executor, database, generation })
    }

    /// Drops the connection after `failure`; the next operation opens another one.
    pub(super) fn give_up(&mut self, failure: &Failure) {
        Counters::add(&self.counters.faults, 1);
        tracing::warn!(cause = failure.message, "the connection to the database is given up");
        if let Some(open) = self.open.take() {
            self.outage.lost(open.generation);
        }
    }

    pub(super) fn attempts_max(&self) -> u64 {
        self.place.settings.write_attempts_max
    }

    pub(super) fn statement_ms_max(&self) -> u64 {
        self.place.settings.statement_ms_max
    }
}
