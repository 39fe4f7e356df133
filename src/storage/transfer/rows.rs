//! Writing rows as they are, removing all, and the numbers that the database gives to new ones.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};

use super::ROWS_MAX;
use super::catalogue::{Shape, exists, listed, parameters, quoted};
use crate::error::Result;
use crate::storage::{Db, Durability, Storage, Tx};
use pannier_migration::tables::{DERIVED, WRITTEN_AT_START};

/// Rows of one statement at most. Its text depends on their number, so it is a power of two, and few texts are prepared.
const STATEMENT_ROWS_MAX: usize = 128;

/// Parameters of one statement: SQLite takes 32,766, PostgreSQL 65,535.
const PARAMETERS_MAX: usize = 30_000;

/// Rows to insert, each with its columns in the shape's order.
pub(super) struct Batch {
    pub(super) shape: Arc<Shape>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// Stores a batch in one transaction, durably.
pub(super) async fn insert(storage: &Storage, batch: Batch) -> Result<()> {
    storage.write(Durability::Full, batch, |tx, batch| Box::pin(insert_all(tx, batch))).await
}

async fn insert_all(tx: &Tx<'_>, batch: &Batch) -> Result<()> {
    let columns = batch.shape.columns.len();
    let statement_rows_max = STATEMENT_ROWS_MAX.min((PARAMETERS_MAX / columns).max(1));
    let mut rest = batch.rows.as_slice();
    while !rest.is_empty() {
        let count = 1 << rest.len().min(statement_rows_max).ilog2();
        let (rows, behind) = rest.split_at(count);
        rest = behind;
        let values = rows.iter().flatten().cloned();
        let sql = insert_sql(&batch.shape, count);
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
    }
    Ok(())
}

fn insert_sql(shape: &Shape, rows: usize) -> String {
    let columns = shape.columns.len();
    let row = |number: usize| format!("({})", parameters(number * columns + 1, columns));
    format!("INSERT INTO {} ({}) VALUES {}", shape.name(), shape.names(), listed((0..rows).map(row)))
}

/// Removes some rows in one transaction; tells how many.
pub(super) async fn remove_some(storage: &Storage, shape: &Arc<Shape>) -> Result<u64> {
    storage
        .write(Durability::Full, shape.clone(), |tx, shape| {
            Box::pin(async move {
                let (table, key) = (shape.name(), shape.key());
                let first = format!("SELECT {key} FROM {table} ORDER BY {key} LIMIT {ROWS_MAX}");
                let sql = format!("DELETE FROM {table} WHERE ({key}) IN ({first})");
                let done = tx.execute_raw(Statement::from_string(tx.get_database_backend(), sql)).await?;
                Ok(done.rows_affected())
            })
        })
        .await
}

/// Empties what is made of other tables, as far as the schema has it: it is made anew by the sidecar that finds it empty.
pub(super) async fn empty_derived(storage: &Storage) -> Result<()> {
    for table in DERIVED {
        if !storage.read(*table, |db, table| Box::pin(exists(db, table))).await? {
            continue;
        }
        storage
            .write(Durability::Full, *table, |tx, table| {
                Box::pin(async move {
                    let sql = format!("DELETE FROM {}", quoted(table));
                    Ok(tx.execute_unprepared(&sql).await.map(drop)?)
                })
            })
            .await?;
    }
    Ok(())
}

/// The first of these tables that has a row, but for those that a start writes.
pub(super) async fn first_filled(storage: &Storage, shapes: &[Arc<Shape>]) -> Result<Option<&'static str>> {
    storage
        .read(shapes.to_vec(), |db, shapes| {
            Box::pin(async move {
                let used = shapes.iter().filter(|shape| !WRITTEN_AT_START.contains(&shape.table.name));
                for shape in used {
                    let sql = format!("SELECT 1 AS found FROM {} LIMIT 1", shape.name());
                    let found = Statement::from_string(db.get_database_backend(), sql);
                    if db.query_one_raw(found).await?.is_some() {
                        return Ok(Some(shape.table.name));
                    }
                }
                Ok(None)
            })
        })
        .await
}

/// The highest number that the database has given to a row of the table so far; none where it gives none.
pub(super) async fn identity(storage: &Storage, shape: &Arc<Shape>) -> Result<Option<i64>> {
    storage.read(shape.clone(), |db, shape| Box::pin(read_identity(db, shape))).await
}

const IDENTITY_SQLITE: &str = "SELECT coalesce(max(seq), 0) AS number FROM sqlite_sequence WHERE name = $1";
const IDENTITY_POSTGRES: &str =
    "SELECT coalesce(pg_sequence_last_value(CAST(pg_get_serial_sequence($1, $2) AS regclass)), 0) AS number";

async fn read_identity(db: &Db<'_>, shape: &Shape) -> Result<Option<i64>> {
    let Some(column) = shape.table.identity else { return Ok(None) };
    let statement = match db.get_database_backend() {
        DbBackend::Sqlite => {
            Statement::from_sql_and_values(DbBackend::Sqlite, IDENTITY_SQLITE, [shape.table.name.into()])
        }
        backend => {
            let values = [quoted(shape.table.name).into(), column.into()];
            Statement::from_sql_and_values(backend, IDENTITY_POSTGRES, values)
        }
    };
    let row = db.query_one_raw(statement).await?;
    Ok(Some(row.map(|row| row.try_get("", "number")).transpose()?.unwrap_or(0)))
}

/// Has the database give numbers above these from now on.
pub(super) async fn set_identities(storage: &Storage, numbers: Vec<(Arc<Shape>, i64)>) -> Result<()> {
    storage
        .write(Durability::Full, numbers, |tx, numbers| {
            Box::pin(async move {
                for (shape, number) in numbers {
                    set_identity(tx, shape, *number).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Has the database look at what it holds: until then PostgreSQL plans as if the tables were empty.
pub(super) async fn analyze(storage: &Storage, shapes: &[Arc<Shape>]) -> Result<()> {
    if !storage.is_shared() {
        return Ok(());
    }
    for shape in shapes {
        let analyze = format!("ANALYZE {}", quoted(shape.table.name));
        storage
            .write(Durability::Relaxed, analyze, |tx, analyze| {
                Box::pin(async move { Ok(tx.execute_unprepared(analyze).await.map(drop)?) })
            })
            .await?;
    }
    Ok(())
}

const SET_IDENTITY_POSTGRES: &str =
    "SELECT setval(CAST(pg_get_serial_sequence($1, $2) AS regclass), $3, $4) AS number";

async fn set_identity(tx: &Tx<'_>, shape: &Shape, number: i64) -> Result<()> {
    let Some(column) = shape.table.identity else { return Ok(()) };
    let backend = tx.get_database_backend();
    let name = shape.table.name;
    if backend != DbBackend::Sqlite {
        // A sequence begins at 1: that none was given is said by the last argument.
        let values = [quoted(name).into(), column.into(), number.max(1).into(), (number > 0).into()];
        tx.query_one_raw(Statement::from_sql_and_values(backend, SET_IDENTITY_POSTGRES, values)).await?;
        return Ok(());
    }
    // The table has no unique key to insert or update by. SQLite numbers parameters as they come, whatever their names.
    for sql in [
        "DELETE FROM sqlite_sequence WHERE name = $1 AND seq <> $2",
        "INSERT INTO sqlite_sequence (name, seq) SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = $1)",
    ] {
        let values = [name.into(), number.into()];
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    Ok(())
}
