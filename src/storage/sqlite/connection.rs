//! Where the database lies, and how a connection to it is opened and tuned.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::settings::StorageSettings;

/// "PNNR": marks a database file as Pannier's.
pub(super) const APPLICATION_ID: i64 = 0x504E_4E52;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 256;

/// Earlier versions can lose a WAL's content when it is reset.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Where the database lies and how it is tuned.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) settings: StorageSettings,
}

impl Place {
    pub(super) fn new(settings: &StorageSettings) -> Result<Self> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN {
            let version = rusqlite::version();
            return Err(Error::Refused(format!(
                "this program is linked with SQLite {version}, which can lose committed data: build it with 3.51.3 or later"
            )));
        }
        let directory = std::path::absolute(&settings.directory)
            .map_err(|error| Error::Refused(format!("cannot resolve {}: {error}", settings.directory)))?;
        Ok(Self { directory, settings: settings.clone() })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join("pannier.db")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.directory.join("pannier.lock")
    }

    /// The index of the WAL.
    pub(super) fn shm(&self) -> PathBuf {
        self.directory.join("pannier.db-shm")
    }

    /// The database and the files that SQLite keeps beside it.
    pub(super) fn files(&self) -> [PathBuf; 4] {
        ["pannier.db", "pannier.db-wal", "pannier.db-shm", "pannier.db-journal"]
            .map(|name| self.directory.join(name))
    }

    /// The one connection that writes. Makes the database if it is not there.
    pub(super) fn open_writer(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = self.open(&self.database(), flags, self.settings.writer_cache_bytes)?;
        let empty: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if empty == 0 {
            // Both hold for the file's whole life and can only be said before its first table.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(format!("the file system gave journal mode {mode} where WAL is needed")),
            ));
        }
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Checkpoints are the writer's to time.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let wal_bytes_max = i64::try_from(self.settings.wal_bytes_max).unwrap_or(i64::MAX);
        connection.pragma_update(None, "journal_size_limit", wal_bytes_max)?;
        if self.settings.database_bytes_max > 0 {
            let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let bytes_max = i64::try_from(self.settings.database_bytes_max).unwrap_or(i64::MAX);
            connection.pragma_update(None, "max_page_count", bytes_max / page_bytes)?;
        }
        Ok(connection)
    }

    /// A connection that can only read.
    pub(super) fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = match self.settings.read_only {
            true => OpenFlags::SQLITE_OPEN_READ_ONLY,
            false => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let connection = self.open(&self.database(), flags, self.settings.reader_cache_bytes)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    /// A connection that leaves the file as it is, for looking at it before it is opened for good.
    pub(super) fn open_untouched(&self, file: &Path) -> rusqlite::Result<Connection> {
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    fn open(&self, file: &Path, flags: OpenFlags, cache_bytes: u64) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_millis(self.settings.busy_timeout_ms))?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // Plans do not depend on bound values: otherwise every statement with `LIMIT ?` is compiled anew for each run.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -kib)?;
        connection.pragma_update(
            None,
            "mmap_size",
            i64::try_from(self.settings.mmap_bytes).unwrap_or(i64::MAX),
        )?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    }
}
