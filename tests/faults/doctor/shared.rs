//! A PostgreSQL for the tests that want one at the same time; it ends with the last of them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// A running server in a folder of its own, with the settings that it has by default.
pub(super) struct Server {
    port: u16,
    folder: TempDir,
}

impl Server {
    /// One that all who ask at the same time share.
    pub(super) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::with(&[]));
        *shared = Arc::downgrade(&server);
        server
    }

    /// One with settings `-c name=value` of its own.
    pub(super) fn with(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("pannier-doctor-").tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut server = Self { port: 0, folder };
        // The folder belongs to the user of the tests; the server's must get through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(server.folder.path(), open).expect("its owner may");
        script(&["init".as_ref(), data.as_os_str()]);
        let mut start = vec!["start".as_ref(), data.as_os_str(), "0".as_ref()];
        start.extend(settings.iter().flat_map(|setting| ["-c".as_ref(), std::ffi::OsStr::new(*setting)]));
        server.port = script(&start).trim().parse().expect("a port");
        server
    }

    /// The URL of a database; the password is not asked for.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://pannier:geheim@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a new schema.
    pub(super) async fn schema(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let schema = format!("s{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(&format!("CREATE SCHEMA {schema}")).await;
        format!("{}?options=-c%20search_path%3D{schema}", self.url("postgres"))
    }

    /// Runs statements.
    pub(super) async fn run(&self, sql: &str) {
        run_at(&self.url("postgres"), sql).await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.port != 0 {
            script(&["stop".as_ref(), self.data().as_os_str(), "immediate".as_ref()]);
        }
    }
}

/// Runs statements at a URL.
pub(super) async fn run_at(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("it does so");
}

/// Runs tests/postgres.sh and gives what it printed.
fn script(arguments: &[&std::ffi::OsStr]) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres.sh");
    let output = Command::new("bash").arg(file).args(arguments).output().expect("bash runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
