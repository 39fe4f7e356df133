//! The jobs' queries: one function is one step inside a transaction.
//!
//! Locks are taken in one order: the job's row, then its results. Everything that changes a job begins with [`lock`].

mod list;
mod remove;
mod results;
mod rows;
mod stats;

use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _};
use uuid::Uuid;

use super::domain::{Job, Refusal};
use super::entity::jobs;
use crate::error::{Error, Result};
use crate::storage::{Db, Rank, RowLock, Tx, row};

pub use list::{Filter, JobKey, Page, list, list_results};
pub use remove::{delete, due, remove_remains, retire};
pub use results::{add_results, has_success};
pub use stats::stats;

/// Whether a job is read with its metadata, which can be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// With it.
    Read,
    /// Without.
    Left,
}

/// Written out, because they are run for every result of a task: building them would cost more than running them.
const WITHOUT_METADATA: &str = r#"SELECT "row_id", "id", "type" AS "job_type", "status", "counted_by", "total_count", "successful_count",
    "failed_count", "auto_complete", "error_code", "error_message", "revision", "metadata_revision", "create_time", "start_time", "update_time",
    "end_time", '' AS "metadata_json" FROM "jobs" WHERE "id" = $1"#;
row! {
    impl jobs::Model {
        row_id, id, job_type, status, counted_by, total_count, successful_count, failed_count, auto_complete, error_code, error_message,
        revision, metadata_revision, create_time, start_time, update_time, end_time, metadata_json,
    }
}
const COUNT: &str = r#"UPDATE "jobs" SET "counted_by" = $1, "total_count" = $2, "successful_count" = $3,
    "failed_count" = $4, "revision" = $5, "update_time" = $6 WHERE "row_id" = $7"#;

/// The lock that every change of a job begins with.
pub fn lock_of(id: Uuid) -> RowLock {
    let select = r#"SELECT "row_id" FROM "jobs" WHERE "id" = $1"#;
    RowLock::new(Rank::Jobs, id.into_bytes(), select, vec![id.into()])
}

/// The job of that id. Error: JobNotFound.
pub async fn find(db: &Db<'_>, id: Uuid, metadata: Metadata) -> Result<Job> {
    let row = match metadata {
        Metadata::Read => jobs::Entity::find().filter(jobs::Column::Id.eq(id)).one(db).await?,
        Metadata::Left => db.row(WITHOUT_METADATA, vec![id.into()]).await?,
    };
    rows::job(row.ok_or(Error::JobNotFound)?)
}

/// Refuses a job that takes no results of items. Error: JobEnded.
pub fn refuse_unless_open(job: &Job) -> Result<()> {
    job.refuse_if_ended().map_err(rows::refused)
}

/// The same, locked until the end of the transaction, to be changed.
pub async fn lock(tx: &Tx<'_>, id: Uuid, metadata: Metadata) -> Result<Job> {
    let row = match metadata {
        Metadata::Read => {
            let query = jobs::Entity::find().filter(jobs::Column::Id.eq(id));
            query.lock(LockType::NoKeyUpdate).one(&**tx).await?
        }
        Metadata::Left => tx.row(&tx.locking(WITHOUT_METADATA), vec![id.into()]).await?,
    };
    rows::job(row.ok_or(Error::JobNotFound)?)
}

/// Stores a job that is made. Error: JobExists.
pub async fn create(tx: &Tx<'_>, job: &Job) -> Result<Job> {
    if jobs::Entity::find().filter(jobs::Column::Id.eq(job.id)).count(&**tx).await? > 0 {
        return Err(Error::JobExists);
    }
    let row_id = tx.insert(rows::inserted(job)).await?;
    Ok(Job { row_id, ..job.clone() })
}

/// Changes the job of that id by `change`, and answers with what became of it.
/// Errors: JobNotFound; what `change` refuses, with nothing stored.
pub async fn change(
    tx: &Tx<'_>,
    id: Uuid,
    metadata: Metadata,
    now_us: i64,
    change: impl FnOnce(&mut Job) -> Result<(), Refusal>,
) -> Result<Job> {
    let before = lock(tx, id, metadata).await?;
    let mut job = before.clone();
    change(&mut job).map_err(rows::refused)?;
    save(tx, &before, job, now_us).await
}

/// Stores a changed job; one that is as it was is left alone.
async fn save(tx: &Tx<'_>, before: &Job, mut job: Job, now_us: i64) -> Result<Job> {
    if job == *before {
        return Ok(job);
    }
    job.revision += 1;
    job.update_us = now_us;
    let is_counted_only = job.status == before.status
        && job.error == before.error
        && job.metadata_revision == before.metadata_revision;
    if is_counted_only {
        tx.run(COUNT, rows::count_values(&job).into()).await?;
        return Ok(job);
    }
    jobs::Entity::update_many()
        .set(rows::changed(before, &job))
        .filter(jobs::Column::RowId.eq(job.row_id))
        .exec(&**tx)
        .await?;
    Ok(job)
}

#[cfg(test)]
mod plans;
