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
pub(super) const VERSION_MIN: i32 = 150_000;

/// A transaction whose sidecar is gone without a word must not hold its locks for long; and none waits for anything but
/// the database.
const IDLE_MS_MAX: u64 = 2_000;

/// Has the server find out within a minute that its peer is gone: a network that forgets a connection tells neither side.
pub(super) const KEEPALIVE: &str =
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// What a statement joins it looks up row by row, as SQLite does. With statistics that are old, PostgreSQL would rather read all of
/// the other table to find the rows of a page in it.
const JOINS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Between two attempts at start.
const START_PAUSE: Duration = Duration::from_millis(200);

/// The channel of wake-ups: each schema has its own.
pub(super) const CHANNEL: &str = "'pannier_' || md5(current_schema())";

/// Where the database is and how it is used. It holds the password and has therefore no `Debug`.
#[derive(Clone)]
pub(super) struct Place {
    options: PgConnectOptions,
    is_local: bool,
    pub(super) settings: StorageSettings,
}

impl Place {
    pub(super) fn new(settings: &StorageSettings) -> Result<Self> {
        let wrong = |problem| Error::Misconfigured { setting: "storage.url", problem };
        let url = settings.url.expose();
        if let Some(name) = unknown_parameter(url) {
            // A question mark in a password makes a parameter of the rest of it.
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
            let name = if is_name { name } else { "(not a name; has the password a question mark?)" };
            return Err(wrong(format!("has a parameter that is not known: {name}")));
        }
        let options =
            PgConnectOptions::from_str(url).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let is_local = options.get_socket().is_some()
            || options.get_host().starts_with('/')
            || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
        let is_encrypted = matches!(
            options.get_ssl_mode(),
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        if !is_local && !is_encrypted {
            return Err(wrong(format!(
                "leads to {}, which is another machine, without encryption: add sslmode=verify-full (or require) to it",
                options.get_host()
            )));
        }
        let options = options
            .application_name("pannier")
            .statement_cache_capacity(PREPARED_MAX)
            .disable_statement_logging();
        Ok(Self { options, is_local, settings: settings.clone() })
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
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
        let mut told = String::new();
        loop {
            let failure = match self.open().await {
                Ok(mut connection) => match self.look(&mut connection).await {
                    Ok(None) => return Ok(connection),
                    Ok(Some(fault)) => {
                        let sentence = format!("PostgreSQL at {} cannot be used: {fault}", self.name());
                        return Err(Error::Refused(sentence));
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if !failure.is_lost() || clock::instant() >= until {
                let cause = failure.message;
                let sentence = format!("cannot connect to PostgreSQL at {}: {cause}", self.name());
                return Err(Error::Refused(sentence));
            }
            if told != failure.message {
                tracing::info!(cause = failure.message, database = self.name(), "waiting for the database");
                told = failure.message;
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// A connection that is ready for work.
    pub(super) async fn open(&self) -> Result<PgConnection, Failure> {
        let limit = Duration::from_millis(self.settings.connect_ms_max);
        let opening = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let (statement_ms, lock_ms) = (self.settings.statement_ms_max, self.settings.lock_ms_max);
            let idle_ms = statement_ms.min(IDLE_MS_MAX);
            connection
                .execute(sqlx::AssertSqlSafe(format!(
                    "SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms}; \
                     SET idle_in_transaction_session_timeout = {idle_ms}; {KEEPALIVE}; {JOINS}; SET TIME ZONE 'UTC'; \
                     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
                )))
                .await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match tokio::time::timeout(limit, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.explained(&error)),
            Err(_) => Err(Failure::silent(limit.as_millis())),
        }
    }

    fn explained(&self, error: &sqlx::Error) -> Failure {
        match error {
            // A socket that is not there yet is waited for; over TCP there is nothing else to be found but certificates.
            sqlx::Error::Io(error)
                if error.kind() == std::io::ErrorKind::NotFound && self.options.get_socket().is_none() =>
            {
                let message = format!("a file that sslrootcert, sslcert or sslkey names: {error}");
                Failure { kind: FailureKind::Statement, message }
            }
            _ => Failure::of_connecting(error),
        }
    }

    /// What is wrong with the database, if anything is.
    async fn look(&self, connection: &mut PgConnection) -> Result<Option<String>, Failure> {
        let looking = async {
            let row = connection
                .fetch_one(
                    "SELECT current_setting('server_version_num')::int4 AS version, \
                     current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_standby, \
                     current_schema()::text AS schema",
                )
                .await?;
            let version: i32 = row.try_get("version")?;
            let encoding: String = row.try_get("encoding")?;
            let is_standby: bool = row.try_get("is_standby")?;
            let schema: Option<String> = row.try_get("schema")?;
            Ok(if version < VERSION_MIN {
                Some(format!("it is version {}, and 15 or later is needed", version / 10_000))
            } else if encoding != "UTF8" {
                Some(format!("its encoding is {encoding}: make a database with ENCODING 'UTF8'"))
            } else if is_standby {
                Some("it is a standby: give the address of the primary".to_owned())
            } else if schema.is_none() {
                Some("the search_path names no schema that is there: make it, or change the path".to_owned())
            } else {
                None
            })
        };
        let limit = Duration::from_millis(self.settings.connect_ms_max);
        match tokio::time::timeout(limit, looking).await {
            Ok(looked) => looked.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::silent(limit.as_millis())),
        }
    }
}

/// What a URL may say. The client library takes note of anything else in the log, value and all.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// A parameter of the URL that is not known.
fn unknown_parameter(url: &str) -> Option<&str> {
    let query = url.split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let mut unknown =
        names.filter(|name| !name.is_empty() && !PARAMETERS.contains(name) && !name.starts_with("options["));
    unknown.next()
}
