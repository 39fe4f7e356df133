//! `pannier serve`: the sidecar itself.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::ephemeral::Ephemeral;
use super::ready_file::ReadyFile;
use super::{Failure, Sources, print, runtime};
use crate::clock::Clock;
use crate::server::{self, Process, Running};
use crate::settings::{self, Loaded, LogSettings, Origin, Settings, StorageSettings};

#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    sources: Sources,
    /// The gRPC address (server.listen); port 0 takes a free one, "" none.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The Unix socket (server.socket).
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// The HTTP side port (server.http_listen).
    #[arg(long, value_name = "ADDR")]
    http_listen: Option<String>,
    /// A file to write, as JSON, when the sidecar serves (server.ready_file).
    #[arg(long, value_name = "PATH")]
    ready_file: Option<String>,
    /// Keep the data in a temporary directory of its own, removed at the end. Without --listen the ports are free ones.
    #[arg(long, conflicts_with = "data")]
    ephemeral: bool,
    /// Run on a clock that only admin.AdvanceClock moves.
    #[arg(long, requires = "ephemeral")]
    test_clock: bool,
    /// Stop when stdin is closed, as it is when the program that started the sidecar ends.
    #[arg(long)]
    exit_with_stdin: bool,
    /// Stop when no client has been connected for so long, such as 5s. Health probes do not count.
    #[arg(long, value_name = "DURATION", value_parser = settings::duration)]
    exit_when_idle: Option<Duration>,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let clock = Clock::system();
        let ephemeral = self.ephemeral.then(|| Ephemeral::create(&clock)).transpose()?;
        let Loaded { settings, .. } = self.load(ephemeral.as_ref())?;
        start_log(&settings.log);
        let (clock, test_clock) = if self.test_clock {
            let (clock, hands) = Clock::manual(clock.now_us());
            (clock, Some(hands))
        } else {
            (clock, None)
        };
        let process = Process { test_clock, is_ephemeral: self.ephemeral };
        let ready_file = ReadyFile::claim(&settings.server.ready_file)?;
        let runtime = runtime()?;
        let result = runtime.block_on(self.serve(&settings, clock, process, ready_file.as_ref()));
        // Connections of peers that are still there end with the process.
        runtime.shutdown_background();
        result
    }

    /// The settings of all layers. An ephemeral sidecar uses its own directory and no other database, and ports that nobody has chosen
    /// are free ones.
    fn load(&self, ephemeral: Option<&Ephemeral>) -> Result<Loaded, Failure> {
        let directory = ephemeral.map(|ephemeral| ephemeral.path().display().to_string());
        let no_url = ephemeral.map(|_| String::new());
        let mut loaded = self.sources.load(&[
            ("server.listen", self.listen.as_ref()),
            ("server.socket", self.socket.as_ref()),
            ("server.http_listen", self.http_listen.as_ref()),
            ("server.ready_file", self.ready_file.as_ref()),
            ("storage.directory", directory.as_ref()),
            ("storage.url", no_url.as_ref()),
        ])?;
        if ephemeral.is_some() {
            let is_default = |key: &str| loaded.origins.get(key) == Some(&Origin::Default);
            let (listen, http_listen) = (is_default("server.listen"), is_default("server.http_listen"));
            let server = &mut loaded.settings.server;
            for (address, is_default) in
                [(&mut server.listen, listen), (&mut server.http_listen, http_listen)]
            {
                if is_default {
                    *address = "127.0.0.1:0".into();
                }
            }
        }
        Ok(loaded)
    }

    async fn serve(
        &self,
        settings: &Settings,
        clock: Clock,
        process: Process,
        ready_file: Option<&ReadyFile>,
    ) -> Result<(), Failure> {
        // Before anything else, so that a signal during the start is not lost.
        let mut stop = std::pin::pin!(stop_signal()?);
        let mut stdin = std::pin::pin!(stdin_closed(self.exit_with_stdin));
        let started = tokio::select! {
            started = server::start_as(settings, clock, process) => started?,
            // The database may be waited for. The next start recovers it as after a crash.
            signal = &mut stop => {
                tracing::info!(signal, "stopped while starting");
                return Ok(());
            }
            () = &mut stdin => {
                tracing::info!("stdin was closed during the start");
                return Ok(());
            }
        };
        let mut running = started;
        if let Some(ready_file) = ready_file {
            ready_file.write(&running, &data(&settings.storage))?;
        }
        // Whoever started the sidecar may have closed stdout; the sidecar serves all the same.
        let _ = print(&banner(&running, settings));
        let idle = running.idle(self.exit_when_idle.unwrap_or(Duration::MAX));
        let failure = tokio::select! {
            signal = &mut stop => {
                tracing::info!(signal, "stopping");
                None
            }
            () = &mut stdin => {
                tracing::info!("stdin was closed: stopping");
                None
            }
            () = idle, if self.exit_when_idle.is_some() => {
                tracing::info!("no client is connected: stopping");
                None
            }
            error = running.failed() => Some(error),
        };
        running.stop().await;
        if let Some(ready_file) = ready_file {
            ready_file.remove();
        }
        match failure {
            None => {
                tracing::info!("stopped");
                Ok(())
            }
            Some(error) => Err(error.into()),
        }
    }
}

/// Comes when stdin is closed, if `is_watched`.
async fn stdin_closed(is_watched: bool) {
    let (closed, is_closed) = tokio::sync::oneshot::channel::<()>();
    if !is_watched {
        return std::future::pending().await;
    }
    let read = move || {
        let mut buffer = [0; 4_096];
        let mut stdin = std::io::stdin().lock();
        loop {
            match std::io::Read::read(&mut stdin, &mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        drop(closed);
    };
    // A thread of its own: a read of stdin cannot be cancelled.
    if let Err(error) = std::thread::Builder::new().name("pannier-stdin".into()).spawn(read) {
        tracing::error!(error = %error, "stdin cannot be watched");
    }
    // The thread's end is the event, whatever it sent.
    let _ = is_closed.await;
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::Message(format!("cannot watch for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // A terminal that is closed sends it. Without a handler it would end the process without a drain.
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hang_up.recv() => "SIGHUP",
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    Ok(async {
        // Without a console there is no such event, and the process is stopped by its parent.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    })
}

fn start_log(settings: &LogSettings) {
    // The filter was checked with the settings; RUST_LOG is not read, so that there is one place to look.
    let filter = settings.filter.parse::<EnvFilter>().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // A report of the failure would go to the same stderr, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second log in one process is refused; the first one goes on.
    let _ = match settings.format.as_str() {
        "json" => log.json().try_init(),
        _ => log.try_init(),
    };
}

/// Where the data is, for people: a folder, or a URL without its password.
fn data(settings: &StorageSettings) -> String {
    if settings.url.is_empty() { absolute(&settings.directory) } else { settings.url.to_string() }
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// What a person who starts the sidecar wants to know.
fn banner(running: &Running, settings: &Settings) -> String {
    let mut lines = vec![format!("pannier {} is ready", env!("CARGO_PKG_VERSION"))];
    if let Some(address) = running.address {
        lines.push(format!("  gRPC    {address}"));
    }
    if let Some(socket) = &running.socket {
        lines.push(format!("  socket  {}", socket.display()));
    }
    if let Some(address) = running.http_address {
        lines.push(format!("  HTTP    http://{address}/livez  /readyz  /metrics"));
    }
    lines.push(format!("  data    {}", data(&settings.storage)));
    let target = match (running.address, &running.socket) {
        (Some(address), _) => format!("-plaintext -d @ {address}"),
        (None, Some(socket)) => {
            format!("-plaintext -unix -authority localhost -d @ {}", socket.display())
        }
        (None, None) => return lines.join("\n"),
    };
    lines.push(format!(
        "try it: echo '{{\"namespace\":\"demo\",\"item\":{{\"key\":\"hello\",\"value\":\"d29ybGQ=\"}}}}' | grpcurl {target} pannier.cache.v1.CacheService/Put"
    ));
    lines.join("\n")
}
