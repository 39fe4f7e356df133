//! Numbers, and lists of placeholders in a few sizes.

use std::sync::LazyLock;

use sea_orm::Value;

use crate::error::Result;
use crate::storage::{CHUNKS, Db, places, row};

pub(super) use crate::storage::chunks;

row! {
    /// One number.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Number {
        pub(super) number: Option<i64>,
    }
}

/// The number that a query of one column `number` finds.
pub(super) async fn number(db: &Db<'_>, sql: &str, values: Vec<Value>) -> Result<Option<i64>> {
    Ok(db.row::<Number>(sql, values).await?.and_then(|row| row.number))
}

/// A statement that is put together once.
pub(super) struct Text(LazyLock<String>);

impl Text {
    /// Made by `make` when it is first needed.
    pub(super) const fn new(make: fn() -> String) -> Self {
        Self(LazyLock::new(make))
    }

    /// The statement.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// A statement that ends in a list of placeholders, in each of the sizes.
pub(super) struct Listed(LazyLock<[String; CHUNKS.len()], fn() -> [String; CHUNKS.len()]>);

impl Listed {
    /// Made by [`listed`].
    pub(super) const fn new(make: fn() -> [String; CHUNKS.len()]) -> Self {
        Self(LazyLock::new(make))
    }

    /// The text for a list of `size`, one of the sizes.
    pub(super) fn text(&self, size: usize) -> &str {
        let place = CHUNKS.iter().position(|chunk| *chunk == size).unwrap_or(CHUNKS.len() - 1);
        &self.0[place]
    }
}

/// `before`, a list of placeholders that begins with number `first`, and `after`, in each of the sizes.
pub(super) fn listed(before: &str, first: usize, after: &str) -> [String; CHUNKS.len()] {
    CHUNKS.map(|size| format!("{before} ({}){after}", places(first, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    static BY_ID: Listed = Listed::new(|| listed("UPDATE t SET a = $1 WHERE id IN", 2, " AND b"));

    #[test]
    fn a_list_has_a_text_for_each_size() {
        assert_eq!(BY_ID.text(4), "UPDATE t SET a = $1 WHERE id IN ($2, $3, $4, $5) AND b");
        assert_eq!(BY_ID.text(1), "UPDATE t SET a = $1 WHERE id IN ($2) AND b");
    }
}
