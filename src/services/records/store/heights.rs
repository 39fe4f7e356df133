//! The last numbers of collections that were deleted. A collection of the same name goes on far above, so that no revision comes twice,
//! even if the database was set back to a backup before the collection was deleted.
//!
//! Names beyond the bound share one row, whose name is empty: the highest of theirs. Collections without a row of their own begin above it.

use sea_orm::Value;

use crate::error::Result;
use crate::services::records::domain::Collection;
use crate::storage::{Tx, row};

/// A collection that is made again begins so far above the last number that is known: a backup may be older than the numbers that were given.
const STEP: i64 = 1 << 32;

const HEIGHT: &str =
    r#"SELECT "name", "seq" FROM "record_heights" WHERE "name" IN ($1, '') ORDER BY "name" DESC LIMIT 1"#;
const KEEP: &str = r#"INSERT INTO "record_heights" ("name", "seq") VALUES ($1, $2)
    ON CONFLICT ("name") DO UPDATE SET "seq" = CASE WHEN "record_heights"."seq" < excluded."seq"
    THEN excluded."seq" ELSE "record_heights"."seq" END"#;
const COUNT: &str = r#"SELECT count(*) AS "count" FROM "record_heights" WHERE "name" <> ''"#;
const LOWEST: &str =
    r#"SELECT "name", "seq" FROM "record_heights" WHERE "name" <> '' ORDER BY "seq", "name" LIMIT $1"#;
const REMOVE: &str = r#"DELETE FROM "record_heights" WHERE "name" = $1"#;

row! {
    #[derive(Debug)]
    struct Height {
        name: String,
        seq: i64,
    }
}

row! {
    #[derive(Debug)]
    struct Count {
        count: i64,
    }
}

/// The number before the first one of a new collection.
pub(super) async fn start(tx: &Tx<'_>, name: &str) -> Result<i64> {
    let height: Option<Height> = tx.row(HEIGHT, vec![name.into()]).await?;
    Ok(height.map_or(0, |height| height.seq.saturating_add(STEP)))
}

/// Keeps the last number of a collection that is deleted.
pub(super) async fn keep(tx: &Tx<'_>, collection: &Collection, names_max: i64) -> Result<()> {
    tx.run(KEEP, vec![collection.name.as_str().into(), collection.last_seq.into()]).await?;
    let count: Option<Count> = tx.row(COUNT, Vec::new()).await?;
    let surplus = count.map_or(0, |count| count.count - names_max);
    if surplus <= 0 {
        return Ok(());
    }
    let lowest: Vec<Height> = tx.rows(LOWEST, vec![surplus.into()]).await?;
    for Height { name, seq } in lowest {
        let values: Vec<Value> = vec!["".into(), seq.into()];
        tx.run(KEEP, values).await?;
        tx.run(REMOVE, vec![name.into()]).await?;
    }
    Ok(())
}
