//! Storing entries.

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set};

use super::rows::{self, Current};
use super::{KIND_NEGATIVE, KIND_VALUE};
use crate::clock::REVISION_STEP;
use crate::error::{Error, Result};
use crate::services::cache::domain::{Condition, Content, Entry, Fill, Namespace, Put, PutItem, Usage};
use crate::services::cache::entity::{entries, tags};
use crate::storage::Tx;

/// Stores `items` in their order, each with a result of its own, and answers with what that adds to the namespace.
///
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
        if let Err(error) = check(namespace, current.as_ref(), item, now_us) {
            results.push(Err(error));
            continue;
        }
        let former = current.as_ref().map(Current::usage).unwrap_or_default();
        let put = store(tx, namespace, current.as_ref(), item, now_us, revision).await?;
        change = change.with(Usage {
            entry_count: 1 - former.entry_count,
            stored_bytes: put.entry.stored_bytes - former.stored_bytes,
        });
        results.push(Ok(put));
    }
    super::add_usage(tx, namespace.id, change).await?;
    Ok((results, change))
}

fn check(namespace: &Namespace, current: Option<&Current>, item: &PutItem, now_us: i64) -> Result<()> {
    let live = current.filter(|row| row.is_live(now_us));
    match item.condition {
        Condition::Always => {}
        Condition::IfAbsent if live.is_some() => return Err(Error::EntryExists),
        Condition::IfPresent | Condition::IfRevision(_) if live.is_none() => {
            return Err(Error::EntryNotFound);
        }
        Condition::IfRevision(revision) if revision != live.map(|row| row.revision) => {
            return Err(Error::EtagMismatch);
        }
        Condition::IfAbsent | Condition::IfPresent | Condition::IfRevision(_) => {}
    }
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
    let mut row = row_of(&entry, item);
    match current {
        Some(current) => {
            entries::Entity::update_many()
                .set(row)
                .filter(entries::Column::Id.eq(current.id))
                .exec(&**tx)
                .await?;
        }
        None => {
            row.namespace_id = Set(namespace.id);
            row.key = Set(entry.key.clone());
            entry.id = tx.insert(row).await?;
        }
    }
    let former_tags = current.map_or("", |row| row.tags.as_str());
    if rows::join_tags(&item.tags) != former_tags {
        replace_tags(tx, namespace.id, &entry, !former_tags.is_empty()).await?;
    }
    Ok(Put { entry, created: live.is_none() })
}

/// The columns that a put writes. Namespace and key are the row's identity: writing them again, unchanged, would have the
/// database check its foreign keys again.
fn row_of(entry: &Entry, item: &PutItem) -> entries::ActiveModel {
    let (kind, value, code, message) = match &entry.content {
        Content::Value(value) => {
            let stored = item.compressed.clone().unwrap_or_else(|| value.to_vec());
            (KIND_VALUE, Some(stored), None, None)
        }
        Content::Negative { code, message } => {
            (KIND_NEGATIVE, None, Some(code.clone()), Some(message.clone()))
        }
    };
    entries::ActiveModel {
        kind: Set(kind),
        value: Set(value),
        is_compressed: Set(item.compressed.is_some()),
        content_type: Set(entry.content_type.clone()),
        metadata_json: Set(entry.metadata_json.clone()),
        tags: Set(rows::join_tags(&entry.tags)),
        error_code: Set(code),
        error_message: Set(message),
        size_bytes: Set(entry.size_bytes),
        stored_bytes: Set(entry.stored_bytes),
        revision: Set(entry.revision),
        create_time: Set(entry.create_us),
        update_time: Set(entry.update_us),
        expire_time: Set(entry.expire_us),
        stale_until_time: Set(entry.stale_until_us),
        remove_time: Set(rows::remove_time(entry.expire_us, entry.stale_until_us, None)),
        access_time: Set(entry.access_us),
        access_count: Set(entry.access_count),
        // A put ends any lease on its key.
        lease_token: Set(None),
        lease_expire_time: Set(None),
        ..Default::default()
    }
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
