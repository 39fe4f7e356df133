//! `pannier serve`: the sidecar itself.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::{Failure, Sources, print, runtime};
use crate::clock::Clock;
use crate::error::Error;
use crate::server::{self, Running};
use crate::settings::{LogSettings, Settings, StorageSettings};

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
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = self.sources.load(&[
            ("server.listen", self.listen.as_ref()),
            ("server.socket", self.socket.as_ref()),
            ("server.http_listen", self.http_listen.as_ref()),
            ("server.ready_file", self.ready_file.as_ref()),
        ])?;
        start_log(&loaded.settings.log);
        let runtime = runtime()?;
        let result = runtime.block_on(serve(&loaded.settings));
        // What still runs belongs to peers that did not go: it is not waited for.
        runtime.shutdown_background();
        result
    }
}

async fn serve(settings: &Settings) -> Result<(), Failure> {
    // Before anything else, so that a signal while starting is not lost.
    let mut stop = std::pin::pin!(stop_signal()?);
    let mut running = tokio::select! {
        started = server::start(settings, Clock::system()) => started?,
        // The database may be waited for. What was begun with it is left as a crash would leave it.
        signal = &mut stop => {
            tracing::info!(signal, "stopped while starting");
            return Ok(());
        }
    };
    let ready_file = &settings.server.ready_file;
    if !ready_file.is_empty() {
        write_ready_file(Path::new(ready_file), &running, settings)?;
    }
    print(&banner(&running, settings));
    let failure = tokio::select! {
        signal = &mut stop => {
            tracing::info!(signal, "stopping");
            None
        }
        error = running.failed() => Some(error),
    };
    running.stop().await;
    if !ready_file.is_empty() {
        // It may have been removed by whoever waited for it.
        let _ = std::fs::remove_file(ready_file);
    }
    match failure {
        None => {
            tracing::info!("stopped");
            Ok(())
        }
        Some(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = &'static str>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::Message(format!("cannot watch for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
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

/// Tells whoever waits for the file, whole or not at all.
fn write_ready_file(path: &Path, running: &Running, settings: &Settings) -> Result<(), Error> {
    let ready = serde_json::json!({
        "pid": std::process::id(),
        "grpc": running.address.map(|address| address.to_string()),
        "socket": running.socket,
        "http": running.http_address.map(|address| address.to_string()),
        "data": data(&settings.storage),
    });
    let draft = path.with_extension("tmp");
    std::fs::write(&draft, format!("{ready}\n"))
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(|error| Error::Refused(format!("cannot write {}: {error}", path.display())))
}
