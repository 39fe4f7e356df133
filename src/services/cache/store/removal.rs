//! Removing namespaces, and what maintenance has to do. Always in small steps.

use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::namespaces::{DELETED, namespace, usage};
use super::{Doomed, remove};
use crate::error::Result;
use crate::services::cache::domain::{Namespace, Origin};
use crate::services::cache::entity::{entries, namespaces};
use crate::storage::{Db, Tx};

/// What maintenance has to do.
#[derive(Debug, Default)]
pub struct Due {
    /// Namespaces with rows whose time is over.
    pub expired: Vec<i64>,
    /// Namespaces beyond their limits.
    pub over_limits: Vec<String>,
    /// Provisional namespaces without a lease that is held.
    pub provisional: Vec<String>,
    /// Whether deleted namespaces have rows left.
    pub has_deleted: bool,
}

/// What there is to do at `now_us`.
pub async fn due(db: &Db<'_>, now_us: i64) -> Result<Due> {
    let mut due = Due::default();
    for row in namespaces::Entity::find().all(db).await? {
        if row.name.starts_with(DELETED) {
            due.has_deleted = true;
            continue;
        }
        let (id, usage) = (row.id, usage(&row));
        let namespace = namespace(row)?;
        let of_time = |filter| {
            entries::Entity::find().filter(entries::Column::NamespaceId.eq(id)).filter(filter).limit(1)
        };
        if of_time(entries::Column::RemoveTime.lte(now_us)).count(db).await? > 0 {
            due.expired.push(id);
        }
        if namespace.origin == Origin::Provisional {
            if of_time(entries::Column::RemoveTime.gt(now_us)).count(db).await? == 0 {
                due.provisional.push(namespace.name);
            }
        } else if !usage.over(&namespace.limits).is_zero() {
            due.over_limits.push(namespace.name);
        }
    }
    Ok(due)
}

/// Takes the name from a namespace, so that it is gone; [`finish_deletions`] removes its rows.
pub async fn delete(tx: &Tx<'_>, namespace: &Namespace) -> Result<()> {
    rename(tx, namespace.id).await
}

pub(super) async fn rename(tx: &Tx<'_>, id: i64) -> Result<()> {
    namespaces::Entity::update_many()
        .col_expr(namespaces::Column::Name, format!("{DELETED}{id}").into())
        .filter(namespaces::Column::Id.eq(id))
        .exec(&**tx)
        .await?;
    Ok(())
}

/// Removes a namespace, which is locked, if it is provisional and has no row.
pub async fn remove_provisional(tx: &Tx<'_>, namespace: &Namespace) -> Result<()> {
    if namespace.origin != Origin::Provisional {
        return Ok(());
    }
    let of_it = entries::Entity::find().filter(entries::Column::NamespaceId.eq(namespace.id)).limit(1);
    if of_it.count(&**tx).await? == 0 {
        namespaces::Entity::delete_by_id(namespace.id).exec(&**tx).await?;
    }
    Ok(())
}

/// Removes at most `rows_max` rows of deleted namespaces, and those of them that are empty; tells whether there is more.
pub async fn finish_deletions(tx: &Tx<'_>, rows_max: u64) -> Result<bool> {
    let deleted = namespaces::Entity::find()
        .filter(namespaces::Column::Name.starts_with(DELETED))
        .order_by_asc(namespaces::Column::Id)
        .lock(LockType::NoKeyUpdate)
        .one(&**tx)
        .await?;
    let Some(deleted) = deleted else { return Ok(false) };
    let rows = entries::Entity::find()
        .select_only()
        .columns(Doomed::columns())
        .filter(entries::Column::NamespaceId.eq(deleted.id))
        .limit(rows_max)
        .into_model::<Doomed>()
        .all(&**tx)
        .await?;
    if rows.is_empty() {
        namespaces::Entity::delete_by_id(deleted.id).exec(&**tx).await?;
    } else {
        remove(tx, deleted.id, &rows).await?;
    }
    Ok(true)
}
