//! A write that is prepared and not yet run: by itself, or with others in one transaction.

use futures_util::future::BoxFuture;
use prost::Message;

use super::idempotency::{self, RequestKey};
use super::{Durability, Storage, Tx};
use crate::error::{Error, Result};

/// A write that a service has prepared: its checked input, and what is to be done with it inside a transaction. The service's
/// own call runs it by itself, `transaction.Commit` with others: there is one path for both.
pub struct Operation<T> {
    /// What the acknowledged write shall survive, if that was said.
    pub durability: Option<Durability>,
    /// Items that it changes.
    pub items: usize,
    work: Box<dyn Work<T>>,
    repeated: Option<Box<dyn Fn(&Tx<'_>) + Send + Sync>>,
}

trait Work<T>: Send + Sync {
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<T>>;
}

struct Prepared<I, F> {
    input: I,
    op: F,
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

struct Mapped<T, U> {
    work: Box<dyn Work<T>>,
    map: fn(T) -> U,
}

impl<T: Send, U> Work<U> for Mapped<T, U> {
    fn run<'a>(&'a self, tx: &'a Tx<'a>) -> BoxFuture<'a, Result<U>> {
        Box::pin(async move { Ok((self.map)(self.work.run(tx).await?)) })
    }
}

impl<T: Send + 'static> Operation<T> {
    /// `op` on `input`, which it borrows: it may be run again. See [`Storage::write`].
    pub fn new<I, F>(input: I, op: F) -> Self
    where
        I: Send + Sync + 'static,
        F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        Self { durability: None, items: 1, work: Box::new(Prepared { input, op }), repeated: None }
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

    /// With what is to be done when the request turns out to have been answered before; see [`Tx::is_repeat`].
    #[must_use]
    pub fn when_repeated(self, repeated: impl Fn(&Tx<'_>) + Send + Sync + 'static) -> Self {
        Self { repeated: Some(Box::new(repeated)), ..self }
    }

    /// With another answer, made of its own.
    #[must_use]
    pub fn map<U: Send + 'static>(self, map: fn(T) -> U) -> Operation<U> {
        let Self { durability, items, work, repeated } = self;
        Operation { durability, items, work: Box::new(Mapped { work, map }), repeated }
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

impl Storage {
    /// Runs one operation in a transaction of its own, once per request; see [`idempotency::once`].
    pub async fn write_once<T>(
        &self,
        durability: Durability,
        request: Option<RequestKey>,
        operation: Operation<T>,
    ) -> Result<T>
    where
        T: Message + Default + 'static,
    {
        self.write(durability, (operation, request), |tx, (operation, request)| {
            Box::pin(async move {
                let answer = idempotency::once(tx, request.as_ref(), operation.run(tx)).await?;
                if tx.is_repeat() {
                    operation.note_repeat(tx);
                }
                Ok(answer)
            })
        })
        .await
    }
}

/// What becomes of a call in which an item fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The item is told of; the others are done.
    Item,
    /// The call fails with the error of its one item.
    Single,
    /// The call fails with the first error, which has the place of its item.
    All,
}

impl Failing {
    /// Of a batch, which in a commit is done as a whole or not at all.
    pub fn of_batch(is_part: bool) -> Self {
        if is_part { Self::All } else { Self::Item }
    }

    /// The results of the items of `field`, unless the call fails.
    pub fn results<T>(self, results: Vec<Result<T>>, field: &str) -> Result<Vec<Result<T>>> {
        let mut checked = Vec::with_capacity(results.len());
        for (index, result) in results.into_iter().enumerate() {
            checked.push(match result {
                Err(error) if self == Self::Single => return Err(error),
                Err(error) if self == Self::All => return Err(Error::at(format!("{field}[{index}]"), error)),
                result => result,
            });
        }
        Ok(checked)
    }
}
