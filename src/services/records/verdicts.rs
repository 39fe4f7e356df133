//! Verdicts of schemas on documents. They are made between two attempts of a write, on threads of their own, and looked up inside it: the
//! writer judges nothing.
//!
//! A write that meets a document without a verdict notes it, and fails with [`Error::Unjudged`] instead of being committed. [`Judging`] then
//! makes the verdicts that are missing, and the write is run again. A verdict is on the bytes of a document and on one revision of a schema, so
//! a schema or a document that has changed meanwhile has none.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::schema::{Bounds, Schema, Schemas};
use super::store;
use crate::deadline;
use crate::error::{Error, Result};
use crate::settings::RecordsSettings;
use crate::storage::{Judge, Storage};

/// A schema: the collection, and the revision of the schema, which is not given twice.
type Law = (i64, i64);

/// A schema and the digest of a document.
type Case = (Law, [u8; 32]);

/// The verdicts of one write, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(Arc<Mutex<Docket>>);

#[derive(Debug, Default)]
struct Docket {
    made: HashMap<Case, Result<()>>,
    waiting: HashMap<Case, String>,
    waiting_bytes: usize,
}

impl Verdicts {
    /// The verdict on a document; none: it is noted that one is missing.
    pub fn of(&self, law: Law, document: &str) -> Option<Result<()>> {
        let case = (law, Sha256::digest(document.as_bytes()).into());
        let mut docket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = docket.made.get(&case) {
            return Some(verdict.clone());
        }
        if docket.waiting.insert(case, document.to_owned()).is_none() {
            docket.waiting_bytes += document.len();
        }
        None
    }

    /// Bytes of the documents that have none.
    pub fn waiting_bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting_bytes
    }

    fn take_waiting(&self) -> HashMap<Case, String> {
        let mut docket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        docket.waiting_bytes = 0;
        std::mem::take(&mut docket.waiting)
    }

    fn keep(&self, made: impl IntoIterator<Item = (Case, Result<()>)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).made.extend(made);
    }
}

/// Makes verdicts, cheap to clone.
#[derive(Clone)]
pub struct Judging {
    storage: Storage,
    schemas: Schemas,
    threads: Arc<Semaphore>,
    bounds: Bounds,
}

impl Judging {
    /// On the schemas in `storage`.
    pub fn new(storage: Storage, settings: &RecordsSettings) -> Self {
        let threads = usize::try_from(settings.schema_threads_max).unwrap_or(1);
        Self {
            storage,
            schemas: Schemas::default(),
            threads: Arc::new(Semaphore::new(threads)),
            bounds: Bounds::new(settings),
        }
    }

    /// A judge of one write, who makes what `verdicts` lack between two attempts.
    pub fn judge(&self, verdicts: &Verdicts) -> Arc<dyn Judge> {
        Arc::new(OfWrite { judging: self.clone(), verdicts: verdicts.clone() })
    }

    /// Makes what `verdicts` lack. Errors: DeadlineExceeded; those of a schema that cannot be read.
    async fn make(&self, verdicts: &Verdicts) -> Result<()> {
        let mut by_law: HashMap<Law, Vec<(Case, String)>> = HashMap::new();
        for (case, document) in verdicts.take_waiting() {
            by_law.entry(case.0).or_default().push((case, document));
        }
        let until = deadline::current();
        for (law, cases) in by_law {
            // Without it the schema was changed since: the next attempt finds another.
            let Some(schema) = self.schema(law, until).await? else { continue };
            let steps_max = self.bounds.steps_max;
            let judged = self.on_a_thread(until, move || {
                let judge = |(case, document): (Case, String)| (case, schema.judge(&document, steps_max));
                cases.into_iter().map(judge).collect::<Vec<_>>()
            });
            verdicts.keep(judged.await?);
        }
        Ok(())
    }

    async fn schema(&self, law: Law, until: Option<Instant>) -> Result<Option<Schema>> {
        if let Some(known) = self.schemas.get(law) {
            return Ok(Some(known));
        }
        let read =
            self.storage.read(law, |db, (id, revision)| Box::pin(store::schema_of(db, *id, *revision)));
        let Some(text) = read.await? else { return Ok(None) };
        let bounds = self.bounds;
        let compiled = self.on_a_thread(until, move || Schema::compile(&text, bounds)).await?;
        let schema = compiled.map_err(|cause| Error::CorruptRow {
            table: "record_schemas",
            column: "schema_json",
            row: law.0,
            cause,
        })?;
        self.schemas.keep(law, schema.clone());
        Ok(Some(schema))
    }

    /// Runs `work` on one of a few threads, within the call's time. What has begun is finished, though nobody waits.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        until: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let threads = self.threads.clone();
        let run = async move {
            let permit = threads.acquire_owned().await.map_err(|_| Error::ShuttingDown)?;
            let work = move || {
                let done = work();
                drop(permit);
                done
            };
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(error.to_string()))
        };
        within(until, run).await
    }
}

/// The judge of one write.
struct OfWrite {
    judging: Judging,
    verdicts: Verdicts,
}

impl Judge for OfWrite {
    fn is_waiting(&self) -> bool {
        self.verdicts.waiting_bytes() > 0
    }

    fn judge(&self) -> BoxFuture<'static, Result<()>> {
        let (judging, verdicts) = (self.judging.clone(), self.verdicts.clone());
        Box::pin(async move { judging.make(&verdicts).await })
    }
}

async fn within<T>(until: Option<Instant>, run: impl Future<Output = Result<T>>) -> Result<T> {
    match until {
        Some(until) => {
            tokio::time::timeout_at(until.into(), run).await.unwrap_or(Err(Error::DeadlineExceeded))
        }
        None => run.await,
    }
}
