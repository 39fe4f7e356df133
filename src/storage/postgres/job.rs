//! Operations on their way through a session: how a transaction begins, ends, and is run again.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sea_orm::DatabaseConnection;
use tokio::sync::oneshot;

use super::executor::Executor;
use super::failure::{Failure, FailureKind};
use super::session::Session;
use crate::clock;
use crate::error::{Error, Result};
use crate::settings::Durability;
use crate::storage::counters::Counters;
use crate::storage::{Db, FollowUp, Query, Tx, Work, panicked};

/// The longest pause before an operation is run again.
const PAUSE_MS_MAX: u64 = 64;

/// An operation that waits for a session.
pub(super) struct Job {
    pub(super) deadline: Option<Instant>,
    pub(super) what: What,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// What is to be done.
pub(super) enum What {
    Read(Box<dyn Query>),
    Write(Begin, Box<dyn Work<()>>),
}

/// How a write begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Write(Durability),
    /// Alone among all sidecars, and for as long as it takes.
    SchemaChange,
}

impl Begin {
    fn sql(self) -> &'static str {
        match self {
            Self::Write(Durability::Full) => "BEGIN",
            Self::Write(Durability::Relaxed) => "BEGIN; SET LOCAL synchronous_commit TO off",
            Self::SchemaChange => {
                "BEGIN; SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO 0; \
                 SELECT pg_advisory_xact_lock(hashtext('pannier_schema_' || current_schema()))"
            }
        }
    }
}

/// How one attempt ended.
enum Ended<T> {
    /// With an answer; what was written is committed.
    Answered(T),
    /// With an error of the operation's own; nothing is stored.
    Refused(Error),
    /// The database failed it; nothing is stored, so it may be run again.
    Failed(Failure),
    /// There is no connection to be had.
    Unreachable(Failure),
    /// The connection was lost while it committed: whether it is stored is not known.
    InDoubt(Failure),
}

impl Job {
    pub(super) fn is_write(&self) -> bool {
        matches!(self.what, What::Write(..))
    }

    /// Whether anybody still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Answers with an error.
    pub(super) fn fail(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }

    /// Does it and answers.
    pub(super) async fn run(self, session: &mut Session) {
        let outcome = match &self.what {
            What::Read(query) => session.read(&**query, self.deadline).await,
            What::Write(begin, work) => session.write(*begin, &**work, self.deadline).await,
        };
        // A caller that has left does not want to know.
        let _ = self.reply.send(outcome);
    }
}

impl Session {
    async fn read(&mut self, query: &dyn Query, deadline: Option<Instant>) -> Result<()> {
        let ended = match self.attempt_read(query, deadline).await {
            Ended::Failed(failure) if failure.is_lost() => self.attempt_read(query, deadline).await,
            other => other,
        };
        answer(ended, deadline)
    }

    async fn attempt_read(&mut self, query: &dyn Query, deadline: Option<Instant>) -> Ended<()> {
        let (executor, database) = match self.open().await {
            Ok(open) => open,
            Err(failure) => return Ended::Unreachable(failure),
        };
        if let Err(failure) = executor.run(&begin_read(self, deadline)).await {
            self.give_up(&failure);
            return Ended::Failed(failure);
        }
        let db = Db::new(&database, &*executor);
        let outcome = AssertUnwindSafe(query.run(&db)).catch_unwind().await;
        let ended = match (outcome, executor.take_failure()) {
            (_, Some(failure)) => Ended::Failed(failure),
            (Ok(Ok(())), None) => Ended::Answered(()),
            (Ok(Err(error)), None) => Ended::Refused(explained(error)),
            (Err(_), None) => Ended::Refused(panicked()),
        };
        let last = ended.last(Some("COMMIT"));
        self.end(&executor, last).await;
        ended
    }

    async fn write(&mut self, begin: Begin, work: &dyn Work<()>, deadline: Option<Instant>) -> Result<()> {
        let mut attempt = 1;
        let outcome = loop {
            let failure = match self.attempt_write(begin, work).await {
                Ended::Failed(failure) => failure,
                ended => break ended,
            };
            let may_repeat = failure.is_lost() || failure.is_overtaken();
            let is_late = deadline.is_some_and(|deadline| deadline <= clock::instant());
            // A connection that lay idle may have ended long ago: that is no attempt yet.
            let attempts_max = self.attempts_max().max(if failure.is_lost() { 2 } else { 1 });
            if !may_repeat || is_late || attempt >= attempts_max {
                break Ended::Failed(failure);
            }
            Counters::add(&self.counters.writes_repeated, 1);
            tracing::debug!(attempt, cause = failure.message, "a write is run again");
            if failure.kind == FailureKind::Conflict {
                let pause_ms = PAUSE_MS_MAX.min(1 << attempt.min(6));
                tokio::time::sleep(Duration::from_millis(clock::jitter_ms(pause_ms))).await;
            }
            attempt += 1;
        };
        match outcome {
            Ended::Answered(follow_ups) => {
                Counters::add(&self.counters.writes, 1);
                Counters::add(&self.counters.commits, 1);
                for follow_up in follow_ups {
                    if std::panic::catch_unwind(AssertUnwindSafe(follow_up)).is_err() {
                        tracing::error!("what follows a commit panicked");
                    }
                }
                Ok(())
            }
            // The time or the attempts of a call ran out while others came in between. That is no fault of the request. What is
            // written outside of calls (an import, a migration) has no others beside it: there the rows themselves collide.
            Ended::Failed(failure) if failure.is_overtaken() && deadline.is_some() => {
                tracing::warn!(
                    attempt,
                    cause = failure.message,
                    "a write is given up: others came in between"
                );
                Err(Error::DeadlineExceeded)
            }
            other => answer(other, deadline).map(drop),
        }
    }

    async fn attempt_write(&mut self, begin: Begin, work: &dyn Work<()>) -> Ended<Vec<FollowUp>> {
        let (executor, database) = match self.open().await {
            Ok(open) => open,
            Err(failure) => return Ended::Unreachable(failure),
        };
        if begin == Begin::SchemaChange {
            executor.set_patience(Duration::ZERO);
        }
        if let Err(failure) = executor.run(begin.sql()).await {
            self.give_up(&failure);
            return Ended::Failed(failure);
        }
        let worked = self.work(work, &executor, &database).await;
        let ended = match worked {
            Ended::Answered(follow_ups) => match executor.run("COMMIT").await {
                Ok(()) => Ended::Answered(follow_ups),
                Err(failure) if failure.is_lost() => Ended::InDoubt(failure),
                Err(failure) => Ended::Failed(failure),
            },
            other => other,
        };
        let last = ended.last(None);
        self.end(&executor, last).await;
        ended
    }

    async fn work(
        &self,
        work: &dyn Work<()>,
        executor: &Executor,
        database: &DatabaseConnection,
    ) -> Ended<Vec<FollowUp>> {
        let tx = Tx::new(Db::new(database, executor), self.branch());
        let outcome = AssertUnwindSafe(work.run(&tx)).catch_unwind().await;
        match (outcome, executor.take_failure()) {
            // A statement failed, so the transaction is over, whatever the operation made of that.
            (_, Some(failure)) => return Ended::Failed(failure),
            (Ok(Err(error)), None) => return Ended::Refused(explained(error)),
            (Err(_), None) => return Ended::Refused(panicked()),
            (Ok(Ok(())), None) => {}
        }
        let (mut follow_ups, topics) = tx.into_parts();
        if !topics.is_empty() {
            if let Err(failure) = executor.notify(&topics).await {
                return Ended::Failed(failure);
            }
            let wake = self.wake.clone();
            // Those in this process need not wait for the database's word.
            follow_ups.push(Box::new(move || topics.iter().for_each(|topic| wake.notify(|| topic.clone()))));
        }
        Ended::Answered(follow_ups)
    }
}

impl<T> Ended<T> {
    /// The statement that ends the transaction, or why the connection is given up.
    fn last(&self, done: Option<&'static str>) -> Result<Option<&'static str>, Failure> {
        match self {
            Self::Answered(_) => Ok(done),
            Self::Refused(_) => Ok(Some("ROLLBACK")),
            Self::Failed(failure) if !failure.is_lost() => Ok(Some("ROLLBACK")),
            Self::Failed(failure) | Self::Unreachable(failure) | Self::InDoubt(failure) => {
                Err(failure.clone())
            }
        }
    }
}

impl Session {
    async fn end(&mut self, executor: &Executor, last: Result<Option<&'static str>, Failure>) {
        let ended = match last {
            Ok(None) => Ok(()),
            Ok(Some(statement)) => executor.run(statement).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = ended {
            self.give_up(&failure);
        }
    }
}

/// A read that ends with its caller's deadline, if that comes first.
fn begin_read(session: &Session, deadline: Option<Instant>) -> String {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let left = deadline.map(|deadline| deadline.saturating_duration_since(clock::instant()));
    match left.map(|left| left.as_millis().max(1)) {
        Some(left_ms) if left_ms < u128::from(session.statement_ms_max()) => {
            format!("{begin}; SET LOCAL statement_timeout TO {left_ms}")
        }
        _ => begin.to_owned(),
    }
}

fn answer<T>(ended: Ended<T>, deadline: Option<Instant>) -> Result<T> {
    let is_late = deadline.is_some_and(|deadline| deadline <= clock::instant());
    match ended {
        Ended::Answered(value) => Ok(value),
        Ended::Refused(error) => Err(error),
        Ended::Failed(failure) if failure.kind == FailureKind::Busy && is_late => {
            Err(Error::DeadlineExceeded)
        }
        Ended::Unreachable(failure) => Err(failure.unreachable()),
        Ended::Failed(failure) | Ended::InDoubt(failure) => Err(failure.error()),
    }
}

/// An error of SeaORM's without a failed statement behind it is a fault of ours: a row that is not as its entity says.
fn explained(error: Error) -> Error {
    match error {
        Error::Database(error) => Error::internal(error.to_string()),
        other => other,
    }
}
