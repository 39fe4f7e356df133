//! The limit on open files: each connection needs one.

use crate::settings::ServerSettings;

/// Files beside connections: the database, its readers, the log, sockets that listen.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

/// Raises the process's limit on open files to what the settings need, or warns.
#[cfg(unix)]
pub(super) fn raise_limit(settings: &ServerSettings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = settings.connections_max + settings.http_connections_max + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let reachable = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum: limit.maximum });
    if raised.is_err() || reachable < needed {
        tracing::warn!(
            needed,
            limit = limit.maximum,
            "the limit on open files (RLIMIT_NOFILE) is too low for server.connections_max: raise it, or lower the setting"
        );
    }
}

/// This system has no such limit.
#[cfg(not(unix))]
pub(super) fn raise_limit(_: &ServerSettings) {}
