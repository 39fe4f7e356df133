//! Operations on their way through a session: how a transaction begins, ends, and is run again.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::DatabaseConnection;
use tokio::sync::oneshot;

use super::executor::Executor;
use super::failure::{Failure, FailureKind};
use super::session::Session;
use crate::clock;
use crate::error::{Error, Result};
use crate::settings::Durability;
use crate::storage::counters::Counters;
use crate::storage::{Db, FollowUp, Tx, panicked};

/// The longest pause before an operation is run again.
const PAUSE_MS_MAX: u64 = 64;

/// An operation with its types erased.
pub(super) trait Job: Send {
    /// Whether anybody still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Runs the operation and answers.
    fn run<'s>(self: Box<Self>, session: &'s mut Session, deadline: Option<Instant>) -> BoxFuture<'s, ()>;
    /// Answers with an error.
    fn failed(self: Box<Self>, error: Error);
    /// Whether it is a write.
    fn is_write(&self) -> bool;
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

pub(super) struct Read<I, T, F> {
    pub(super) input: I,
    pub(super) op: F,
    pub(super) reply: oneshot::Sender<Result<T>>,
}

pub(super) struct Write<I, T, F> {
    pub(super) begin: Begin,
    pub(super) input: I,
    pub(super) op: F,
    pub(super) reply: oneshot::Sender<Result<T>>,
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

impl<I, T, F> Job for Read<I, T, F>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    F: for<'a> Fn(&'a Db<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn is_write(&self) -> bool {
        false
    }

    fn run<'s>(self: Box<Self>, session: &'s mut Session, deadline: Option<Instant>) -> BoxFuture<'s, ()> {
        Box::pin(async move {
            let outcome = match self.attempt(session, deadline).await {
                Ended::Failed(failure) if failure.is_lost() => self.attempt(session, deadline).await,
                other => other,
            };
            // A caller that has left does not want to know.
            let _ = self.reply.send(answer(outcome, deadline));
        })
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

impl<I, T, F> Read<I, T, F>
where
    F: for<'a> Fn(&'a Db<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    async fn attempt(&self, session: &mut Session, deadline: Option<Instant>) -> Ended<T> {
        let (executor, database) = match session.open().await {
            Ok(open) => open,
            Err(failure) => return Ended::Unreachable(failure),
        };
        if let Err(failure) = executor.run(&begin_read(session, deadline)).await {
            session.give_up(&failure);
            return Ended::Failed(failure);
        }
        let db = Db::new(&database, &*executor);
        let outcome = AssertUnwindSafe((self.op)(&db, &self.input)).catch_unwind().await;
        let ended = match (outcome, executor.take_failure()) {
            (_, Some(failure)) => Ended::Failed(failure),
            (Ok(Ok(value)), None) => Ended::Answered(value),
            (Ok(Err(error)), None) => Ended::Refused(explained(error)),
            (Err(_), None) => Ended::Refused(panicked()),
        };
        let last = ended.last(Some("COMMIT"));
        session.end(&executor, last).await;
        ended
    }
}

impl<I, T, F> Job for Write<I, T, F>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn is_write(&self) -> bool {
        true
    }

    fn run<'s>(self: Box<Self>, session: &'s mut Session, deadline: Option<Instant>) -> BoxFuture<'s, ()> {
        Box::pin(async move {
            let mut attempt = 1;
            let outcome = loop {
                let failure = match self.attempt(session).await {
                    Ended::Failed(failure) => failure,
                    ended => break ended,
                };
                let may_repeat = failure.is_lost() || failure.is_overtaken();
                let is_late = deadline.is_some_and(|deadline| deadline <= clock::instant());
                // A connection that lay idle may have ended long ago: that is no attempt yet.
                let attempts_max = session.attempts_max().max(if failure.is_lost() { 2 } else { 1 });
                if !may_repeat || is_late || attempt >= attempts_max {
                    break Ended::Failed(failure);
                }
                Counters::add(&session.counters.writes_repeated, 1);
                tracing::debug!(attempt, cause = failure.message, "a write is run again");
                if failure.kind == FailureKind::Conflict {
                    let pause_ms = PAUSE_MS_MAX.min(1 << attempt.min(6));
                    tokio::time::sleep(Duration::from_millis(clock::jitter_ms(pause_ms))).await;
                }
                attempt += 1;
            };
            let outcome = match outcome {
                Ended::Answered((value, follow_ups)) => {
                    Counters::add(&session.counters.writes, 1);
                    Counters::add(&session.counters.commits, 1);
                    for follow_up in follow_ups {
                        if std::panic::catch_unwind(AssertUnwindSafe(follow_up)).is_err() {
                            tracing::error!("what follows a commit panicked");
                        }
                    }
                    Ok(value)
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
                other => answer(other, deadline).map(|(value, _)| value),
            };
            // A caller that has left does not want to know.
            let _ = self.reply.send(outcome);
        })
    }

    fn failed(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

impl<I, T, F> Write<I, T, F>
where
    F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    async fn attempt(&self, session: &mut Session) -> Ended<(T, Vec<FollowUp>)> {
        let (executor, database) = match session.open().await {
            Ok(open) => open,
            Err(failure) => return Ended::Unreachable(failure),
        };
        if self.begin == Begin::SchemaChange {
            executor.set_patience(Duration::ZERO);
        }
        if let Err(failure) = executor.run(self.begin.sql()).await {
            session.give_up(&failure);
            return Ended::Failed(failure);
        }
        let worked = self.work(session, &executor, &database).await;
        let ended = match worked {
            Ended::Answered(value) => match executor.run("COMMIT").await {
                Ok(()) => Ended::Answered(value),
                Err(failure) if failure.is_lost() => Ended::InDoubt(failure),
                Err(failure) => Ended::Failed(failure),
            },
            other => other,
        };
        let last = ended.last(None);
        session.end(&executor, last).await;
        ended
    }

    async fn work(
        &self,
        session: &Session,
        executor: &Executor,
        database: &DatabaseConnection,
    ) -> Ended<(T, Vec<FollowUp>)> {
        let tx = Tx::new(Db::new(database, executor), session.branch());
        let outcome = AssertUnwindSafe((self.op)(&tx, &self.input)).catch_unwind().await;
        let value = match (outcome, executor.take_failure()) {
            // A statement failed, so the transaction is over, whatever the operation made of that.
            (_, Some(failure)) => return Ended::Failed(failure),
            (Ok(Err(error)), None) => return Ended::Refused(explained(error)),
            (Err(_), None) => return Ended::Refused(panicked()),
            (Ok(Ok(value)), None) => value,
        };
        let (mut follow_ups, topics) = tx.into_parts();
        if !topics.is_empty() {
            if let Err(failure) = executor.notify(&topics).await {
                return Ended::Failed(failure);
            }
            let wake = session.wake.clone();
            // Those in this process need not wait for the database's word.
            follow_ups.push(Box::new(move || topics.iter().for_each(|topic| wake.notify(|| topic.clone()))));
        }
        Ended::Answered((value, follow_ups))
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
