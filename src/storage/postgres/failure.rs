//! What went wrong in a statement, and what that means for the transaction and the connection.

use sqlx::postgres::PgDatabaseError;

use crate::error::Error;

/// A failed statement or connection.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The statement's own fault.
    Statement,
    /// A constraint refused, other than by a row that came in between.
    Constraint,
    /// Another transaction came in between: the operation is run again.
    Conflict,
    /// A row that came in between has the same key: the operation is run again, and finds it.
    Duplicate,
    /// A lock was waited for too long, or a statement took too long.
    Busy,
    /// No room.
    Full,
    /// The connection is gone or not to be trusted.
    Lost,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let message = error.to_string();
        let kind = match error {
            sqlx::Error::Database(error) => {
                of_code(error.code().as_deref().unwrap_or_default(), error.message())
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => FailureKind::Lost,
            _ => FailureKind::Statement,
        };
        // A constraint's message names the constraint; its detail would name the values.
        let message = match error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) {
            Some(error) => format!("{} ({})", error.message(), error.code()),
            None => message,
        };
        Self { kind, message }
    }

    /// The connection gave no answer for too long.
    pub(super) fn silent(milliseconds: u128) -> Self {
        Self {
            kind: FailureKind::Lost,
            message: format!("the database gave no answer within {milliseconds} ms"),
        }
    }

    /// What a caller is told.
    pub(super) fn error(&self) -> Error {
        let cause = self.message.clone();
        match self.kind {
            FailureKind::Statement => Error::Internal { cause },
            FailureKind::Constraint | FailureKind::Duplicate => Error::ConstraintViolated { cause },
            FailureKind::Full => Error::StorageFull,
            FailureKind::Conflict | FailureKind::Busy | FailureKind::Lost => {
                Error::StorageUnavailable { cause }
            }
        }
    }
}

/// By SQLSTATE; appendix A of PostgreSQL's manual lists them.
fn of_code(code: &str, message: &str) -> FailureKind {
    match code {
        "40001" | "40P01" => FailureKind::Conflict,
        "23505" | "23P01" => FailureKind::Duplicate,
        // Statement, lock and idle timeouts; the query was cancelled.
        "57014" | "55P03" => FailureKind::Busy,
        "53100" | "53200" => FailureKind::Full,
        // A prepared statement that a change of the schema has made useless.
        "0A000" if message.contains("cached plan") => FailureKind::Lost,
        // The server became a standby: another connection finds the new primary.
        "25006" => FailureKind::Lost,
        _ => match code.get(..2) {
            Some("23") => FailureKind::Constraint,
            Some("08" | "57" | "53" | "25" | "58" | "XX") => FailureKind::Lost,
            _ => FailureKind::Statement,
        },
    }
}
