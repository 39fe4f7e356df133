//! Making namespaces. Only writes make one that callers see; a lease makes a provisional one, which has no entry and goes with its
//! last lease.

use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use super::namespaces::{limits_row, origin_number};
use super::removal;
use crate::error::{Error, Result};
use crate::services::cache::domain::{Limits, Namespace, Origin};
use crate::services::cache::entity::{entries, namespaces};
use crate::storage::Tx;

/// A namespace to make.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// Its limits.
    pub limits: Limits,
    /// How it comes to be.
    pub origin: Origin,
    /// Limit of namespaces that callers see, and of provisional ones.
    pub namespaces_max: i64,
    /// Now.
    pub now_us: i64,
}

/// Makes a namespace. Also returns the name of the namespace that was removed for it, if one was.
///
/// Error: TooManyNamespaces.
pub async fn create(tx: &Tx<'_>, name: &str, making: Making) -> Result<(Namespace, Option<String>)> {
    let removed = make_place(tx, making).await?;
    let Making { limits, origin, now_us, .. } = making;
    let mut row = limits_row(&limits);
    row.name = Set(name.to_owned());
    for counter in [
        &mut row.entry_count,
        &mut row.stored_bytes,
        &mut row.hit_count,
        &mut row.miss_count,
        &mut row.stale_count,
        &mut row.evicted_count,
        &mut row.expired_count,
        &mut row.tag_deletions,
    ] {
        *counter = Set(0);
    }
    row.origin = Set(origin_number(origin));
    row.create_time = Set(now_us);
    row.update_time = Set(now_us);
    let id = tx.insert(row).await?;
    let name = name.to_owned();
    let made = Namespace { id, name, limits, origin, tag_deletions: 0, create_us: now_us, update_us: now_us };
    Ok((made, removed))
}

/// Makes a provisional namespace, which is locked, one that callers see. Also returns the name of the namespace that was removed
/// for it, if one was.
///
/// Error: TooManyNamespaces.
pub async fn promote(
    tx: &Tx<'_>,
    namespace: Namespace,
    making: Making,
) -> Result<(Namespace, Option<String>)> {
    let removed = make_place(tx, making).await?;
    let Making { limits, origin, now_us, .. } = making;
    let mut row = limits_row(&limits);
    row.origin = Set(origin_number(origin));
    row.create_time = Set(now_us);
    row.update_time = Set(now_us);
    namespaces::Entity::update_many()
        .set(row)
        .filter(namespaces::Column::Id.eq(namespace.id))
        .exec(&**tx)
        .await?;
    Ok((Namespace { limits, origin, create_us: now_us, update_us: now_us, ..namespace }, removed))
}

/// Checks that one more namespace fits in. At the limit it removes an implicit one without rows, and returns its name.
async fn make_place(tx: &Tx<'_>, making: Making) -> Result<Option<String>> {
    use namespaces::Column as C;
    let provisional = origin_number(Origin::Provisional);
    let is_provisional = making.origin == Origin::Provisional;
    let of_kind = if is_provisional { C::Origin.eq(provisional) } else { C::Origin.ne(provisional) };
    // Namespaces that are being deleted, whose names sort before '$', count for nothing.
    let count = namespaces::Entity::find().filter(C::Name.gt("$")).filter(of_kind).count(&**tx).await?;
    if i64::try_from(count).unwrap_or(i64::MAX) < making.namespaces_max {
        return Ok(None);
    }
    let full = Error::TooManyNamespaces { namespaces_max: making.namespaces_max };
    if is_provisional {
        return Err(full);
    }
    let rows = Query::select()
        .expr(Expr::val(1))
        .from(entries::Entity)
        .and_where(
            Expr::col((entries::Entity, entries::Column::NamespaceId)).equals((namespaces::Entity, C::Id)),
        )
        .take();
    let unused = namespaces::Entity::find()
        .filter(C::Name.gt("$"))
        .filter(C::Origin.eq(origin_number(Origin::Implicit)))
        .filter(Expr::exists(rows).not())
        .order_by_asc(C::Id)
        .limit(1)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked)
        .one(&**tx)
        .await?;
    let unused = unused.ok_or(full)?;
    removal::rename(tx, unused.id).await?;
    Ok(Some(unused.name))
}
