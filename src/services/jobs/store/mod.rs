//! The jobs' queries: one function is one step inside a transaction.
//!
//! Locks are taken in one order: the job's row, then its results. Everything that changes a job begins with [`lock`].

mod list;
mod remove;
mod results;
mod rows;
mod stats;

use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, Iterable as _, PaginatorTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use uuid::Uuid;

use super::domain::{Job, Refusal};
use super::entity::jobs;
use crate::error::{Error, Result};
use crate::storage::{Db, Tx};

pub use list::{Filter, JobKey, Page, list, list_results};
pub use remove::{delete, remove_remains, retire};
pub use results::add_results;
pub use stats::stats;

/// Whether a job is read with its metadata, which can be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// With it.
    Read,
    /// Without.
    Left,
}

/// The job of that id. Error: JobNotFound.
pub async fn find(db: &Db<'_>, id: Uuid, metadata: Metadata) -> Result<Job> {
    let row = select(id, metadata).into_model::<jobs::Model>().one(db).await?;
    rows::job(row.ok_or(Error::JobNotFound)?)
}

/// The same, locked until the end of the transaction, to be changed.
pub async fn lock(tx: &Tx<'_>, id: Uuid, metadata: Metadata) -> Result<Job> {
    let query = select(id, metadata).lock(LockType::NoKeyUpdate);
    rows::job(query.into_model::<jobs::Model>().one(&**tx).await?.ok_or(Error::JobNotFound)?)
}

fn select(id: Uuid, metadata: Metadata) -> sea_orm::Select<jobs::Entity> {
    let query = jobs::Entity::find().filter(jobs::Column::Id.eq(id));
    match metadata {
        Metadata::Read => query,
        Metadata::Left => {
            let columns = jobs::Column::iter().filter(|column| !matches!(column, jobs::Column::MetadataJson));
            query.select_only().columns(columns).expr_as(Expr::val(""), "metadata_json")
        }
    }
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
    jobs::Entity::update_many()
        .set(rows::changed(before, &job))
        .filter(jobs::Column::RowId.eq(job.row_id))
        .exec(&**tx)
        .await?;
    Ok(job)
}
