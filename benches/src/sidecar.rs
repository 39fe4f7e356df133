//! A server as a child process, the sidecar or the floor: started, waited for, connected to, stopped.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::Fallible;

/// How long a child may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The step in which the ready file is looked for; so fine because the start is measured by it.
const LOOK: Duration = Duration::from_millis(1);

/// Prefixes of environment variables that change how a server behaves.
const STEERING: [&str; 4] = ["PANNIER_", "OTEL_", "RUST_LOG", "TOKIO_"];

/// How to start a server.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    /// What stands between the program and --listen.
    pub(crate) arguments: Vec<OsString>,
    /// What others must not read from the list of processes.
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// The way to a server.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Via {
    Tcp,
    Unix,
}

impl Via {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "unix",
        }
    }
}

#[derive(Deserialize)]
struct Ready {
    grpc: String,
}

/// A running server. Killed when dropped.
pub(crate) struct Sidecar {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    pub(crate) socket: PathBuf,
    /// From the start of the process until it said that it serves.
    pub(crate) ready_after: Duration,
    /// Short, because a socket's path has at most 107 bytes.
    _runtime: tempfile::TempDir,
}

impl Sidecar {
    /// Starts it and waits until it serves.
    pub(crate) async fn start(launch: &Launch) -> Fallible<Self> {
        let runtime = tempfile::Builder::new().prefix("pb").tempdir()?;
        let (socket, ready_file) = (runtime.path().join("s"), runtime.path().join("ready.json"));
        let log = runtime.path().join("log");
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).args(["--listen", "127.0.0.1:0", "--socket"]).arg(&socket);
        command.arg("--ready-file").arg(&ready_file).current_dir(runtime.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        // The defaults are measured, not what this shell happens to have set.
        for (name, _) in std::env::vars_os() {
            if STEERING.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(launch.variables.iter().map(|(name, value)| (name, value)));
        let started = Instant::now();
        let child = command.spawn().map_err(|error| format!("{}: {error}", launch.program.display()))?;
        let mut sidecar =
            Self { child, address: String::new(), socket, ready_after: Duration::ZERO, _runtime: runtime };
        let text = sidecar.wait_ready(&ready_file, &log).await?;
        sidecar.ready_after = started.elapsed();
        sidecar.address = serde_json::from_str::<Ready>(&text)?.grpc;
        Ok(sidecar)
    }

    async fn wait_ready(&mut self, ready_file: &Path, log: &Path) -> Fallible<String> {
        let since = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(ready_file) {
                return Ok(text);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(
                    format!("the server ended ({status}) before it served: {}", last_line(log)).into()
                );
            }
            if since.elapsed() > PATIENCE {
                return Err(
                    format!("the server did not serve within {PATIENCE:?}: {}", last_line(log)).into()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection, established.
    pub(crate) async fn connect(&self, via: Via) -> Fallible<Channel> {
        let endpoint = match via {
            Via::Tcp => Endpoint::from_shared(format!("http://{}", self.address))?,
            Via::Unix => Endpoint::from_static("http://localhost"),
        };
        if via == Via::Tcp {
            return Ok(endpoint.tcp_nodelay(true).connect().await?);
        }
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Ok(endpoint.connect_with_connector(connector).await?)
    }

    /// Asks it to end, and gives the time that it took. An exit code other than 0 is a failure.
    pub(crate) async fn stop(mut self) -> Fallible<Duration> {
        let since = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let took = since.elapsed();
                return if status.success() {
                    Ok(took)
                } else {
                    Err(format!("it ended with {status}").into())
                };
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("the server did not end within {PATIENCE:?} of SIGTERM").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or("(nothing on stderr)").to_owned()
}
