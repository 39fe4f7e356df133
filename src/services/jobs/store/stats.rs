//! Numbers of jobs.
//!
//! Reads one row per job of the range, by the index of its time, the newest first, and stops at a bound: nothing that every
//! write would have to keep, and nothing that grows with the table.

use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, FromQueryResult, Order, QueryFilter as _,
    QuerySelect as _, Select,
};

use super::{Filter, rows};
use crate::error::Result;
use crate::services::jobs::domain::{Counts, JobCounts, Stats, Status};
use crate::services::jobs::entity::jobs;
use crate::storage::Db;

#[derive(FromQueryResult)]
struct Sums {
    job_type: String,
    status: i64,
    jobs: i64,
    successful: i64,
    failed: i64,
    oldest: i64,
}

/// Numbers of the jobs that `filter` takes by type and time, at most `jobs_max` of them.
pub async fn stats(db: &Db<'_>, filter: &Filter, jobs_max: u64) -> Result<Stats> {
    let query = sums(filter, jobs_max);
    let found = Sums::find_by_statement(db.get_database_backend().build(&query)).all(db).await?;
    let mut stats = Stats { oldest_open_us: oldest_open(db, filter).await?, ..Default::default() };
    let read: i64 = found.iter().map(|sums| sums.jobs).sum();
    let is_full = u64::try_from(read).unwrap_or(0) >= jobs_max;
    stats.truncated = is_full && has_more(db, filter, jobs_max).await?;
    stats.oldest_counted_us = found.iter().map(|sums| sums.oldest).min();
    for sums in found {
        stats.counts.push(JobCounts {
            job_type: sums.job_type,
            status: rows::status(sums.status, 0)?,
            jobs: sums.jobs,
            counts: Counts { successful: sums.successful, failed: sums.failed },
        });
    }
    stats.counts.sort_by(|a, b| (&a.job_type, a.status).cmp(&(&b.job_type, b.status)));
    Ok(stats)
}

/// The jobs of the range, the newest first.
fn range(filter: &Filter) -> SelectStatement {
    use jobs::Column as C;
    let mut range = Query::select();
    range.from(jobs::Entity).order_by(C::CreateTime, Order::Desc).order_by(C::RowId, Order::Desc);
    if !filter.job_type.is_empty() {
        range.and_where(C::JobType.eq(filter.job_type.as_str()));
    }
    if let Some(us) = filter.from_us {
        range.and_where(C::CreateTime.gte(us));
    }
    if let Some(us) = filter.before_us {
        range.and_where(C::CreateTime.lt(us));
    }
    range
}

pub(super) fn sums(filter: &Filter, jobs_max: u64) -> SelectStatement {
    use jobs::Column as C;
    let mut range = range(filter);
    range.columns([C::JobType, C::Status, C::SuccessfulCount, C::FailedCount, C::CreateTime]).limit(jobs_max);
    let whole = |sum: sea_orm::sea_query::SimpleExpr| sum.cast_as("bigint");
    Query::select()
        .expr_as(Expr::col(C::JobType), "job_type")
        .expr_as(Expr::col(C::Status), "status")
        .expr_as(whole(Expr::col(C::CreateTime).count()), "jobs")
        .expr_as(whole(Expr::col(C::SuccessfulCount).sum()), "successful")
        .expr_as(whole(Expr::col(C::FailedCount).sum()), "failed")
        .expr_as(Expr::col(C::CreateTime).min(), "oldest")
        .from_subquery(range, Alias::new("counted"))
        .group_by_columns([C::JobType, C::Status])
        .take()
}

/// Whether the range has more than `jobs_max` jobs.
async fn has_more(db: &Db<'_>, filter: &Filter, jobs_max: u64) -> Result<bool> {
    let mut range = range(filter);
    range.column(jobs::Column::CreateTime).offset(jobs_max).limit(1);
    Ok(db.query_one(&range).await?.is_some())
}

/// When the oldest job that has not ended was made.
async fn oldest_open(db: &Db<'_>, filter: &Filter) -> Result<Option<i64>> {
    #[derive(FromQueryResult)]
    struct Oldest {
        oldest: Option<i64>,
    }
    let mut found = Vec::new();
    for status in Status::ALL.into_iter().filter(|status| !status.is_end()) {
        let row = oldest_in(filter, status).into_model::<Oldest>().one(db).await?;
        found.extend(row.and_then(|row| row.oldest));
    }
    Ok(found.into_iter().min())
}

pub(super) fn oldest_in(filter: &Filter, status: Status) -> Select<jobs::Entity> {
    use jobs::Column as C;
    let query = jobs::Entity::find()
        .select_only()
        .expr_as(Expr::col(C::CreateTime).min(), "oldest")
        .filter(C::Status.eq(rows::status_number(status)));
    if filter.job_type.is_empty() { query } else { query.filter(C::JobType.eq(filter.job_type.as_str())) }
}
