//! Namespaces: finding, creating, changing, deleting them, and their numbers.

use sea_orm::sea_query::{Expr, ExprTrait as _, LockType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};

use super::Doomed;
use crate::error::{Error, Result};
use crate::services::cache::domain::{Limits, Namespace, Reads, Stats, Usage};
use crate::services::cache::entity::{entries, namespaces};
use crate::settings::{Durability, Eviction};
use crate::storage::{Db, Rank, RowLock, Tx, row};

/// What the name of a namespace that is being deleted begins with; no caller can name it.
const DELETED: &str = "#";

/// The namespace of that name.
pub async fn find(db: &Db<'_>, name: &str) -> Result<Option<Namespace>> {
    let row = namespaces::Entity::find().filter(namespaces::Column::Name.eq(name)).one(db).await?;
    row.map(namespace).transpose()
}

/// At most `rows_max` namespaces by name, those after `after`.
pub async fn find_all(db: &Db<'_>, after: Option<&str>, rows_max: u64) -> Result<Vec<Namespace>> {
    // Names of deleted ones sort before all others: '#' is below every letter that a name may have.
    let rows = namespaces::Entity::find()
        .filter(namespaces::Column::Name.gt(after.unwrap_or("$")))
        .order_by_asc(namespaces::Column::Name)
        .limit(rows_max)
        .all(db)
        .await?;
    rows.into_iter().map(namespace).collect()
}

/// What the upkeep has to do.
#[derive(Debug, Default)]
pub struct Due {
    /// Namespaces with rows whose time is over.
    pub expired: Vec<i64>,
    /// Namespaces beyond their limits.
    pub over_limits: Vec<String>,
    /// Whether deleted namespaces have rows left.
    pub has_deleted: bool,
}

/// What there is to do at `now_us`.
pub async fn due(db: &Db<'_>, now_us: i64) -> Result<Due> {
    let mut due = Due::default();
    for row in namespaces::Entity::find().all(db).await? {
        let is_deleted = row.name.starts_with(DELETED);
        due.has_deleted |= is_deleted;
        let (id, usage) = (row.id, usage(&row));
        let namespace = namespace(row)?;
        if !usage.over(&namespace.limits).is_zero() && !is_deleted {
            due.over_limits.push(namespace.name);
        }
        let expired = entries::Entity::find()
            .filter(entries::Column::NamespaceId.eq(id))
            .filter(entries::Column::RemoveTime.lte(now_us))
            .limit(1)
            .count(db)
            .await?;
        if expired > 0 && !is_deleted {
            due.expired.push(id);
        }
    }
    Ok(due)
}

/// Written out, because it is run for every put: building it would cost more than running it.
const BY_NAME: &str = r#"SELECT "id", "name", "entries_max", "bytes_max", "ttl_us", "stale_window_us", "eviction",
    "durability", "entry_count", "stored_bytes", "hit_count", "miss_count", "stale_count", "evicted_count",
    "expired_count", "create_time", "update_time" FROM "cache_namespaces" WHERE "name" = $1"#;

row! {
    impl namespaces::Model {
        id, name, entries_max, bytes_max, ttl_us, stale_window_us, eviction, durability, entry_count, stored_bytes, hit_count, miss_count,
        stale_count, evicted_count, expired_count, create_time, update_time,
    }
}

/// The namespace of that name and what it holds, locked as [`lock`](super::lock) does.
pub async fn find_with_usage(tx: &Tx<'_>, name: &str) -> Result<Option<(Namespace, Usage)>> {
    let Some(row) = tx.row::<namespaces::Model>(&tx.locking(BY_NAME), vec![name.into()]).await? else {
        return Ok(None);
    };
    let usage = usage(&row);
    Ok(Some((namespace(row)?, usage)))
}

/// That lock.
pub fn lock_of(name: &str) -> RowLock {
    let select = r#"SELECT "id" FROM "cache_namespaces" WHERE "name" = $1"#;
    RowLock::new(Rank::Namespaces, name, select, vec![name.into()])
}

/// Makes a namespace. Errors: TooManyNamespaces.
pub async fn create(
    tx: &Tx<'_>,
    name: &str,
    limits: Limits,
    namespaces_max: i64,
    now_us: i64,
) -> Result<Namespace> {
    // Those that are being deleted, whose names sort before '$', take no place.
    let count = namespaces::Entity::find().filter(namespaces::Column::Name.gt("$")).count(&**tx).await?;
    if i64::try_from(count).unwrap_or(i64::MAX) >= namespaces_max {
        return Err(Error::TooManyNamespaces { namespaces_max });
    }
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
    ] {
        *counter = Set(0);
    }
    row.create_time = Set(now_us);
    row.update_time = Set(now_us);
    let id = tx.insert(row).await?;
    Ok(Namespace { id, name: name.to_owned(), limits, create_us: now_us, update_us: now_us })
}

/// Writes a namespace's limits.
pub async fn update(tx: &Tx<'_>, namespace: Namespace, limits: Limits, now_us: i64) -> Result<Namespace> {
    let mut row = limits_row(&limits);
    row.update_time = Set(now_us);
    namespaces::Entity::update_many()
        .set(row)
        .filter(namespaces::Column::Id.eq(namespace.id))
        .exec(&**tx)
        .await?;
    Ok(Namespace { limits, update_us: now_us, ..namespace })
}

/// Takes the name from a namespace, so that it is gone; [`finish_deletions`] removes its rows.
pub async fn delete(tx: &Tx<'_>, namespace: &Namespace) -> Result<()> {
    namespaces::Entity::update_many()
        .col_expr(namespaces::Column::Name, format!("{DELETED}{}", namespace.id).into())
        .filter(namespaces::Column::Id.eq(namespace.id))
        .exec(&**tx)
        .await?;
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
        super::remove(tx, deleted.id, &rows).await?;
    }
    Ok(true)
}

/// A namespace's numbers.
pub async fn stats(db: &Db<'_>, name: &str) -> Result<Stats> {
    #[derive(FromQueryResult)]
    struct Created {
        create_time: i64,
    }
    let row = namespaces::Entity::find().filter(namespaces::Column::Name.eq(name)).one(db).await?;
    let row = row.ok_or(Error::NamespaceNotFound)?;
    let created = || {
        entries::Entity::find()
            .select_only()
            .column(entries::Column::CreateTime)
            .filter(entries::Column::NamespaceId.eq(row.id))
            .filter(entries::Column::Kind.ne(super::KIND_PLACE))
            .limit(1)
    };
    let oldest = created().order_by_asc(entries::Column::CreateTime).into_model::<Created>().one(db).await?;
    let newest = created().order_by_desc(entries::Column::CreateTime).into_model::<Created>().one(db).await?;
    Ok(Stats {
        usage: usage(&row),
        oldest_us: oldest.map(|row| row.create_time),
        newest_us: newest.map(|row| row.create_time),
        reads: Reads { hits: row.hit_count, misses: row.miss_count, stales: row.stale_count },
        evicted_count: row.evicted_count,
        expired_count: row.expired_count,
    })
}

/// Adds reads that were counted in memory.
pub async fn add_reads(tx: &Tx<'_>, namespace_id: i64, reads: Reads) -> Result<()> {
    use namespaces::Column as C;
    namespaces::Entity::update_many()
        .col_expr(C::HitCount, Expr::col(C::HitCount).add(reads.hits))
        .col_expr(C::MissCount, Expr::col(C::MissCount).add(reads.misses))
        .col_expr(C::StaleCount, Expr::col(C::StaleCount).add(reads.stales))
        .filter(C::Id.eq(namespace_id))
        .exec(&**tx)
        .await?;
    Ok(())
}

fn usage(row: &namespaces::Model) -> Usage {
    Usage { entry_count: row.entry_count, stored_bytes: row.stored_bytes }
}

fn limits_row(limits: &Limits) -> namespaces::ActiveModel {
    namespaces::ActiveModel {
        entries_max: Set(limits.entries_max),
        bytes_max: Set(limits.bytes_max),
        ttl_us: Set(limits.ttl_us),
        stale_window_us: Set(limits.stale_window_us),
        eviction: Set(match limits.eviction {
            Eviction::Lru => 1,
            Eviction::Ttl => 2,
        }),
        durability: Set(match limits.durability {
            Durability::Full => 1,
            Durability::Relaxed => 2,
        }),
        ..Default::default()
    }
}

fn namespace(row: namespaces::Model) -> Result<Namespace> {
    let corrupt = |column, value: i64| Error::CorruptRow {
        table: "cache_namespaces",
        column,
        row: row.id,
        cause: format!("{value} is unknown"),
    };
    let limits = Limits {
        entries_max: row.entries_max,
        bytes_max: row.bytes_max,
        ttl_us: row.ttl_us,
        stale_window_us: row.stale_window_us,
        eviction: match row.eviction {
            1 => Eviction::Lru,
            2 => Eviction::Ttl,
            other => return Err(corrupt("eviction", other)),
        },
        durability: match row.durability {
            1 => Durability::Full,
            2 => Durability::Relaxed,
            other => return Err(corrupt("durability", other)),
        },
    };
    Ok(Namespace {
        id: row.id,
        name: row.name,
        limits,
        create_us: row.create_time,
        update_us: row.update_time,
    })
}
