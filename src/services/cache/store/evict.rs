//! Making room: expired entries first, then those that the namespace's policy names. Small steps, each in a transaction.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use uuid::Uuid;

use super::{Doomed, KIND_PLACE, remove};
use crate::error::Result;
use crate::services::cache::domain::{Namespace, Usage};
use crate::services::cache::entity::{entries, namespaces};
use crate::settings::Eviction;
use crate::storage::Tx;

/// Candidates looked at beyond those that are needed, so that recently used ones can be passed over.
const LOOK_AHEAD: u64 = 8;

/// Accesses that are gathered in memory and not yet in the table.
pub trait Recency: Send + Sync {
    /// The last one to that row, if there is one.
    fn last_access_us(&self, entry_id: i64) -> Option<i64>;
}

/// The room that is to be made.
pub struct Room<'r> {
    /// What is too much.
    pub over: Usage,
    /// At most so many rows go.
    pub rows_max: u64,
    /// Accesses that the table does not know yet.
    pub recency: &'r dyn Recency,
    /// Rows from this revision on are those that room is made for: they go last.
    pub new_from: Option<i64>,
    /// Now.
    pub now_us: i64,
}

/// Evicts entries until there is room; answers with those that went.
pub async fn make_room(tx: &Tx<'_>, namespace: &Namespace, room: Room<'_>) -> Result<Vec<Doomed>> {
    let mut gone = Vec::new();
    let mut left = room.over;
    let mut choice = Choice { recency: room.recency, older_than: room.new_from, now_us: room.now_us };
    while !left.is_zero() && (gone.len() as u64) < room.rows_max {
        // Each row makes up for one entry; how many rows some bytes take is seen only when they are looked at.
        let for_bytes = if left.stored_bytes > 0 { LOOK_AHEAD } else { 0 };
        let wanted = std::cmp::max(u64::try_from(left.entry_count).unwrap_or(0), for_bytes);
        let wanted = std::cmp::min(wanted, room.rows_max - gone.len() as u64);
        let mut victims = victims(tx, namespace, wanted, &choice).await?;
        let enough = victims.iter().position(|victim| {
            left = left.without(victim.row.usage());
            left.is_zero()
        });
        victims.truncate(enough.map_or(usize::MAX, |last| last + 1));
        if victims.is_empty() {
            // Only the new ones are left; a batch can be larger than its namespace.
            if choice.older_than.take().is_some() {
                continue;
            }
            break;
        }
        drop_victims(tx, namespace.id, &victims).await?;
        gone.extend(victims.into_iter().map(|victim| victim.row));
    }
    Ok(gone)
}

/// Evicts the `count` entries that would go next; answers with those that went and what that freed.
pub async fn evict(
    tx: &Tx<'_>,
    namespace: &Namespace,
    count: u64,
    recency: &dyn Recency,
    now_us: i64,
) -> Result<(Vec<Doomed>, Usage)> {
    let choice = Choice { recency, older_than: None, now_us };
    let victims = victims(tx, namespace, count, &choice).await?;
    let freed = drop_victims(tx, namespace.id, &victims).await?;
    Ok((victims.into_iter().map(|victim| victim.row).collect(), freed))
}

/// Removes at most `rows_max` rows of a namespace whose time is over; answers with them.
pub async fn sweep(tx: &Tx<'_>, namespace_id: i64, rows_max: u64, now_us: i64) -> Result<Vec<Doomed>> {
    super::lock(tx, namespace_id).await?;
    let expired = entries::Entity::find()
        .select_only()
        .columns(Doomed::columns())
        .filter(entries::Column::NamespaceId.eq(namespace_id))
        .filter(entries::Column::RemoveTime.lte(now_us))
        .order_by_asc(entries::Column::RemoveTime)
        .limit(rows_max)
        .into_model::<Doomed>()
        .all(&**tx)
        .await?;
    remove(tx, namespace_id, &expired).await?;
    let entries = expired.iter().filter(|row| row.is_entry()).count();
    count(tx, namespace_id, 0, i64::try_from(entries).unwrap_or(i64::MAX)).await?;
    Ok(expired)
}

struct Victim {
    row: Doomed,
    is_expired: bool,
}

/// What victims are chosen by, besides the namespace's policy.
struct Choice<'c> {
    recency: &'c dyn Recency,
    /// Only rows below this revision.
    older_than: Option<i64>,
    now_us: i64,
}

async fn victims(tx: &Tx<'_>, namespace: &Namespace, count: u64, choice: &Choice<'_>) -> Result<Vec<Victim>> {
    let victim = |is_expired| move |row| Victim { row, is_expired };
    let by_removal = select(namespace.id, choice)
        .filter(entries::Column::RemoveTime.is_not_null())
        .order_by_asc(entries::Column::RemoveTime)
        // Of those of one time the older row, as below: the choice is the same on every database.
        .order_by_asc(entries::Column::Id)
        .limit(count);
    let expired = by_removal.clone().filter(entries::Column::RemoveTime.lte(choice.now_us));
    let expired = expired.into_model::<Doomed>().all(&**tx).await?;
    let mut found: Vec<Victim> = expired.into_iter().map(victim(true)).collect();
    let missing = |found: &Vec<Victim>| count.saturating_sub(found.len() as u64);
    if missing(&found) > 0 && namespace.limits.eviction == Eviction::Ttl {
        let soonest = by_removal.filter(entries::Column::RemoveTime.gt(choice.now_us)).limit(missing(&found));
        found.extend(soonest.into_model::<Doomed>().all(&**tx).await?.into_iter().map(victim(false)));
    }
    if missing(&found) > 0 {
        let rows = least_recent(tx, namespace, missing(&found), choice).await?;
        found.extend(rows.into_iter().map(victim(false)));
    }
    Ok(found)
}

#[derive(Clone, FromQueryResult)]
struct Candidate {
    id: i64,
    key: String,
    kind: i64,
    stored_bytes: i64,
    lease_token: Option<Uuid>,
    access_time: i64,
}

/// The rows that were used longest ago, as table and memory together know.
///
/// The table is read in its order, page by page. A row that was used since the table was last told counts with that later
/// time, so the search ends only when enough rows are found whose time is not later than that of the last row read: no row
/// behind it can have been used earlier.
async fn least_recent(
    tx: &Tx<'_>,
    namespace: &Namespace,
    count: u64,
    choice: &Choice<'_>,
) -> Result<Vec<Doomed>> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let mut found: Vec<(i64, Candidate)> = Vec::new();
    let mut after: Option<(i64, i64)> = None;
    loop {
        let page = candidates(namespace, after, count.saturating_add(LOOK_AHEAD), choice)
            .into_model::<Candidate>()
            .all(&**tx)
            .await?;
        let Some(last) = page.last().map(|last| (last.access_time, last.id)) else { break };
        after = Some(last);
        found.extend(page.into_iter().map(|candidate| {
            let noted_us = choice.recency.last_access_us(candidate.id).unwrap_or(i64::MIN);
            (std::cmp::max(noted_us, candidate.access_time), candidate)
        }));
        found.sort_by_key(|(used_us, candidate)| (*used_us, candidate.id));
        if found.get(wanted - 1).is_some_and(|(used_us, _)| *used_us <= last.0) {
            break;
        }
    }
    let rows = found.into_iter().take(wanted).map(|(_, row)| row);
    Ok(rows
        .map(|row| Doomed {
            id: row.id,
            key: row.key,
            kind: row.kind,
            stored_bytes: row.stored_bytes,
            lease_token: row.lease_token,
        })
        .collect())
}

fn candidates(
    namespace: &Namespace,
    after: Option<(i64, i64)>,
    rows_max: u64,
    choice: &Choice<'_>,
) -> Select<entries::Entity> {
    use entries::Column as C;
    let mut query = select(namespace.id, choice)
        .column(C::AccessTime)
        .order_by_asc(C::AccessTime)
        .order_by_asc(C::Id)
        .limit(rows_max);
    query = match namespace.limits.eviction {
        // Those that expire were taken before.
        Eviction::Ttl => query.filter(C::RemoveTime.is_null()),
        Eviction::Lru => {
            query.filter(Condition::any().add(C::RemoveTime.is_null()).add(C::RemoveTime.gt(choice.now_us)))
        }
    };
    if let Some((time, id)) = after {
        let same = Condition::all().add(C::AccessTime.eq(time)).add(C::Id.gt(id));
        query = query
            .filter(C::AccessTime.gte(time))
            .filter(Condition::any().add(C::AccessTime.gt(time)).add(same));
    }
    query
}

fn select(namespace_id: i64, choice: &Choice<'_>) -> Select<entries::Entity> {
    use entries::Column as C;
    // A row whose lease is held stays: its holder is about to replace the entry.
    let is_free =
        Condition::any().add(C::LeaseExpireTime.is_null()).add(C::LeaseExpireTime.lte(choice.now_us));
    let query = entries::Entity::find()
        .select_only()
        .columns(Doomed::columns())
        .filter(C::NamespaceId.eq(namespace_id))
        .filter(C::Kind.ne(KIND_PLACE))
        .filter(is_free);
    match choice.older_than {
        Some(revision) => query.filter(C::Revision.lt(revision)),
        None => query,
    }
}

async fn drop_victims(tx: &Tx<'_>, namespace_id: i64, victims: &[Victim]) -> Result<Usage> {
    let rows: Vec<Doomed> = victims.iter().map(|victim| victim.row.clone()).collect();
    let freed = remove(tx, namespace_id, &rows).await?;
    let expired =
        i64::try_from(victims.iter().filter(|victim| victim.is_expired).count()).unwrap_or(i64::MAX);
    let evicted = i64::try_from(victims.len()).unwrap_or(i64::MAX) - expired;
    count(tx, namespace_id, evicted, expired).await?;
    Ok(freed)
}

async fn count(tx: &Tx<'_>, namespace_id: i64, evicted: i64, expired: i64) -> Result<()> {
    use namespaces::Column as C;
    if evicted == 0 && expired == 0 {
        return Ok(());
    }
    namespaces::Entity::update_many()
        .col_expr(C::EvictedCount, Expr::col(C::EvictedCount).add(evicted))
        .col_expr(C::ExpiredCount, Expr::col(C::ExpiredCount).add(expired))
        .filter(C::Id.eq(namespace_id))
        .exec(&**tx)
        .await?;
    Ok(())
}
