//! The file that reports, as JSON, where a sidecar listens: written when it serves, removed at its end.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::files;
use crate::server::Running;

/// A ready file is shorter than this.
const BYTES_MAX: u64 = 64 * 1024;

pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Removes the file of a dead process, so that nobody takes it for ours; none without a path. Error: the file is another
    /// program's, or a process that runs has written it.
    pub(super) fn claim(path: &str) -> Result<Option<Self>, Failure> {
        if path.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from(path);
        let refused = |why: String| {
            Failure::Message(format!("cannot use {} (server.ready_file): {why}", path.display()))
        };
        files::refuse_link(&path).map_err(|error| refused(error.to_string()))?;
        if !path.exists() {
            return Ok(Some(Self(path)));
        }
        if !files::is_own(&path) || !path.is_file() {
            return Err(refused(
                "the file that is there belongs to another user, or is no regular file".into(),
            ));
        }
        match writer(&path) {
            Writer::Nobody => {}
            Writer::Process(pid) if pid == std::process::id() || !runs(pid) => {}
            Writer::Process(pid) => {
                let why = format!("process {pid} runs and has written it: give this sidecar its own");
                return Err(refused(why));
            }
            Writer::Unknown => return Err(refused("the file that is there is no ready file".into())),
        }
        std::fs::remove_file(&path).map_err(|error| refused(error.to_string()))?;
        Ok(Some(Self(path)))
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, running: &Running, data: &str) -> Result<(), Failure> {
        let ready = serde_json::json!({
            "pid": std::process::id(),
            "grpc": running.address.map(|address| address.to_string()),
            "socket": running.socket,
            "http": running.http_address.map(|address| address.to_string()),
            "data": data,
        });
        let draft = self.0.with_extension("tmp");
        let written = files::refuse_link(&self.0).and_then(|()| {
            let mut options = OpenOptions::new();
            let mut file = files::open(&draft, options.write(true).create(true).truncate(true))?;
            file.write_all(format!("{ready}\n").as_bytes())?;
            std::fs::rename(&draft, &self.0)
        });
        written.map_err(|error| Failure::Message(format!("cannot write {}: {error}", self.0.display())))
    }

    /// Removes the file, if it still is this process's.
    pub(super) fn remove(&self) {
        if matches!(writer(&self.0), Writer::Process(pid) if pid == std::process::id()) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

enum Writer {
    /// The file is empty, as `mktemp` makes one.
    Nobody,
    Process(u32),
    Unknown,
}

fn writer(path: &Path) -> Writer {
    let is_short = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() < BYTES_MAX);
    let text = if is_short { std::fs::read(path).ok() } else { None };
    match text {
        Some(text) if text.is_empty() => Writer::Nobody,
        Some(text) => {
            let ready = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
            let pid = ready["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
            pid.filter(|_| ready.get("grpc").is_some()).map_or(Writer::Unknown, Writer::Process)
        }
        None => Writer::Unknown,
    }
}

/// Whether a process runs and is a pannier: the number may be another program's by now.
#[cfg(target_os = "linux")]
fn runs(pid: u32) -> bool {
    let name = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    name(&pid.to_string()).is_some_and(|other| Some(other) == name("self"))
}

#[cfg(not(target_os = "linux"))]
fn runs(_pid: u32) -> bool {
    false
}
