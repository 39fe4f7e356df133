//! What all workloads share: where the binaries and the databases are, how servers are started, progress.

use std::cell::Cell;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tonic::transport::Channel;

use crate::material::Material;
use crate::postgres::Postgres;
use crate::sidecar::{Launch, Sidecar, Via};
use crate::{Fallible, RunArguments};

/// The size of values where nothing else is said.
pub(crate) const VALUE_BYTES: usize = 1024;
/// The progress line that is shown on what is not a terminal, too.
const STARTING: &str = "starting";
/// The variable that has the sidecar store in PostgreSQL.
pub(crate) const URL: &str = "PANNIER_STORAGE__URL";

/// One run.
pub(crate) struct Bench {
    pub(crate) arguments: RunArguments,
    pub(crate) pannier: PathBuf,
    /// Measured besides, if there is one.
    pub(crate) postgres: Option<Arc<Postgres>>,
    directory: tempfile::TempDir,
    started: Instant,
    workers: Cell<u32>,
    heading: Cell<String>,
}

impl Bench {
    pub(crate) fn new(arguments: RunArguments, postgres: Option<Arc<Postgres>>) -> Fallible<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().map(Path::to_owned).unwrap_or_default();
        let pannier = arguments.pannier.clone().unwrap_or_else(|| beside.join("pannier"));
        let pannier = std::path::absolute(pannier)?;
        if !pannier.is_file() {
            let path = pannier.display();
            return Err(
                format!("{path} is not there: build it with `cargo build --release -p pannier`").into()
            );
        }
        let parent = std::path::absolute(arguments.directory.clone().unwrap_or(beside))?;
        let directory = tempfile::Builder::new().prefix("pannier-bench-").tempdir_in(&parent);
        let directory = directory.map_err(|error| format!("{}: {error}", parent.display()))?;
        Ok(Self {
            arguments,
            pannier,
            postgres,
            directory,
            started: Instant::now(),
            workers: Cell::new(0),
            heading: Cell::default(),
        })
    }

    /// Ends the progress display.
    pub(crate) fn finish(&self) {
        self.progress("done");
        eprintln!();
    }

    /// A folder for a database; made when it is used.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Begins a workload on the progress display.
    pub(crate) fn begin(&self, heading: String) {
        self.heading.set(heading);
        self.progress(STARTING);
    }

    /// On a terminal one line that changes; elsewhere a line at the start of each workload.
    pub(crate) fn progress(&self, text: &str) {
        let heading = self.heading.take();
        let line = format!("[{:>3.0} s] {heading}: {text}", self.elapsed());
        let mut stderr = std::io::stderr();
        // Progress that cannot be shown is no reason to stop.
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\x1b[2K{line}").and_then(|()| stderr.flush())
        } else if text == STARTING {
            writeln!(stderr, "{line}")
        } else {
            Ok(())
        };
        self.heading.set(heading);
    }

    /// Keys and values for one more worker; no two share their new keys.
    pub(crate) fn material(&self, value_bytes: usize, stored: usize) -> Material {
        self.workers.set(self.workers.get() + 1);
        Material::new(self.workers.get(), value_bytes, stored)
    }

    /// How to start the sidecar on this data, with settings `section.key=value` besides the defaults.
    pub(crate) fn launch(&self, data: &Path, settings: &[&str]) -> Launch {
        let mut arguments: Vec<std::ffi::OsString> = vec!["serve".into(), "--data".into(), data.into()];
        arguments.extend(["--http-listen".into(), "127.0.0.1:0".into()]);
        for setting in settings {
            arguments.extend(["--set".into(), setting.into()]);
        }
        Launch { program: self.pannier.clone(), arguments, variables: Vec::new() }
    }

    /// A sidecar on SQLite.
    pub(crate) async fn sidecar(&self, name: &str, settings: &[&str]) -> Fallible<Sidecar> {
        Sidecar::start(&self.launch(&self.folder(name), settings)).await
    }

    /// How to start a sidecar on PostgreSQL, in a schema of its own, if there is one.
    pub(crate) async fn launch_on_postgres(&self, name: &str, settings: &[&str]) -> Fallible<Option<Launch>> {
        let Some(postgres) = &self.postgres else { return Ok(None) };
        let mut launch = self.launch(&self.folder(&format!("{name}-unused")), settings);
        launch.variables.push((URL, postgres.schema().await?));
        Ok(Some(launch))
    }

    /// A floor that answers with these messages, by their names.
    pub(crate) async fn floor(&self, name: &str, answers: &[(&str, Vec<u8>)]) -> Fallible<Sidecar> {
        let folder = self.folder(&format!("{name}-answers"));
        std::fs::create_dir_all(&folder)?;
        for (message, bytes) in answers {
            std::fs::write(folder.join(message), bytes)?;
        }
        let arguments = vec!["floor".into(), "--answers".into(), folder.into()];
        Sidecar::start(&Launch { program: std::env::current_exe()?, arguments, variables: Vec::new() }).await
    }

    /// Has PostgreSQL take note of what its tables hold.
    pub(crate) async fn analyze(&self) -> Fallible<()> {
        match &self.postgres {
            Some(postgres) => postgres.analyze().await,
            None => Ok(()),
        }
    }

    /// A channel for each call in flight, spread over the connections.
    pub(crate) async fn channels(
        &self,
        server: &Sidecar,
        via: Via,
        in_flight: usize,
    ) -> Fallible<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..self.arguments.connections {
            channels.push(server.connect(via).await?);
        }
        Ok((0..in_flight).map(|index| channels[index % channels.len()].clone()).collect())
    }
}
