//! The cache's queries: one function is one step inside a transaction.

mod evict;
mod leases;
mod list;
mod namespaces;
mod origins;
mod put;
mod removal;
mod rows;
mod tag_deletions;

use sea_orm::sea_query::{Expr, ExprTrait as _, Func, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use uuid::Uuid;

use super::domain::{Entry, Namespace, Usage, stale_until};
use super::entity::entries;
use crate::answer::Budget;
use crate::error::Result;
use crate::storage::{Db, Tx, chunks};

pub use evict::{Recency, Room, evict, make_room, sweep};
pub use leases::{Claim, claim, release};
pub use list::{Filter, add_values, list};
pub use namespaces::{add_reads, find, find_all, find_with_usage, lock_of, stats, update};
pub use origins::{Making, create, promote};
pub use put::{check, put};
pub use removal::{delete, due, finish_deletions, remove_provisional};

/// What a place, a value and a cached failure are stored as.
const KIND_PLACE: i64 = 0;
const KIND_VALUE: i64 = 1;
const KIND_NEGATIVE: i64 = 2;

/// A stored entry that is to go.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Doomed {
    /// The row.
    pub id: i64,
    /// The key.
    pub key: String,
    kind: i64,
    stored_bytes: i64,
    lease_token: Option<Uuid>,
}

impl Doomed {
    fn columns() -> [entries::Column; 5] {
        use entries::Column as C;
        [C::Id, C::Key, C::Kind, C::StoredBytes, C::LeaseToken]
    }

    /// Whether it is an entry, not only a place that a lease holds.
    pub fn is_entry(&self) -> bool {
        self.kind != KIND_PLACE
    }

    /// Whether somebody may wait for the key to be filled.
    pub fn ends_lease(&self) -> bool {
        self.lease_token.is_some()
    }

    fn usage(&self) -> Usage {
        if !self.is_entry() {
            return Usage::default();
        }
        Usage { entry_count: 1, stored_bytes: self.stored_bytes }
    }
}

/// One entry, live or not.
pub async fn get(db: &Db<'_>, namespace_id: i64, key: &str) -> Result<Option<Entry>> {
    let row = entries::Entity::find()
        .filter(entries::Column::NamespaceId.eq(namespace_id))
        .filter(entries::Column::Key.eq(key))
        .filter(entries::Column::Kind.ne(KIND_PLACE))
        .one(db)
        .await?;
    row.map(rows::entry).transpose()
}

/// The entries of `keys`, live or not, in no order, as many as the budget allows but one at least; and the keys that were
/// not read any more.
pub async fn get_many(
    db: &Db<'_>,
    namespace_id: i64,
    keys: &[String],
    budget: Budget,
) -> Result<(Vec<Entry>, Vec<String>)> {
    let mut found = Vec::with_capacity(keys.len());
    let mut left = size(budget);
    let mut queue: Vec<&[String]> = chunks(keys).collect();
    queue.reverse();
    while let Some(chunk) = queue.pop() {
        // The sizes are asked for first: a page of the largest values would not fit into memory.
        let bytes = value_bytes(db, namespace_id, chunk).await?;
        if bytes > left && chunk.len() > 1 {
            let (first, second) = chunk.split_at(chunk.len() / 2);
            queue.extend([second, first]);
            continue;
        }
        if bytes > left && !found.is_empty() {
            queue.push(chunk);
            break;
        }
        left -= bytes;
        let rows = entries::Entity::find().filter(of_keys(namespace_id, chunk)).all(db).await?;
        for row in rows {
            found.push(rows::entry(row)?);
        }
    }
    Ok((found, queue.into_iter().rev().flatten().cloned().collect()))
}

/// The bytes of a budget, as the database counts sizes.
fn size(budget: Budget) -> i64 {
    i64::try_from(budget.bytes_left()).unwrap_or(i64::MAX)
}

async fn value_bytes(db: &Db<'_>, namespace_id: i64, keys: &[String]) -> Result<i64> {
    #[derive(FromQueryResult)]
    struct Sum {
        bytes: Option<i64>,
    }
    let metadata = Func::cust("octet_length").arg(Expr::col(entries::Column::MetadataJson));
    // A sum of bigints is a numeric on PostgreSQL.
    let sum = Expr::col(entries::Column::SizeBytes).add(metadata).sum().cast_as("bigint");
    let query =
        entries::Entity::find().select_only().expr_as(sum, "bytes").filter(of_keys(namespace_id, keys));
    Ok(query.into_model::<Sum>().one(db).await?.and_then(|row| row.bytes).unwrap_or(0))
}

fn of_keys(namespace_id: i64, keys: &[String]) -> Condition {
    Condition::all()
        .add(entries::Column::NamespaceId.eq(namespace_id))
        .add(entries::Column::Key.is_in(keys))
        .add(entries::Column::Kind.ne(KIND_PLACE))
}

/// The ones of `keys` that have a live entry.
pub async fn existing(db: &Db<'_>, namespace_id: i64, keys: &[String], now_us: i64) -> Result<Vec<String>> {
    #[derive(FromQueryResult)]
    struct Key {
        key: String,
    }
    let mut found = Vec::new();
    for chunk in chunks(keys) {
        let keys = entries::Entity::find()
            .select_only()
            .column(entries::Column::Key)
            .filter(of_keys(namespace_id, chunk))
            .filter(is_live(now_us))
            .into_model::<Key>()
            .all(db)
            .await?;
        found.extend(keys.into_iter().map(|row| row.key));
    }
    Ok(found)
}

/// What became of one entry that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// There was no live one.
    NotFound,
    /// It has another revision, and stays.
    Other,
}

/// What became of it, and whether somebody may have waited for its key to be filled.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// What became of it.
    pub outcome: Deleted,
    /// Whether a lease went with it.
    pub ends_lease: bool,
}

/// Deletes entries, each if it has the revision asked for, if one is. A lease on the key goes with what is deleted, and with
/// a key that has no entry when no revision is asked for.
pub async fn delete_entries(
    tx: &Tx<'_>,
    namespace_id: i64,
    items: &[(String, Option<Option<i64>>)],
    now_us: i64,
) -> Result<Vec<Deletion>> {
    let stays = |outcome| Deletion { outcome, ends_lease: false };
    let mut deletions = Vec::with_capacity(items.len());
    let mut freed = Usage::default();
    for (key, revision) in items {
        let Some(row) = rows::current(tx, namespace_id, key).await? else {
            deletions.push(stays(Deleted::NotFound));
            continue;
        };
        let is_live = row.is_live(now_us);
        // A place has no etag: who asks for one does not mean the lease.
        if let Some(asked) = revision
            && (row.kind == KIND_PLACE || *asked != Some(row.revision))
        {
            deletions.push(stays(if is_live { Deleted::Other } else { Deleted::NotFound }));
            continue;
        }
        entries::Entity::delete_by_id(row.id).exec(&**tx).await?;
        freed = freed.with(row.usage());
        let outcome = if is_live { Deleted::Gone } else { Deleted::NotFound };
        deletions.push(Deletion { outcome, ends_lease: row.lease_token.is_some() });
    }
    add_usage(tx, namespace_id, negative(freed)).await?;
    Ok(deletions)
}

/// Deletes at most `rows_max` entries whose key begins with `prefix`, and after the last of them at most `rows_max` leases on such
/// keys; answers with them, and whether there are more.
pub async fn delete_by_prefix(
    tx: &Tx<'_>,
    namespace_id: i64,
    prefix: &str,
    rows_max: u64,
) -> Result<(Vec<Doomed>, bool)> {
    let found = |of_kind: SimpleExpr| {
        entries::Entity::find()
            .select_only()
            .columns(Doomed::columns())
            .filter(entries::Column::NamespaceId.eq(namespace_id))
            .filter(list::has_prefix(prefix))
            .filter(of_kind)
            .order_by_asc(entries::Column::Key)
            .limit(rows_max.saturating_add(1))
            .into_model::<Doomed>()
            .all(&**tx)
    };
    let entries = found(entries::Column::Kind.ne(KIND_PLACE)).await?;
    let (mut gone, more) = delete_found(tx, namespace_id, entries, rows_max).await?;
    if more {
        return Ok((gone, more));
    }
    // The leases on such keys end as well: what is being filled is deleted.
    let places = found(entries::Column::Kind.eq(KIND_PLACE)).await?;
    let (ended, more) = delete_found(tx, namespace_id, places, rows_max).await?;
    gone.extend(ended);
    Ok((gone, more))
}

/// Deletes at most `rows_max` entries that carry `tag`; answers with them, and whether there are more. A fill that began before
/// stores no entry with the tag any more.
pub async fn delete_by_tag(
    tx: &Tx<'_>,
    namespace: &Namespace,
    tag: &str,
    rows_max: u64,
) -> Result<(Vec<Doomed>, bool)> {
    tag_deletions::note(tx, namespace, tag).await?;
    let found = entries::Entity::find()
        .select_only()
        .columns(Doomed::columns())
        .filter(entries::Column::Id.in_subquery(list::tagged(namespace.id, tag)))
        .limit(rows_max.saturating_add(1))
        .into_model::<Doomed>()
        .all(&**tx)
        .await?;
    delete_found(tx, namespace.id, found, rows_max).await
}

async fn delete_found(
    tx: &Tx<'_>,
    namespace_id: i64,
    mut found: Vec<Doomed>,
    rows_max: u64,
) -> Result<(Vec<Doomed>, bool)> {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let more = found.len() > rows_max;
    found.truncate(rows_max);
    remove(tx, namespace_id, &found).await?;
    Ok((found, more))
}

/// A new expiry for an entry that is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExpiry {
    /// As it is.
    Keep,
    /// After so many microseconds.
    After(i64),
    /// Never.
    Never,
}

/// Marks entries as used now; answers for each with its expiry, or none if there is no live entry.
pub async fn touch(
    tx: &Tx<'_>,
    namespace_id: i64,
    items: &[(String, NewExpiry)],
    now_us: i64,
) -> Result<Vec<Option<Option<i64>>>> {
    let mut outcomes = Vec::with_capacity(items.len());
    for (key, expiry) in items {
        let row = rows::current(tx, namespace_id, key).await?.filter(|row| row.is_live(now_us));
        let Some(row) = row else {
            outcomes.push(None);
            continue;
        };
        let mut change = entries::ActiveModel { access_time: Set(now_us), ..Default::default() };
        let expire_us = match expiry {
            NewExpiry::Keep => row.expire_time,
            NewExpiry::After(ttl_us) => Some(now_us.saturating_add(*ttl_us)),
            NewExpiry::Never => None,
        };
        if *expiry != NewExpiry::Keep {
            let stale_until_us = stale_until(expire_us, row.stale_window_us);
            change.expire_time = Set(expire_us);
            change.stale_until_time = Set(stale_until_us);
            change.remove_time = Set(rows::remove_time(expire_us, stale_until_us, row.lease_expire_time));
        }
        entries::Entity::update_many().set(change).filter(entries::Column::Id.eq(row.id)).exec(&**tx).await?;
        outcomes.push(Some(expire_us));
    }
    Ok(outcomes)
}

/// Accesses to one entry that were gathered in memory.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Its namespace.
    pub namespace_id: i64,
    /// The row.
    pub entry_id: i64,
    /// How many.
    pub count: i64,
    /// The last.
    pub last_us: i64,
}

/// Writes gathered accesses to entries of one namespace. A put or a touch that came after them was a later use: no time is set
/// back.
pub async fn add_accesses(tx: &Tx<'_>, namespace_id: i64, accesses: &[Access]) -> Result<()> {
    lock(tx, namespace_id).await?;
    for access in accesses {
        let known = || Expr::col(entries::Column::AccessTime);
        let later = Expr::case(known().lt(access.last_us), access.last_us).finally(known());
        entries::Entity::update_many()
            .col_expr(entries::Column::AccessTime, later.into())
            .col_expr(entries::Column::AccessCount, Expr::col(entries::Column::AccessCount).add(access.count))
            .filter(entries::Column::Id.eq(access.entry_id))
            .exec(&**tx)
            .await?;
    }
    Ok(())
}

/// Locks a namespace. Whatever changes entries begins with this or with [`find_with_usage`], so that changes of one
/// namespace follow one another, on any database.
pub async fn lock(tx: &Tx<'_>, namespace_id: i64) -> Result<()> {
    tx.lock(r#"SELECT "id" FROM "cache_namespaces" WHERE "id" = $1"#, [namespace_id.into()]).await
}

fn is_live(now_us: i64) -> Condition {
    let expire_time = entries::Column::ExpireTime;
    Condition::any().add(expire_time.is_null()).add(expire_time.gt(now_us))
}

/// Deletes rows and takes them off their namespace's usage.
async fn remove(tx: &Tx<'_>, namespace_id: i64, doomed: &[Doomed]) -> Result<Usage> {
    let mut freed = Usage::default();
    let ids: Vec<i64> = doomed.iter().map(|row| row.id).collect();
    for chunk in chunks(&ids) {
        entries::Entity::delete_many()
            .filter(entries::Column::Id.is_in(chunk.iter().copied()))
            .exec(&**tx)
            .await?;
    }
    for row in doomed {
        freed = freed.with(row.usage());
    }
    add_usage(tx, namespace_id, negative(freed)).await?;
    Ok(freed)
}

/// Written out, because it is run for every put.
const ADD_USAGE: &str = r#"UPDATE "cache_namespaces" SET "entry_count" = "entry_count" + $1,
    "stored_bytes" = "stored_bytes" + $2 WHERE "id" = $3"#;

async fn add_usage(tx: &Tx<'_>, namespace_id: i64, by: Usage) -> Result<()> {
    if by.is_zero() {
        return Ok(());
    }
    let values = vec![by.entry_count.into(), by.stored_bytes.into(), namespace_id.into()];
    tx.run(ADD_USAGE, values).await?;
    Ok(())
}

fn negative(usage: Usage) -> Usage {
    Usage { entry_count: -usage.entry_count, stored_bytes: -usage.stored_bytes }
}
