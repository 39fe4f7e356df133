//! The schema: which changes are applied, and bringing it up or down, each change in a transaction of its own.

use std::collections::HashSet;

use pannier_migration::{Migrator, MigratorTrait};
use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Db, Storage, postgres, sqlite};
use crate::error::{Error, Result};

/// One change of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name, such as `m20261121_cache_entries`.
    pub name: String,
    /// Whether the database has it.
    pub is_applied: bool,
}

/// All changes that this program knows, in order. Refused when the database has one that it does not know.
pub async fn status(storage: &Storage) -> Result<Vec<Change>> {
    let applied = storage.read((), |db, ()| Box::pin(applied(db))).await?;
    let (known, unknown) = compare(&applied);
    if !unknown.is_empty() {
        return Err(Error::Refused(format!(
            "the database has a newer schema ({}): use the version of pannier that made it, or a later one",
            unknown.join(", ")
        )));
    }
    Ok(known)
}

/// The newest change that this program knows: a sidecar that serves has applied it.
pub fn newest() -> String {
    Migrator::migrations().last().map(|change| change.name().to_owned()).unwrap_or_default()
}

/// All changes that this program knows, in order, and the names of those that only the database has.
pub(super) fn compare(applied: &HashSet<String>) -> (Vec<Change>, Vec<String>) {
    let known: Vec<Change> = Migrator::migrations()
        .iter()
        .map(|change| Change { name: change.name().to_owned(), is_applied: applied.contains(change.name()) })
        .collect();
    let is_known = |name: &&String| known.iter().any(|change| change.name == **name);
    let mut unknown: Vec<_> = applied.iter().filter(|name| !is_known(name)).cloned().collect();
    unknown.sort();
    (known, unknown)
}

/// Applies what is missing, up to and with `to` if it is given; tells each change to `progress` when it is done.
pub async fn up(storage: &Storage, to: Option<&str>, mut progress: impl FnMut(&str)) -> Result<()> {
    let changes = status(storage).await?;
    let end = position(&changes, to)?.map_or(changes.len(), |index| index + 1);
    for change in changes[..end].iter().filter(|change| !change.is_applied) {
        let step = storage.change_schema(change.name.clone(), |tx, name| {
            Box::pin(async move {
                if applied(tx).await?.contains(name) {
                    // Another sidecar was faster.
                    return Ok(());
                }
                Ok(Migrator::up(tx.connection(), Some(1)).await?)
            })
        });
        step.await.map_err(|error| failed(&change.name, &error))?;
        progress(&change.name);
    }
    Ok(())
}

/// Takes back the last `steps` changes, or all after `to`; tells each to `progress` when it is done.
pub async fn down(
    storage: &Storage,
    steps: u32,
    to: Option<&str>,
    mut progress: impl FnMut(&str),
) -> Result<()> {
    let changes = status(storage).await?;
    let present: Vec<_> = changes.iter().filter(|change| change.is_applied).collect();
    let keep = match position(&changes, to)? {
        Some(index) => (index + 1).min(present.len()),
        None => present.len().saturating_sub(steps as usize),
    };
    for change in present[keep..].iter().rev() {
        let step = storage.change_schema(change.name.clone(), |tx, name| {
            Box::pin(async move {
                if !applied(tx).await?.contains(name) {
                    return Ok(());
                }
                Ok(Migrator::down(tx.connection(), Some(1)).await?)
            })
        });
        step.await.map_err(|error| failed(&change.name, &error))?;
        progress(&change.name);
    }
    Ok(())
}

fn position(changes: &[Change], name: Option<&str>) -> Result<Option<usize>> {
    let Some(name) = name else { return Ok(None) };
    match changes.iter().position(|change| change.name == name) {
        Some(index) => Ok(Some(index)),
        None => {
            Err(Error::Refused(format!("there is no migration {name}; `pannier migrate status` lists all")))
        }
    }
}

async fn applied(db: &Db<'_>) -> Result<HashSet<String>> {
    let backend = db.get_database_backend();
    let probe = match backend {
        DbBackend::Sqlite => sqlite::MIGRATIONS_PROBE,
        _ => postgres::MIGRATIONS_PROBE,
    };
    let probe = Statement::from_string(backend, probe);
    let found = db.query_one_raw(probe).await?.map(|row| row.try_get::<i64>("", "tables")).transpose()?;
    if found != Some(1) {
        // Before the first migration there is no table to look into.
        return Ok(HashSet::new());
    }
    let statement = Query::select().column("version").from(Migrator::migration_table_name()).take();
    let rows = db.query_all(&statement).await?;
    Ok(rows.into_iter().map(|row| row.try_get("", "version")).collect::<Result<HashSet<String>, DbErr>>()?)
}

fn failed(name: &str, error: &Error) -> Error {
    Error::Refused(format!("migration {name} failed and was rolled back: {error}"))
}
