//! Leases: the right to fill a key that is missing or stale.
//!
//! A lease lives in the row of its key. On a miss that row is a place: it has no content, counts for nothing and goes with
//! the lease. A put or a delete of the key ends the lease, because it rewrites or removes the row.

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set};
use uuid::Uuid;

use super::{KIND_PLACE, get, rows};
use crate::error::Result;
use crate::services::cache::domain::{Entry, Namespace};
use crate::services::cache::entity::entries;
use crate::storage::Tx;

/// What a caller that wants to read or fill a key gets.
#[derive(Clone, Debug)]
pub enum Claim {
    /// There is a live entry by now.
    Fresh(Entry),
    /// The caller holds the lease, until then; and the stale entry, if there is one.
    Granted {
        /// When the lease ends.
        until_us: i64,
        /// What may be served meanwhile.
        stale: Option<Entry>,
    },
    /// Another caller holds the lease, until then; and the stale entry, if there is one.
    Held {
        /// When the lease ends.
        until_us: i64,
        /// What may be served meanwhile.
        stale: Option<Entry>,
    },
}

/// Reads a key, or gives the lease `token` on it if nobody has it.
pub async fn claim(
    tx: &Tx<'_>,
    namespace: &Namespace,
    key: &str,
    token: Uuid,
    ttl_us: i64,
    now_us: i64,
) -> Result<Claim> {
    let namespace_id = namespace.id;
    let current = rows::current(tx, namespace_id, key).await?;
    let entry = get(tx, namespace_id, key).await?;
    let stale = match entry {
        Some(entry) if entry.is_live(now_us) => return Ok(Claim::Fresh(entry)),
        other => other.filter(|entry| entry.is_stale(now_us)),
    };
    if let Some(row) = &current
        && row.lease(now_us).is_some()
        && let Some(until_us) = row.lease_expire_time
    {
        return Ok(Claim::Held { until_us, stale });
    }
    let until_us = now_us.saturating_add(ttl_us);
    match current {
        Some(row) => {
            let remove_time = if row.kind == KIND_PLACE {
                Some(until_us)
            } else {
                rows::remove_time(row.expire_time, row.stale_until_time, Some(until_us))
            };
            let change = entries::ActiveModel {
                lease_token: Set(Some(token)),
                lease_expire_time: Set(Some(until_us)),
                lease_tag_deletions: Set(Some(namespace.tag_deletions)),
                remove_time: Set(remove_time),
                ..Default::default()
            };
            entries::Entity::update_many()
                .set(change)
                .filter(entries::Column::Id.eq(row.id))
                .exec(&**tx)
                .await?;
        }
        None => {
            let place = place(namespace, key, token, until_us, now_us);
            entries::Entity::insert(place).exec_without_returning(&**tx).await?;
        }
    }
    Ok(Claim::Granted { until_us, stale })
}

/// Gives the lease `token` back; tells whether it was held.
pub async fn release(tx: &Tx<'_>, namespace_id: i64, key: &str, token: Uuid, now_us: i64) -> Result<bool> {
    let current = rows::current(tx, namespace_id, key).await?;
    let Some(row) = current.filter(|row| row.lease(now_us) == Some(token)) else { return Ok(false) };
    if row.kind == KIND_PLACE {
        entries::Entity::delete_by_id(row.id).exec(&**tx).await?;
        return Ok(true);
    }
    let change = entries::ActiveModel {
        lease_token: Set(None),
        lease_expire_time: Set(None),
        lease_tag_deletions: Set(None),
        remove_time: Set(rows::remove_time(row.expire_time, row.stale_until_time, None)),
        ..Default::default()
    };
    entries::Entity::update_many().set(change).filter(entries::Column::Id.eq(row.id)).exec(&**tx).await?;
    Ok(true)
}

fn place(namespace: &Namespace, key: &str, token: Uuid, until_us: i64, now_us: i64) -> entries::ActiveModel {
    entries::ActiveModel {
        namespace_id: Set(namespace.id),
        key: Set(key.to_owned()),
        kind: Set(KIND_PLACE),
        is_compressed: Set(false),
        content_type: Set(String::new()),
        metadata_json: Set(String::new()),
        tags: Set(String::new()),
        size_bytes: Set(0),
        stored_bytes: Set(0),
        revision: Set(0),
        create_time: Set(now_us),
        update_time: Set(now_us),
        stale_window_us: Set(0),
        remove_time: Set(Some(until_us)),
        access_time: Set(now_us),
        access_count: Set(0),
        lease_token: Set(Some(token)),
        lease_expire_time: Set(Some(until_us)),
        lease_tag_deletions: Set(Some(namespace.tag_deletions)),
        ..Default::default()
    }
}
