//! Errors of a session's paths.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Set, Value,
};
use uuid::Uuid;

use super::list::{Found, LOOKED_AT_MAX, PIECE_ROWS, Page};
use super::names::Names;
use super::rows;
use super::sessions::{Metadata, find, lock, save_advanced};
use crate::clock::Clock;
use crate::error::Result;
use crate::services::uploads::domain::{Counts, RetryPolicy, Session, UploadError};
use crate::services::uploads::entity::errors;
use crate::storage::{Db, Tx, chunks, places, row};

/// Which errors of a session.
#[derive(Clone, Debug)]
pub enum ErrorFilter {
    /// Those of a type, or of any if it is empty; those that are resolved as well, if that is said.
    All(String, bool),
    /// Those that are due to be tried again, by that clock.
    Due(RetryPolicy, Clock),
}

impl ErrorFilter {
    fn takes(&self, error: &UploadError) -> bool {
        match self {
            Self::All(error_type, resolved) => {
                (error_type.is_empty() || *error_type == error.error_type)
                    && (*resolved || error.resolve_us.is_none())
            }
            Self::Due(policy, clock) => policy.is_due(error, clock.age_us(error.update_us)),
        }
    }
}

/// An error to record.
#[derive(Clone, Debug)]
pub struct NewError {
    /// The path.
    pub path: String,
    /// The kind.
    pub error_type: String,
    /// What it said.
    pub message: String,
}

/// Records an error and advances the session; answers with the error as it stands, and with the session without its metadata.
/// Errors, each before anything is written: UploadSessionNotFound, UploadSessionFinished.
pub async fn record_error(
    tx: &Tx<'_>,
    names: &Names,
    session_id: Uuid,
    new: &NewError,
    resume_at: Option<&str>,
    now_us: i64,
) -> Result<(UploadError, Session)> {
    let mut session = lock(tx, names, session_id, Metadata::Left).await?;
    session.refuse_if_finished().map_err(rows::refused)?;
    let former = errors::Entity::find_by_id((session.row_id, new.path.clone())).one(&**tx).await?;
    let is_open = former.as_ref().is_some_and(|row| row.resolve_time.is_none());
    let row = errors::Model {
        session_row_id: session.row_id,
        path: new.path.clone(),
        error_type: new.error_type.clone(),
        message: new.message.clone(),
        retry_count: former.as_ref().map_or(0, |row| row.retry_count.saturating_add(1)),
        create_time: former.as_ref().map_or(now_us, |row| row.create_time),
        update_time: now_us,
        resolve_time: None,
    };
    match former {
        None => {
            errors::Entity::insert(row.clone().into_active_model()).exec_without_returning(&**tx).await?;
        }
        Some(_) => {
            let change = errors::ActiveModel {
                error_type: Set(row.error_type.clone()),
                message: Set(row.message.clone()),
                retry_count: Set(row.retry_count),
                update_time: Set(row.update_time),
                resolve_time: Set(None),
                ..Default::default()
            };
            errors::Entity::update_many()
                .set(change)
                .filter(errors::Column::SessionRowId.eq(session.row_id))
                .filter(errors::Column::Path.eq(new.path.as_str()))
                .exec(&**tx)
                .await?;
        }
    }
    let counts = Counts { error: i64::from(!is_open), ..Counts::default() };
    session.advance(counts, resume_at.unwrap_or(&new.path)).map_err(rows::refused)?;
    Ok((rows::upload_error(row), save_advanced(tx, session, now_us).await?))
}

row! {
    struct OpenPath {
        path: String,
    }
}

/// Resolves the errors of paths of a session, whose row is locked; tells how many there were.
pub(super) async fn resolve(tx: &Tx<'_>, session: &Session, paths: &[&str], now_us: i64) -> Result<i64> {
    if session.counts.error == 0 {
        return Ok(0);
    }
    let mut open = Vec::new();
    for chunk in chunks(paths) {
        let mut values: Vec<Value> = vec![session.row_id.into()];
        values.extend(chunk.iter().map(|path| Value::from(*path)));
        open.extend(tx.rows::<OpenPath>(&open_query(chunk.len()), values).await?);
    }
    // A path may come twice, in two chunks.
    open.sort_by(|one, other| one.path.cmp(&other.path));
    open.dedup_by(|one, other| one.path == other.path);
    for row in &open {
        let values = vec![now_us.into(), session.row_id.into(), row.path.as_str().into()];
        tx.run(RESOLVE, values).await?;
    }
    Ok(i64::try_from(open.len()).unwrap_or(i64::MAX))
}

pub(super) const RESOLVE: &str =
    r#"UPDATE "upload_errors" SET "resolve_time" = $1 WHERE "session_row_id" = $2 AND "path" = $3"#;

pub(super) fn open_query(paths: usize) -> String {
    format!(
        r#"SELECT "path" FROM "upload_errors" WHERE "session_row_id" = $1 AND "path" IN ({}) AND "resolve_time" IS NULL"#,
        places(2, paths)
    )
}

/// A page of a session's errors by path; and where the next one begins. Error: UploadSessionNotFound.
pub async fn list_errors(
    db: &Db<'_>,
    names: &Names,
    session_id: Uuid,
    filter: &ErrorFilter,
    page: &Page<String>,
) -> Result<(Vec<UploadError>, Option<String>)> {
    let session = find(db, names, session_id, Metadata::Left).await?;
    let mut found = Found::new(page);
    let mut after = page.after.clone().unwrap_or_default();
    for _ in 0..LOOKED_AT_MAX / PIECE_ROWS {
        let piece = errors_of(session.row_id, &after).all(db).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for error in piece.into_iter().map(rows::upload_error) {
            let path = error.path.clone();
            let bytes = error.path.len() + error.error_type.len() + error.message.len();
            if filter.takes(&error) && !found.take(error, bytes, |error| error.path.clone())? {
                return Ok((found.rows, Some(after)));
            }
            after = path;
        }
        if is_last {
            return Ok((found.rows, None));
        }
    }
    Ok((found.rows, Some(after)))
}

/// The next errors of a session.
pub(super) fn errors_of(session_row_id: i64, after: &str) -> Select<errors::Entity> {
    use errors::Column as C;
    errors::Entity::find()
        .filter(C::SessionRowId.eq(session_row_id))
        .filter(C::Path.gt(after))
        .order_by_asc(C::Path)
        .limit(PIECE_ROWS)
}
