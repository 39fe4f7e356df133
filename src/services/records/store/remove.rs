//! Removing what is over, in small steps: tombstones after their retention, what deleted collections and dropped indexes leave
//! behind, clients that were not seen for long.

use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Value,
};

use super::{collections, indexes};
use crate::clock::Clock;
use crate::error::Result;
use crate::services::records::entity::{clients, collections as collection_rows, mutations, remains};
use crate::storage::{Db, Tx, row};

/// Rows that one step removes.
pub(super) const ROWS_PER_STEP: i64 = 256;

/// What there is to do.
#[derive(Clone, Debug)]
pub struct Due {
    /// Collections with tombstones whose time is over, each with the time until which it is.
    pub collections: Vec<(i64, i64)>,
    /// Records of collections that are gone, or values of indexes that were dropped, perhaps.
    pub has_remains: bool,
    /// Indexes that are to be built.
    pub has_unbuilt: bool,
    /// Clients that were not seen for long.
    pub has_clients: bool,
}

row! {
    struct Tombstone {
        id: i64,
        seq: i64,
    }
}

/// The oldest tombstones.
pub(super) const TOMBSTONES: &str = r#"SELECT "id", "seq" FROM "records" WHERE "collection_id" = $1 AND "delete_time" IS NOT NULL
    AND "delete_time" <= $2 ORDER BY "delete_time" LIMIT $3"#;
const PURGED: &str =
    r#"UPDATE "record_collections" SET "purged_seq" = $1, "tombstone_count" = $2 WHERE "id" = $3"#;
const REMAINS: &str = r#"DELETE FROM "records" WHERE "id" IN
    (SELECT "id" FROM "records" WHERE "collection_id" = $1 ORDER BY "key" LIMIT $2)"#;
/// What there is to do at a time.
pub async fn due(db: &Db<'_>, clock: &Clock, retention_us: i64, unseen_since_us: i64) -> Result<Due> {
    use collection_rows::Column as C;
    let with_tombstones = collection_rows::Entity::find().filter(C::TombstoneCount.gt(0));
    let mut due = Vec::new();
    for row in with_tombstones.order_by_asc(C::Id).all(db).await? {
        let until_us = clock.before_us(row.tombstone_retention_us.unwrap_or(retention_us));
        let values: Vec<Value> = vec![row.id.into(), until_us.into(), 1_i64.into()];
        if db.row::<Tombstone>(TOMBSTONES, values).await?.is_some() {
            due.push((row.id, until_us));
        }
    }
    let has_collections = remains::Entity::find().limit(1).one(db).await?.is_some();
    let unseen = clients::Entity::find().filter(clients::Column::SeenTime.lte(unseen_since_us));
    Ok(Due {
        collections: due,
        has_remains: has_collections || indexes::have_dropped(db).await?,
        has_unbuilt: indexes::have_unbuilt(db).await?,
        has_clients: unseen.limit(1).one(db).await?.is_some(),
    })
}

/// Removes some tombstones of a collection; tells whether there may be more. Cursors that may not have been told of them are lost
/// in the same transaction.
pub async fn purge(tx: &Tx<'_>, collection_id: i64, until_us: i64) -> Result<bool> {
    let Some(collection) = collections::lock_by_id(tx, collection_id).await? else { return Ok(false) };
    let values: Vec<Value> = vec![collection_id.into(), until_us.into(), ROWS_PER_STEP.into()];
    let old: Vec<Tombstone> = tx.rows(TOMBSTONES, values).await?;
    let Some(purged_seq) = old.iter().map(|tombstone| tombstone.seq).max() else { return Ok(false) };
    for tombstone in &old {
        tx.run(r#"DELETE FROM "records" WHERE "id" = $1"#, vec![tombstone.id.into()]).await?;
    }
    let count = i64::try_from(old.len()).unwrap_or(i64::MAX);
    let values: Vec<Value> = vec![
        purged_seq.max(collection.purged_seq).into(),
        (collection.tombstone_count - count).into(),
        collection_id.into(),
    ];
    tx.run(PURGED, values).await?;
    Ok(count == ROWS_PER_STEP)
}

/// Removes some of what deleted collections and dropped indexes have left; tells whether there may be more.
pub async fn remove_remains(tx: &Tx<'_>) -> Result<bool> {
    let left = remains::Entity::find()
        .order_by_asc(remains::Column::CollectionId)
        .limit(1)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .one(&**tx)
        .await?;
    if let Some(left) = left {
        let values: Vec<Value> = vec![left.collection_id.into(), ROWS_PER_STEP.into()];
        if tx.run(REMAINS, values).await? == 0 {
            remains::Entity::delete_by_id(left.collection_id).exec(&**tx).await?;
        }
        return Ok(true);
    }
    indexes::clear(tx).await
}

/// Forgets one client that was not seen for long, with its outcomes, or some of them; tells whether there may be more.
pub async fn forget_client(tx: &Tx<'_>, unseen_since_us: i64) -> Result<bool> {
    let client = clients::Entity::find()
        .filter(clients::Column::SeenTime.lte(unseen_since_us))
        .order_by_asc(clients::Column::SeenTime)
        .limit(1)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .one(&**tx)
        .await?;
    let Some(client) = client else { return Ok(false) };
    mutations::Entity::delete_many()
        .filter(mutations::Column::ClientRowId.eq(client.row_id))
        .exec(&**tx)
        .await?;
    clients::Entity::delete_by_id(client.row_id).exec(&**tx).await?;
    Ok(true)
}
