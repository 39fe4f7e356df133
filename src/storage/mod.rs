//! The engine: two calls on which everything else stands.
//!
//! [`Storage::read`] runs an operation on a consistent snapshot. [`Storage::write`] runs one in a transaction and answers
//! only after the commit. An operation is a function of the database and an input that outlives it; it may be run again
//! when the database asks for that, so it changes nothing but the database and puts what shall follow the commit into
//! [`Tx::after_commit`]. It never waits for anything but the database.
//!
//! Architecture invariant: nothing outside this folder knows which database there is.

pub mod branch;
mod clock;
mod counters;
mod db;
pub mod examine;
pub mod idempotency;
mod lists;
pub mod migrate;
pub mod names;
mod operation;
#[cfg(test)]
pub mod plans;
mod postgres;
#[cfg(test)]
mod round_trip;
mod sqlite;
pub mod text_index;
pub mod transfer;
mod turns;
mod wake;
mod work;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait as _, DbBackend, EntityTrait, IntoActiveModel, PrimaryKeyTrait,
    QueryTrait as _, Statement, Value,
};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::settings::StorageSettings;

pub use crate::settings::Durability;
pub use branch::Branch;
pub use db::{Db, FromRow, FromValue, Row};
pub use lists::{CHUNKS, chunks, places, rows_of_places, rows_that_share};
pub use operation::{Judge, Operation, Rank, RowLock, check_judged, until_judged};
pub use turns::spread;
pub use wake::{Wake, Wakened};
use work::{Answer, Erased, Prepared, Query, Work};

pub(crate) use db::row;

/// The database inside a write.
pub struct Tx<'t> {
    db: Db<'t>,
    follow_ups: Mutex<Vec<FollowUp>>,
    topics: Mutex<BTreeSet<String>>,
    is_repeat: AtomicBool,
    branch: Branch,
}

/// What follows a commit.
type FollowUp = Box<dyn FnOnce() + Send>;

impl<'t> Tx<'t> {
    fn new(db: Db<'t>, branch: Branch) -> Self {
        let is_repeat = AtomicBool::new(false);
        Self { db, follow_ups: Mutex::default(), topics: Mutex::default(), is_repeat, branch }
    }

    /// Whether the request was answered before and nothing is done now. Perhaps it was done by a transaction of which
    /// nobody here knows that it is committed: its follow-ups were not run.
    pub fn is_repeat(&self) -> bool {
        self.is_repeat.load(Ordering::Relaxed)
    }

    /// The branch in which this process writes; see [`branch`].
    pub fn branch(&self) -> Branch {
        self.branch
    }

    /// Has `follow_up` run after the commit and before the answer; not at all if it fails. It must be quick and must not
    /// touch the database: the writer waits for it. On SQLite follow-ups run in the order of commits; on PostgreSQL two
    /// transactions that commit at once may be followed up in either order, and other sidecars' commits not at all.
    pub fn after_commit(&self, follow_up: impl FnOnce() + Send + 'static) {
        self.follow_ups.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(follow_up));
    }

    /// Has all who wait for `topic` woken after the commit, in every process on this database.
    pub fn wake(&self, topic: String) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(topic);
    }

    /// A SELECT that is written out, with a lock on its rows until the commit. What is read in order to be changed is read
    /// so: operations run at once where there is more than one writer.
    pub fn locking<'s>(&self, select: &'s str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => select.into(),
            _ => format!("{select} FOR NO KEY UPDATE").into(),
        }
    }

    /// The same for workers that compete for rows: those that another has locked are left out.
    pub fn competing<'s>(&self, select: &'s str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => select.into(),
            _ => format!("{select} FOR NO KEY UPDATE SKIP LOCKED").into(),
        }
    }

    /// A SELECT with a lock on its rows that forbids only their deletion until the commit.
    pub fn sharing<'s>(&self, select: &'s str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => select.into(),
            _ => format!("{select} FOR KEY SHARE").into(),
        }
    }

    /// A SELECT with a lock on its rows for their deletion; rows that another transaction has locked are left out.
    pub fn excluding<'s>(&self, select: &'s str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => select.into(),
            _ => format!("{select} FOR UPDATE SKIP LOCKED").into(),
        }
    }

    /// The next `count` numbers of `table`, in ascending order, for rows that are inserted in another order than that of their numbers.
    /// None where there is one writer: it waits for nobody, and inserts in the order of the numbers.
    pub async fn next_ids(&self, table: &str, count: usize) -> Result<Option<Vec<i64>>> {
        if self.db.get_database_backend() == DbBackend::Sqlite {
            return Ok(None);
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let sql = r#"SELECT nextval(pg_get_serial_sequence($1, 'id')) AS "id" FROM generate_series(1, $2)"#;
        let statement =
            Statement::from_sql_and_values(self.db.get_database_backend(), sql, [table.into(), count.into()]);
        let rows = self.db.query_all_raw(statement).await?;
        let mut ids = rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect::<Result<Vec<i64>>>()?;
        ids.sort_unstable();
        Ok(Some(ids))
    }

    /// A SELECT with a lock on its rows for their deletion, which waits for all others.
    pub fn deleting<'s>(&self, select: &'s str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => select.into(),
            _ => format!("{select} FOR UPDATE").into(),
        }
    }

    /// Locks the rows of a SELECT that is written out, in its order, until the commit; costs nothing where there is one writer.
    pub async fn lock(&self, select: &str, values: impl IntoIterator<Item = Value>) -> Result<()> {
        self.lock_rows(select, values).await.map(drop)
    }

    /// The same; also returns how many rows there are, or none where there is one writer.
    async fn lock_rows(&self, select: &str, values: impl IntoIterator<Item = Value>) -> Result<Option<i64>> {
        let backend = self.db.get_database_backend();
        if backend != DbBackend::Sqlite {
            // The rows themselves, which may be many, stay where they are.
            let select = format!(r#"SELECT count(*) AS "rows" FROM ({}) AS "locked""#, self.locking(select));
            let rows = self.db.query_one_raw(Statement::from_sql_and_values(backend, select, values)).await?;
            return Ok(rows.map(|row| row.try_get("", "rows")).transpose()?);
        }
        Ok(None)
    }

    /// Inserts a row and answers with its id, in the way that costs least on this database.
    pub async fn insert<A>(&self, row: A) -> Result<i64>
    where
        A: ActiveModelTrait + Send,
        <<A::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType: Into<i64>,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        let insert = A::Entity::insert(row);
        if self.db.get_database_backend() != DbBackend::Sqlite {
            return Ok(insert.exec(&self.db).await?.last_insert_id.into());
        }
        // RETURNING costs a statement journal, which slows a batch down with the square of its size.
        let id = self.db.execute(&insert.into_query()).await?.last_insert_id();
        i64::try_from(id).map_err(|error| Error::internal(error.to_string()))
    }

    /// The same with a statement that is written out and inserts one row into a table with the key `id`.
    pub async fn insert_written_out(&self, sql: &str, values: Vec<Value>) -> Result<i64> {
        let backend = self.db.get_database_backend();
        if backend != DbBackend::Sqlite {
            let statement =
                Statement::from_sql_and_values(backend, format!("{sql} RETURNING \"id\""), values);
            let row = self.db.query_one_raw(statement).await?;
            let row = row.ok_or_else(|| Error::internal("an insert returned no row"))?;
            return Ok(row.try_get("", "id")?);
        }
        let inserted = self.db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        i64::try_from(inserted.last_insert_id()).map_err(|error| Error::internal(error.to_string()))
    }

    /// What follows the commit, and whom it wakes.
    fn into_parts(self) -> (Vec<FollowUp>, Vec<String>) {
        let inner = PoisonError::into_inner;
        (
            self.follow_ups.into_inner().unwrap_or_else(inner),
            self.topics.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect(),
        )
    }
}

impl<'t> Deref for Tx<'t> {
    type Target = Db<'t>;

    fn deref(&self) -> &Db<'t> {
        &self.db
    }
}

/// The database, cheap to clone.
#[derive(Clone)]
pub struct Storage {
    engine: Engine,
    wake: Wake,
    is_read_only: bool,
}

#[derive(Clone)]
enum Engine {
    Sqlite(Arc<sqlite::Engine>),
    Postgres(Arc<postgres::Engine>),
}

/// Numbers about the engine since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageStats {
    /// Write operations that were committed.
    pub writes: u64,
    /// Commits; each holds one group of writes.
    pub commits: u64,
    /// Groups that failed by a fault of the database or the disk.
    pub faults: u64,
    /// Write operations dropped before they started, because their deadline had passed or their caller was gone.
    pub writes_dropped: u64,
    /// Times a write was run again, because another transaction came in between or the connection was lost.
    pub writes_repeated: u64,
    /// Read operations.
    pub reads: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Times a group left its connection inside a transaction; anything but zero is a bug.
    pub autocommit_violations: u64,
    /// Statements that took longer than 100 ms.
    pub slow_statements: u64,
    /// SQLite: bytes of the write-ahead log after the last commit.
    pub wal_bytes: u64,
    /// Operations that wait: on SQLite writes for the writer, on PostgreSQL all for a session.
    pub queue_length: u64,
}

impl Storage {
    /// Opens the database of `settings`, after its lock and its integrity; makes it if it is not there.
    /// The schema is left as it is; see [`migrate`].
    pub async fn open(settings: &StorageSettings) -> Result<Self> {
        let wake = Wake::default();
        let kept_max = i64::try_from(settings.branches_max).unwrap_or(i64::MAX);
        let branch = Branch { id: crate::clock::random(), kept_max };
        let engine = if settings.url.is_empty() {
            Engine::Sqlite(Arc::new(sqlite::Engine::open(settings, branch, wake.clone()).await?))
        } else {
            Engine::Postgres(Arc::new(postgres::Engine::open(settings, branch, wake.clone()).await?))
        };
        Ok(Self { engine, wake, is_read_only: settings.read_only })
    }

    /// Runs `op` on a consistent snapshot.
    ///
    /// Errors: what `op` answers; DeadlineExceeded when the call's deadline passes before or during the read;
    /// StorageUnavailable; ShuttingDown.
    pub async fn read<I, T, F>(&self, input: I, op: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a Db<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        let answer = Answer::new();
        let erased = Erased { prepared: Prepared { input, op }, answer: answer.clone() };
        self.ask(Box::new(erased)).await?;
        answer.take()
    }

    async fn ask(&self, query: Box<dyn Query>) -> Result<()> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(query).await,
            Engine::Postgres(engine) => engine.read(query).await,
        }
    }

    /// Runs `op` in a transaction and answers when it is committed as `durability` asks.
    ///
    /// The work is not the caller's: once started it runs to its end, whether the caller still waits or not. What has not
    /// started when the deadline passes is dropped. Errors: what `op` answers, with nothing stored; StorageFull,
    /// StorageUnavailable, ShuttingDown, DeadlineExceeded.
    pub async fn write<I, T, F>(&self, durability: Durability, input: I, op: F) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        let answer = Answer::new();
        let erased = Erased { prepared: Prepared { input, op }, answer: answer.clone() };
        self.commit(durability, Box::new(erased)).await?;
        answer.take()
    }

    async fn commit(&self, durability: Durability, work: Box<dyn Work<()>>) -> Result<()> {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(durability, work).await,
            Engine::Postgres(engine) => engine.write(durability, work).await,
        }
    }

    /// Runs `op`, which changes the schema, in a transaction that no other process's change of the schema overlaps.
    async fn change_schema<I, F>(&self, input: I, op: F) -> Result<()>
    where
        I: Send + Sync + 'static,
        F: for<'a> Fn(&'a Tx<'a>, &'a I) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        let work = Box::new(Prepared { input, op });
        match &self.engine {
            // The file's lock is held: there is no other process.
            Engine::Sqlite(engine) => engine.write(Durability::Full, work).await,
            Engine::Postgres(engine) => engine.change_schema(work).await,
        }
    }

    /// Whether other sidecars may use the same database at the same time: what is remembered of it may be out of date.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Whether every write is refused.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Whether another process may write to the database: what memory holds of it may be out of date.
    pub fn has_other_writers(&self) -> bool {
        self.is_shared() || self.is_read_only
    }

    /// The kind of database, as callers see it.
    pub fn kind(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgresql",
        }
    }

    /// Wake-ups between those who wait for a change and those who make it.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Numbers about the engine.
    pub fn stats(&self) -> StorageStats {
        match &self.engine {
            Engine::Sqlite(engine) => engine.stats(),
            Engine::Postgres(engine) => engine.stats(),
        }
    }

    /// Becomes true when the engine can no longer vouch for what it acknowledges; the process must end and recover.
    pub fn failed(&self) -> watch::Receiver<bool> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.failed(),
            Engine::Postgres(engine) => engine.failed(),
        }
    }

    /// The first of the database's files that was removed or replaced while it was open. None where there are no files.
    pub async fn displaced(&self) -> Option<std::path::PathBuf> {
        match &self.engine {
            Engine::Sqlite(engine) => {
                let engine = engine.clone();
                // A disk that hangs must not hang a thread that serves calls.
                tokio::task::spawn_blocking(move || engine.displaced()).await.unwrap_or_default()
            }
            Engine::Postgres(_) => None,
        }
    }

    /// Finishes the writes that are queued, makes them durable and closes the database. Later calls answer ShuttingDown.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }
}

/// What a caller is answered when its operation panicked.
fn panicked() -> Error {
    Error::internal("an operation panicked; see the log")
}
