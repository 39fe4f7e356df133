//! Running statements that are written out, and lists of placeholders in a few sizes.

use std::sync::LazyLock;

use sea_orm::{ConnectionTrait as _, FromQueryResult, Statement, Value};

use crate::error::Result;
use crate::storage::{CHUNKS, Db};

pub(super) use crate::storage::chunks;

/// Runs a statement; tells how many rows it has changed.
pub(super) async fn execute(db: &Db<'_>, sql: &str, values: Vec<Value>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.execute_raw(statement).await?.rows_affected())
}

/// All rows of a query.
pub(super) async fn all<R: FromQueryResult>(db: &Db<'_>, sql: &str, values: Vec<Value>) -> Result<Vec<R>> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok(R::from_query_result(row, "")?)).collect()
}

/// The first row of a query, if there is one.
pub(super) async fn one<R: FromQueryResult>(db: &Db<'_>, sql: &str, values: Vec<Value>) -> Result<Option<R>> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map(|row| R::from_query_result(&row, "")).transpose()?)
}

/// One number.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub(super) struct Number {
    pub(super) number: Option<i64>,
}

/// The number that a query of one column `number` finds.
pub(super) async fn number(db: &Db<'_>, sql: &str, values: Vec<Value>) -> Result<Option<i64>> {
    Ok(one::<Number>(db, sql, values).await?.and_then(|row| row.number))
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
    CHUNKS.map(|size| {
        let places: Vec<String> = (first..first + size).map(|place| format!("${place}")).collect();
        format!("{before} ({}){after}", places.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static BY_ID: Listed = Listed::new(|| listed("UPDATE t SET a = $1 WHERE id IN", 2, " AND b"));

    #[test]
    fn lists_are_cut_into_known_sizes() {
        let all: Vec<i64> = (0..150).collect();
        let sizes: Vec<usize> = chunks(&all).map(<[i64]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 1, 1]);
        assert_eq!(BY_ID.text(4), "UPDATE t SET a = $1 WHERE id IN ($2, $3, $4, $5) AND b");
        assert_eq!(BY_ID.text(1), "UPDATE t SET a = $1 WHERE id IN ($2) AND b");
    }
}
