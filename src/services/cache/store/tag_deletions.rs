//! Deletions by tag that overtake a fill.
//!
//! DeleteByTag finds the entries that carry the tag. A key that is being filled has none yet, and the value that its holder
//! computes may be older than the deletion. So each namespace counts its calls of DeleteByTag, a lease notes that number, and the
//! number of the last deletion is kept for each tag. A put with a lease that is older than a deletion of one of its tags stores
//! nothing.
//!
//! Tags share [`BUCKETS`] rows, which bounds the table. Two tags of one bucket cost a fill that is dropped without need, never a
//! stale value. The bucket is the 64-bit FNV-1a of the tag modulo 1,024: `foobar` is 0x85944171f73967e8, bucket 0x3e8.

use sea_orm::Value;

use crate::error::Result;
use crate::services::cache::domain::Namespace;
use crate::storage::{Tx, row, spread};

/// Rows of one namespace at most.
const BUCKETS: u64 = 1_024;

const COUNT: &str = r#"UPDATE "cache_namespaces" SET "tag_deletions" = $1 WHERE "id" = $2"#;
const NOTE: &str = r#"INSERT INTO "cache_tag_deletions" ("namespace_id", "bucket", "number") VALUES ($1, $2, $3)
    ON CONFLICT ("namespace_id", "bucket") DO UPDATE SET "number" = excluded."number""#;
const NUMBER: &str =
    r#"SELECT "number" FROM "cache_tag_deletions" WHERE "namespace_id" = $1 AND "bucket" = $2"#;

row! {
    struct Last {
        number: i64,
    }
}

/// Notes a deletion of `tag` in a namespace, which is locked.
pub(super) async fn note(tx: &Tx<'_>, namespace: &Namespace, tag: &str) -> Result<()> {
    let number: Value = namespace.tag_deletions.saturating_add(1).into();
    tx.run(COUNT, vec![number.clone(), namespace.id.into()]).await?;
    tx.run(NOTE, vec![namespace.id.into(), bucket(tag).into(), number]).await?;
    Ok(())
}

/// Whether one of `tags` was deleted after the deletion with that number.
pub(super) async fn since(tx: &Tx<'_>, namespace_id: i64, tags: &[String], number: i64) -> Result<bool> {
    for tag in tags {
        let last = tx.row::<Last>(NUMBER, vec![namespace_id.into(), bucket(tag).into()]).await?;
        if last.is_some_and(|last| last.number > number) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The bucket of a tag: the same in every sidecar and after every start.
fn bucket(tag: &str) -> i64 {
    i64::try_from(spread(tag.as_bytes()) % BUCKETS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_of_a_tag_never_changes() {
        // FNV-1a of no bytes, and of "foobar": 0x85944171f73967e8 by its authors.
        assert_eq!((bucket(""), bucket("foobar")), (0x2325 % 1_024, 0x67e8 % 1_024));
    }
}
