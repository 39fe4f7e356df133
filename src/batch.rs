//! The items of a batch call: a wrong item fails alone, or the call is all or none.

use crate::error::{Error, Result};

/// What becomes of a call in which an item fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The item has an error of its own; the others are done.
    Item,
    /// The call fails with the error of its one item.
    Single,
    /// The call fails with the first error, which has the place of its item.
    All,
}

/// The items of a batch: those that can be done, and what is wrong with the others.
#[derive(Debug)]
pub struct Batch<T> {
    /// The items that are right, in their order.
    pub items: Vec<T>,
    /// The others: their places among all items, and what is wrong with them.
    refused: Vec<(usize, Error)>,
    field: &'static str,
    failing: Failing,
}

impl<T> Batch<T> {
    /// A batch of the request's `field`, of about `count` items that are still to be added.
    pub fn new(field: &'static str, failing: Failing, count: usize) -> Self {
        Self { items: Vec::with_capacity(count), refused: Vec::new(), field, failing }
    }

    /// Adds the next item.
    pub fn accept(&mut self, item: T) {
        self.items.push(item);
    }

    /// Adds what is wrong with the next item.
    pub fn refuse(&mut self, error: Error) {
        self.refused.push((self.count(), error));
    }

    /// Number of items, with those that are refused.
    pub fn count(&self) -> usize {
        self.items.len() + self.refused.len()
    }

    /// The same batch with other items, each made of the one at its place.
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Batch<U> {
        let Self { items, refused, field, failing } = self;
        Batch { items: items.into_iter().map(map).collect(), refused, field, failing }
    }

    /// The results of all items in the order of the request, from those of `items`, unless the call fails.
    ///
    /// Errors: the item's, where the call has one; the first item's with its place, where it is all or none.
    pub fn results<R>(&self, results: Vec<Result<R>>) -> Result<Vec<Result<R>>> {
        if results.len() != self.items.len() {
            return Err(Error::internal("a batch has not as many results as items"));
        }
        let mut all = Vec::with_capacity(self.count());
        let mut refused = self.refused.iter().peekable();
        let mut results = results.into_iter();
        for index in 0..self.count() {
            let result = match refused.next_if(|(place, _)| *place == index) {
                Some((_, error)) => Err(error.clone()),
                None => results.next().unwrap_or_else(|| Err(Error::internal("a result is missing"))),
            };
            all.push(match result {
                Err(error) if self.failing == Failing::Single => return Err(error),
                Err(error) if self.failing == Failing::All => {
                    return Err(Error::at(format!("{}[{index}]", self.field), error));
                }
                result => result,
            });
        }
        Ok(all)
    }
}

/// The one result of a batch of one. Error: Internal, when there is another number of them.
pub fn only<T>(results: Vec<T>) -> Result<T> {
    let count = results.len();
    match <[T; 1]>::try_from(results) {
        Ok([result]) => Ok(result),
        Err(_) => Err(Error::internal(format!("a batch of one has {count} results"))),
    }
}
