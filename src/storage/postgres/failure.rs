//! What went wrong in a statement, and what that means for the transaction and the connection.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

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
    /// A lock was waited for too long, a statement took too long, or the server has trouble with itself.
    Busy,
    /// No room on its disk.
    Full,
    /// A table or an index is damaged.
    Corrupt,
    /// The connection is gone or not to be trusted.
    Lost,
    /// The connection gave no answer in time: as good as gone.
    Silent,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let message = error.to_string();
        let kind = match error {
            sqlx::Error::Database(error) => {
                let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
                let ends_session = matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic));
                of_code(error.code().as_deref().unwrap_or_default(), error.message(), ends_session)
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

    /// The connection gave no answer for so long.
    pub(super) fn silent(milliseconds: u128) -> Self {
        Self {
            kind: FailureKind::Silent,
            message: format!("the database gave no answer within {milliseconds} ms"),
        }
    }

    /// Whether the connection is to be given up.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.kind, FailureKind::Lost | FailureKind::Silent)
    }

    /// Whether another transaction came in between: nothing is stored, and the operation may be run again.
    pub(super) fn is_overtaken(&self) -> bool {
        matches!(self.kind, FailureKind::Conflict | FailureKind::Duplicate)
    }

    /// Of an attempt to connect. Whoever is refused there has not asked for anything yet: it is not the operation's fault.
    pub(super) fn of_connecting(error: &sqlx::Error) -> Self {
        let failure = Self::of(error);
        let kind = match error {
            // What is wrong with a certificate does not pass by itself.
            sqlx::Error::Tls(_) => FailureKind::Statement,
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                FailureKind::Statement
            }
            _ => failure.kind,
        };
        Self { kind, ..failure }
    }

    /// What a caller is told when there is no connection to be had, whatever the reason.
    pub(super) fn unreachable(&self) -> Error {
        Error::StorageUnavailable { cause: self.message.clone() }
    }

    /// What a caller is told.
    pub(super) fn error(&self) -> Error {
        let cause = self.message.clone();
        match self.kind {
            FailureKind::Statement => Error::Internal { cause },
            FailureKind::Constraint | FailureKind::Duplicate => Error::ConstraintViolated { cause },
            FailureKind::Full => Error::StorageFull,
            FailureKind::Corrupt => Error::StorageCorrupt { cause },
            FailureKind::Conflict | FailureKind::Busy | FailureKind::Lost | FailureKind::Silent => {
                Error::StorageUnavailable { cause }
            }
        }
    }
}

/// By SQLSTATE; appendix A of PostgreSQL's manual lists them.
fn of_code(code: &str, message: &str, ends_session: bool) -> FailureKind {
    match code {
        "40001" | "40P01" => FailureKind::Conflict,
        "23505" | "23P01" => FailureKind::Duplicate,
        // Statement, lock and idle timeouts; the query was cancelled.
        "57014" | "55P03" => FailureKind::Busy,
        "53100" => FailureKind::Full,
        "XX001" | "XX002" if !ends_session => FailureKind::Corrupt,
        // A prepared statement that a change of the schema has made useless.
        "0A000" if message.contains("cached plan") => FailureKind::Lost,
        // The server became a standby: another connection finds the new primary.
        "25006" => FailureKind::Lost,
        _ => match code.get(..2) {
            Some("23") => FailureKind::Constraint,
            // Memory, limits, its files, its own faults: another session would fare no better.
            Some("53" | "58" | "XX") if !ends_session => FailureKind::Busy,
            Some("08" | "57" | "53" | "25" | "58" | "XX") => FailureKind::Lost,
            _ => FailureKind::Statement,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_given_up_when_it_has_ended_and_kept_when_a_statement_alone_has_failed() {
        for (code, ends_session, kind) in [
            ("57P01", true, FailureKind::Lost),
            ("57P03", true, FailureKind::Lost),
            ("53300", true, FailureKind::Lost),
            ("25P03", true, FailureKind::Lost),
            ("53200", false, FailureKind::Busy),
            ("53400", false, FailureKind::Busy),
            ("58030", false, FailureKind::Busy),
            ("XX000", false, FailureKind::Busy),
            ("XX001", false, FailureKind::Corrupt),
            ("XX002", false, FailureKind::Corrupt),
            ("XX001", true, FailureKind::Lost),
            ("53100", false, FailureKind::Full),
            ("28P01", true, FailureKind::Statement),
            ("3D000", true, FailureKind::Statement),
            ("42P01", false, FailureKind::Statement),
        ] {
            assert_eq!(of_code(code, "", ends_session), kind, "{code}");
        }
    }
}
