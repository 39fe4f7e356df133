//! Reads by lists of numbers.

use sea_orm::Value;

use crate::error::Result;
use crate::storage::{Db, FromRow};

/// The numbers in a list of a statement, and how many places it has: statements are cached by their text, so there are few sizes,
/// and the last number fills the rest.
pub(super) fn padded(ids: &[i64]) -> Vec<Value> {
    const SIZES: [usize; 4] = [1, 16, 128, 256];
    let size = SIZES.into_iter().find(|size| *size >= ids.len()).unwrap_or(ids.len());
    let last = ids.last().copied().unwrap_or_default();
    ids.iter().copied().chain(std::iter::repeat(last)).take(size).map(Value::from).collect()
}

/// Numbers of one statement.
pub(super) const IDS_MAX: usize = 256;

/// All rows of a query for many numbers, each asked for once; `query` makes the text for so many places.
pub(super) async fn all_of_ids<R: FromRow>(
    db: &Db<'_>,
    query: fn(usize) -> String,
    ids: &[i64],
) -> Result<Vec<R>> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS_MAX) {
        let values = padded(ids);
        found.extend(db.rows::<R>(&query(values.len()), values).await?);
    }
    Ok(found)
}
