//! The data directory of `serve --ephemeral`: made for one process, removed at its end.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::clock::{Clock, SECOND_US};
use crate::files;

/// What the name of each begins with.
const PREFIX: &str = "pannier-ephemeral-";

/// A directory that nobody has used for so long was left by a killed process, if no process holds its lock.
const ABANDONED_US: i64 = 60 * SECOND_US;

/// Abandoned directories that one start removes.
const REMOVED_MAX: usize = 16;

/// The directory; removed when dropped.
pub(super) struct Ephemeral(PathBuf);

impl Ephemeral {
    /// Makes the directory, for its owner only, and removes those of killed processes.
    pub(super) fn create(clock: &Clock) -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        remove_abandoned(&parent, clock);
        let path = parent.join(format!("{PREFIX}{}", clock.token().simple()));
        files::create_directory(&path)
            .map_err(|error| Failure::Message(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), error = %error, "the ephemeral data was not removed");
        }
    }
}

fn remove_abandoned(parent: &Path, clock: &Clock) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for entry in ours.take(REMOVED_MAX) {
        let path = entry.path();
        if files::is_own_directory(&path) && age_us(&path, clock) > ABANDONED_US && is_free(&path) {
            // Another start may be removing it as well.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn age_us(path: &Path, clock: &Clock) -> i64 {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let modified_us = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    modified_us.map_or(0, |modified_us| clock.now_us().saturating_sub(modified_us))
}

fn is_free(path: &Path) -> bool {
    files::lock_is_free(&path.join("pannier.lock"))
}
