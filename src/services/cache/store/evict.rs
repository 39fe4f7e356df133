//! Making room: expired entries first, then those that the namespace's policy names. Small steps, each in a transaction.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

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

/// Evicts entries until `over` is made up for, at most `rows_max`; answers with those that went.
pub async fn make_room(
    tx: &Tx<'_>,
    namespace: &Namespace,
    over: Usage,
    rows_max: u64,
    recency: &dyn Recency,
    now_us: i64,
) -> Result<Vec<Doomed>> {
    let mut gone = Vec::new();
    let mut left = over;
    while !left.is_zero() && (gone.len() as u64) < rows_max {
        let room = rows_max - gone.len() as u64;
        // Each row makes up for one entry; how many rows some bytes take is seen only when they are looked at.
        let for_bytes = if left.stored_bytes > 0 { LOOK_AHEAD } else { 0 };
        let wanted = std::cmp::max(u64::try_from(left.entry_count).unwrap_or(0), for_bytes);
        let mut victims = victims(tx, namespace, std::cmp::min(wanted, room), recency, now_us).await?;
        let enough = victims.iter().position(|victim| {
            left = left.without(victim.row.usage());
            left.is_zero()
        });
        victims.truncate(enough.map_or(usize::MAX, |last| last + 1));
        if victims.is_empty() {
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
    let victims = victims(tx, namespace, count, recency, now_us).await?;
    let freed = drop_victims(tx, namespace.id, &victims).await?;
    Ok((victims.into_iter().map(|victim| victim.row).collect(), freed))
}

/// Removes at most `rows_max` rows of a namespace whose time is over; answers with them.
pub async fn sweep(tx: &Tx<'_>, namespace_id: i64, rows_max: u64, now_us: i64) -> Result<Vec<Doomed>> {
    let expired = select(namespace_id)
        .filter(entries::Column::RemoveTime.lte(now_us))
        .order_by_asc(entries::Column::RemoveTime)
        .limit(rows_max)
        .into_model::<Doomed>()
        .all(&**tx)
        .await?;
    remove(tx, namespace_id, &expired).await?;
    let entries = expired.iter().filter(|row| row.kind != KIND_PLACE).count();
    count(tx, namespace_id, 0, i64::try_from(entries).unwrap_or(i64::MAX)).await?;
    Ok(expired)
}

struct Victim {
    row: Doomed,
    is_expired: bool,
}

async fn victims(
    tx: &Tx<'_>,
    namespace: &Namespace,
    count: u64,
    recency: &dyn Recency,
    now_us: i64,
) -> Result<Vec<Victim>> {
    let victim = |is_expired| move |row| Victim { row, is_expired };
    let by_removal = select(namespace.id)
        .filter(entries::Column::RemoveTime.is_not_null())
        .filter(entries::Column::Kind.ne(KIND_PLACE))
        .order_by_asc(entries::Column::RemoveTime)
        .limit(count);
    let expired = by_removal.clone().filter(entries::Column::RemoveTime.lte(now_us));
    let expired = expired.into_model::<Doomed>().all(&**tx).await?;
    let mut found: Vec<Victim> = expired.into_iter().map(victim(true)).collect();
    let missing = |found: &Vec<Victim>| count.saturating_sub(found.len() as u64);
    if missing(&found) > 0 && namespace.limits.eviction == Eviction::Ttl {
        let soonest = by_removal.filter(entries::Column::RemoveTime.gt(now_us)).limit(missing(&found));
        found.extend(soonest.into_model::<Doomed>().all(&**tx).await?.into_iter().map(victim(false)));
    }
    if missing(&found) > 0 {
        let never_expire = namespace.limits.eviction == Eviction::Ttl;
        let rows = least_recent(tx, namespace.id, never_expire, missing(&found), recency, now_us).await?;
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
    access_time: i64,
}

/// The rows that were used longest ago, as table and memory together know. A row that was used since the table was last
/// told is passed over; only when there are no others do these go, the longest unused first.
async fn least_recent(
    tx: &Tx<'_>,
    namespace_id: i64,
    never_expire: bool,
    count: u64,
    recency: &dyn Recency,
    now_us: i64,
) -> Result<Vec<Doomed>> {
    let count_max = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut taken, mut passed_over) = (Vec::new(), Vec::new());
    let mut after: Option<(i64, i64)> = None;
    while taken.len() < count_max {
        let mut query = select(namespace_id)
            .column(entries::Column::AccessTime)
            .filter(entries::Column::Kind.ne(KIND_PLACE))
            .order_by_asc(entries::Column::AccessTime)
            .order_by_asc(entries::Column::Id)
            .limit(count + LOOK_AHEAD);
        query = if never_expire {
            query.filter(entries::Column::RemoveTime.is_null())
        } else {
            // The expired ones were taken before.
            let remove_time = entries::Column::RemoveTime;
            query.filter(Condition::any().add(remove_time.is_null()).add(remove_time.gt(now_us)))
        };
        if let Some((time, id)) = after {
            let same =
                Condition::all().add(entries::Column::AccessTime.eq(time)).add(entries::Column::Id.gt(id));
            query = query
                .filter(entries::Column::AccessTime.gte(time))
                .filter(Condition::any().add(entries::Column::AccessTime.gt(time)).add(same));
        }
        let page = query.into_model::<Candidate>().all(&**tx).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.access_time, last.id));
        for candidate in page {
            match recency.last_access_us(candidate.id) {
                Some(last_us) if last_us > candidate.access_time => passed_over.push((last_us, candidate)),
                _ => taken.push(candidate),
            }
        }
    }
    passed_over.sort_by_key(|(last_us, candidate)| (*last_us, candidate.id));
    let chosen = taken.into_iter().chain(passed_over.into_iter().map(|(_, candidate)| candidate));
    Ok(chosen
        .take(count_max)
        .map(|row| Doomed { id: row.id, key: row.key, kind: row.kind, stored_bytes: row.stored_bytes })
        .collect())
}

fn select(namespace_id: i64) -> Select<entries::Entity> {
    entries::Entity::find()
        .select_only()
        .columns(Doomed::columns())
        .filter(entries::Column::NamespaceId.eq(namespace_id))
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
