//! The mark of an import that has not passed its comparison: a table that is there meanwhile.
//!
//! No migration makes it, so that a database can be marked before it has a schema.

use std::sync::Arc;

use sea_orm::ConnectionTrait as _;

use super::catalogue::{Shape, exists, quoted, shapes};
use super::{Tell, import};
use crate::error::{Error, Result};
use crate::storage::{Durability, Storage};

/// The table.
pub(in crate::storage) const MARK: &str = "pannier_import_unfinished";

/// What to do about it.
pub(in crate::storage) const ADVICE: &str = "run `pannier import --replace FILE` to import again, or `pannier import --discard` to empty the database";

/// Error: an import into the database was cut short.
pub async fn refuse_unfinished(storage: &Storage) -> Result<()> {
    if !is_set(storage).await? {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "an import into this database was cut short, and only a part of the data is there: {ADVICE}"
    )))
}

/// Removes what an import that was cut short has stored. Error: none was.
pub async fn discard(storage: &Storage, tell: Tell<'_>) -> Result<()> {
    if !is_set(storage).await? {
        return Err(Error::Refused("no import into this database was cut short: nothing is removed".into()));
    }
    let shapes: Vec<Arc<Shape>> = shapes(storage).await?;
    import::empty(storage, &shapes, tell).await?;
    clear(storage).await
}

async fn is_set(storage: &Storage) -> Result<bool> {
    storage.read((), |db, ()| Box::pin(exists(db, MARK))).await
}

pub(super) async fn set(storage: &Storage) -> Result<()> {
    change(storage, format!("CREATE TABLE IF NOT EXISTS {} (mark bigint)", quoted(MARK))).await
}

pub(super) async fn clear(storage: &Storage) -> Result<()> {
    change(storage, format!("DROP TABLE IF EXISTS {}", quoted(MARK))).await
}

async fn change(storage: &Storage, sql: String) -> Result<()> {
    let change = storage.write(Durability::Full, sql, |tx, sql| {
        Box::pin(async move { Ok(tx.execute_unprepared(sql).await.map(drop)?) })
    });
    change.await
}
