//! The tables that a database has, and what their columns hold, by its own catalogue.

use std::sync::Arc;

use pannier_migration::TABLES;
use pannier_migration::tables::Table;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use super::value::Kind;
use crate::error::{Error, Result};
use crate::storage::{Db, Storage};

/// Columns that are stored; those that the database computes from others are left out.
const COLUMNS_SQLITE: &str = "SELECT name, type AS declared FROM pragma_table_info($1)";
const COLUMNS_POSTGRES: &str = "SELECT CAST(column_name AS text) AS name, CAST(data_type AS text) AS declared \
     FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'";

/// A table as a database has it.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) table: &'static Table,
    /// In the order of their names.
    pub(super) columns: Vec<Column>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

impl Shape {
    /// `"cache_tags"`.
    pub(super) fn name(&self) -> String {
        quoted(self.table.name)
    }

    /// `"entry_id", "key", …`: all columns.
    pub(super) fn names(&self) -> String {
        listed(self.columns.iter().map(|column| quoted(&column.name)))
    }

    /// `"namespace_id", "tag", "key"`: the columns of the primary key.
    pub(super) fn key(&self) -> String {
        listed(self.table.key.iter().map(|name| quoted(name)))
    }
}

/// `name` as an identifier. Those of a schema hold no quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// `$3, $4, …`: so many parameters.
pub(super) fn parameters(first: usize, count: usize) -> String {
    listed((first..first + count).map(|number| format!("${number}")))
}

pub(super) fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The tables that are there, of those that the migrations make; in an older schema some are missing.
pub(super) async fn shapes(storage: &Storage) -> Result<Vec<Arc<Shape>>> {
    storage
        .read((), |db, ()| {
            Box::pin(async move {
                let mut found = Vec::new();
                for table in TABLES {
                    let columns = columns(db, table.name).await?;
                    if !columns.is_empty() {
                        found.push(Arc::new(Shape { table, columns }));
                    }
                }
                Ok(found)
            })
        })
        .await
}

/// Whether the schema has a table, whatever its columns hold.
pub(super) async fn exists(db: &Db<'_>, table: &str) -> Result<bool> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Sqlite { COLUMNS_SQLITE } else { COLUMNS_POSTGRES };
    Ok(db.query_one_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await?.is_some())
}

/// The columns of a table, in the order of their names; none when it is not there.
pub(super) async fn columns(db: &Db<'_>, table: &str) -> Result<Vec<Column>> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Sqlite { COLUMNS_SQLITE } else { COLUMNS_POSTGRES };
    let mut columns = Vec::new();
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await? {
        let (name, declared): (String, String) = (row.try_get("", "name")?, row.try_get("", "declared")?);
        let Some(kind) = Kind::of(&declared) else {
            let cause =
                format!("column {name} of {table} is declared {declared:?}, which no export can hold");
            return Err(Error::internal(cause));
        };
        columns.push(Column { name, kind });
    }
    columns.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(columns)
}

/// Whether the database keeps U+0000 in a text.
pub(super) async fn keeps_nul(storage: &Storage) -> Result<bool> {
    storage
        .read((), |db, ()| Box::pin(async move { Ok(db.get_database_backend() == DbBackend::Sqlite) }))
        .await
}
