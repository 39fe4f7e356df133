//! Retention: the oldest prompts, or their bodies alone, go in small steps.

use std::time::Duration;

use super::remove;
use crate::clock;
use crate::error::Result;
use crate::services::prompts::domain::{Cut, Goes};
use crate::storage::{Db, Tx, row};

/// Those that go first.
pub(super) const OLDEST: &str = r#"SELECT "id", "prompt_time" FROM "prompts" WHERE ("prompt_time", "id") < ($1, $2)
    ORDER BY "prompt_time", "id" LIMIT $3"#;
/// The same of those that have a body.
pub(super) const OLDEST_BODIES: &str = r#"SELECT "prompt_id" AS "id", "prompt_time" FROM "prompt_bodies"
    WHERE ("prompt_time", "prompt_id") < ($1, $2) ORDER BY "prompt_time", "prompt_id" LIMIT $3"#;
pub(super) const NEWEST_BUT: &str =
    r#"SELECT "id", "prompt_time" FROM "prompts" ORDER BY "prompt_time" DESC, "id" DESC LIMIT 1 OFFSET $1"#;

/// Rows between two looks at the clock.
const PIECE_ROWS: i64 = 8;

row! {
    struct Old {
        id: i64,
        prompt_time: i64,
    }
}

/// Up to where prompts go if so many of the newest stay; none: there are no more than that.
pub async fn cut_of_count(db: &Db<'_>, count: i64) -> Result<Option<Cut>> {
    let first: Option<Old> = db.row(NEWEST_BUT, vec![count.into()]).await?;
    // That one goes as well.
    Ok(first.map(|first| Cut { prompt_us: first.prompt_time, id: first.id.saturating_add(1) }))
}

/// Whether something goes.
pub async fn is_due(db: &Db<'_>, cut: Cut, goes: Goes) -> Result<bool> {
    let values = vec![cut.prompt_us.into(), cut.id.into(), 1_i64.into()];
    Ok(db.row::<Old>(oldest(goes), values).await?.is_some())
}

/// What a step has done.
#[derive(Clone, Copy, Debug)]
pub struct Pruned {
    /// So many have gone.
    pub count: i64,
    /// There may be more.
    pub has_more: bool,
}

/// Deletes some of the oldest: a few rows at a time, until the step has taken its time or `rows_max` are deleted.
pub async fn prune(tx: &Tx<'_>, cut: Cut, goes: Goes, rows_max: i64, step: Duration) -> Result<Pruned> {
    let until = clock::instant() + step;
    let (mut count, mut rows_left) = (0, rows_max);
    loop {
        let piece = PIECE_ROWS.min(rows_left);
        let values = vec![cut.prompt_us.into(), cut.id.into(), piece.into()];
        let old: Vec<Old> = tx.rows(oldest(goes), values).await?;
        let has_more = i64::try_from(old.len()).unwrap_or(i64::MAX) >= piece;
        let ids: Vec<i64> = old.into_iter().map(|old| old.id).collect();
        count += match goes {
            Goes::All => remove::remove(tx, &ids).await?,
            Goes::Bodies => remove::remove_bodies(tx, &ids).await?,
        };
        rows_left -= piece;
        if !has_more || rows_left == 0 || clock::instant() >= until {
            return Ok(Pruned { count, has_more });
        }
    }
}

fn oldest(goes: Goes) -> &'static str {
    match goes {
        Goes::All => OLDEST,
        Goes::Bodies => OLDEST_BODIES,
    }
}
