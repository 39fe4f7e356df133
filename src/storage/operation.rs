//! A write that is prepared and not yet run: by itself, or with others in one transaction.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use prost::Message;
use sea_orm::Value;

use super::idempotency::{self, RequestKey};
use super::work::{Prepared, Work};
use super::{Durability, Storage, Tx};
use crate::error::{Error, Result};

/// A write that a service has prepared: its checked input, and what is to be done with it inside a transaction. The service's
/// own call runs it by itself, `transaction.Commit` with others: there is one path for both.
pub struct Operation<T> {
    /// What the acknowledged write shall survive, if that was said.
    pub durability: Option<Durability>,
    /// Items that it changes.
    pub items: usize,
    /// Rows that it locks, as far as they are known beforehand.
    pub locks: Vec<RowLock>,
    work: Box<dyn Work<T>>,
    repeated: Option<Repeated>,
    judge: Option<Arc<dyn Judge>>,
}

/// Judges documents of a write between two attempts.
pub trait Judge: Send + Sync {
    /// Whether the last attempt met a document without a verdict: it must not be committed.
    fn is_waiting(&self) -> bool;
    /// Makes the verdicts that are missing.
    fn judge(&self) -> BoxFuture<'static, Result<()>>;
}

/// Attempts of a write whose documents are judged in between.
const ATTEMPTS_MAX: usize = 16;

/// What is to be done when the request was answered before.
type Repeated = Box<dyn Fn(&Tx<'_>) + Send + Sync>;

/// A row that is to be locked. In a transaction of several operations all are locked before the first one is run, in the order of
/// this type: then two such transactions do not wait for each other, whatever the order of their operations.
#[derive(Clone, Debug)]
pub struct RowLock {
    rank: Rank,
    key: Vec<u8>,
    select: &'static str,
    values: Vec<Value>,
}

/// The one order in which rows of different tables are locked. What one service's own calls lock one after the other stands here in
/// the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The one row of the settings' state.
    Settings,
    /// Namespaces of the cache, by name.
    Namespaces,
    /// Tasks, by id.
    Tasks,
    /// Unique keys of tasks, by queue and name.
    Uniques,
    /// Limit keys of tasks, by queue and name.
    Keys,
    /// Jobs, by id.
    Jobs,
    /// Sessions of uploads, by id.
    Sessions,
    /// Conversations of prompts, by name.
    Conversations,
    /// Prompts, by id.
    Prompts,
    /// Collections of records, by name.
    Collections,
}

impl RowLock {
    /// The row that `select` finds by `values`; `key` orders rows of one rank.
    pub fn new(rank: Rank, key: impl Into<Vec<u8>>, select: &'static str, values: Vec<Value>) -> Self {
        Self { rank, key: key.into(), select, values }
    }

    /// Brings locks into their order, each once.
    pub fn in_order(mut locks: Vec<Self>) -> Vec<Self> {
        locks.sort_by(|one, other| one.place().cmp(&other.place()));
        locks.dedup_by(|one, other| one.place() == other.place());
        locks
    }

    fn place(&self) -> (Rank, &[u8]) {
        (self.rank, &self.key)
    }

    /// Locks the row, or takes its turn if it is not there: the operation may insert it. Costs nothing where there is one writer.
    pub async fn take(&self, tx: &Tx<'_>) -> Result<()> {
        if self.lock_row(tx).await? == Some(0) {
            let row = [&[self.rank as u8], self.key.as_slice()].concat();
            tx.take_turn_of_row(&row).await?;
            // The transaction that had the turn may have inserted the row: others lock it without a turn from then on.
            self.lock_row(tx).await?;
        }
        Ok(())
    }

    async fn lock_row(&self, tx: &Tx<'_>) -> Result<Option<i64>> {
        tx.lock_rows(self.select, self.values.iter().cloned()).await
    }
}

struct Mapped<T, U> {
    work: Box<dyn Work<T>>,
    map: fn(T) -> Result<U>,
}

struct Wrapped<T, U> {
    work: Box<dyn Work<T>>,
    wrap: fn(T) -> U,
}

impl<T: Send, U> Work<U> for Mapped<T, U> {
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<U>> {
        Box::pin(async move { (self.map)(self.work.run(tx).await?) })
    }
}

impl<T: Send, U> Work<U> for Wrapped<T, U> {
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<U>> {
        Box::pin(async move { Ok((self.wrap)(self.work.run(tx).await?)) })
    }
}

impl<T: Send + 'static> Operation<T> {
    /// `op` on `input`, which it borrows: it may be run again. See [`Storage::write`].
    pub fn new<I, F>(input: I, op: F) -> Self
    where
        I: Send + Sync + 'static,
        F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        Self {
            durability: None,
            items: 1,
            locks: Vec::new(),
            work: Box::new(Prepared { input, op }),
            repeated: None,
            judge: None,
        }
    }

    /// With what the acknowledged write shall survive, if that is said.
    #[must_use]
    pub fn surviving(self, durability: Option<Durability>) -> Self {
        Self { durability, ..self }
    }

    /// With the number of items that it changes.
    #[must_use]
    pub fn of_items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    /// With rows that it locks.
    #[must_use]
    pub fn locking(self, locks: impl IntoIterator<Item = RowLock>) -> Self {
        Self { locks: locks.into_iter().collect(), ..self }
    }

    /// With what is to be done when the request turns out to have been answered before; see [`Tx::is_repeat`].
    #[must_use]
    pub fn when_repeated(self, repeated: impl Fn(&Tx<'_>) + Send + Sync + 'static) -> Self {
        Self { repeated: Some(Box::new(repeated)), ..self }
    }

    /// With a judge of its documents.
    #[must_use]
    pub fn judged(self, judge: Arc<dyn Judge>) -> Self {
        Self { judge: Some(judge), ..self }
    }

    /// The judge of its documents, if it has one.
    pub fn judge(&self) -> Option<Arc<dyn Judge>> {
        self.judge.clone()
    }

    /// With another answer, made of its own.
    #[must_use]
    pub fn map<U: Send + 'static>(self, wrap: fn(T) -> U) -> Operation<U> {
        let Self { durability, items, locks, work, repeated, judge } = self;
        Operation { durability, items, locks, work: Box::new(Wrapped { work, wrap }), repeated, judge }
    }

    /// With another answer, made of its own unless that is not as it should be.
    #[must_use]
    pub fn try_map<U: Send + 'static>(self, map: fn(T) -> Result<U>) -> Operation<U> {
        let Self { durability, items, locks, work, repeated, judge } = self;
        Operation { durability, items, locks, work: Box::new(Mapped { work, map }), repeated, judge }
    }

    /// Runs it inside a transaction. Errors: its own, after which the transaction must not be committed.
    pub fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<T>> {
        self.work.run(tx)
    }

    /// To be said instead of running it, when the request was answered before.
    pub fn note_repeat(&self, tx: &Tx<'_>) {
        if let Some(repeated) = &self.repeated {
            repeated(tx);
        }
    }
}

/// To be called at the end of an attempt. Error: Unjudged, if one of the judges is waited for.
pub fn check_judged<'j>(judges: impl IntoIterator<Item = &'j Arc<dyn Judge>>) -> Result<()> {
    if judges.into_iter().any(|judge| judge.is_waiting()) { Err(Error::Unjudged) } else { Ok(()) }
}

/// Runs `attempt` again while it fails with Unjudged, with all judges in between.
pub async fn until_judged<T, F>(judges: &[Arc<dyn Judge>], attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(error) if error.is_unjudged() => {}
            outcome => return outcome,
        }
        for judge in judges {
            judge.judge().await?;
        }
    }
    attempt().await
}

impl Storage {
    /// Runs one operation in a transaction of its own, once per request; see [`idempotency::once`]. It survives `usually` unless it says
    /// otherwise.
    pub async fn write_once<T>(
        &self,
        usually: Durability,
        request: Option<RequestKey>,
        operation: Operation<T>,
    ) -> Result<T>
    where
        T: Message + Default + 'static,
    {
        let durability = operation.durability.unwrap_or(usually);
        let judges: Vec<_> = operation.judge().into_iter().collect();
        let shared = Arc::new((operation, request));
        let attempt = || {
            self.write(durability, shared.clone(), |tx, shared| {
                Box::pin(async move {
                    let (operation, request) = &**shared;
                    let answer = idempotency::once(tx, request.as_ref(), operation.run(tx)).await?;
                    check_judged(&operation.judge)?;
                    if tx.is_repeat() {
                        operation.note_repeat(tx);
                    }
                    Ok(answer)
                })
            })
        };
        until_judged(&judges, attempt).await
    }
}
