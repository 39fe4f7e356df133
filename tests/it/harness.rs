//! A sidecar per test: in this process, on a clock that the test moves, on a database of its own.
//!
//! Every case runs on SQLite, and again on PostgreSQL when `PANNIER_TEST_STORAGE` is `postgres`; `exceptions.rs` names the
//! few that hold on one of them only.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pannier::clock::{Clock, ManualClock};
use pannier::error::Error;
use pannier::server::{self, Running};
use pannier::settings::Settings;
use pannier_proto::cache::v1::cache_service_client::CacheServiceClient;
use pannier_proto::errors::v1::{ErrorReason, ItemError};
use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use pannier_proto::records::v1::records_service_client::RecordsServiceClient;
use pannier_proto::settings::v1::settings_service_client::SettingsServiceClient;
use pannier_proto::transaction::v1::transaction_service_client::TransactionServiceClient;
use pannier_proto::uploads::v1::uploads_service_client::UploadsServiceClient;
use prost::Message as _;
use sqlx::{Connection as _, Row as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// When every test begins: 2026-01-01T00:00:00Z, in microseconds.
pub const START_US: i64 = 1_767_225_600_000_000;

/// A running sidecar, its client and its clock.
pub struct Pannier {
    pub cache: CacheServiceClient<Channel>,
    pub jobs: JobsServiceClient<Channel>,
    pub queue: QueueServiceClient<Channel>,
    pub records: RecordsServiceClient<Channel>,
    pub settings: SettingsServiceClient<Channel>,
    pub transaction: TransactionServiceClient<Channel>,
    pub prompts: PromptsServiceClient<Channel>,
    pub uploads: UploadsServiceClient<Channel>,
    pub clock: ManualClock,
    now_us: AtomicI64,
    configuration: Settings,
    running: Option<Running>,
    directory: TempDir,
}

/// A sidecar with the default settings.
pub async fn pannier() -> Pannier {
    pannier_with(|_| {}).await
}

/// A sidecar whose settings `change` has changed.
pub async fn pannier_with(change: impl FnOnce(&mut Settings)) -> Pannier {
    let (mut settings, directory) = fresh_settings().await;
    change(&mut settings);
    Pannier::start(settings, START_US, directory).await
}

/// The settings of a sidecar on a database of its own, and where that is.
pub async fn fresh_settings() -> (Settings, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.server.listen = "127.0.0.1:0".into();
    settings.server.http_listen = String::new();
    settings.storage.directory = directory.path().join("data").display().to_string();
    if is_postgres() {
        settings.storage.url = new_schema().await.into();
        settings.storage.connections = 4;
    }
    (settings, directory)
}

/// Whether this run is the one on PostgreSQL.
pub fn is_postgres() -> bool {
    match std::env::var("PANNIER_TEST_STORAGE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("PANNIER_TEST_STORAGE is {other}: give sqlite or postgres"),
    }
}

/// The URL of a schema of its own in the server that `tests/postgres.sh run` has started.
async fn new_schema() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server = std::env::var("PANNIER_TEST_POSTGRES_URL").expect("run it by tests/postgres.sh run");
    let schema = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let make = format!("CREATE SCHEMA {schema}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
    format!("{server}?options=-c%20search_path%3D{schema}")
}

/// A sidecar that does nothing by itself: accesses stay in memory and what has expired stays in the table.
pub async fn pannier_without_upkeep() -> Pannier {
    const HOUR_MS: u64 = 3_600_000;
    pannier_with(|settings| {
        settings.cache.access_flush_ms = 600_000;
        settings.cache.sweep_ms = HOUR_MS;
        settings.jobs.sweep_ms = HOUR_MS;
        settings.queue.sweep_ms = HOUR_MS;
        settings.queue.stats_fold_ms = 600_000;
        settings.uploads.sweep_ms = HOUR_MS;
        settings.prompts.stats_interval_ms = HOUR_MS;
        settings.prompts.retention_interval_ms = 24 * HOUR_MS;
        settings.records.sweep_ms = HOUR_MS;
        settings.settings.sweep_ms = HOUR_MS;
    })
    .await
}

async fn start(settings: &Settings, now_us: i64) -> (Running, ManualClock, Channel) {
    let (clock, manual) = Clock::manual(now_us);
    let mut tries = 0;
    // A sidecar that was stopped in this process holds its lock until the last of its connections has ended.
    let running = loop {
        match server::start(settings, clock.clone()).await {
            Err(Error::Refused(sentence)) if sentence.contains("another pannier") && tries < 5_000 => {
                tries += 1
            }
            other => break other.unwrap_or_else(|error| panic!("no start after {tries} tries: {error}")),
        }
        tokio::task::yield_now().await;
    };
    let url = format!("http://{}", running.address.unwrap());
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    (running, manual, channel)
}

impl Pannier {
    async fn start(configuration: Settings, now_us: i64, directory: TempDir) -> Self {
        let (running, clock, channel) = start(&configuration, now_us).await;
        Self {
            cache: CacheServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            jobs: JobsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            queue: QueueServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            records: RecordsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            settings: SettingsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            transaction: TransactionServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            prompts: PromptsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            uploads: UploadsServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            clock,
            now_us: AtomicI64::new(now_us),
            configuration,
            running: Some(running),
            directory,
        }
    }

    /// Stops the sidecar and starts it again on the same data, at `now_us`.
    pub async fn restart_at(mut self, now_us: i64) -> Self {
        self.running.take().unwrap().stop().await;
        Self::start(self.configuration, now_us, self.directory).await
    }

    /// Stops the sidecar and starts it again on the same data, a second later.
    pub async fn restart(self) -> Self {
        let now_us = self.now_us() + 1_000_000;
        self.restart_at(now_us).await
    }

    /// Stops the sidecar and starts it again on the same data, a second later, with settings that `change` has changed.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.configuration);
        self.restart().await
    }

    /// Stops the sidecar, has `change` done to its database, and starts it again, a second later.
    pub async fn restart_after(mut self, change: &str) -> Self {
        self.running.take().unwrap().stop().await;
        if is_postgres() {
            let url = self.configuration.storage.url.expose();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let change = sqlx::AssertSqlSafe(change.to_owned());
            sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
        } else {
            rusqlite::Connection::open(self.database()).unwrap().execute_batch(change).unwrap();
        }
        let now_us = self.now_us() + 1_000_000;
        Self::start(self.configuration, now_us, self.directory).await
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.now_us.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Moves the clock forward by whole seconds.
    pub fn advance_s(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// Where the clock stands.
    pub fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed)
    }

    /// Another sidecar on the same database, with a clock of its own that shows the same time.
    pub async fn beside(&self) -> Self {
        self.beside_at(self.configuration.storage.url.expose()).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address.unwrap()
    }

    /// What the side port says of `/metrics`; the settings must name one.
    pub async fn metrics(&self) -> String {
        let address = self.running.as_ref().unwrap().http_address.unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// A connection of its own to the same sidecar.
    pub async fn another_connection(&self) -> Channel {
        let url = format!("http://{}", self.address());
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }

    /// A schema that is empty.
    pub async fn fresh_schema(&self) -> String {
        new_schema().await
    }

    /// Another sidecar like this one, on the database at `url`.
    pub async fn beside_at(&self, url: &str) -> Self {
        let mut configuration = self.configuration.clone();
        configuration.storage.url = url.to_owned().into();
        Self::start(configuration, self.now_us(), tempfile::tempdir().unwrap()).await
    }

    /// Where the shared database is.
    pub fn url(&self) -> String {
        self.configuration.storage.url.expose().to_owned()
    }

    /// Runs a statement in the database, behind the sidecar's back.
    pub async fn execute(&self, statement: &'static str) {
        if is_postgres() {
            let url = self.configuration.storage.url.expose();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
            return;
        }
        let file = rusqlite::Connection::open(self.database()).unwrap();
        file.execute(statement, []).unwrap();
    }

    /// How many rows a table has.
    pub async fn row_count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        if is_postgres() {
            let url = self.configuration.storage.url.expose();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            return sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut connection).await.unwrap();
        }
        let file = rusqlite::Connection::open(self.database()).unwrap();
        file.query_row(&count, [], |row| row.get(0)).unwrap()
    }

    /// What a query of texts finds, as a person would with the database's own shell.
    pub async fn rows_as_text(&self, query: &str) -> Vec<Vec<String>> {
        if is_postgres() {
            let url = self.configuration.storage.url.expose();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let query = sqlx::AssertSqlSafe(query.to_owned());
            let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
            return rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect();
        }
        let file = rusqlite::Connection::open(self.database()).unwrap();
        let mut statement = file.prepare(query).unwrap();
        let count = statement.column_count();
        let rows = statement.query_map([], |row| (0..count).map(|column| row.get(column)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Where the database's file is.
    pub fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("data").join("pannier.db")
    }
}

/// Asserts code and reason of an error.
#[track_caller]
pub fn assert_status(status: &Status, code: Code, reason: ErrorReason) {
    assert_eq!(status.code(), code, "{status:?}");
    let info = status.get_error_details().error_info().cloned().expect("every error has ErrorInfo");
    assert_eq!(info.domain, "pannier.dev");
    assert_eq!(format!("ERROR_REASON_{}", info.reason), reason.as_str_name());
}

/// The fields that an INVALID_ARGUMENT of an item names, sorted.
#[track_caller]
pub fn item_fields(error: &ItemError) -> Vec<String> {
    assert_eq!(error.reason(), ErrorReason::InvalidArgument, "{error:?}");
    let bad = error.details.iter().filter(|any| any.type_url.ends_with("google.rpc.BadRequest"));
    let bad = bad.map(|any| tonic_types::pb::BadRequest::decode(&*any.value).expect("a BadRequest"));
    let mut fields: Vec<_> =
        bad.flat_map(|bad| bad.field_violations).map(|violation| violation.field).collect();
    fields.sort();
    fields
}

/// The fields that an INVALID_ARGUMENT names, sorted.
#[track_caller]
pub fn violated_fields(status: &Status) -> Vec<String> {
    assert_status(status, Code::InvalidArgument, ErrorReason::InvalidArgument);
    let details = status.get_error_details();
    let bad = details.bad_request().expect("INVALID_ARGUMENT has BadRequest");
    for violation in &bad.field_violations {
        assert!(!violation.description.is_empty(), "{} says nothing", violation.field);
    }
    let mut fields: Vec<_> = bad.field_violations.iter().map(|violation| violation.field.clone()).collect();
    fields.sort();
    fields
}
