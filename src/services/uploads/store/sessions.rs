//! Making, reading and changing sessions. Everything that changes one begins with [`lock`].

use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _, Value,
};

use super::names::Names;
use super::rows;
use crate::error::{Error, Result};
use crate::services::uploads::domain::{Change, NameKind, NewSession, Session, Status};
use crate::services::uploads::entity::sessions;
use crate::storage::{Db, Rank, RowLock, Tx, row};

/// Whether a session is read with its metadata, which can be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// With it.
    Read,
    /// Without.
    Left,
}

/// Written out, because they are run for every file: building them would cost more than running them.
const WITHOUT_METADATA: &str = r#"SELECT "row_id", "id", "source_id", "status", "total_count", "success_count", "error_count",
    "duplicate_count", "logged_error_count", "revision", "start_time", "create_time", "update_time", "end_time", "last_processed_file", "name", "error",
    '' AS "metadata_json" FROM "upload_sessions" WHERE "id" = $1"#;
row! {
    impl sessions::Model {
        row_id, id, source_id, status, total_count, success_count, error_count, duplicate_count, logged_error_count, revision, start_time,
        create_time, update_time, end_time, last_processed_file, name, error, metadata_json,
    }
}
const ADVANCE: &str = r#"UPDATE "upload_sessions" SET "total_count" = $1, "success_count" = $2, "error_count" = $3,
    "duplicate_count" = $4, "logged_error_count" = $5, "last_processed_file" = $6, "revision" = $7, "update_time" = $8
    WHERE "row_id" = $9"#;

/// The session of that id. Error: UploadSessionNotFound.
pub async fn find(db: &Db<'_>, names: &Names, id: &str, metadata: Metadata) -> Result<Session> {
    let row = match metadata {
        Metadata::Read => sessions::Entity::find().filter(sessions::Column::Id.eq(id)).one(db).await?,
        Metadata::Left => db.row(WITHOUT_METADATA, vec![id.into()]).await?,
    };
    rows::session(db, names, row.ok_or(Error::UploadSessionNotFound)?).await
}

/// The same, locked until the end of the transaction, to be changed.
pub(super) async fn lock(tx: &Tx<'_>, names: &Names, id: &str, metadata: Metadata) -> Result<Session> {
    let row = match metadata {
        Metadata::Read => {
            let query = sessions::Entity::find().filter(sessions::Column::Id.eq(id));
            query.lock(LockType::NoKeyUpdate).one(&**tx).await?
        }
        Metadata::Left => tx.row(&tx.locking(WITHOUT_METADATA), vec![id.into()]).await?,
    };
    rows::session(tx, names, row.ok_or(Error::UploadSessionNotFound)?).await
}

/// The lock of a session's row.
pub fn lock_of(id: &str) -> RowLock {
    let select = r#"SELECT "row_id" FROM "upload_sessions" WHERE "id" = $1"#;
    RowLock::new(Rank::Sessions, id, select, vec![id.into()])
}

/// Where a session stands, locked. Error: UploadSessionNotFound.
pub async fn locked_status(tx: &Tx<'_>, names: &Names, id: &str) -> Result<Status> {
    Ok(lock(tx, names, id, Metadata::Left).await?.status)
}

/// Makes a session. Errors: UploadSessionExists, TooManyUploadNames.
pub async fn create(tx: &Tx<'_>, names: &Names, new: &NewSession, now_us: i64) -> Result<Session> {
    if sessions::Entity::find().filter(sessions::Column::Id.eq(new.id.as_str())).count(&**tx).await? > 0 {
        return Err(Error::UploadSessionExists);
    }
    let source_number = names.ensure(tx, NameKind::Source, &new.source_id).await?;
    let session = Session::new(new.clone(), source_number, now_us);
    let row_id = tx.insert(rows::inserted(&session)).await?;
    Ok(Session { row_id, ..session })
}

/// Changes a session, and answers with what became of it.
/// Errors: UploadSessionNotFound; what the session refuses, with nothing stored.
pub async fn change(tx: &Tx<'_>, names: &Names, id: &str, change: &Change, now_us: i64) -> Result<Session> {
    let before = lock(tx, names, id, Metadata::Read).await?;
    let mut session = before.clone();
    session.change(change, now_us).map_err(rows::refused)?;
    if session == before {
        return Ok(session);
    }
    touch(&mut session, now_us);
    sessions::Entity::update_many()
        .set(rows::changed(&session))
        .filter(sessions::Column::RowId.eq(session.row_id))
        .exec(&**tx)
        .await?;
    Ok(session)
}

/// Stores a session whose counts have advanced: no column of an index.
pub(super) async fn save_advanced(tx: &Tx<'_>, mut session: Session, now_us: i64) -> Result<Session> {
    touch(&mut session, now_us);
    let values: Vec<Value> = vec![
        session.total.into(),
        session.counts.success.into(),
        session.counts.error.into(),
        session.counts.duplicate.into(),
        session.logged_errors.into(),
        rows::filled(&session.last_processed_file).into(),
        session.revision.into(),
        session.update_us.into(),
        session.row_id.into(),
    ];
    tx.run(ADVANCE, values).await?;
    Ok(session)
}

fn touch(session: &mut Session, now_us: i64) {
    session.revision += 1;
    session.update_us = now_us;
}

const LOG: &str = r#"UPDATE "upload_sessions" SET "logged_error_count" = $1 WHERE "row_id" = $2"#;

/// Stores how many errors of a session are logged alone. Nothing else of the session changes, its revision and time included.
pub(super) async fn save_logged(tx: &Tx<'_>, session: &Session) -> Result<()> {
    tx.run(LOG, vec![session.logged_errors.into(), session.row_id.into()]).await?;
    Ok(())
}
