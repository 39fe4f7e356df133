//! Runs SeaORM's statements on a rusqlite connection, where they stand.
//!
//! Values are decoded by the column's declared type, because a value of another type than the entity's reads as NULL in
//! SeaORM's proxy rows. The last failure is kept with its extended code: SeaORM's errors carry only text.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi};
use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, ProxyDatabaseConnector, ProxyDatabaseTrait, ProxyExecResult,
    ProxyRow, RuntimeErr, Statement, Value,
};
use uuid::Uuid;

use crate::clock;
use crate::error::Error;
use crate::storage::counters::Counters;
use crate::storage::db::{Found, Statements};

/// Statements that take longer are logged and counted.
const SLOW: Duration = Duration::from_millis(100);

pub(super) struct Executor {
    connection: Mutex<Connection>,
    failure: Mutex<Option<Failure>>,
    has_written: AtomicBool,
    counters: Arc<Counters>,
}

/// A failed statement.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The statement's own fault: the transaction stands.
    Statement,
    /// A constraint refused: the transaction stands.
    Constraint,
    /// Interrupted at a deadline.
    Interrupted,
    /// Another process holds the lock.
    Busy,
    /// No room: the transaction may be gone.
    Full,
    /// An `fsync` failed: what was acknowledged may not be on the disk.
    Sync,
    /// The file is damaged: the transaction may be gone.
    Corrupt,
    /// Any other failure of disk, memory or file: the transaction may be gone.
    Fault,
}

impl Failure {
    fn of(error: &rusqlite::Error) -> Self {
        let kind = match error {
            rusqlite::Error::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
                (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => FailureKind::Sync,
                (ErrorCode::ConstraintViolation, _) => FailureKind::Constraint,
                (ErrorCode::OperationInterrupted, _) => FailureKind::Interrupted,
                (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => FailureKind::Busy,
                (ErrorCode::DiskFull, _) => FailureKind::Full,
                (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => FailureKind::Corrupt,
                (
                    ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::FileLockingProtocolFailed,
                    _,
                ) => FailureKind::Fault,
                _ => FailureKind::Statement,
            },
            _ => FailureKind::Statement,
        };
        Self { kind, message: error.to_string() }
    }

    /// A failure of ours, with the connection in doubt.
    pub(super) fn fault(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Fault, message: message.into() }
    }

    /// Whether the transaction, and with it the connection, is in doubt.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(self.kind, FailureKind::Statement | FailureKind::Constraint)
    }

    /// What a caller is told.
    pub(super) fn error(&self) -> Error {
        let cause = self.message.clone();
        match self.kind {
            FailureKind::Statement => Error::Internal { cause },
            FailureKind::Constraint => Error::ConstraintViolated { cause },
            FailureKind::Interrupted => Error::DeadlineExceeded,
            FailureKind::Full => Error::StorageFull,
            FailureKind::Corrupt => Error::StorageCorrupt { cause },
            FailureKind::Busy | FailureKind::Sync | FailureKind::Fault => Error::StorageUnavailable { cause },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(&error)
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}

impl Executor {
    pub(super) fn new(connection: Connection, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            connection: Mutex::new(connection),
            failure: Mutex::new(None),
            has_written: AtomicBool::new(false),
            counters,
        })
    }

    /// The executor as SeaORM takes it.
    pub(super) fn database(self: &Arc<Self>) -> Result<DatabaseConnection, Failure> {
        let proxy: Box<dyn ProxyDatabaseTrait> = Box::new(Proxy(self.clone()));
        ProxyDatabaseConnector::connect(DbBackend::Sqlite, Arc::new(proxy))
            .map_err(|error| Failure::fault(error.to_string()))
    }

    /// The connection itself. Never contended: each executor belongs to one thread.
    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one of the engine's own statements.
    pub(super) fn run(&self, sql: &str) -> Result<(), Failure> {
        self.connection().prepare_cached(sql)?.raw_execute()?;
        Ok(())
    }

    /// The last failure since this was last asked.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The last failure, unless it is a fault: that one is kept for the one who ends the transaction.
    pub(super) fn take_failure_unless_fault(&self) -> Option<Failure> {
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|failure| !failure.is_fault())
    }

    /// Whether a statement that can write was run since this was last asked.
    pub(super) fn take_has_written(&self) -> bool {
        self.has_written.swap(false, Ordering::Relaxed)
    }

    /// What `error` of an operation is told as, now that the statement that failed is known.
    pub(super) fn explain(error: Error, failure: Option<&Failure>) -> Error {
        match (error, failure) {
            (Error::Database(_), Some(failure)) => failure.error(),
            (Error::Database(error), None) => Error::internal(error.to_string()),
            (error, _) => error,
        }
    }

    fn timed<T>(
        &self,
        statement: &Statement,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DbErr> {
        let started = clock::instant();
        let result = run(&self.connection());
        let took = started.elapsed();
        if took > SLOW {
            Counters::add(&self.counters.slow_statements, 1);
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            // The text has placeholders where the values go: no payload gets into the log.
            tracing::warn!(statement = statement.sql, took_ms, "slow statement");
        }
        result.map_err(|error| {
            let failure = Failure::of(&error);
            let message = failure.message.clone();
            let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            // A fault stays known, whatever the operation tries after it.
            if !last.as_ref().is_some_and(Failure::is_fault) {
                *last = Some(failure);
            }
            DbErr::Exec(RuntimeErr::Internal(message))
        })
    }

    fn execute(&self, statement: &Statement) -> Result<ProxyExecResult, DbErr> {
        self.timed(statement, |connection| {
            let mut prepared = connection.prepare_cached(&statement.sql)?;
            self.has_written.store(true, Ordering::Relaxed);
            bind(&mut prepared, statement)?;
            let rows_affected = prepared.raw_execute()?;
            let last_insert_id = u64::try_from(connection.last_insert_rowid()).unwrap_or(0);
            Ok(ProxyExecResult { last_insert_id, rows_affected: rows_affected as u64 })
        })
    }

    /// The rows of a query, by the places of their columns.
    fn find(&self, statement: &Statement, reading: Reading) -> Result<Found, DbErr> {
        self.timed(statement, |connection| {
            let mut prepared = connection.prepare_cached(&statement.sql)?;
            if !prepared.readonly() {
                self.has_written.store(true, Ordering::Relaxed);
            }
            bind(&mut prepared, statement)?;
            let (mut names, mut declared) = (Vec::new(), Vec::new());
            if reading == Reading::AsDeclared || cfg!(debug_assertions) {
                let columns = prepared.columns();
                names = columns.iter().map(|column| column.name().to_owned()).collect();
                if reading == Reading::AsDeclared {
                    declared = columns.iter().map(|column| Declared::of(column.decl_type())).collect();
                }
            }
            let column_count = prepared.column_count();
            let mut found = prepared.raw_query();
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let mut values = Vec::with_capacity(column_count);
                for index in 0..column_count {
                    let declared = declared.get(index).copied().unwrap_or(Declared::Nothing);
                    values.push(decode(row.get_ref(index)?, declared, index)?);
                }
                rows.push(values);
            }
            Ok(Found { names, rows })
        })
    }
}

/// What a query's values are read as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// What their columns were declared to hold, as SeaORM wants it; and with the columns' names.
    AsDeclared,
    /// What they are stored as: who reads them knows their types.
    AsStored,
}

impl Statements for Executor {
    fn rows<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Found, DbErr>> {
        Box::pin(std::future::ready(self.find(statement, Reading::AsStored)))
    }
}

/// SeaORM's way in. Its own transactions are the engine's business: begin, commit and rollback do nothing here.
#[derive(Debug)]
struct Proxy(Arc<Executor>);

#[async_trait::async_trait]
impl ProxyDatabaseTrait for Proxy {
    async fn query(&self, statement: Statement) -> Result<Vec<ProxyRow>, DbErr> {
        Ok(self.0.find(&statement, Reading::AsDeclared)?.into_proxy_rows())
    }

    async fn execute(&self, statement: Statement) -> Result<ProxyExecResult, DbErr> {
        self.0.execute(&statement)
    }
}

fn bind(prepared: &mut rusqlite::CachedStatement<'_>, statement: &Statement) -> rusqlite::Result<()> {
    let values = statement.values.as_ref().map_or(&[][..], |values| values.0.as_slice());
    for (index, value) in values.iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, Bound(value))?;
    }
    Ok(())
}

/// A value on its way into a statement, borrowed.
struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let owned =
            |value: Option<i64>| ToSqlOutput::Owned(value.map_or(rusqlite::types::Value::Null, Into::into));
        Ok(match self.0 {
            Value::Bool(value) => owned(value.map(i64::from)),
            Value::TinyInt(value) => owned(value.map(i64::from)),
            Value::SmallInt(value) => owned(value.map(i64::from)),
            Value::Int(value) => owned(value.map(i64::from)),
            Value::BigInt(value) => owned(*value),
            Value::TinyUnsigned(value) => owned(value.map(i64::from)),
            Value::SmallUnsigned(value) => owned(value.map(i64::from)),
            Value::Unsigned(value) => owned(value.map(i64::from)),
            Value::BigUnsigned(Some(value)) => owned(Some(i64::try_from(*value).map_err(unbindable)?)),
            Value::Double(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Real(*value)),
            Value::Float(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Real(f64::from(*value))),
            Value::String(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Value::Char(Some(value)) => ToSqlOutput::from(value.to_string()),
            Value::Bytes(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Value::Uuid(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes())),
            Value::Json(Some(value)) => ToSqlOutput::from(value.to_string()),
            _ => ToSqlOutput::Borrowed(ValueRef::Null),
        })
    }
}

fn unbindable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// What a column was declared to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Boolean,
    Integer,
    Real,
    Text,
    Blob,
    Uuid,
    Json,
    /// An expression, or not asked for: the storage class decides.
    Nothing,
}

impl Declared {
    fn of(declared: Option<&str>) -> Self {
        let Some(declared) = declared else { return Self::Nothing };
        let name = declared.split('(').next().unwrap_or(declared).trim();
        let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is(&["bigint", "integer", "smallint", "tinyint"]) {
            Self::Integer
        } else if is(&["text", "varchar"]) {
            Self::Text
        } else if is(&["blob", "varbinary_blob"]) {
            Self::Blob
        } else if is(&["boolean"]) {
            Self::Boolean
        } else if is(&["double", "real", "float"]) {
            Self::Real
        } else if is(&["uuid_text"]) {
            Self::Uuid
        } else if is(&["json_text", "jsonb_text"]) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

fn decode(value: ValueRef<'_>, declared: Declared, index: usize) -> rusqlite::Result<Value> {
    let mismatch = || {
        let text = format!("{} in a column declared {declared:?}", value.data_type());
        rusqlite::Error::FromSqlConversionFailure(index, value.data_type(), text.into())
    };
    Ok(match (declared, value) {
        (Declared::Boolean, ValueRef::Null) => Value::Bool(None),
        (Declared::Boolean, ValueRef::Integer(number)) => Value::Bool(Some(number != 0)),
        (Declared::Integer, ValueRef::Null) => Value::BigInt(None),
        (Declared::Integer | Declared::Nothing, ValueRef::Integer(number)) => Value::BigInt(Some(number)),
        (Declared::Real, ValueRef::Null) => Value::Double(None),
        (Declared::Real, ValueRef::Integer(number)) => Value::Double(Some(number as f64)),
        (Declared::Real | Declared::Nothing, ValueRef::Real(number)) => Value::Double(Some(number)),
        (Declared::Text | Declared::Nothing, ValueRef::Null) => Value::String(None),
        (Declared::Text | Declared::Nothing, ValueRef::Text(text)) => {
            Value::String(Some(std::str::from_utf8(text).map_err(|_| mismatch())?.to_owned()))
        }
        (Declared::Blob, ValueRef::Null) => Value::Bytes(None),
        (Declared::Blob | Declared::Nothing, ValueRef::Blob(bytes)) => Value::Bytes(Some(bytes.to_vec())),
        (Declared::Uuid, ValueRef::Null) => Value::Uuid(None),
        (Declared::Uuid, ValueRef::Blob(bytes)) => {
            Value::Uuid(Some(Uuid::from_slice(bytes).map_err(|_| mismatch())?))
        }
        (Declared::Json, ValueRef::Null) => Value::Json(None),
        (Declared::Json, ValueRef::Text(text)) => {
            Value::Json(Some(Box::new(serde_json::from_slice(text).map_err(|_| mismatch())?)))
        }
        _ => return Err(mismatch()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_no_passing_failure() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_VTAB, ffi::SQLITE_NOTADB] {
            let failure = Failure::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(failure.is_fault(), "the connection is given up: {code}");
            assert!(matches!(failure.error(), Error::StorageCorrupt { .. }), "{code}");
        }
    }
}
