//! What all workloads share: where the binaries and the databases are, servers with a prefilled cache, progress.

use std::cell::Cell;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pannier_proto::cache::v1::{Entry, PutResult};
use pannier_proto::durability::v1::Durability;
use prost::Message as _;

use crate::floor::{ENTRY_FILE, PUT_FILE};
use crate::material::{Material, stored_key};
use crate::operations::{Caller, Operation};
use crate::postgres::Postgres;
use crate::sidecar::{Launch, Sidecar, Via};
use crate::{Fallible, RunArguments};

/// The size of values where nothing else is said.
pub(crate) const VALUE_BYTES: usize = 1024;
/// The progress line that is shown on what is not a terminal, too.
const STARTING: &str = "starting";
/// Entries a BatchPut of the preparation carries.
const FILL: usize = 1000;

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

    /// A sidecar with `stored` entries that have all been read once, a floor that answers as it does, and such a sidecar on
    /// PostgreSQL if there is one.
    pub(crate) async fn pair(&self, name: &str, settings: &[&str], stored: usize) -> Fallible<Pair> {
        let pannier = Sidecar::start(&self.launch(&self.folder(name), settings)).await?;
        let mut caller = self.prefill(&pannier, stored).await?;
        let answers = record(&mut caller, &mut self.material(VALUE_BYTES, stored)).await?;
        let folder = self.folder(&format!("{name}-answers"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(ENTRY_FILE), answers.0.encode_to_vec())?;
        std::fs::write(folder.join(PUT_FILE), answers.1.encode_to_vec())?;
        let floor = self.floor(&folder).await?;
        let sizes = same_sizes(&floor, &answers, self.material(VALUE_BYTES, stored)).await?;
        let postgres = match &self.postgres {
            Some(postgres) => {
                let mut launch = self.launch(&self.folder(&format!("{name}-unused")), settings);
                launch.variables.push(("PANNIER_STORAGE__URL", postgres.schema().await?));
                let sidecar = Sidecar::start(&launch).await?;
                self.prefill(&sidecar, stored).await?;
                Some(sidecar)
            }
            None => None,
        };
        Ok(Pair { pannier, floor, postgres, sizes })
    }

    async fn prefill(&self, sidecar: &Sidecar, stored: usize) -> Fallible<Caller> {
        let mut caller = Caller::new(sidecar.connect(Via::Tcp).await?, self.material(VALUE_BYTES, stored));
        fill(&mut caller, &mut self.material(VALUE_BYTES, stored), stored).await?;
        for from in (0..stored).step_by(FILL) {
            caller.read_all((from..(from + FILL).min(stored)).map(stored_key).collect()).await?;
        }
        Ok(caller)
    }

    async fn floor(&self, answers: &Path) -> Fallible<Sidecar> {
        let arguments = vec!["floor".into(), "--answers".into(), answers.into()];
        Sidecar::start(&Launch { program: std::env::current_exe()?, arguments, variables: Vec::new() }).await
    }

    /// One worker for each call in flight, spread over the connections.
    pub(crate) async fn workers(
        &self,
        server: &Sidecar,
        via: Via,
        in_flight: usize,
        stored: usize,
        operation: impl Fn(Caller) -> Operation,
    ) -> Fallible<Vec<Operation>> {
        let mut channels = Vec::new();
        for _ in 0..self.arguments.connections {
            channels.push(server.connect(via).await?);
        }
        let channel = |index: usize| channels[index % channels.len()].clone();
        let caller = |index| Caller::new(channel(index), self.material(VALUE_BYTES, stored));
        Ok((0..in_flight).map(|index| operation(caller(index))).collect())
    }
}

/// The servers, with the same answers.
pub(crate) struct Pair {
    pub(crate) pannier: Sidecar,
    pub(crate) floor: Sidecar,
    pub(crate) postgres: Option<Sidecar>,
    /// Encoded sizes of the answers, for the report.
    pub(crate) sizes: String,
}

/// Puts the stored entries.
pub(crate) async fn fill(caller: &mut Caller, material: &mut Material, stored: usize) -> Fallible<()> {
    for from in (0..stored).step_by(FILL) {
        let keys = from..(from + FILL).min(stored);
        let items = keys.map(|index| material.item_of(stored_key(index))).collect();
        caller.write_all(items).await?;
    }
    Ok(())
}

/// What the sidecar answers to a Put and to a Get.
async fn record(caller: &mut Caller, material: &mut Material) -> Fallible<(Entry, PutResult)> {
    let put = caller.write(material.item_of(stored_key(0)), Durability::Full).await?;
    Ok((caller.read(stored_key(0)).await?, put))
}

/// The floor's answers must be as long as the sidecar's, or the comparison means nothing.
async fn same_sizes(floor: &Sidecar, of: &(Entry, PutResult), material: Material) -> Fallible<String> {
    let mut material = material;
    let item = material.item();
    let mut caller = Caller::new(floor.connect(Via::Tcp).await?, material);
    let entry = caller.read(stored_key(0)).await?;
    let put = caller.write(item, Durability::Full).await?;
    let (theirs, ours) = ((entry.encoded_len(), put.encoded_len()), (of.0.encoded_len(), of.1.encoded_len()));
    if theirs != ours {
        return Err(format!("the floor answers {theirs:?} bytes, the sidecar {ours:?}").into());
    }
    Ok(format!("answers on both sides: an entry of {} bytes, a put result of {} bytes", ours.0, ours.1))
}
