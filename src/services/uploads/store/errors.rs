//! Errors of sessions' paths. A path is found by its SHA-256: an index entry of PostgreSQL holds no path of 8 KiB.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, NotSet, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
    Set, Value,
};
use sha2::{Digest as _, Sha256};

use super::list::{Found, LOOKED_AT_MAX, PIECE_ROWS, Page};
use super::names::Names;
use super::rows;
use super::sessions::{Metadata, find, lock, save_advanced, save_logged};
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
    /// Whether the session stays as it is.
    pub log_only: bool,
}

/// Records an error and advances the session, unless it is logged alone; answers with the error as it stands, and with the session
/// without its metadata. Errors, each before anything is written: UploadSessionNotFound; UploadSessionFinished, if the session is to
/// be advanced.
pub async fn record_error(
    tx: &Tx<'_>,
    names: &Names,
    session_id: &str,
    new: &NewError,
    resume_at: Option<&str>,
    now_us: i64,
) -> Result<(UploadError, Session)> {
    let mut session = lock(tx, names, session_id, Metadata::Left).await?;
    if !new.log_only {
        session.refuse_if_finished().map_err(rows::refused)?;
    }
    let former = errors::Entity::find()
        .filter(errors::Column::SessionRowId.eq(session.row_id))
        .filter(errors::Column::PathHash.eq(hash(&new.path)))
        .one(&**tx)
        .await?;
    let open = former.as_ref().filter(|row| row.resolve_time.is_none());
    let (was_counted, was_logged) =
        (open.is_some_and(|row| row.is_counted), open.is_some_and(|row| !row.is_counted));
    let row = errors::Model {
        id: former.as_ref().map_or(0, |row| row.id),
        session_row_id: session.row_id,
        path_hash: hash(&new.path),
        path: new.path.clone(),
        error_type: new.error_type.clone(),
        message: new.message.clone(),
        retry_count: former.as_ref().map_or(0, |row| row.retry_count.saturating_add(1)),
        create_time: former.as_ref().map_or(now_us, |row| row.create_time),
        update_time: now_us,
        resolve_time: None,
        is_counted: was_counted || !new.log_only,
    };
    let row = save(tx, row).await?;
    session.logged_errors += i64::from(!row.is_counted) - i64::from(was_logged);
    let counts = Counts { error: i64::from(row.is_counted) - i64::from(was_counted), ..Counts::default() };
    let session = if new.log_only {
        save_logged(tx, &session).await?;
        session
    } else {
        session.advance(counts, resume_at.unwrap_or(&new.path)).map_err(rows::refused)?;
        save_advanced(tx, session, now_us).await?
    };
    Ok((rows::upload_error(row, session.id.clone()), session))
}

/// Stores a row, which is new if it has no number yet.
async fn save(tx: &Tx<'_>, row: errors::Model) -> Result<errors::Model> {
    let change = errors::ActiveModel {
        id: NotSet,
        session_row_id: NotSet,
        path_hash: NotSet,
        path: NotSet,
        create_time: NotSet,
        error_type: Set(row.error_type.clone()),
        message: Set(row.message.clone()),
        retry_count: Set(row.retry_count),
        update_time: Set(row.update_time),
        resolve_time: Set(row.resolve_time),
        is_counted: Set(row.is_counted),
    };
    if row.id == 0 {
        let new = errors::ActiveModel {
            session_row_id: Set(row.session_row_id),
            path_hash: Set(row.path_hash.clone()),
            path: Set(row.path.clone()),
            create_time: Set(row.create_time),
            ..change
        };
        return Ok(errors::Model { id: tx.insert(new).await?, ..row });
    }
    errors::Entity::update_many().set(change).filter(errors::Column::Id.eq(row.id)).exec(&**tx).await?;
    Ok(row)
}

fn hash(path: &str) -> Vec<u8> {
    Sha256::digest(path).to_vec()
}

/// Errors that were resolved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resolved {
    /// Those that the session counts.
    pub(super) counted: i64,
    /// Those that were logged alone.
    pub(super) logged: i64,
}

row! {
    struct OpenError {
        id: i64,
        is_counted: bool,
    }
}

/// Resolves the errors of paths of a session, whose row is locked.
pub(super) async fn resolve(tx: &Tx<'_>, session: &Session, paths: &[&str], now_us: i64) -> Result<Resolved> {
    if session.counts.error == 0 && session.logged_errors == 0 {
        return Ok(Resolved::default());
    }
    let mut open = Vec::new();
    for chunk in chunks(paths) {
        let mut values: Vec<Value> = vec![session.row_id.into()];
        values.extend(chunk.iter().map(|path| Value::from(hash(path))));
        open.extend(tx.rows::<OpenError>(&open_query(chunk.len()), values).await?);
    }
    // A path may come twice, in two chunks.
    open.sort_by_key(|row| row.id);
    open.dedup_by_key(|row| row.id);
    let mut resolved = Resolved::default();
    for row in &open {
        tx.run(RESOLVE, vec![now_us.into(), row.id.into()]).await?;
        resolved.counted += i64::from(row.is_counted);
        resolved.logged += i64::from(!row.is_counted);
    }
    Ok(resolved)
}

pub(super) const RESOLVE: &str = r#"UPDATE "upload_errors" SET "resolve_time" = $1 WHERE "id" = $2"#;

pub(super) fn open_query(paths: usize) -> String {
    format!(
        r#"SELECT "id", "is_counted" FROM "upload_errors" WHERE "session_row_id" = $1 AND "path_hash" IN ({})
        AND "resolve_time" IS NULL"#,
        places(2, paths)
    )
}

/// A page of a session's errors in the order in which the paths failed first; and where the next one begins.
/// Error: UploadSessionNotFound.
pub async fn list_errors(
    db: &Db<'_>,
    names: &Names,
    session_id: &str,
    filter: &ErrorFilter,
    page: &Page<i64>,
) -> Result<(Vec<UploadError>, Option<i64>)> {
    let session = find(db, names, session_id, Metadata::Left).await?;
    let mut found = Found::new(page);
    let mut after = page.after.unwrap_or(0);
    for _ in 0..LOOKED_AT_MAX / PIECE_ROWS {
        let piece = errors_of(session.row_id, after).all(db).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for row in piece {
            let error = rows::upload_error(row, session.id.clone());
            let (id, bytes) = (error.id, text_bytes(&error));
            if filter.takes(&error) && !found.take(error, bytes, |error| error.path.clone())? {
                return Ok((found.rows, Some(after)));
            }
            after = id;
        }
        if is_last {
            return Ok((found.rows, None));
        }
    }
    Ok((found.rows, Some(after)))
}

fn text_bytes(error: &UploadError) -> usize {
    error.session_id.len() + error.path.len() + error.error_type.len() + error.message.len()
}

/// The next errors of a session.
pub(super) fn errors_of(session_row_id: i64, after: i64) -> Select<errors::Entity> {
    use errors::Column as C;
    errors::Entity::find()
        .filter(C::SessionRowId.eq(session_row_id))
        .filter(C::Id.gt(after))
        .order_by_asc(C::Id)
        .limit(PIECE_ROWS)
}

row! {
    struct ErrorOfSession {
        id: i64,
        session_id: String,
        path: String,
        error_type: String,
        message: String,
        retry_count: i64,
        create_time: i64,
        update_time: i64,
        resolve_time: Option<i64>,
        is_counted: bool,
    }
}

/// A page of the errors of all sessions, the path that failed last first; and where the next one begins: the time and the number of
/// a row.
pub async fn list_all_errors(
    db: &Db<'_>,
    filter: &ErrorFilter,
    page: &Page<(i64, i64)>,
) -> Result<(Vec<UploadError>, Option<(i64, i64)>)> {
    let mut found = Found::new(page);
    let mut after = page.after;
    for _ in 0..LOOKED_AT_MAX / PIECE_ROWS {
        let values = after.map(|(update_us, id)| vec![update_us.into(), id.into()]).unwrap_or_default();
        let piece: Vec<ErrorOfSession> = db.rows(&errors_by_time(after.is_some()), values).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for row in piece {
            let error = row.error();
            let (place, bytes) = ((error.update_us, error.id), text_bytes(&error));
            if filter.takes(&error) && !found.take(error, bytes, |error| error.path.clone())? {
                return Ok((found.rows, after));
            }
            after = Some(place);
        }
        if is_last {
            return Ok((found.rows, None));
        }
    }
    Ok((found.rows, after))
}

impl ErrorOfSession {
    fn error(self) -> UploadError {
        UploadError {
            id: self.id,
            session_id: self.session_id,
            path: self.path,
            error_type: self.error_type,
            message: self.message,
            retry_count: self.retry_count,
            create_us: self.create_time,
            update_us: self.update_time,
            resolve_us: self.resolve_time,
            is_counted: self.is_counted,
        }
    }
}

/// The next errors of all sessions. Sessions that were deleted have none, though their rows are not removed yet.
pub(super) fn errors_by_time(is_after: bool) -> String {
    let after = if is_after {
        r#"WHERE e."update_time" <= $1 AND (e."update_time" < $1 OR e."id" < $2)"#
    } else {
        ""
    };
    format!(
        r#"SELECT e."id", s."id" AS "session_id", e."path", e."type" AS "error_type", e."message", e."retry_count", e."create_time", e."update_time",
        e."resolve_time", e."is_counted" FROM "upload_errors" e JOIN "upload_sessions" s ON s."row_id" = e."session_row_id" {after}
        ORDER BY e."update_time" DESC, e."id" DESC LIMIT {PIECE_ROWS}"#
    )
}
