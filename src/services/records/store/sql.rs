//! Running statements that are written out, and the placeholders of their lists.

use std::fmt::Write as _;

use sea_orm::{ConnectionTrait as _, FromQueryResult, Statement, Value};

use crate::error::Result;
use crate::storage::Db;

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

/// `$first, …`, so many.
pub(super) fn places(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for place in first..first + count {
        let comma = if place == first { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}${place}");
    }
    text
}
