//! Where the database is, and how a connection to it is opened.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::failure::{Failure, FailureKind};
use crate::clock;
use crate::error::{Error, Result};
use crate::settings::StorageSettings;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 256;

/// Earlier versions are not tested.
const VERSION_MIN: i32 = 150_000;

/// Between two attempts at start.
const START_PAUSE: Duration = Duration::from_millis(200);

/// The channel of wake-ups: each schema has its own.
pub(super) const CHANNEL: &str = "'pannier_' || md5(current_schema())";

/// Where the database is and how it is used.
#[derive(Clone, Debug)]
pub(super) struct Place {
    options: PgConnectOptions,
    pub(super) settings: StorageSettings,
}

impl Place {
    pub(super) fn new(settings: &StorageSettings) -> Result<Self> {
        let options = PgConnectOptions::from_str(settings.url.expose())
            .map_err(|error| Error::Refused(format!("storage.url cannot be read: {error}")))?;
        let is_local = options.get_socket().is_some()
            || options.get_host().starts_with('/')
            || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
        let is_encrypted = matches!(
            options.get_ssl_mode(),
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        if !is_local && !is_encrypted {
            return Err(Error::Refused(format!(
                "storage.url leads to {}, which is another machine, without encryption: add sslmode=verify-full (or require) to it",
                options.get_host()
            )));
        }
        let options = options
            .application_name("pannier")
            .statement_cache_capacity(PREPARED_MAX)
            .disable_statement_logging();
        Ok(Self { options, settings: settings.clone() })
    }

    /// How to connect.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Host, port and database, for people.
    pub(super) fn name(&self) -> String {
        let options = &self.options;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        match options.get_socket() {
            Some(socket) => format!("{} database {database}", socket.display()),
            None => format!("{}:{} database {database}", options.get_host(), options.get_port()),
        }
    }

    /// The first connection: waits for a database that is being started, and looks whether it will do.
    pub(super) async fn open_first(&self) -> Result<PgConnection> {
        let until = clock::instant() + Duration::from_millis(self.settings.start_wait_ms);
        loop {
            match self.open().await {
                Ok(mut connection) => {
                    self.look(&mut connection).await?;
                    return Ok(connection);
                }
                Err(failure) if failure.kind == FailureKind::Lost && clock::instant() < until => {
                    tracing::info!(cause = failure.message, "waiting for the database");
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(failure) => {
                    return Err(Error::Refused(format!(
                        "cannot connect to PostgreSQL at {}: {}",
                        self.name(),
                        failure.message
                    )));
                }
            }
        }
    }

    /// A connection that is ready for work.
    pub(super) async fn open(&self) -> Result<PgConnection, Failure> {
        let limit = Duration::from_millis(self.settings.connect_ms_max);
        let opening = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let (statement_ms, lock_ms) = (self.settings.statement_ms_max, self.settings.lock_ms_max);
            // A transaction whose sidecar is gone without a word must not hold its locks for long.
            connection
                .execute(sqlx::AssertSqlSafe(format!(
                    "SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms}; \
                     SET idle_in_transaction_session_timeout = {statement_ms}; SET TIME ZONE 'UTC'; \
                     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
                )))
                .await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match tokio::time::timeout(limit, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::silent(limit.as_millis())),
        }
    }

    async fn look(&self, connection: &mut PgConnection) -> Result<()> {
        let refused = |error: &dyn std::fmt::Display| {
            Error::Refused(format!("PostgreSQL at {} cannot be used: {error}", self.name()))
        };
        let row = connection
            .fetch_one(
                "SELECT current_setting('server_version_num')::int4 AS version, \
                 current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_standby, \
                 current_schema()::text AS schema",
            )
            .await
            .map_err(|error| refused(&error))?;
        let version: i32 = row.try_get("version").map_err(|error| refused(&error))?;
        let encoding: String = row.try_get("encoding").map_err(|error| refused(&error))?;
        let is_standby: bool = row.try_get("is_standby").map_err(|error| refused(&error))?;
        let schema: Option<String> = row.try_get("schema").map_err(|error| refused(&error))?;
        let fault = if version < VERSION_MIN {
            format!("it is version {}, and 15 or later is needed", version / 10_000)
        } else if encoding != "UTF8" {
            format!("its encoding is {encoding}: make a database with ENCODING 'UTF8'")
        } else if is_standby {
            "it is a standby: give the address of the primary".to_owned()
        } else if schema.is_none() {
            "the search_path names no schema that is there: make it, or change the path".to_owned()
        } else {
            return Ok(());
        };
        Err(refused(&fault))
    }
}
