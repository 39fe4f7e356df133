//! What is looked at before the database is opened: the folder, the lock, and whether the file is Pannier's.
//!
//! Nothing here changes the database file: what is refused is left as it was found.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::connection::{APPLICATION_ID, Place};
use crate::clock;
use crate::error::{Error, Result};
use crate::files::{self, Identity};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// File systems that lose SQLite's locks or shared memory between machines.
const NETWORK_FILE_SYSTEMS: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"];

/// Who only looks whether the lock is free holds it for a moment: it is tried so often, with pauses.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The lock of a data directory, held while this is kept, and the files that must stay in their places meanwhile.
pub(super) struct Held {
    /// None where the database is only read.
    _lock: Option<File>,
    places: Vec<(PathBuf, Option<Identity>)>,
}

impl Held {
    /// The first file that was removed or replaced.
    pub(super) fn displaced(&self) -> Option<&Path> {
        let is_displaced = |(path, held): &&(PathBuf, Option<Identity>)| files::identity(path) != *held;
        self.places.iter().find(is_displaced).map(|(path, _)| path.as_path())
    }
}

/// Takes the lock, inspects the database and makes it if it is absent.
pub(super) fn before_opening(place: &Place) -> Result<Held> {
    let directory = &place.directory;
    let database = place.database();
    let may_make = place.settings.create && !place.settings.read_only;
    let may_open = may_make || (directory.is_dir() && is_database(&database)?);
    if !may_open {
        return Err(Error::Refused(format!(
            "there is no database in {}, and this command makes none: look whether storage.directory is right",
            directory.display()
        )));
    }
    if place.settings.read_only {
        return before_reading(place);
    }
    files::create_directories(directory).map_err(|error| {
        Error::Refused(format!("cannot make the data directory {}: {error}", directory.display()))
    })?;
    if let Some(kind) = file_system(directory).filter(|kind| is_on_network(kind)) {
        return Err(Error::Refused(format!(
            "{} lies on {kind}, which breaks SQLite's locks: use a local disk, or PostgreSQL",
            directory.display()
        )));
    }
    let lock = take_lock(&place.lock(), || std::thread::sleep(LOCK_PAUSE))?;
    for path in place.files() {
        files::refuse_link(&path).map_err(|error| unusable(&path, &error))?;
    }
    if is_database(&database)? {
        look_inside(place, &database)?;
    }
    own(place)?;
    let places = [place.lock(), database].map(|path| (path.clone(), files::identity(&path)));
    Ok(Held { _lock: Some(lock), places: places.into() })
}

/// Inspects a database that is only read. The lock stays whose it is: a reader of a WAL database disturbs no writer.
fn before_reading(place: &Place) -> Result<Held> {
    for path in place.files() {
        files::refuse_link(&path).map_err(|error| unusable(&path, &error))?;
    }
    let database = place.database();
    look_inside(place, &database)?;
    let identity = files::identity(&database);
    Ok(Held { _lock: None, places: vec![(database, identity)] })
}

/// Narrows the modes of the files. SQLite gives what it makes later the mode of the database, which is made here if it is absent.
fn own(place: &Place) -> Result<()> {
    for path in place.files() {
        let is_database = path == place.database();
        if !is_database && !path.exists() {
            continue;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(is_database).truncate(false);
        match files::open(&path, &mut options) {
            Ok(_) => {}
            // Between the look and the opening SQLite may have removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(&path, &error)),
        }
    }
    Ok(())
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::Refused(format!("cannot write to {}: {error}", path.display()))
}

fn take_lock(path: &Path, mut pause: impl FnMut()) -> Result<File> {
    let unusable = |error: std::io::Error| unusable(path, &error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = files::open(path, &mut options).map_err(unusable)?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                pause();
            }
            Err(TryLockError::WouldBlock) => {
                let folder = path.parent().unwrap_or(path).display();
                let owner = owner(&mut file);
                return Err(Error::Refused(format!(
                    "another pannier (process {owner}) uses {folder}: stop it, or give this one its own storage.directory"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
    Ok(file)
}

/// The process that holds the lock, as its file says; none: the lock is free. The lock is touched for a moment only, which
/// a sidecar that starts just then waits out.
pub(super) fn lock_owner(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| None),
        Err(TryLockError::WouldBlock) => Ok(Some(owner(&mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Only for messages: where the owner's number cannot be read, it is left out.
fn owner(file: &mut File) -> String {
    let mut owner = String::new();
    let _ = file.read_to_string(&mut owner);
    owner.trim().to_owned()
}

/// Whether there is a database; a file that is something else is refused.
pub(super) fn is_database(path: &Path) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::Refused(format!("cannot read {}: {error}", path.display()))),
    };
    let mut head = Vec::with_capacity(MAGIC.len());
    (&file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(|error| Error::Refused(format!("cannot read {}: {error}", path.display())))?;
    if head.is_empty() {
        return Ok(false);
    }
    if head != MAGIC {
        return Err(Error::Refused(format!(
            "{} is not an SQLite database: move it away, or restore a backup",
            path.display()
        )));
    }
    Ok(true)
}

fn look_inside(place: &Place, database: &Path) -> Result<()> {
    let unreadable =
        |error: rusqlite::Error| Error::Refused(format!("cannot read {}: {error}", database.display()));
    let connection = open_readable(place, database).map_err(unreadable)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .map_err(unreadable)?;
    let id: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unreadable)?;
    if tables > 0 && id != APPLICATION_ID {
        return Err(Error::Refused(format!(
            "{} is another program's database: give pannier its own storage.directory",
            database.display()
        )));
    }
    if !quick_check(&connection, place.settings.check_ms_max)? {
        tracing::info!(
            check.ms_max = place.settings.check_ms_max,
            "the integrity check ended at its time limit"
        );
    }
    Ok(())
}

/// Opens a database that is to be looked at. A process that was ended while it made the database leaves a change that is half done, before
/// there is a write-ahead log: nobody can read the file until SQLite has undone it, which it does for who may write.
fn open_readable(place: &Place, database: &Path) -> rusqlite::Result<Connection> {
    let look =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    let connection = place.open_untouched(database)?;
    match look(&connection) {
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == rusqlite::ErrorCode::ReadOnly && !place.settings.read_only =>
        {
            drop(connection);
            look(&Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
            place.open_untouched(database)
        }
        looked => looked.map(|()| connection),
    }
}

/// Looks for corruption for at most `ms_max` and tells whether that was enough; what it has not read by then is left to
/// fail when it is read.
pub(super) fn quick_check(connection: &Connection, ms_max: u64) -> Result<bool> {
    let until = clock::instant() + Duration::from_millis(ms_max);
    let bounded = connection.progress_handler(10_000, Some(move || clock::instant() >= until));
    let checked = bounded
        .and_then(|()| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
    match checked {
        Ok(answer) if answer == "ok" => Ok(true),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == rusqlite::ErrorCode::OperationInterrupted =>
        {
            Ok(false)
        }
        Ok(fault) => Err(damaged(&fault)),
        Err(error) => Err(damaged(&error.to_string())),
    }
}

fn damaged(fault: &str) -> Error {
    let fault = fault.replace('\n', " ");
    Error::Refused(format!("the database is damaged ({fault}): move it away and restore a backup"))
}

/// Whether a kind of file system loses SQLite's locks.
pub(super) fn is_on_network(kind: &str) -> bool {
    NETWORK_FILE_SYSTEMS.contains(&kind)
}

/// The kind of file system that `directory` lies on, where the system tells.
#[cfg(target_os = "linux")]
pub(super) fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let kinds = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mount_point = before.split(' ').nth(4)?;
        let kind = after.split(' ').next()?;
        directory.starts_with(mount_point).then_some((mount_point.len(), kind))
    });
    let (_, kind) = kinds.max_by_key(|(length, _)| *length)?;
    Some(kind.to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn file_system(_directory: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_waits_for_who_only_looks_and_not_for_a_sidecar() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pannier.lock");
        let looking = File::create(&path).unwrap();
        looking.lock_shared().unwrap();
        let mut pauses = 0;
        let held = take_lock(&path, || {
            pauses += 1;
            looking.unlock().unwrap();
        });
        assert_eq!((held.is_ok(), pauses), (true, 1));

        let owner = lock_owner(&path).unwrap();
        assert_eq!(owner, Some(std::process::id().to_string()));
        let refused = take_lock(&path, || pauses += 1).unwrap_err().to_string();
        assert!(refused.contains("another pannier") && pauses == 1 + LOCK_TRIES, "{refused}");
        drop(held);
        assert_eq!(lock_owner(&path).unwrap(), None);
    }
}
