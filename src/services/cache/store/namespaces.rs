//! Namespaces: finding and changing them, and their numbers.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Select, Set,
};

use crate::error::{Error, Result};
use crate::services::cache::domain::{Limits, Namespace, Origin, Reads, Stats, Usage};
use crate::services::cache::entity::{entries, namespaces};
use crate::settings::{Durability, Eviction};
use crate::storage::{Db, Rank, RowLock, Tx, row};

/// What the name of a namespace that is being deleted begins with; no caller can name it.
pub(super) const DELETED: &str = "#";

/// Namespaces that callers see.
fn seen() -> Select<namespaces::Entity> {
    let provisional = origin_number(Origin::Provisional);
    namespaces::Entity::find().filter(namespaces::Column::Origin.ne(provisional))
}

/// The namespace of that name, unless it is provisional.
pub async fn find(db: &Db<'_>, name: &str) -> Result<Option<Namespace>> {
    let row = seen().filter(namespaces::Column::Name.eq(name)).one(db).await?;
    row.map(namespace).transpose()
}

/// At most `rows_max` namespaces by name, those after `after`.
pub async fn find_all(db: &Db<'_>, after: Option<&str>, rows_max: u64) -> Result<Vec<Namespace>> {
    // Names of deleted ones sort before all others: '#' is below every letter that a name may have.
    let rows = seen()
        .filter(namespaces::Column::Name.gt(after.unwrap_or("$")))
        .order_by_asc(namespaces::Column::Name)
        .limit(rows_max)
        .all(db)
        .await?;
    rows.into_iter().map(namespace).collect()
}

/// Written out, because it is run for every put: building it would cost more than running it.
const BY_NAME: &str = r#"SELECT "id", "name", "entries_max", "bytes_max", "ttl_us", "stale_window_us", "eviction",
    "durability", "origin", "tag_deletions", "entry_count", "stored_bytes", "hit_count", "miss_count", "stale_count", "evicted_count",
    "expired_count", "create_time", "update_time" FROM "cache_namespaces" WHERE "name" = $1"#;

row! {
    impl namespaces::Model {
        id, name, entries_max, bytes_max, ttl_us, stale_window_us, eviction, durability, origin, tag_deletions, entry_count, stored_bytes, hit_count, miss_count,
        stale_count, evicted_count, expired_count, create_time, update_time,
    }
}

/// The namespace of that name, also a provisional one, and what it holds, locked as [`lock`](super::lock) does.
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

/// Writes a namespace's limits, after which its caller has made it.
pub async fn update(tx: &Tx<'_>, namespace: Namespace, limits: Limits, now_us: i64) -> Result<Namespace> {
    let mut row = limits_row(&limits);
    row.origin = Set(origin_number(Origin::Configured));
    row.update_time = Set(now_us);
    namespaces::Entity::update_many()
        .set(row)
        .filter(namespaces::Column::Id.eq(namespace.id))
        .exec(&**tx)
        .await?;
    Ok(Namespace { limits, origin: Origin::Configured, update_us: now_us, ..namespace })
}

/// A namespace's numbers.
pub async fn stats(db: &Db<'_>, name: &str) -> Result<Stats> {
    #[derive(FromQueryResult)]
    struct Created {
        create_time: i64,
    }
    let row = seen().filter(namespaces::Column::Name.eq(name)).one(db).await?;
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

pub(super) fn usage(row: &namespaces::Model) -> Usage {
    Usage { entry_count: row.entry_count, stored_bytes: row.stored_bytes }
}

pub(super) fn limits_row(limits: &Limits) -> namespaces::ActiveModel {
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

/// An origin as it is stored.
pub(super) fn origin_number(origin: Origin) -> i64 {
    match origin {
        Origin::Configured => 1,
        Origin::Implicit => 2,
        Origin::Provisional => 3,
    }
}

pub(super) fn namespace(row: namespaces::Model) -> Result<Namespace> {
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
    let origin = match row.origin {
        1 => Origin::Configured,
        2 => Origin::Implicit,
        3 => Origin::Provisional,
        other => return Err(corrupt("origin", other)),
    };
    Ok(Namespace {
        id: row.id,
        name: row.name,
        limits,
        origin,
        tag_deletions: row.tag_deletions,
        create_us: row.create_time,
        update_us: row.update_time,
    })
}
