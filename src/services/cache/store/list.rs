//! Listing entries by key.

use sea_orm::sea_query::{Expr, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, Iterable as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{KIND_PLACE, is_live, rows, size};
use crate::answer::Budget;
use crate::error::Result;
use crate::page::after_prefix;
use crate::services::cache::domain::Entry;
use crate::services::cache::entity::{entries, tags};
use crate::storage::Db;

/// Which entries to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Those whose key begins so; empty: all.
    pub prefix: String,
    /// Those with this tag; empty: all.
    pub tag: String,
    /// Those after this key.
    pub after: Option<String>,
    /// At most so many.
    pub rows_max: u64,
}

/// Live entries by key, without their values.
pub async fn list(db: &Db<'_>, namespace_id: i64, filter: &Filter, now_us: i64) -> Result<Vec<Entry>> {
    let after = filter.after.as_deref();
    let mut query = entries::Entity::find().filter(entries::Column::NamespaceId.eq(namespace_id));
    if filter.tag.is_empty() {
        if let Some(after) = after {
            query = query.filter(entries::Column::Key.gt(after));
        }
        if !filter.prefix.is_empty() {
            query = query.filter(has_prefix(&filter.prefix));
        }
    } else {
        // Expired entries among the tagged ones make the page shorter; the caller asks on until a page is empty.
        let mut page = tagged(namespace_id, &filter.tag);
        if let Some(after) = after {
            page.and_where(tags::Column::Key.gt(after));
        }
        if let Some(prefix) = Some(&filter.prefix).filter(|prefix| !prefix.is_empty()) {
            page.cond_where(key_range(tags::Column::Key, prefix));
        }
        query = query.filter(entries::Column::Id.in_subquery(page));
    }
    let columns = entries::Column::iter().filter(|column| !matches!(column, entries::Column::Value));
    let rows = query
        .select_only()
        .columns(columns)
        .expr_as(Expr::val(None::<Vec<u8>>), "value")
        .filter(entries::Column::Kind.ne(KIND_PLACE))
        .filter(is_live(now_us))
        .order_by_asc(entries::Column::Key)
        .limit(filter.rows_max)
        .all(db)
        .await?;
    rows.into_iter().map(rows::entry_without_value).collect()
}

/// `listed` with values, as many as the budget allows but one at least; and whether the list was cut short by that.
pub async fn add_values(
    db: &Db<'_>,
    namespace_id: i64,
    listed: Vec<Entry>,
    budget: Budget,
) -> Result<(Vec<Entry>, bool)> {
    let mut left = size(budget);
    let fitting = listed.iter().take_while(|entry| {
        left -= entry.size_bytes;
        left >= 0
    });
    // The first entry is read whatever its size: the answer is refused if it does not fit.
    let count = fitting.count().max(1).min(listed.len());
    let keys: Vec<String> = listed[..count].iter().map(|entry| entry.key.clone()).collect();
    let (mut filled, _) = super::get_many(db, namespace_id, &keys, budget).await?;
    filled.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let cut_short = filled.len() < listed.len();
    Ok((filled, cut_short))
}

pub(super) fn has_prefix(prefix: &str) -> Condition {
    key_range(entries::Column::Key, prefix)
}

fn key_range(key: impl sea_orm::ColumnTrait, prefix: &str) -> Condition {
    Condition::all().add(key.gte(prefix)).add_option(after_prefix(prefix).map(|end| key.lt(end)))
}

pub(super) fn tagged(namespace_id: i64, tag: &str) -> SelectStatement {
    Query::select()
        .column(tags::Column::EntryId)
        .from(tags::Entity)
        .and_where(tags::Column::NamespaceId.eq(namespace_id))
        .and_where(tags::Column::Tag.eq(tag))
        .take()
}
