//! Removing jobs: a job goes at once, its results in small steps behind it.

use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Select, Set,
};
use uuid::Uuid;

use super::rows::{COUNTED_BY_RESULTS, counted_by_number};
use super::{Metadata, lock};
use crate::error::{Error, Result};
use crate::services::jobs::entity::{jobs, remains, results};
use crate::storage::{Db, Tx};

/// A job that goes.
#[derive(FromQueryResult)]
struct Doomed {
    row_id: i64,
    counted_by: i64,
}

/// Deletes a job; tells whether there was one.
pub async fn delete(tx: &Tx<'_>, id: Uuid) -> Result<bool> {
    match lock(tx, id, Metadata::Left).await {
        Ok(job) => {
            let counted_by = counted_by_number(job.counted_by);
            remove(tx, &[Doomed { row_id: job.row_id, counted_by }]).await?;
            Ok(true)
        }
        Err(Error::JobNotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What there is to remove.
pub struct Due {
    /// Jobs that ended long enough ago.
    pub has_ended: bool,
    /// Results of jobs that are gone, perhaps.
    pub has_remains: bool,
}

/// What there is to remove, of jobs that ended at `until_us` or before.
pub async fn due(db: &Db<'_>, until_us: i64) -> Result<Due> {
    let has_ended = ended_by(until_us, 1).into_model::<Doomed>().one(db).await?.is_some();
    let has_remains = remains::Entity::find().limit(1).one(db).await?.is_some();
    Ok(Due { has_ended, has_remains })
}

/// Deletes at most `jobs_max` jobs that ended at `until_us` or before; tells how many.
pub async fn retire(tx: &Tx<'_>, until_us: i64, jobs_max: u64) -> Result<u64> {
    // What another sidecar is removing, or a caller is taking up again, is passed over.
    let doomed = ended_by(until_us, jobs_max)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .into_model::<Doomed>()
        .all(&**tx)
        .await?;
    remove(tx, &doomed).await?;
    Ok(doomed.len() as u64)
}

pub(super) fn ended_by(until_us: i64, jobs_max: u64) -> Select<jobs::Entity> {
    use jobs::Column as C;
    jobs::Entity::find()
        .select_only()
        .columns([C::RowId, C::CountedBy])
        .filter(C::EndTime.lte(until_us))
        .order_by_asc(C::EndTime)
        .limit(jobs_max)
}

async fn remove(tx: &Tx<'_>, doomed: &[Doomed]) -> Result<()> {
    for job in doomed {
        jobs::Entity::delete_many().filter(jobs::Column::RowId.eq(job.row_id)).exec(&**tx).await?;
        if job.counted_by == COUNTED_BY_RESULTS {
            let left = remains::ActiveModel { job_row_id: Set(job.row_id) };
            remains::Entity::insert(left).exec_without_returning(&**tx).await?;
        }
    }
    Ok(())
}

/// Removes at most `rows_max` results of jobs that are gone; tells whether there may be more.
pub async fn remove_remains(tx: &Tx<'_>, rows_max: i64) -> Result<bool> {
    use results::Column as C;
    #[derive(FromQueryResult)]
    struct First {
        number: i64,
    }
    let left = remains::Entity::find()
        .order_by_asc(remains::Column::JobRowId)
        .limit(1)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .one(&**tx)
        .await?;
    let Some(left) = left else { return Ok(false) };
    match first_of(left.job_row_id).into_model::<First>().one(&**tx).await? {
        // Numbers have no gaps.
        Some(first) => {
            results::Entity::delete_many()
                .filter(C::JobRowId.eq(left.job_row_id))
                .filter(C::Number.lt(first.number.saturating_add(rows_max)))
                .exec(&**tx)
                .await?;
        }
        None => {
            remains::Entity::delete_by_id(left.job_row_id).exec(&**tx).await?;
        }
    }
    Ok(true)
}

pub(super) fn first_of(job_row_id: i64) -> Select<results::Entity> {
    use results::Column as C;
    let all = results::Entity::find().select_only().column(C::Number).filter(C::JobRowId.eq(job_row_id));
    all.order_by_asc(C::Number).limit(1)
}
