//! The real process: started on a folder of its own, watched, signalled, killed.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long an outside process may take for what should take milliseconds. Only a broken one takes this long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A folder for one test: the data, the ready file, the sockets and what the process printed.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("pf").tempdir().expect("a temporary folder"))
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The data directory, unless a test takes another.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The database in it.
    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("pannier.db")
    }
}

/// How to start a sidecar: on free loopback ports, in a place.
#[derive(Clone)]
pub(crate) struct Launch {
    ready: PathBuf,
    log: PathBuf,
    printed: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    has_stdin: bool,
}

impl Launch {
    /// On the place's data directory.
    pub(crate) fn new(place: &Place) -> Self {
        Self::named(place, "sidecar", &place.data())
    }

    /// On another data directory; `name` keeps the files of several sidecars in one place apart.
    pub(crate) fn named(place: &Place, name: &str, data: &Path) -> Self {
        let launch = Self {
            ready: place.path(&format!("{name}.json")),
            log: place.path(&format!("{name}.log")),
            printed: place.path(&format!("{name}.out")),
            arguments: Vec::new(),
            variables: Vec::new(),
            has_stdin: false,
        };
        let ready = launch.ready.clone();
        launch
            .flag("--data", data)
            .flag("--listen", "127.0.0.1:0")
            .flag("--http-listen", "127.0.0.1:0")
            .flag("--ready-file", ready)
    }

    /// With a flag; of two with one name the later wins.
    pub(crate) fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let value = value.into();
        let settable_again = name != "--set";
        match self.arguments.iter().position(|argument| settable_again && argument == name) {
            Some(place) => self.arguments[place + 1] = value,
            None => self.arguments.extend([name.into(), value]),
        }
        self
    }

    /// With a flag that takes no value.
    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.arguments.push(name.into());
        self
    }

    /// Without a flag and its value.
    pub(crate) fn without(mut self, name: &str) -> Self {
        if let Some(place) = self.arguments.iter().position(|argument| argument == name) {
            self.arguments.drain(place..place + 2);
        }
        self
    }

    /// With a pipe as stdin, open until `close_stdin`.
    pub(crate) fn stdin(mut self) -> Self {
        self.has_stdin = true;
        self
    }

    /// On PostgreSQL instead of the data directory. The environment is where a URL with a password belongs.
    pub(crate) fn database(self, url: &str) -> Self {
        self.variable("PANNIER_STORAGE__URL", url)
    }

    /// With a setting.
    pub(crate) fn set(self, key: &str, value: impl std::fmt::Display) -> Self {
        self.flag("--set", format!("{key}={value}"))
    }

    /// With a Unix socket.
    pub(crate) fn socket(self, path: &Path) -> Self {
        self.flag("--socket", path)
    }

    /// With a variable in its environment.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&self) -> Sidecar {
        let mut sidecar = self.spawn();
        self.ready(&mut sidecar).await;
        sidecar
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&self, sidecar: &mut Sidecar) {
        let ready = within(LONG, || {
            let ready = std::fs::read(&self.ready).ok();
            if ready.is_none() && sidecar.child.try_wait().expect("a child to wait for").is_some() {
                panic!("the sidecar ended at its start:\n{}", sidecar.log());
            }
            ready
        })
        .await
        .unwrap_or_else(|| panic!("the sidecar is not ready after {LONG:?}:\n{}", sidecar.log()));
        sidecar.ready = serde_json::from_slice(&ready).expect("the ready file is JSON");
    }

    /// Starts it where it must refuse to, and waits for its end.
    pub(crate) async fn refused(&self) -> Refusal {
        let mut sidecar = self.spawn();
        let status = sidecar.ended(LONG).await.unwrap_or_else(|| {
            panic!("the sidecar should have refused to start, but runs:\n{}", sidecar.log());
        });
        assert!(!self.ready.exists(), "a sidecar that refused to start wrote its ready file");
        Refusal { code: status.code(), stderr: sidecar.log(), stdout: sidecar.printed() }
    }

    /// Starts it and comes back after so long, ready or not. What the ready file says is not known then.
    pub(crate) async fn started_for(&self, moment: Duration) -> Sidecar {
        let mut sidecar = self.spawn();
        let ended = sidecar.ended(moment).await;
        assert!(ended.is_none(), "the sidecar ended at its start: {ended:?}\n{}", sidecar.log());
        sidecar
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(&self) -> Sidecar {
        // A ready file that a killed process left would tell of the wrong one.
        let _ = std::fs::remove_file(&self.ready);
        let log = File::create(&self.log).expect("a log file");
        let mut command = pannier("serve");
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let printed = File::create(&self.printed).expect("a file for its output");
        command
            .stdin(if self.has_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(printed)
            .stderr(log);
        let child = command.spawn().expect("the binary runs");
        Sidecar {
            child,
            ready: serde_json::Value::Null,
            log: self.log.clone(),
            printed: self.printed.clone(),
        }
    }
}

/// The binary with a subcommand, without the settings that the environment of the tests may hold for it or for PostgreSQL.
pub(crate) fn pannier(subcommand: &str) -> Command {
    let mut command = pannier_alone();
    command.arg(subcommand);
    command
}

/// The binary without a subcommand.
pub(crate) fn pannier_alone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
    for (name, _) in std::env::vars_os() {
        if ["PANNIER_", "PG"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// How a sidecar refused to start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) stdout: String,
}

/// A running sidecar; killed when dropped.
pub(crate) struct Sidecar {
    child: Child,
    ready: serde_json::Value,
    log: PathBuf,
    printed: PathBuf,
}

impl Sidecar {
    /// What the ready file says.
    pub(crate) fn ready(&self) -> &serde_json::Value {
        &self.ready
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The gRPC address.
    pub(crate) fn grpc(&self) -> String {
        self.ready["grpc"].as_str().expect("it listens on TCP").to_owned()
    }

    /// The address of the HTTP side port.
    pub(crate) fn http(&self) -> String {
        self.ready["http"].as_str().expect("the side port is on").to_owned()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What it wrote to stdout so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.printed).unwrap_or_default()).into_owned()
    }

    /// Closes the pipe that is its stdin.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take().expect("a launch with stdin"));
    }

    /// kill -9, and its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("sh runs").success(), "the process is there to take SIG{name}");
    }

    /// How it ended, if it does within a time.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.child.try_wait().expect("a child to wait for")).await
    }

    /// SIGTERM, and that it ends well.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.ended(LONG).await.expect("it stops");
        assert_eq!(status.code(), Some(0), "a stop is no failure:\n{}", self.log());
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks an outside process until it gives an answer, for a limited time: there is nothing there to wait on.
pub(crate) async fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
