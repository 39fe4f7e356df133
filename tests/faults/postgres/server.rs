//! A PostgreSQL server of a test's own, by tests/postgres.sh: started, stopped, killed, started again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::sidecar::{LONG, within};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres.sh");

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its sessions are told.
    Fast,
    /// Its sessions are told, and it recovers at its next start.
    Immediate,
    /// SIGKILL to all of its processes.
    Killed,
}

/// A server; stopped and removed when dropped.
pub(crate) struct Server {
    /// Unmounted before the folder is removed.
    disk: Option<Disk>,
    place: TempDir,
    port: u16,
    options: Vec<String>,
    variables: Vec<(String, OsString)>,
}

impl Server {
    /// The files of a server that was never started.
    pub(super) async fn made() -> Self {
        let mut builder = tempfile::Builder::new();
        // The server's user must get in.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let place = builder.prefix("pg").permissions(open).tempdir().expect("a temporary folder");
        let mut server = Self { disk: None, place, port: 0, options: Vec::new(), variables: Vec::new() };
        // A socket has a lock of its own, which outlives a kill as the other one does.
        server.option("unix_socket_directories=");
        if cfg!(target_os = "linux") {
            // After a crash it syncs all of its files; one by one that takes seconds.
            server.option("recovery_init_sync_method=syncfs");
        }
        server.script(&["init", server.data().to_str().expect("a plain path")]).await;
        server
    }

    /// A server that runs.
    pub(crate) async fn started() -> Self {
        let mut server = Self::made().await;
        server.start().await;
        server
    }

    /// With an option, from its next start on.
    pub(super) fn option(&mut self, option: &str) {
        self.options.extend(["-c".to_owned(), option.to_owned()]);
    }

    /// With a variable in its environment, from its next start on.
    pub(super) fn variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Moves its files, but for the WAL, to a disk of their own; not if this process may not mount one. It must not run.
    pub(super) fn move_to_a_disk(&mut self) -> bool {
        let data = self.data();
        let moved = "set -e; umask 077; mv \"$0\" \"$0.there\"; mkdir \"$0\"
            mount -t tmpfs -o mode=700 pannier \"$0\" || { rmdir \"$0\"; mv \"$0.there\" \"$0\"; exit 1; }
            cp -a \"$0.there/.\" \"$0/\"; mv \"$0/pg_wal\" \"$0.wal\"; ln -s \"$0.wal\" \"$0/pg_wal\"";
        let moved = Command::new("sh").arg("-c").arg(moved).arg(&data).output().expect("sh runs");
        if moved.status.success() {
            self.disk = Some(Disk(data));
        } else {
            println!("no disk of its own: {}", String::from_utf8_lossy(&moved.stderr).trim_end());
        }
        self.disk.is_some()
    }

    /// Its own disk.
    pub(super) fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("it was moved to a disk")
    }

    /// A path beside its files.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The folder of its files.
    pub(super) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts it, on the same port as before.
    pub(super) async fn start(&mut self) {
        let (data, port) = (self.data(), self.port.to_string());
        let mut arguments = vec!["start", data.to_str().expect("a plain path"), &port];
        arguments.extend(self.options.iter().map(String::as_str));
        let output = self.script(&arguments).await;
        let port = String::from_utf8_lossy(&output.stdout).trim().parse();
        self.port = port.unwrap_or_else(|_| panic!("no port: {output:?}"));
    }

    /// Ends it.
    pub(super) async fn end(&self, end: End) {
        let data = self.data();
        let data = data.to_str().expect("a plain path");
        match end {
            End::Fast => drop(self.script(&["stop", data, "fast"]).await),
            End::Immediate => drop(self.script(&["stop", data, "immediate"]).await),
            End::Killed => self.kill().await,
        }
    }

    async fn kill(&self) {
        let postmaster = self.postmaster();
        let ours: Vec<String> = processes()
            .into_iter()
            .filter(|process| process.pid == postmaster || process.parent == postmaster)
            .map(|process| process.pid)
            .collect();
        assert!(ours.len() > 1, "a server has several processes: {ours:?}");
        let killed = Command::new("sh").arg("-c").arg(format!("kill -9 {}", ours.join(" "))).status();
        assert!(killed.expect("sh runs").success(), "all of {ours:?} are there to be killed");
        let gone = || processes().iter().all(|process| !ours.contains(&process.pid)).then_some(());
        within(LONG, gone).await.expect("killed processes end");
        // A process that has ended is there until its parent takes note, and a server would take it for one that runs.
        std::fs::remove_file(self.data().join("postmaster.pid")).expect("a killed server leaves it behind");
    }

    /// Waits until it accepts connections again. It recovers by itself; only one that has ended, because it had no room to recover, is
    /// started again.
    pub(super) async fn accepts_again(&mut self) {
        let end = Instant::now() + 2 * LONG;
        while PgConnection::connect(&self.url("postgres")).await.is_err() {
            assert!(Instant::now() < end, "it does not recover\n{}", self.log());
            if self.postmaster().is_empty() {
                self.start().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn postmaster(&self) -> String {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        file.lines().next().unwrap_or_default().to_owned()
    }

    /// What it has to say.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("server.log")).unwrap_or_default()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a database in it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://pannier@{}/{database}", self.address())
    }

    /// A connection for the test itself.
    pub(super) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres")).await.expect("the server accepts")
    }

    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) {
        let mut admin = self.admin().await;
        let ran = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut admin).await;
        ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn script(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new("bash");
        command.arg(SCRIPT).args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.output().await.expect("bash runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is no error, and one that was never started has nothing to stop.
        let _ = Command::new("bash").arg(SCRIPT).arg("stop").arg(self.data()).arg("immediate").output();
    }
}

/// A file system in memory.
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Leaves so much room on it.
    pub(super) fn leave_kib(&self, room_kib: u64) {
        let used = Command::new("df").args(["-k", "--output=used"]).arg(&self.0).output().expect("df runs");
        let used = String::from_utf8_lossy(&used.stdout).into_owned();
        let used_kib: u64 = used.split_whitespace().last().expect("a line").parse().expect("a number");
        let size = format!("remount,size={}k", used_kib + room_kib);
        let resized = Command::new("mount").arg("-o").arg(size).arg(&self.0).status();
        assert!(resized.expect("mount runs").success(), "what was mounted can be resized");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At worst it stays until the machine is started again.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

struct Process {
    pid: String,
    parent: String,
}

/// All processes that run; those that have ended and that nobody has taken note of are left out.
fn processes() -> Vec<Process> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "stat="]).output();
    let listed = String::from_utf8_lossy(&listed.expect("ps runs").stdout).into_owned();
    let parse = |line: &str| {
        let mut fields = line.split_whitespace().map(str::to_owned);
        let (pid, parent, state) = (fields.next()?, fields.next()?, fields.next()?);
        (!state.starts_with('Z')).then_some(Process { pid, parent })
    };
    listed.lines().filter_map(parse).collect()
}
