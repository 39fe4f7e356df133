//! The engine: two calls on which everything else stands.
//!
//! [`Storage::read`] runs an operation on a consistent snapshot. [`Storage::write`] runs one in a transaction and answers
//! only after the commit. An operation is a function of the database and an input that outlives it; it may be run again
//! when the database asks for that, so it changes nothing but the database and puts what shall follow the commit into
//! [`Tx::after_commit`]. It never waits for anything but the database.
//!
//! Architecture invariant: nothing outside this folder knows which database there is.

pub mod idempotency;
pub mod migrate;
mod sqlite;
mod wake;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait as _, DatabaseConnection, DatabaseExecutor, DbBackend, EntityTrait,
    IntoActiveModel, PrimaryKeyTrait, QueryTrait as _, Statement, Value,
};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::settings::StorageSettings;

pub use crate::settings::Durability;
pub use wake::{Wake, Wakened};

/// A database to query: what SeaORM's entities and statements take.
pub type Db<'t> = DatabaseExecutor<'t>;

/// The database inside a write.
pub struct Tx<'t> {
    db: Db<'t>,
    follow_ups: Mutex<Vec<FollowUp>>,
}

/// What follows a commit.
type FollowUp = Box<dyn FnOnce() + Send>;

impl<'t> Tx<'t> {
    fn new(connection: &'t DatabaseConnection) -> Self {
        Self { db: Db::Connection(connection), follow_ups: Mutex::new(Vec::new()) }
    }

    /// Has `follow_up` run after the commit and before the answer, in the order of commits; not at all if it fails.
    /// It must be quick and must not touch the database: the writer waits for it.
    pub fn after_commit(&self, follow_up: impl FnOnce() + Send + 'static) {
        self.follow_ups.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(follow_up));
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

    /// A SELECT that is written out, with a lock on the rows that it finds, where the database has such locks.
    pub fn locking<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        self.with_lock(sql, " FOR NO KEY UPDATE")
    }

    /// The same for workers that compete for rows: those that another has locked are left out.
    pub fn competing<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        self.with_lock(sql, " FOR NO KEY UPDATE SKIP LOCKED")
    }

    fn with_lock<'s>(&self, sql: &'s str, lock: &str) -> Cow<'s, str> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => Cow::Borrowed(sql),
            _ => Cow::Owned(format!("{sql}{lock}")),
        }
    }

    fn into_follow_ups(self) -> Vec<FollowUp> {
        self.follow_ups.into_inner().unwrap_or_else(PoisonError::into_inner)
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
    engine: Arc<sqlite::Engine>,
    wake: Wake,
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
    /// Read operations.
    pub reads: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Times a group left its connection inside a transaction; anything but zero is a bug.
    pub autocommit_violations: u64,
    /// Statements that took longer than 100 ms.
    pub slow_statements: u64,
    /// Writes that wait for the writer.
    pub write_queue_length: u64,
}

impl Storage {
    /// Opens the database of `settings`, after its lock and its integrity; makes it if it is not there.
    /// The schema is left as it is; see [`migrate`].
    pub async fn open(settings: &StorageSettings) -> Result<Self> {
        let engine = sqlite::Engine::open(settings).await?;
        Ok(Self { engine: Arc::new(engine), wake: Wake::default() })
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
        self.engine.read(input, op).await
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
        self.engine.write(durability, input, op).await
    }

    /// Wake-ups between those who wait for a change and those who make it.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Numbers about the engine.
    pub fn stats(&self) -> StorageStats {
        self.engine.stats()
    }

    /// Becomes true when the engine can no longer vouch for what it acknowledges; the process must end and recover.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.engine.failed()
    }

    /// Finishes the writes that are queued, makes them durable and closes the file. Later calls answer ShuttingDown.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}
