//! The database as operations see it: what SeaORM's entities and queries take, and statements that are written out, whose
//! rows are read by the places of their columns.
//!
//! SeaORM's rows carry the name of each column with each row, look every value up by it and copy it. Where a statement is
//! run for every task that is claimed, that is a sixth of the writer's time; a [`Row`] hands its values out in their order.

use std::fmt;

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, ProxyRow, QueryResult, Statement,
    Value,
};
use uuid::Uuid;

use crate::error::Result;

/// What runs statements that are written out.
pub(super) trait Statements: Sync {
    /// The rows of a query, and in builds for tests the names of its columns.
    fn rows<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Found, DbErr>>;
}

/// What a query found.
pub(super) struct Found {
    /// The names of the columns, in their order.
    pub(super) names: Vec<String>,
    /// The values of each row, in the same order.
    pub(super) rows: Vec<Vec<Value>>,
}

impl Found {
    /// The same as SeaORM takes them.
    pub(super) fn into_proxy_rows(self) -> Vec<ProxyRow> {
        let named = |values: Vec<Value>| self.names.iter().cloned().zip(values).collect();
        self.rows.into_iter().map(|values| ProxyRow { values: named(values) }).collect()
    }
}

/// A database to query: what SeaORM's entities and statements take.
pub struct Db<'t> {
    connection: &'t DatabaseConnection,
    statements: &'t dyn Statements,
}

impl<'t> Db<'t> {
    pub(super) fn new(connection: &'t DatabaseConnection, statements: &'t dyn Statements) -> Self {
        Self { connection, statements }
    }

    /// The connection itself, for migrations.
    pub(super) fn connection(&self) -> &'t DatabaseConnection {
        self.connection
    }

    /// Runs a statement that is written out; tells how many rows it has changed.
    pub async fn run(&self, sql: &str, values: Vec<Value>) -> Result<u64> {
        Ok(self.execute_raw(self.statement(sql, values)).await?.rows_affected())
    }

    /// All rows of a query that is written out.
    pub async fn rows<R: FromRow>(&self, sql: &str, values: Vec<Value>) -> Result<Vec<R>> {
        let found = self.statements.rows(&self.statement(sql, values)).await?;
        // The same in all runs of a statement: the tests are where this is looked at.
        debug_assert!(
            found.names.is_empty() || found.names == R::columns(),
            "{:?} are the columns of {sql}, not {:?}",
            found.names,
            R::columns()
        );
        found.rows.into_iter().map(|values| Ok(whole(values)?)).collect()
    }

    /// The first row of a query that is written out, if there is one.
    pub async fn row<R: FromRow>(&self, sql: &str, values: Vec<Value>) -> Result<Option<R>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        Statement::from_sql_and_values(self.get_database_backend(), sql, values)
    }
}

fn whole<R: FromRow>(values: Vec<Value>) -> Result<R, DbErr> {
    let mut row = Row { values: values.into_iter() };
    let read = R::from_row(&mut row)?;
    match row.values.next() {
        None => Ok(read),
        Some(_) => Err(DbErr::Type("there are more columns than fields".to_owned())),
    }
}

impl fmt::Debug for Db<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Db<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.connection.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.connection.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.connection.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.connection.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.connection.query_all_raw(statement).await
    }
}

/// A row: its values, handed out in the order of its columns.
pub struct Row {
    values: std::vec::IntoIter<Value>,
}

impl Row {
    /// The next value, of the column `name`.
    pub fn next<V: FromValue>(&mut self, name: &'static str) -> Result<V, DbErr> {
        let Some(value) = self.values.next() else {
            return Err(DbErr::Type(format!("there is no column {name}")));
        };
        V::from_value(value).map_err(|value| DbErr::Type(format!("{} in the column {name}", kind(&value))))
    }
}

/// What a value is, without what it says.
fn kind(value: &Value) -> &'static str {
    match value {
        null if is_null(null) => "NULL",
        Value::Bool(_) => "a boolean",
        Value::BigInt(_) => "an integer",
        Value::Double(_) => "a real number",
        Value::String(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Uuid(_) => "a UUID",
        _ => "a value of a type that no table has",
    }
}

/// What a [`Row`] can be made into; see [`row!`](crate::storage::row).
pub trait FromRow: Sized {
    /// The names of its columns, in the order of the statement.
    fn columns() -> Vec<&'static str>;

    /// Reads it.
    fn from_row(row: &mut Row) -> Result<Self, DbErr>;
}

/// The columns of one, then those of the other.
impl<A: FromRow, B: FromRow> FromRow for (A, B) {
    fn columns() -> Vec<&'static str> {
        [A::columns(), B::columns()].concat()
    }

    fn from_row(row: &mut Row) -> Result<Self, DbErr> {
        Ok((A::from_row(row)?, B::from_row(row)?))
    }
}

/// A type that a column can have.
pub trait FromValue: Sized {
    /// Reads it, or gives back what is of another type.
    fn from_value(value: Value) -> std::result::Result<Self, Value>;
}

/// What each type is read from: SQLite tells what a value is stored as, PostgreSQL what its column is declared as.
macro_rules! from_value {
    ($($type:ty: $($variant:ident($value:ident) => $read:expr),+;)*) => {
        $(
            impl FromValue for Option<$type> {
                fn from_value(value: Value) -> std::result::Result<Self, Value> {
                    match value {
                        $(Value::$variant(Some($value)) => Ok(Some($read)),)+
                        null if is_null(&null) => Ok(None),
                        other => Err(other),
                    }
                }
            }

            impl FromValue for $type {
                fn from_value(value: Value) -> std::result::Result<Self, Value> {
                    Option::from_value(value)?.ok_or(NULL)
                }
            }
        )*
    };
}

from_value! {
    bool: Bool(value) => value, BigInt(value) => value != 0;
    i64: BigInt(value) => value;
    f64: Double(value) => value, BigInt(value) => value as f64;
    String: String(value) => value;
    Vec<u8>: Bytes(value) => value;
    Uuid: Uuid(value) => value, Bytes(bytes) => Uuid::from_slice(&bytes).map_err(|_| Value::Bytes(Some(bytes)))?;
}

/// What has no type, as on SQLite.
const NULL: Value = Value::String(None);

fn is_null(value: &Value) -> bool {
    matches!(
        value,
        Value::Bool(None)
            | Value::BigInt(None)
            | Value::Double(None)
            | Value::String(None)
            | Value::Bytes(None)
            | Value::Uuid(None)
    )
}

/// Declares a struct that is a row of a statement that is written out: a field for each column, in the statement's order and
/// of its name. `row! { impl Model { a, b } }` has a model of an entity read so.
macro_rules! row {
    ($(#[$attribute:meta])* $vis:vis struct $name:ident { $($field_vis:vis $field:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        $vis struct $name {
            $($field_vis $field: $type,)*
        }

        $crate::storage::row! { impl $name { $($field,)* } }
    };
    (impl $name:path { $($field:ident,)* }) => {
        impl $crate::storage::FromRow for $name {
            fn columns() -> Vec<&'static str> {
                vec![$(stringify!($field)),*]
            }

            fn from_row(row: &mut $crate::storage::Row) -> ::std::result::Result<Self, ::sea_orm::DbErr> {
                Ok(Self { $($field: row.next(stringify!($field))?,)* })
            }
        }
    };
}

pub(crate) use row;
