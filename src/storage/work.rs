//! Operations with their types erased: an engine knows one kind of write and one kind of read, and is compiled once.
//!
//! What an operation answers goes into a place that its caller holds as well; the engine hears only whether there is an answer.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::{Db, Tx};
use crate::error::{Error, Result};

/// Something to be done inside a transaction. It may be done again.
pub(super) trait Work<T>: Send + Sync {
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<T>>;
}

/// Something to be read. It may be read again.
pub(super) trait Query: Send + Sync {
    fn run<'a>(&'a self, db: &'a Db<'a>) -> BoxFuture<'a, Result<()>>;
}

/// A function and the input that it borrows.
pub(super) struct Prepared<I, F> {
    pub(super) input: I,
    pub(super) op: F,
}

impl<I, T, F> Work<T> for Prepared<I, F>
where
    I: Send + Sync,
    F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<T>> {
        (self.op)(tx, &self.input)
    }
}

/// Where an operation puts its answer: that of its last run.
pub(super) struct Answer<T>(Arc<Mutex<Option<T>>>);

impl<T> Answer<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    fn put(&self, answer: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    /// The answer of an operation that has succeeded.
    pub(super) fn take(&self) -> Result<T> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or_else(|| Error::internal("an operation succeeded without an answer"))
    }
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An operation whose answer goes to its place.
pub(super) struct Erased<I, T, F> {
    pub(super) prepared: Prepared<I, F>,
    pub(super) answer: Answer<T>,
}

impl<I, T, F> Work<()> for Erased<I, T, F>
where
    I: Send + Sync,
    T: Send,
    F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<()>> {
        let answering = self.prepared.run(tx);
        Box::pin(async move { answering.await.map(|answer| self.answer.put(answer)) })
    }
}

impl<I, T, F> Query for Erased<I, T, F>
where
    I: Send + Sync,
    T: Send,
    F: for<'a> Fn(&'a Db<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync,
{
    fn run<'a>(&'a self, db: &'a Db<'a>) -> BoxFuture<'a, Result<()>> {
        let answering = (self.prepared.op)(db, &self.prepared.input);
        Box::pin(async move { answering.await.map(|answer| self.answer.put(answer)) })
    }
}
