//! The PostgreSQL that a second sidecar is measured on: what it is, and a schema of its own for each database.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use crate::Fallible;
use crate::statistics::median;

/// How often a round trip is measured.
const ROUND_TRIPS: usize = 50;

/// A server. Its schemas are removed by `clean_up`.
pub(crate) struct Postgres {
    url: String,
    options: PgConnectOptions,
    pub(crate) facts: Facts,
    schemas: Mutex<Vec<String>>,
}

/// What the figures depend on.
#[derive(Serialize, Clone)]
pub(crate) struct Facts {
    /// Host, port and database; neither user nor password.
    pub(crate) place: String,
    pub(crate) version: String,
    pub(crate) fsync: String,
    pub(crate) full_page_writes: String,
    pub(crate) synchronous_commit: String,
    pub(crate) shared_buffers: String,
    /// Of `SELECT 1`, on one connection.
    pub(crate) round_trip_us: f64,
}

impl Postgres {
    /// Looks at the server of the URL.
    pub(crate) async fn open(url: &str) -> Fallible<Self> {
        let options: PgConnectOptions = url.parse().map_err(|error| format!("--url: {error}"))?;
        let options = options.disable_statement_logging();
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = format!("{place} database {database}");
        let mut connection = PgConnection::connect_with(&options)
            .await
            .map_err(|error| format!("no PostgreSQL answers at {place}: {error}"))?;
        let facts = facts(&mut connection, place).await?;
        connection.close().await?;
        Ok(Self { url: url.to_owned(), options, facts, schemas: Mutex::default() })
    }

    /// The URL of a new schema.
    pub(crate) async fn schema(&self) -> Fallible<String> {
        let name = {
            let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("pannier_bench_{}_{}", std::process::id(), schemas.len());
            schemas.push(name.clone());
            name
        };
        self.run(&format!("CREATE SCHEMA {name}")).await?;
        let mark = if self.url.contains('?') { '&' } else { '?' };
        Ok(format!("{}{mark}options=-c%20search_path%3D{name}", self.url))
    }

    /// Has the server take note of what its tables hold, as autovacuum does within a minute of a fill: before, plans are made
    /// for empty tables, and a lookup by key may read a whole namespace.
    pub(crate) async fn analyze(&self) -> Fallible<()> {
        self.run("ANALYZE").await
    }

    /// Removes the schemas that were made. Whoever used them must have ended.
    pub(crate) async fn clean_up(&self) -> Fallible<()> {
        let schemas = std::mem::take(&mut *self.schemas.lock().unwrap_or_else(PoisonError::into_inner));
        for name in schemas {
            self.run(&format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
        }
        Ok(())
    }

    async fn run(&self, sql: &str) -> Fallible<()> {
        run_with(&self.options, sql.to_owned()).await
    }
}

/// Runs statements at a URL, such as that of a schema.
pub(crate) async fn run_at(url: &str, sql: String) -> Fallible<()> {
    let options: PgConnectOptions = url.parse()?;
    run_with(&options.disable_statement_logging(), sql).await
}

async fn run_with(options: &PgConnectOptions, sql: String) -> Fallible<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn facts(connection: &mut PgConnection, place: String) -> Fallible<Facts> {
    let settings = "SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync, \
        current_setting('full_page_writes') AS full_page_writes, \
        current_setting('synchronous_commit') AS synchronous_commit, \
        current_setting('shared_buffers') AS shared_buffers";
    let row = sqlx::query(settings).fetch_one(&mut *connection).await?;
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let since = Instant::now();
        sqlx::query("SELECT 1").execute(&mut *connection).await?;
        trips.push(since.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Facts {
        place,
        version: row.try_get("version")?,
        fsync: row.try_get("fsync")?,
        full_page_writes: row.try_get("full_page_writes")?,
        synchronous_commit: row.try_get("synchronous_commit")?,
        shared_buffers: row.try_get("shared_buffers")?,
        round_trip_us: median(&trips),
    })
}

impl Facts {
    /// For the head of the report.
    pub(crate) fn line(&self) -> String {
        let warning = if self.fsync == "on" { "" } else { ": ITS PUTS ARE NOT DURABLE" };
        format!(
            "PostgreSQL {} at {}; fsync {}{warning}, full_page_writes {}, synchronous_commit {}, shared_buffers {}, \
             round trip {:.0} µs",
            self.version,
            self.place,
            self.fsync,
            self.full_page_writes,
            self.synchronous_commit,
            self.shared_buffers,
            self.round_trip_us
        )
    }
}
