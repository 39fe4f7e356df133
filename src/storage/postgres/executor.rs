//! Runs SeaORM's statements on one connection to PostgreSQL, each within a bound of time.
//!
//! The first failure of a transaction is kept with its meaning: SeaORM's errors carry only text, and a transaction in which
//! a statement has failed is over, whatever the operation makes of the error.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, ProxyDatabaseConnector, ProxyDatabaseTrait, ProxyExecResult,
    ProxyRow, RuntimeErr, Statement, Value,
};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, Connection as _, Executor as _, Row as _, TypeInfo as _,
};
use uuid::Uuid;

use super::connection::CHANNEL;
use super::failure::{Failure, FailureKind};
use super::outage::Outage;
use crate::clock;
use crate::storage::counters::Counters;
use crate::storage::db::{Found, Statements};

/// Statements that take longer are logged and counted.
const SLOW: Duration = Duration::from_millis(100);

/// An answer that is later than this may be lost.
const LATE: Duration = Duration::from_secs(1);

/// How long a connection's farewell may take.
const FAREWELL_MAX: Duration = Duration::from_millis(200);

pub(super) struct Executor {
    /// Never contended: each executor belongs to one session.
    connection: tokio::sync::Mutex<PgConnection>,
    failure: Mutex<Option<Failure>>,
    /// How long a statement is waited for; zero: for as long as it takes.
    patience: Mutex<Duration>,
    counters: Arc<Counters>,
    outage: Arc<Outage>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

impl Executor {
    pub(super) fn new(connection: PgConnection, counters: Arc<Counters>, outage: Arc<Outage>) -> Arc<Self> {
        Arc::new(Self {
            connection: tokio::sync::Mutex::new(connection),
            failure: Mutex::new(None),
            patience: Mutex::new(Duration::ZERO),
            counters,
            outage,
        })
    }

    /// The executor as SeaORM takes it.
    pub(super) fn database(self: &Arc<Self>) -> Result<DatabaseConnection, Failure> {
        let proxy: Box<dyn ProxyDatabaseTrait> = Box::new(Proxy(self.clone()));
        ProxyDatabaseConnector::connect(DbBackend::Postgres, Arc::new(proxy))
            .map_err(|error| Failure { kind: FailureKind::Lost, message: error.to_string() })
    }

    /// From now on statements are waited for so long; zero: for as long as they take.
    pub(super) fn set_patience(&self, patience: Duration) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = patience;
    }

    /// Runs one of the engine's own statements, or several in one go.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Failure> {
        let mut connection = self.connection.lock().await;
        self.bounded(connection.execute(AssertSqlSafe(sql.to_owned()))).await.map(|_| ())
    }

    /// Has everyone who listens told of `topics` when the transaction commits.
    pub(super) async fn notify(&self, topics: &[String]) -> Result<(), Failure> {
        let mut connection = self.connection.lock().await;
        let sql = format!("SELECT pg_notify({CHANNEL}, topic) FROM unnest($1) AS topics (topic)");
        let told = sqlx::query(AssertSqlSafe(sql)).bind(topics).execute(&mut *connection);
        self.bounded(told).await.map(|_| ())
    }

    /// The first failure since this was last asked.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes leave of the database, if it listens.
    pub(super) async fn close(self: Arc<Self>) {
        if let Some(executor) = Arc::into_inner(self) {
            // A connection that cannot even be closed is dropped.
            let _ = tokio::time::timeout(FAREWELL_MAX, executor.connection.into_inner().close()).await;
        }
    }

    async fn bounded<T>(&self, statement: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
        let patience = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if patience.is_zero() { Duration::MAX } else { patience };
        let mut statement = std::pin::pin!(statement);
        let early = patience.min(LATE);
        if let Ok(result) = tokio::time::timeout(early, &mut statement).await {
            return result.map_err(|error| Failure::of(&error));
        }
        self.outage.suspect();
        let started = clock::instant();
        tokio::select! {
            biased;
            result = tokio::time::timeout(patience - early, statement) => {
                if let Ok(result) = result {
                    return result.map_err(|error| Failure::of(&error));
                }
            }
            () = self.outage.until_silent() => {}
        }
        Err(Failure::silent((early + started.elapsed()).as_millis()))
    }

    async fn timed<T>(
        &self,
        statement: &Statement,
        running: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DbErr> {
        let told = |failure: &Failure| DbErr::Exec(RuntimeErr::Internal(failure.message.clone()));
        if let Some(failure) = &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(told(failure));
        }
        let started = clock::instant();
        let result = self.bounded(running).await;
        let took = started.elapsed();
        if took > SLOW {
            Counters::add(&self.counters.slow_statements, 1);
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            // The text has placeholders where the values go: no payload gets into the log.
            tracing::warn!(statement = statement.sql, took_ms, "slow statement");
        }
        result.map_err(|failure| {
            let error = told(&failure);
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            error
        })
    }

    async fn execute(&self, statement: &Statement) -> Result<ProxyExecResult, DbErr> {
        let arguments = arguments(statement)?;
        let mut connection = self.connection.lock().await;
        let query = sqlx::query_with(AssertSqlSafe(statement.sql.clone()), arguments);
        let result = self.timed(statement, query.execute(&mut *connection)).await?;
        Ok(ProxyExecResult { last_insert_id: 0, rows_affected: result.rows_affected() })
    }

    /// The rows of a query, by the places of their columns.
    async fn find(&self, statement: &Statement) -> Result<Found, DbErr> {
        let arguments = arguments(statement)?;
        let mut connection = self.connection.lock().await;
        let query = sqlx::query_with(AssertSqlSafe(statement.sql.clone()), arguments);
        let rows = self.timed(statement, query.fetch_all(&mut *connection)).await?;
        let names =
            rows.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
        let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
        Ok(Found { names: names.unwrap_or_default(), rows })
    }

    async fn execute_unprepared(&self, statement: &Statement) -> Result<ProxyExecResult, DbErr> {
        let mut connection = self.connection.lock().await;
        let running = connection.execute(AssertSqlSafe(statement.sql.clone()));
        let result = self.timed(statement, running).await?;
        Ok(ProxyExecResult { last_insert_id: 0, rows_affected: result.rows_affected() })
    }
}

impl Statements for Executor {
    fn rows<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Found, DbErr>> {
        Box::pin(self.find(statement))
    }
}

/// SeaORM's way in. Its own transactions are the engine's business: begin, commit and rollback do nothing here.
#[derive(Debug)]
struct Proxy(Arc<Executor>);

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Proxy {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        Ok(self.0.find(&statement).await?.into_proxy_rows())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        if statement.values.as_ref().is_none_or(|values| values.0.is_empty()) {
            // What changes the schema cannot always be prepared, and is not worth keeping prepared.
            return self.0.execute_unprepared(&statement).await;
        }
        self.0.execute(&statement).await
    }
}

fn arguments(statement: &Statement) -> Result<PgArguments, DbErr> {
    let mut arguments = PgArguments::default();
    for value in statement.values.as_ref().map_or(&[][..], |values| values.0.as_slice()) {
        add(&mut arguments, value).map_err(|error| DbErr::Exec(RuntimeErr::Internal(error.to_string())))?;
    }
    Ok(arguments)
}

fn add(arguments: &mut PgArguments, value: &Value) -> Result<(), sqlx::error::BoxDynError> {
    match value {
        Value::Bool(value) => arguments.add(*value),
        Value::TinyInt(value) => arguments.add(value.map(i64::from)),
        Value::SmallInt(value) => arguments.add(value.map(i64::from)),
        Value::Int(value) => arguments.add(value.map(i64::from)),
        Value::BigInt(value) => arguments.add(*value),
        Value::TinyUnsigned(value) => arguments.add(value.map(i64::from)),
        Value::SmallUnsigned(value) => arguments.add(value.map(i64::from)),
        Value::Unsigned(value) => arguments.add(value.map(i64::from)),
        Value::BigUnsigned(value) => arguments.add(value.map(i64::try_from).transpose()?),
        Value::Float(value) => arguments.add(value.map(f64::from)),
        Value::Double(value) => arguments.add(*value),
        Value::String(value) => arguments.add(value.as_deref()),
        Value::Char(value) => arguments.add(value.map(|value| value.to_string())),
        Value::Bytes(value) => arguments.add(value.as_deref()),
        Value::Uuid(value) => arguments.add(*value),
        Value::Json(value) => arguments.add(value.as_deref()),
        _ => Err("a value of a type that no table has".into()),
    }
}

fn values(row: &PgRow) -> Result<Vec<Value>, DbErr> {
    let decoded = row.columns().iter().map(|column| {
        decode(row, column.ordinal(), column.type_info().name())
            .map_err(|error| DbErr::Type(format!("column {}: {error}", column.name())))
    });
    decoded.collect()
}

fn decode(row: &PgRow, index: usize, kind: &str) -> sqlx::Result<Value> {
    Ok(match kind {
        "BOOL" => Value::Bool(row.try_get(index)?),
        "INT8" => Value::BigInt(row.try_get(index)?),
        "INT4" => Value::BigInt(row.try_get::<Option<i32>, _>(index)?.map(i64::from)),
        "INT2" => Value::BigInt(row.try_get::<Option<i16>, _>(index)?.map(i64::from)),
        "FLOAT8" => Value::Double(row.try_get(index)?),
        "FLOAT4" => Value::Double(row.try_get::<Option<f32>, _>(index)?.map(f64::from)),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => Value::String(row.try_get(index)?),
        "BYTEA" => Value::Bytes(row.try_get(index)?),
        "UUID" => Value::Uuid(row.try_get::<Option<Uuid>, _>(index)?),
        "JSON" | "JSONB" => Value::Json(row.try_get::<Option<serde_json::Value>, _>(index)?.map(Box::new)),
        "VOID" => Value::String(None),
        other => {
            return Err(sqlx::Error::Protocol(format!("is of type {other}, which no table has: cast it")));
        }
    })
}
