//! What `pannier doctor` finds on SQLite, whether a sidecar is running or not.
//!
//! The file is opened for reading only and read in one transaction, within a bound of time: a reader that stays holds the
//! WAL up. `immutable` would not do: it takes the WAL of a running sidecar for not there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{APPLICATION_ID, Place};
use super::{inspect, wal_readers};
use crate::error::{Error, Result};
use crate::settings::StorageSettings;
use crate::storage::examine::{Finding, schema_changes, size, unfinished_import};
use crate::storage::transfer::MARK;

/// Where a database file says which SQLite wrote it last.
const VERSION_OFFSET: usize = 96;

/// What the file says of itself, in one snapshot.
struct Inside {
    application_id: i64,
    tables: i64,
    journal_mode: String,
    page_bytes: i64,
    pages: i64,
    free_pages: i64,
    applied: HashSet<String>,
    /// An import was cut short.
    is_partial: bool,
    /// Whether all of it was checked for damage.
    checked: Result<bool>,
}

pub(in crate::storage) async fn examine(settings: &StorageSettings) -> Vec<Finding> {
    let settings = settings.clone();
    let looked = tokio::task::spawn_blocking(move || look(&settings)).await;
    looked.unwrap_or_else(|error| vec![Finding::problem("backend", error.to_string(), "report this")])
}

fn look(settings: &StorageSettings) -> Vec<Finding> {
    let place = match Place::new(settings) {
        Ok(place) => place,
        Err(error) => return vec![Finding::problem("backend", error.to_string(), "")],
    };
    let database = place.database();
    let mut found = vec![
        Finding::ok("backend", "SQLite"),
        Finding::ok("location", database.display().to_string()),
        version(&database),
        file_system(&place.directory),
    ];
    found.extend(disk(&place));
    if !place.directory.is_dir() {
        found.push(absent(&place));
        return found;
    }
    let is_running = lock(&place, &mut found);
    match inspect::is_database(&database) {
        Ok(true) => inside(&place, is_running, &mut found),
        Ok(false) => found.push(absent(&place)),
        Err(error) => found.push(Finding::problem("reachable", error.to_string(), "")),
    }
    found
}

fn version(database: &Path) -> Finding {
    let own = rusqlite::version();
    let writer = written_by(database).filter(|version| *version > 0);
    let found = match writer {
        Some(version) => {
            let (major, minor, patch) = (version / 1_000_000, version / 1_000 % 1_000, version % 1_000);
            format!("SQLite {own} in this program; the file was last written by {major}.{minor}.{patch}")
        }
        None => format!("SQLite {own} in this program"),
    };
    Finding::ok("version", found)
}

fn written_by(database: &Path) -> Option<u32> {
    let mut head = [0; VERSION_OFFSET + 4];
    File::open(database).ok()?.read_exact(&mut head).ok()?;
    Some(u32::from_be_bytes(head[VERSION_OFFSET..].try_into().ok()?))
}

/// The folder, or the nearest one above it that is there.
fn nearest(directory: &Path) -> &Path {
    directory.ancestors().find(|folder| folder.exists()).unwrap_or(directory)
}

fn file_system(directory: &Path) -> Finding {
    match inspect::file_system(nearest(directory)) {
        Some(kind) if inspect::is_on_network(&kind) => Finding::problem(
            "file_system",
            format!("{kind}, which breaks SQLite's locks"),
            "use a local disk, or PostgreSQL",
        ),
        Some(kind) => Finding::ok("file_system", kind),
        None => Finding::ok("file_system", "of a kind that this system does not tell"),
    }
}

#[cfg(unix)]
fn disk(place: &Place) -> Option<Finding> {
    let folder = nearest(&place.directory);
    let free = match rustix::fs::statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return Some(Finding::warning("disk", format!("free space is not known: {error}"), ""));
        }
    };
    let found = format!("{} free", size(free));
    let finding = if free < place.settings.checkpoint_bytes {
        Finding::problem("disk", found, "make room: writes are about to fail")
    } else if free < place.settings.wal_bytes_max {
        Finding::warning(
            "disk",
            found,
            format!("make room: the WAL alone may take {}", size(place.settings.wal_bytes_max)),
        )
    } else {
        Finding::ok("disk", found)
    };
    Some(finding.measure("free_bytes", whole(free)))
}

#[cfg(not(unix))]
fn disk(_place: &Place) -> Option<Finding> {
    None
}

/// Notes who holds the lock; true if a sidecar runs on this data.
fn lock(place: &Place, found: &mut Vec<Finding>) -> bool {
    match inspect::lock_owner(&place.lock()) {
        Ok(None) => {
            found.push(Finding::ok("lock", "free: no sidecar runs on this data"));
            false
        }
        Ok(Some(owner)) => {
            let finding =
                Finding::ok("lock", format!("held by process {owner}: a sidecar runs on this data"));
            found.push(match owner.parse() {
                Ok(process) => finding.measure("process", process),
                Err(_) => finding,
            });
            true
        }
        Err(error) => {
            let advice = "run doctor as the user that the sidecar runs as";
            found.push(Finding::warning("lock", format!("cannot be looked at: {error}"), advice));
            false
        }
    }
}

/// What there is to say of a database that is not there yet.
fn absent(place: &Place) -> Finding {
    if let Err(cause) = may_write(nearest(&place.directory)) {
        return Finding::problem(
            "reachable",
            format!("there is no database, and it cannot be made: {cause}"),
            "give the user that the sidecar runs as the right to write there, or another storage.directory",
        );
    }
    Finding::warning(
        "reachable",
        "there is no database yet",
        "the next start makes it; if there should be data, look whether storage.directory is right",
    )
}

#[cfg(unix)]
fn may_write(folder: &Path) -> Result<(), String> {
    if !folder.is_dir() {
        return Err(format!("{} is no folder", folder.display()));
    }
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(folder, wanted).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(not(unix))]
fn may_write(folder: &Path) -> Result<(), String> {
    if folder.is_dir() { Ok(()) } else { Err(format!("{} is no folder", folder.display())) }
}

fn inside(place: &Place, is_running: bool, found: &mut Vec<Finding>) {
    let inside = match read(place) {
        Ok(inside) => inside,
        Err(error) => {
            found.push(unreadable(&error));
            return;
        }
    };
    found.push(Finding::ok("reachable", "the file can be read"));
    if inside.tables > 0 && inside.application_id != APPLICATION_ID {
        found.push(Finding::problem(
            "application",
            format!("the file is another program's database (application id {:#x})", inside.application_id),
            "give pannier its own storage.directory",
        ));
        return;
    }
    found.push(Finding::ok("application", "the file is pannier's"));
    found.push(journal(&inside));
    found.push(file_size(place, &inside));
    found.push(wal(place, is_running));
    found.push(schema_changes(&inside.applied, true, &place.settings));
    if inside.is_partial {
        found.push(unfinished_import());
    }
    found.push(integrity(place, &inside.checked));
}

fn read(place: &Place) -> rusqlite::Result<Inside> {
    let connection = place.open_untouched(&place.database())?;
    connection.busy_timeout(Duration::from_millis(place.settings.busy_timeout_ms))?;
    connection.execute_batch("BEGIN")?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let inside = Inside {
        tables: number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")?,
        application_id: number("PRAGMA application_id")?,
        journal_mode: connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?,
        page_bytes: number("PRAGMA page_size")?,
        pages: number("PRAGMA page_count")?,
        free_pages: number("PRAGMA freelist_count")?,
        applied: applied(&connection)?,
        is_partial: connection.table_exists(None, MARK)?,
        checked: inspect::quick_check(&connection, place.settings.check_ms_max),
    };
    Ok(inside)
}

fn applied(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let tables: i64 = connection.query_row(super::MIGRATIONS_PROBE, [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(HashSet::new());
    }
    connection.prepare("SELECT version FROM seaql_migrations")?.query_map([], |row| row.get(0))?.collect()
}

fn unreadable(error: &rusqlite::Error) -> Finding {
    let found = format!("the file cannot be read: {error}");
    let advice = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            "it is damaged: move it away and restore a backup"
        }
        _ => "run doctor as the user that the sidecar runs as, and look at the rights of the files",
    };
    Finding::problem("reachable", found, advice)
}

fn journal(inside: &Inside) -> Finding {
    match inside.journal_mode.as_str() {
        "wal" => Finding::ok("journal_mode", "wal"),
        other => Finding::warning("journal_mode", other, "the next start changes it to wal"),
    }
}

fn file_size(place: &Place, inside: &Inside) -> Finding {
    let bytes = inside.pages.saturating_mul(inside.page_bytes);
    let free_bytes = inside.free_pages.saturating_mul(inside.page_bytes);
    let told = |bytes: i64| size(u64::try_from(bytes).unwrap_or(0));
    let limit = whole(place.settings.database_bytes_max);
    let mut found = format!("{}, of which {} can be reused", told(bytes), told(free_bytes));
    if limit > 0 {
        found = format!("{found}; storage.database_bytes_max allows {}", told(limit));
    }
    let finding = if limit > 0 && bytes - free_bytes >= limit / 10 * 9 {
        Finding::warning("size", found, "delete what is not needed, or raise storage.database_bytes_max")
    } else {
        Finding::ok("size", found)
    };
    finding.measure("database_bytes", bytes).measure("reusable_bytes", free_bytes)
}

fn wal(place: &Place, is_running: bool) -> Finding {
    let mut path = place.database().into_os_string();
    path.push("-wal");
    let bytes = fs::metadata(path).map_or(0, |file| file.len());
    // It is started over once a group of writes has passed the bound, and keeps its length then.
    let usual = place.settings.wal_bytes_max.saturating_add(place.settings.checkpoint_bytes);
    let finding = if bytes > usual {
        let owner = inspect::lock_owner(&place.lock()).ok().flatten().and_then(|owner| owner.parse().ok());
        let mut readers = wal_readers::others(&place.shm());
        readers.retain(|reader| Some(*reader) != owner);
        let advice = match wal_readers::named(&readers) {
            Some(readers) => format!("{readers} holds it up by a transaction that stays open: end that"),
            None => {
                "a reader holds it up, or has until a moment ago: look which other program has the file open"
                    .into()
            }
        };
        let found = format!("{}, where {} are meant", size(bytes), size(place.settings.wal_bytes_max));
        Finding::warning("wal", found, advice)
    } else if bytes > 0 && !is_running {
        let found = format!("{} that no stop has taken in; the next start does", size(bytes));
        Finding::ok("wal", found)
    } else {
        Finding::ok("wal", size(bytes))
    };
    finding.measure("wal_bytes", whole(bytes))
}

fn integrity(place: &Place, checked: &Result<bool>) -> Finding {
    match checked {
        Ok(true) => Finding::ok("integrity", "no damage in the whole file (quick_check)"),
        Ok(false) => Finding::ok(
            "integrity",
            format!(
                "no damage in what was read in {} ms; storage.check_ms_max gives it longer",
                place.settings.check_ms_max
            ),
        ),
        Err(Error::Refused(sentence)) => Finding::problem("integrity", sentence, ""),
        Err(error) => Finding::problem("integrity", error.to_string(), ""),
    }
}

/// Sizes never come near the limit.
fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
