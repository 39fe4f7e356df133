//! Storing entries.

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set, Value};

use super::rows::{self, Current};
use super::{KIND_NEGATIVE, KIND_VALUE, tag_deletions};
use crate::clock::REVISION_STEP;
use crate::error::{Error, Result};
use crate::services::cache::domain::{Condition, Content, Entry, Fill, Namespace, Put, PutItem, Usage};
use crate::services::cache::entity::{entries, tags};
use crate::storage::Tx;

/// What both updates write.
macro_rules! update {
    () => {
        r#"UPDATE "cache_entries" SET "kind" = $1, "value" = $2, "is_compressed" = $3, "content_type" = $4,
        "metadata_json" = $5, "tags" = $6, "error_code" = $7, "error_message" = $8, "size_bytes" = $9, "stored_bytes" = $10,
        "revision" = $11, "update_time" = $12, "expire_time" = $13, "stale_until_time" = $14,
        "remove_time" = $15, "access_time" = $16, "access_count" = $17, "stale_window_us" = $18,
        "lease_token" = NULL, "lease_expire_time" = NULL, "lease_tag_deletions" = NULL"#
    };
}

/// Stores `items` in their order, each with a result of its own, and answers with what that adds to the namespace.
pub async fn put(
    tx: &Tx<'_>,
    namespace: &Namespace,
    items: &[PutItem],
    now_us: i64,
    first_revision: i64,
) -> Result<(Vec<Result<Put>>, Usage)> {
    let mut results = Vec::with_capacity(items.len());
    let mut change = Usage::default();
    for (index, item) in (0..).zip(items) {
        let revision = first_revision + index * REVISION_STEP;
        let current = rows::current(tx, namespace.id, &item.key).await?;
        if let Err(error) = may_put(namespace, current.as_ref(), item, now_us) {
            results.push(Err(error));
            continue;
        }
        let former = current.as_ref().map(Current::usage).unwrap_or_default();
        let put = store(tx, namespace, current.as_ref(), item, now_us, revision).await?;
        let added = match put.invalidated {
            true => Usage::default(),
            false => Usage { entry_count: 1, stored_bytes: put.entry.stored_bytes },
        };
        change = change.with(Usage {
            entry_count: added.entry_count - former.entry_count,
            stored_bytes: added.stored_bytes - former.stored_bytes,
        });
        results.push(Ok(put));
    }
    super::add_usage(tx, namespace.id, change).await?;
    Ok((results, change))
}

/// Checks the entry of a key, if its namespace is there. Errors: those of the condition.
pub async fn check(
    tx: &Tx<'_>,
    namespace_id: Option<i64>,
    key: &str,
    condition: Condition,
    now_us: i64,
) -> Result<()> {
    let current = match namespace_id {
        Some(namespace_id) => rows::current(tx, namespace_id, key).await?,
        None => None,
    };
    holds(condition, current.as_ref().filter(|row| row.is_live(now_us)))
}

fn holds(condition: Condition, live: Option<&Current>) -> Result<()> {
    match condition {
        Condition::Always => Ok(()),
        Condition::IfAbsent if live.is_some() => Err(Error::EntryExists),
        Condition::IfPresent | Condition::IfRevision(_) if live.is_none() => Err(Error::EntryNotFound),
        Condition::IfRevision(revision) if revision != live.map(|row| row.revision) => {
            Err(Error::EtagMismatch)
        }
        Condition::IfAbsent | Condition::IfPresent | Condition::IfRevision(_) => Ok(()),
    }
}

fn may_put(namespace: &Namespace, current: Option<&Current>, item: &PutItem, now_us: i64) -> Result<()> {
    holds(item.condition, current.filter(|row| row.is_live(now_us)))?;
    if let Fill::Leased(token) = item.fill {
        let held = current.and_then(|row| row.lease(now_us));
        if held.is_none() || held != token {
            return Err(Error::LeaseLost);
        }
    }
    let (bytes, bytes_max) = (item.stored_bytes(), namespace.limits.bytes_max);
    if bytes_max > 0 && bytes > bytes_max {
        return Err(Error::EntryTooLarge { bytes, bytes_max });
    }
    Ok(())
}

/// Whether one of the item's tags was deleted since the lease was granted that it fills.
async fn is_overtaken(tx: &Tx<'_>, namespace: &Namespace, current: &Current, item: &PutItem) -> Result<bool> {
    match (item.fill, current.lease_tag_deletions) {
        (Fill::Leased(_), Some(number)) if number < namespace.tag_deletions => {
            tag_deletions::since(tx, namespace.id, &item.tags, number).await
        }
        _ => Ok(false),
    }
}

async fn store(
    tx: &Tx<'_>,
    namespace: &Namespace,
    current: Option<&Current>,
    item: &PutItem,
    now_us: i64,
    revision: i64,
) -> Result<Put> {
    let live = current.filter(|row| row.is_live(now_us));
    let (expire_us, stale_until_us) = item.times(&namespace.limits, now_us);
    let mut entry = Entry {
        id: current.map_or(0, |row| row.id),
        key: item.key.clone(),
        content: item.content.clone(),
        content_type: item.content_type.clone(),
        metadata_json: item.metadata_json.clone(),
        tags: item.tags.clone(),
        size_bytes: item.content.size_bytes(),
        stored_bytes: item.stored_bytes(),
        revision,
        create_us: live.map_or(now_us, |row| row.create_time),
        update_us: now_us,
        expire_us,
        stale_until_us,
        access_us: now_us,
        access_count: live.map_or(1, |row| row.access_count),
    };
    if let Some(current) = current
        && is_overtaken(tx, namespace, current, item).await?
    {
        entries::Entity::delete_by_id(current.id).exec(&**tx).await?;
        return Ok(Put { entry, created: live.is_none(), ends_lease: true, invalidated: true });
    }
    let mut values = values_of(&entry, item, item.window_us(&namespace.limits));
    match current {
        Some(current) if live.is_some() => {
            values.push(current.id.into());
            tx.run(UPDATE, values).await?;
        }
        Some(current) => {
            values.extend([entry.create_us.into(), current.id.into()]);
            tx.run(REPLACE, values).await?;
        }
        None => {
            values.extend([entry.create_us.into(), namespace.id.into(), entry.key.as_str().into()]);
            entry.id = tx.insert_written_out(INSERT, values).await?;
        }
    }
    let former_tags = current.map_or("", |row| row.tags.as_str());
    if rows::join_tags(&item.tags) != former_tags {
        replace_tags(tx, namespace.id, &entry, !former_tags.is_empty()).await?;
    }
    Ok(Put {
        entry,
        created: live.is_none(),
        ends_lease: current.is_some_and(|row| row.lease_token.is_some()),
        invalidated: false,
    })
}

/// Written out, because they are run for every item of every put: building them would cost more than running them.
/// A put ends any lease on its key. Namespace and key of a row that is there are its identity and stay as they are: writing
/// them would have the database check its foreign keys again. Nor is the time of creation written where it stays, as SQLite would
/// write its index anew.
const UPDATE: &str = concat!(update!(), r#" WHERE "id" = $19"#);
/// An entry in the place of one that has expired. Its placeholders stand in the order of their numbers, as SQLite counts them by their
/// appearance.
const REPLACE: &str = concat!(update!(), r#", "create_time" = $19 WHERE "id" = $20"#);
const INSERT: &str = r#"INSERT INTO "cache_entries" ("kind", "value", "is_compressed", "content_type", "metadata_json",
    "tags", "error_code", "error_message", "size_bytes", "stored_bytes", "revision", "update_time",
    "expire_time", "stale_until_time", "remove_time", "access_time", "access_count", "stale_window_us", "create_time",
    "namespace_id", "key")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)"#;

/// The values that all of them have in common, in their order.
fn values_of(entry: &Entry, item: &PutItem, window_us: i64) -> Vec<Value> {
    let (kind, value, code, message) = match &entry.content {
        Content::Value(value) => {
            let stored = item.compressed.clone().unwrap_or_else(|| value.to_vec());
            (KIND_VALUE, Some(stored), None, None)
        }
        Content::Negative { code, message } => {
            (KIND_NEGATIVE, None, Some(code.clone()), Some(message.clone()))
        }
    };
    let remove_us = rows::remove_time(entry.expire_us, entry.stale_until_us, None);
    let mut values = Vec::with_capacity(21);
    values.extend([
        kind.into(),
        value.into(),
        item.compressed.is_some().into(),
        entry.content_type.as_str().into(),
        entry.metadata_json.as_str().into(),
        rows::join_tags(&entry.tags).into(),
        code.into(),
        message.into(),
        entry.size_bytes.into(),
        entry.stored_bytes.into(),
        entry.revision.into(),
        entry.update_us.into(),
        entry.expire_us.into(),
        entry.stale_until_us.into(),
        remove_us.into(),
        entry.access_us.into(),
        entry.access_count.into(),
        window_us.into(),
    ]);
    values
}

async fn replace_tags(tx: &Tx<'_>, namespace_id: i64, entry: &Entry, had_any: bool) -> Result<()> {
    if had_any {
        tags::Entity::delete_many().filter(tags::Column::EntryId.eq(entry.id)).exec(&**tx).await?;
    }
    for tag in &entry.tags {
        let row = tags::ActiveModel {
            namespace_id: Set(namespace_id),
            tag: Set(tag.clone()),
            key: Set(entry.key.clone()),
            entry_id: Set(entry.id),
        };
        tags::Entity::insert(row).exec_without_returning(&**tx).await?;
    }
    Ok(())
}
