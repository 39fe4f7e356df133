//! Removing what is over: a session goes at once, its errors in small steps behind it; reservations that ran out.

use super::names::Names;
use super::sessions::{Metadata, lock};
use crate::error::{Error, Result};
use crate::services::uploads::entity::{errors, remains, sessions};
use crate::storage::{Db, Tx, row};
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Set, Value,
};

/// Rows that one step removes; few enough to be named one by one.
pub(super) const ROWS_PER_STEP: u64 = 256;

/// Deletes a session; tells whether there was one.
pub async fn delete_session(tx: &Tx<'_>, names: &Names, id: &str) -> Result<bool> {
    let session = match lock(tx, names, id, Metadata::Left).await {
        Ok(session) => session,
        Err(Error::UploadSessionNotFound) => return Ok(false),
        Err(error) => return Err(error),
    };
    sessions::Entity::delete_many().filter(sessions::Column::RowId.eq(session.row_id)).exec(&**tx).await?;
    let left = remains::ActiveModel { session_row_id: Set(session.row_id) };
    remains::Entity::insert(left).exec_without_returning(&**tx).await?;
    Ok(true)
}

/// What there is to remove.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Reservations that ran out.
    pub has_expired: bool,
    /// Errors of sessions that are gone, perhaps.
    pub has_remains: bool,
}

row! {
    struct Expired {
        service_id: i64,
        hash: Vec<u8>,
    }
}

/// What there is to remove at a time.
pub async fn due(db: &Db<'_>, now_us: i64) -> Result<Due> {
    let has_expired = db.row::<Expired>(EXPIRED, vec![now_us.into(), 1_i64.into()]).await?.is_some();
    let has_remains = remains::Entity::find().limit(1).one(db).await?.is_some();
    Ok(Due { has_expired, has_remains })
}

pub(super) const EXPIRED: &str = r#"SELECT "service_id", "hash" FROM "upload_reservations" WHERE "expire_time" <= $1
    ORDER BY "expire_time" LIMIT $2"#;
const REMOVE_EXPIRED: &str =
    r#"DELETE FROM "upload_reservations" WHERE "service_id" = $1 AND "hash" = $2 AND "expire_time" <= $3"#;

/// Removes some reservations that ran out; tells whether there may be more.
pub async fn remove_expired(tx: &Tx<'_>, now_us: i64) -> Result<bool> {
    let rows_max = i64::try_from(ROWS_PER_STEP).unwrap_or(i64::MAX);
    // Those that somebody is taking over at this moment are passed over.
    let query = tx.competing(EXPIRED);
    let mut expired: Vec<Expired> = tx.rows(&query, vec![now_us.into(), rows_max.into()]).await?;
    expired.sort_by(|one, other| (one.service_id, &one.hash).cmp(&(other.service_id, &other.hash)));
    for row in &expired {
        let values: Vec<Value> = vec![row.service_id.into(), row.hash.clone().into(), now_us.into()];
        tx.run(REMOVE_EXPIRED, values).await?;
    }
    Ok(expired.len() as u64 == ROWS_PER_STEP)
}

#[derive(FromQueryResult)]
struct LeftError {
    id: i64,
}

/// Removes some errors of sessions that are gone; tells whether there may be more.
pub async fn remove_remains(tx: &Tx<'_>) -> Result<bool> {
    let left = remains::Entity::find()
        .order_by_asc(remains::Column::SessionRowId)
        .limit(1)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .one(&**tx)
        .await?;
    let Some(left) = left else { return Ok(false) };
    let rows = errors::Entity::find()
        .select_only()
        .column(errors::Column::Id)
        .filter(errors::Column::SessionRowId.eq(left.session_row_id))
        .order_by_asc(errors::Column::Id)
        .limit(ROWS_PER_STEP)
        .into_model::<LeftError>()
        .all(&**tx)
        .await?;
    match rows.last() {
        Some(last) => {
            errors::Entity::delete_many()
                .filter(errors::Column::SessionRowId.eq(left.session_row_id))
                .filter(errors::Column::Id.lte(last.id))
                .exec(&**tx)
                .await?;
        }
        None => {
            remains::Entity::delete_by_id(left.session_row_id).exec(&**tx).await?;
        }
    }
    Ok(true)
}
