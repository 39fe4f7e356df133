//! A session: one connection, one operation at a time, taken from the engine's queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, WeakSender};
use futures_util::FutureExt as _;
use sea_orm::DatabaseConnection;

use super::connection::Place;
use super::executor::Executor;
use super::failure::{Failure, FailureKind};
use super::job::Job;
use super::outage::{Connected, Fresh, Outage};
use crate::clock;
use crate::error::Error;
use crate::storage::counters::Counters;
use crate::storage::{Branch, Wake};

/// The database itself ends a statement in time; only if its word does not come, the connection is given up.
const GRACE: Duration = Duration::from_millis(500);

/// Operations after which a session's plans are kept.
const PLANNED_ANEW_TO: u64 = 1 << 16;

/// Where sessions take their operations from, and where they put back what another one can do and they cannot.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) receiver: Receiver<Job>,
    pub(super) sender: WeakSender<Job>,
}

pub(super) struct Session {
    place: Place,
    pub(super) counters: Arc<Counters>,
    outage: Arc<Outage>,
    pub(super) wake: Wake,
    branch: Branch,
    open: Option<Open>,
    /// So many were begun, over all its connections.
    operations: u64,
}

/// PostgreSQL keeps the plan of a statement until the table is analysed, and one made for an empty table may read all of it when
/// it is full; and as long as nothing has analysed a table, it takes a list of keys for most of it. So in a session's first operations
/// its plans are made anew, ever more seldom, and tables that nothing has analysed yet are. Later autovacuum sees to it.
const PLAN_ANEW: &str = "DO $$ DECLARE grown regclass; BEGIN \
     FOR grown IN SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' \
     AND reltuples < 0 AND pg_relation_size(oid) >= 131072 \
     LOOP EXECUTE 'ANALYZE ' || grown; END LOOP; END $$; DISCARD PLANS";

fn is_time_to_plan_anew(operations: u64) -> bool {
    operations <= PLANNED_ANEW_TO && operations.is_power_of_two()
}

struct Open {
    executor: Arc<Executor>,
    database: DatabaseConnection,
    generation: u64,
    _connected: Connected,
}

impl Session {
    pub(super) fn new(
        place: Place,
        counters: Arc<Counters>,
        outage: Arc<Outage>,
        wake: Wake,
        branch: Branch,
    ) -> Self {
        Self { place, counters, outage, wake, branch, open: None, operations: 0 }
    }

    /// Serves until the queue is closed and empty.
    pub(super) async fn run(mut self, queue: Queue) {
        loop {
            if self.trusted().is_none() {
                self.open = None;
                self.outage.leave_work_to_others().await;
            }
            let Ok(job) = queue.receiver.recv().await else { break };
            let is_late = job.deadline.is_some_and(|deadline| deadline <= clock::instant());
            if is_late || !job.is_wanted() {
                if job.is_write() {
                    Counters::add(&self.counters.writes_dropped, 1);
                }
                job.fail(Error::DeadlineExceeded);
                continue;
            }
            match self.open().await {
                Ok(_) => self.serve(job).await,
                Err(failure) => self.pass_on(job, &failure, &queue),
            }
        }
        if let Some(Open { executor, database, .. }) = self.open.take() {
            drop(database);
            executor.close().await;
        }
    }

    async fn serve(&mut self, job: Job) {
        if !job.is_write() {
            Counters::add(&self.counters.reads, 1);
        }
        if AssertUnwindSafe(job.run(self)).catch_unwind().await.is_err() {
            tracing::error!("a session panicked; it goes on with another connection");
            self.open = None;
        }
    }

    /// Leaves an operation to those who have a connection; fails it if nobody has.
    fn pass_on(&self, job: Job, failure: &Failure, queue: &Queue) {
        let sender = queue.sender.upgrade().filter(|_| self.outage.is_anyone_connected());
        let Some(sender) = sender else { return job.fail(failure.unreachable()) };
        if let Err(refused) = sender.try_send(job) {
            refused.into_inner().fail(failure.unreachable());
        }
    }

    /// The connection, if there is one that may still be used.
    fn trusted(&self) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.generation == self.outage.generation())
    }

    /// The connection, opened if there is none that can be trusted.
    pub(super) async fn open(&mut self) -> Result<(Arc<Executor>, DatabaseConnection), Failure> {
        self.operations += 1;
        if is_time_to_plan_anew(self.operations) {
            self.plan_anew().await;
        }
        if self.trusted().is_none() {
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

    /// Has the connection plan anew, if there is one. One that is found to have ended is given up, and the operation has another opened.
    async fn plan_anew(&mut self) {
        let Some(executor) = self.trusted().map(|open| open.executor.clone()) else { return };
        match executor.run(PLAN_ANEW).await {
            Ok(()) => {}
            Err(failure) if failure.is_lost() => self.give_up(&failure),
            Err(failure) => tracing::debug!(cause = failure.message, "statements are planned as they were"),
        }
    }

    async fn connect(&mut self) -> Result<Open, Failure> {
        let Fresh { connection, generation } = match self.outage.take_spare() {
            Some(spare) => spare,
            None => {
                let generation = self.outage.may_connect()?;
                let opened = match self.place.open().await {
                    // A connection that ends while it is being made says little of the next one.
                    Err(failure) if failure.kind == FailureKind::Lost => self.place.open().await,
                    opened => opened,
                };
                let connection = opened.inspect_err(|failure| {
                    Counters::add(&self.counters.faults, 1);
                    tracing::warn!(cause = failure.message, database = self.place.name(), "no connection");
                    self.outage.failed(failure);
                })?;
                self.outage.ended();
                Fresh { connection, generation }
            }
        };
        let executor = Executor::new(connection, self.counters.clone(), self.outage.clone());
        let database = executor.database()?;
        Ok(Open { executor, database, generation, _connected: self.outage.connected(generation) })
    }

    /// Drops the connection after `failure`; the next operation opens another one.
    pub(super) fn give_up(&mut self, failure: &Failure) {
        Counters::add(&self.counters.faults, 1);
        tracing::warn!(cause = failure.message, "the connection to the database is given up");
        if let Some(open) = self.open.take() {
            self.outage.lost(open.generation);
        }
    }

    /// The branch of what the connection writes. Connections that were lost may have been those of another database.
    pub(super) fn branch(&self) -> Branch {
        self.branch.after(self.open.as_ref().map_or(0, |open| open.generation))
    }

    pub(super) fn attempts_max(&self) -> u64 {
        self.place.settings.write_attempts_max
    }

    pub(super) fn statement_ms_max(&self) -> u64 {
        self.place.settings.statement_ms_max
    }
}
