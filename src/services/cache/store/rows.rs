//! Rows of `cache_entries` and what they mean.

use bytes::Bytes;
use uuid::Uuid;

use super::{KIND_NEGATIVE, KIND_PLACE, KIND_VALUE};
use crate::error::{Error, Result};
use crate::services::cache::domain::{Content, Entry, Usage};
use crate::services::cache::entity::entries;
use crate::storage::{Tx, row};

/// Between the tags of the column `tags`; no tag has a control character.
const TAG_SEPARATOR: char = '\u{1F}';

/// Written out, because it is run for every item of every write: building it would cost more than running it.
const CURRENT: &str = r#"SELECT "id", "kind", "tags", "stored_bytes", "revision", "create_time", "expire_time",
    "stale_until_time", "stale_window_us", "access_count", "lease_token", "lease_expire_time", "lease_tag_deletions"
    FROM "cache_entries" WHERE "namespace_id" = $1 AND "key" = $2"#;

row! {
    /// What a write needs to know of the row that is there: all but the content.
    #[derive(Clone, Debug)]
    pub(super) struct Current {
        pub(super) id: i64,
        pub(super) kind: i64,
        pub(super) tags: String,
        pub(super) stored_bytes: i64,
        pub(super) revision: i64,
        pub(super) create_time: i64,
        pub(super) expire_time: Option<i64>,
        pub(super) stale_until_time: Option<i64>,
        pub(super) stale_window_us: i64,
        pub(super) access_count: i64,
        pub(super) lease_token: Option<Uuid>,
        pub(super) lease_expire_time: Option<i64>,
        pub(super) lease_tag_deletions: Option<i64>,
    }
}

impl Current {
    pub(super) fn is_live(&self, now_us: i64) -> bool {
        self.kind != KIND_PLACE && self.expire_time.is_none_or(|expire_us| now_us < expire_us)
    }

    pub(super) fn usage(&self) -> Usage {
        if self.kind == KIND_PLACE {
            return Usage::default();
        }
        Usage { entry_count: 1, stored_bytes: self.stored_bytes }
    }

    /// The token of the lease that is held on the key.
    pub(super) fn lease(&self, now_us: i64) -> Option<Uuid> {
        self.lease_token.filter(|_| self.lease_expire_time.is_some_and(|expire_us| now_us < expire_us))
    }
}

/// The row of a key, whatever its kind.
pub(super) async fn current(tx: &Tx<'_>, namespace_id: i64, key: &str) -> Result<Option<Current>> {
    tx.row(CURRENT, vec![namespace_id.into(), key.into()]).await
}

/// When a row may go: at the end of everything that it serves. None: never.
pub(super) fn remove_time(
    expire_us: Option<i64>,
    stale_until_us: Option<i64>,
    lease_expire_us: Option<i64>,
) -> Option<i64> {
    // None is less than any time: an entry without a stale window goes when it expires.
    let later = stale_until_us.max(lease_expire_us);
    expire_us.map(|expire_us| expire_us.max(later.unwrap_or(expire_us)))
}

pub(super) fn join_tags(tags: &[String]) -> String {
    tags.join(&TAG_SEPARATOR.to_string())
}

pub(super) fn split_tags(tags: &str) -> Vec<String> {
    tags.split(TAG_SEPARATOR).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// The entry that a row holds.
pub(super) fn entry(row: entries::Model) -> Result<Entry> {
    let content = content(&row)?;
    Ok(with_content(row, content))
}

/// The entry that a row holds which was read without its value.
pub(super) fn entry_without_value(row: entries::Model) -> Result<Entry> {
    let content = if row.kind == KIND_VALUE { Content::Value(Bytes::new()) } else { content(&row)? };
    Ok(with_content(row, content))
}

fn with_content(row: entries::Model, content: Content) -> Entry {
    Entry {
        content,
        id: row.id,
        key: row.key,
        content_type: row.content_type,
        metadata_json: row.metadata_json,
        tags: split_tags(&row.tags),
        size_bytes: row.size_bytes,
        stored_bytes: row.stored_bytes,
        revision: row.revision,
        create_us: row.create_time,
        update_us: row.update_time,
        expire_us: row.expire_time,
        stale_until_us: row.stale_until_time,
        access_us: row.access_time,
        access_count: row.access_count,
    }
}

fn content(row: &entries::Model) -> Result<Content> {
    let corrupt = |column, cause: &str| Error::CorruptRow {
        table: "cache_entries",
        column,
        row: row.id,
        cause: cause.to_owned(),
    };
    match row.kind {
        KIND_VALUE => {
            let stored = row.value.as_deref().ok_or_else(|| corrupt("value", "is missing"))?;
            let value = if row.is_compressed {
                let size =
                    usize::try_from(row.size_bytes).map_err(|_| corrupt("size_bytes", "is negative"))?;
                let value = zstd::bulk::decompress(stored, size)
                    .map_err(|error| corrupt("value", &error.to_string()))?;
                Bytes::from(value)
            } else {
                Bytes::copy_from_slice(stored)
            };
            if i64::try_from(value.len()).ok() != Some(row.size_bytes) {
                return Err(corrupt("value", "has another size than size_bytes"));
            }
            Ok(Content::Value(value))
        }
        KIND_NEGATIVE => Ok(Content::Negative {
            code: row.error_code.clone().ok_or_else(|| corrupt("error_code", "is missing"))?,
            message: row.error_message.clone().ok_or_else(|| corrupt("error_message", "is missing"))?,
        }),
        _ => Err(corrupt("kind", "is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_at_the_end_of_all_that_it_serves() {
        assert_eq!(remove_time(None, None, Some(5)), None);
        assert_eq!(remove_time(Some(3), None, None), Some(3));
        assert_eq!(remove_time(Some(3), Some(4), None), Some(4));
        assert_eq!(remove_time(Some(3), Some(4), Some(9)), Some(9));
        assert_eq!(remove_time(Some(3), None, Some(1)), Some(3));
    }
}
