//! A PostgreSQL server for a run, by tests/postgres.sh.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres.sh");

/// A server in a folder of its own; stopped when dropped.
pub(crate) struct Postgres {
    place: TempDir,
    port: String,
}

impl Postgres {
    /// A server that runs; nothing if PostgreSQL is not to be tested.
    pub(crate) fn started() -> Option<Self> {
        if std::env::var("PANNIER_TEST_POSTGRES").is_ok_and(|value| value == "off") {
            println!("not run: PANNIER_TEST_POSTGRES is off");
            return None;
        }
        // The server's user must get in.
        let open = std::fs::Permissions::from_mode(0o711);
        let place = tempfile::Builder::new().prefix("pq").permissions(open).tempdir().expect("a folder");
        let mut server = Self { place, port: String::new() };
        server.script(&["init", &server.data()]);
        let started = server.script(&["start", &server.data(), "0"]);
        server.port = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        Some(server)
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://pannier@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> String {
        self.place.path().join("data").display().to_string()
    }

    fn script(&self, arguments: &[&str]) -> Output {
        let output = Command::new("bash").arg(SCRIPT).args(arguments).output().expect("bash runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new("bash").arg(SCRIPT).args(["stop", &self.data(), "immediate"]).output();
    }
}
