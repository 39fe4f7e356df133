//! Listing jobs and results, a page at a time.
//!
//! A page is read in small pieces, so that a page of the largest rows takes no more memory than it may take in an answer.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::rows;
use crate::answer::Budget;
use crate::error::Result;
use crate::services::jobs::domain::{Job, JobResult, Status};
use crate::services::jobs::entity::{jobs, results};
use crate::storage::Db;

/// Rows of one piece.
const PIECE_ROWS: u64 = 64;

/// Times, counts and framing of a job or a result in an answer.
const ROW_OVERHEAD_BYTES: usize = 160;

/// Which jobs.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Those in one of these, each once; empty: in any.
    pub statuses: Vec<Status>,
    /// Those of this type; empty: of any.
    pub job_type: String,
    /// Those made then or later.
    pub from_us: Option<i64>,
    /// Those made earlier.
    pub before_us: Option<i64>,
    /// The oldest first.
    pub oldest_first: bool,
}

/// How much of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<K> {
    /// Those behind this one.
    pub after: Option<K>,
    /// At most so many.
    pub rows_max: usize,
    /// At most this many bytes.
    pub budget: Budget,
}

/// Where a job stands in a list: when it was made, and its row.
pub type JobKey = (i64, i64);

/// A page of jobs by the time they were made; and whether there are more.
pub async fn list(db: &Db<'_>, filter: &Filter, page: Page<JobKey>) -> Result<(Vec<Job>, bool)> {
    let mut found = Found::new(&page);
    let mut after = page.after;
    loop {
        let piece = piece(db, filter, after).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        after = piece.last().map(|job| (job.create_us, job.row_id));
        for job in piece {
            let texts = job.job_type.len() + job.metadata_json.len();
            let error = job.error.as_ref().map_or(0, |error| error.code.len() + error.message.len());
            if !found.take(job, texts + error, |job| job.id.to_string())? {
                return Ok((found.rows, true));
            }
        }
        if is_last {
            return Ok((found.rows, false));
        }
    }
}

/// The next rows of the list. Several statuses are asked for one by one, each in the order of its index, and merged.
async fn piece(db: &Db<'_>, filter: &Filter, after: Option<JobKey>) -> Result<Vec<Job>> {
    if filter.statuses.is_empty() {
        return of_status(db, filter, None, after).await;
    }
    let mut merged = Vec::new();
    for status in &filter.statuses {
        merged.extend(of_status(db, filter, Some(*status), after).await?);
    }
    merged.sort_by_key(|job| (job.create_us, job.row_id));
    if !filter.oldest_first {
        merged.reverse();
    }
    merged.truncate(usize::try_from(PIECE_ROWS).unwrap_or(usize::MAX));
    Ok(merged)
}

async fn of_status(
    db: &Db<'_>,
    filter: &Filter,
    status: Option<Status>,
    after: Option<JobKey>,
) -> Result<Vec<Job>> {
    jobs_of(filter, status, after).all(db).await?.into_iter().map(rows::job).collect()
}

/// The next jobs of a list in one status, or in any.
pub(super) fn jobs_of(
    filter: &Filter,
    status: Option<Status>,
    after: Option<JobKey>,
) -> Select<jobs::Entity> {
    use jobs::Column as C;
    let mut query = jobs::Entity::find().limit(PIECE_ROWS);
    if let Some(status) = status {
        query = query.filter(C::Status.eq(rows::status_number(status)));
    }
    if !filter.job_type.is_empty() {
        query = query.filter(C::JobType.eq(filter.job_type.as_str()));
    }
    let place = || Expr::tuple([Expr::col(C::CreateTime), Expr::col(C::RowId)]);
    let key = |(create_us, row_id): JobKey| Expr::tuple([Expr::val(create_us), Expr::val(row_id)]);
    // The place behind the last row bounds the side that the list comes from; before the first page, the range does.
    let (from, before) = match (after, filter.oldest_first) {
        (Some(after), true) => (Some(place().gt(key(after))), None),
        (Some(after), false) => (None, Some(place().lt(key(after)))),
        (None, _) => (None, None),
    };
    let from = from.or(filter.from_us.map(|us| C::CreateTime.gte(us)));
    let before = before.or(filter.before_us.map(|us| C::CreateTime.lt(us)));
    for bound in [from, before].into_iter().flatten() {
        query = query.filter(bound);
    }
    match filter.oldest_first {
        true => query.order_by_asc(C::CreateTime).order_by_asc(C::RowId),
        false => query.order_by_desc(C::CreateTime).order_by_desc(C::RowId),
    }
}

/// A page of a job's results by their numbers, those that failed only if `failed_only`; and whether there are more.
pub async fn list_results(
    db: &Db<'_>,
    job: &Job,
    failed_only: bool,
    page: Page<i64>,
) -> Result<(Vec<JobResult>, bool)> {
    let mut found = Found::new(&page);
    let mut after = page.after.unwrap_or(0);
    loop {
        let piece = results_of(job.row_id, failed_only, after).all(db).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        after = piece.last().map_or(after, |row| row.number);
        for row in piece {
            let recorded = rows::result(row);
            let result = &recorded.result;
            let key_bytes = result.item_key.as_ref().map_or(0, String::len);
            let texts = key_bytes + result.url.len() + result.data_json.len();
            let error = result.error.as_ref().map_or(0, |error| error.code.len() + error.message.len());
            if !found.take(recorded, texts + error, |recorded| {
                recorded.result.item_key.clone().unwrap_or_default()
            })? {
                return Ok((found.rows, true));
            }
        }
        if is_last {
            return Ok((found.rows, false));
        }
    }
}

/// The next results of a job.
pub(super) fn results_of(job_row_id: i64, failed_only: bool, after: i64) -> Select<results::Entity> {
    use results::Column as C;
    let query = results::Entity::find()
        .filter(C::JobRowId.eq(job_row_id))
        .filter(C::Number.gt(after))
        .order_by_asc(C::Number)
        .limit(PIECE_ROWS);
    if failed_only { query.filter(C::ErrorCode.is_not_null()) } else { query }
}

/// The rows of a page so far.
struct Found<T> {
    rows: Vec<T>,
    rows_max: usize,
    budget: Budget,
}

impl<T> Found<T> {
    fn new<K>(page: &Page<K>) -> Self {
        Self { rows: Vec::new(), rows_max: page.rows_max, budget: page.budget }
    }

    /// Takes a row unless the page is full. Error: AnswerTooLarge.
    fn take(&mut self, row: T, text_bytes: usize, name: impl FnOnce(&T) -> String) -> Result<bool> {
        let bytes = text_bytes + ROW_OVERHEAD_BYTES;
        if self.rows.len() >= self.rows_max || !self.budget.take(bytes, || name(&row))? {
            return Ok(false);
        }
        self.rows.push(row);
        Ok(true)
    }
}
