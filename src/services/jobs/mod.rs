//! Tracked jobs: their status, their progress, and the results of their items.
//!
//! Pannier does not run a job; it keeps what is known of it. Results and counts advance together, in one step, under the lock of
//! the job's row. Those who watch a job are woken by every change and look for themselves. `upkeep` removes jobs whose retention
//! is over, and what deleted ones leave behind.

mod api;
mod convert;
mod domain;
mod entity;
mod store;
mod upkeep;

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Clock;
use crate::concurrency::ConcurrencyLimit;
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::storage::idempotency::RequestKeys;
use crate::storage::{Db, Storage, Tx};

pub use api::{NAME, server};
pub use domain::{AddOutcome, Failure, Job, NewResult, Status};
pub use upkeep::run as upkeep;

/// The jobs service, cheap to clone.
#[derive(Clone)]
pub struct JobsService(pub(super) Arc<Jobs>);

/// What it owns.
pub(super) struct Jobs {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    /// One permit for each watch.
    watches: ConcurrencyLimit,
}

impl JobsService {
    /// The jobs on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        Self(Arc::new(Jobs {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            watches: ConcurrencyLimit::new("jobs.watches_max", settings.jobs.watches_max),
            settings: settings.clone(),
            storage,
            clock,
        }))
    }
}

/// Records results of a job's items within another service's transaction, and answers with an outcome for each and with the
/// job, without its metadata. `queue` calls it, so that finishing a task and advancing its job are one step.
///
/// It takes the lock of the job's row first; who calls it for several jobs does so in ascending order of their ids. Each of
/// these errors comes before anything is written, so the caller may go on in the same transaction: JobNotFound, JobEnded,
/// JobCountTooLarge.
pub async fn add_results_in(
    tx: &Tx<'_>,
    job_id: Uuid,
    results: &[NewResult],
    replace_failed: bool,
    now_us: i64,
) -> Result<(Vec<AddOutcome>, Job)> {
    let added = store::add_results(tx, job_id, results, replace_failed, now_us).await?;
    tx.wake(wake_topic(job_id));
    Ok(added)
}

/// The same for results of tasks, of which each belongs to a row of `jobs`: another job that was made with the id of a deleted one is
/// JobNotFound.
pub async fn add_results_of_tasks_in(
    tx: &Tx<'_>,
    (job_id, row_id): (Uuid, i64),
    results: &[NewResult],
    now_us: i64,
) -> Result<()> {
    if store::lock(tx, job_id, store::Metadata::Left).await?.row_id != row_id {
        return Err(Error::JobNotFound);
    }
    add_results_in(tx, job_id, results, true, now_us).await.map(drop)
}

/// Locks a job that takes results of items, and answers with its row. Errors: JobNotFound, JobEnded.
pub async fn lock_open_in(tx: &Tx<'_>, job_id: Uuid) -> Result<i64> {
    let job = store::lock(tx, job_id, store::Metadata::Left).await?;
    store::refuse_unless_open(&job)?;
    Ok(job.row_id)
}

/// Whether an item of a job has a successful result.
pub async fn has_success_in(db: &Db<'_>, row_id: i64, item_key: &str) -> Result<bool> {
    store::has_success(db, row_id, item_key).await
}

/// Wakes those who watch a job.
fn wake_topic(job_id: Uuid) -> String {
    format!("jobs/{job_id}")
}
