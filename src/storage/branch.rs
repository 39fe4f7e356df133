//! Branches: which history a number of a sequence belongs to.
//!
//! A number says nothing of itself after a database was set back to a backup: other changes get the same numbers. So every start of a
//! sidecar has a random *branch*, and so has every loss of its connections to PostgreSQL, because the database may be another one
//! afterwards. The first number that a branch gives in a sequence is noted in `branches`, in the transaction that gives it. The branch
//! of a number is the last one noted at or below it.
//!
//! A cursor has a number and the branch of that number. It belongs to this database if the number has the same branch here:
//!
//! ```text
//! branches of a sequence   (1, A) (11, B)                  10 has A, 12 has B
//! backup, then 12 by B     cursor (12, B)
//! backup restored          (1, A)                          12 is ahead: CURSOR_RESET
//! 11 to 13 by C            (1, A) (11, C)                  12 has C, not B: CURSOR_RESET
//! ```
//!
//! Sidecars that share a database note each branch once in a sequence, however their changes alternate.

use sea_orm::Value;
use uuid::Uuid;

use super::{Db, Tx, row};
use crate::error::Result;

/// The sequence of the settings' revisions. Those of records have the ids of their collections, which are above.
pub const SETTINGS: i64 = 0;

/// The branch in which a process writes.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// Random.
    pub id: Uuid,
    /// Branches that are kept of a sequence.
    pub kept_max: i64,
}

impl Branch {
    /// The branch of a process after `losses` losses of its connections.
    pub(super) fn after(self, losses: u64) -> Self {
        Self { id: Uuid::from_u128(self.id.as_u128() ^ u128::from(losses)), ..self }
    }
}

const AT: &str = r#"SELECT "branch" FROM "branches" WHERE "sequence" = $1 AND "first_number" <= $2
    ORDER BY "first_number" DESC LIMIT 1"#;
const IS_NOTED: &str = r#"SELECT "branch" FROM "branches" WHERE "sequence" = $1 AND "branch" = $2"#;
const NOTE: &str = r#"INSERT INTO "branches" ("sequence", "first_number", "branch") VALUES ($1, $2, $3)"#;
const FOLD: &str = r#"DELETE FROM "branches" WHERE "sequence" = $1 AND "first_number" <=
    (SELECT "first_number" FROM "branches" WHERE "sequence" = $2 ORDER BY "first_number" DESC LIMIT 1 OFFSET $3)"#;
const REMOVE: &str = r#"DELETE FROM "branches" WHERE "sequence" = $1"#;

row! {
    #[derive(Debug)]
    struct Noted {
        branch: Uuid,
    }
}

/// The branch of a number. None: it is not kept any more.
pub async fn at(db: &Db<'_>, sequence: i64, number: i64) -> Result<Option<Uuid>> {
    let noted: Option<Noted> = db.row(AT, vec![sequence.into(), number.into()]).await?;
    Ok(noted.map(|noted| noted.branch))
}

/// Whether a number of `branch` is one of this database's history. Zero comes before every change, and so belongs to each.
pub async fn has(db: &Db<'_>, sequence: i64, number: i64, branch: Uuid) -> Result<bool> {
    Ok(number == 0 || at(db, sequence, number).await? == Some(branch))
}

/// Notes that this transaction gives the numbers from `first_number` on, in a sequence that is locked and whose last noted branch is
/// `last`. Returns the branch that is the last one now.
pub async fn enter(tx: &Tx<'_>, sequence: i64, first_number: i64, last: Uuid) -> Result<Uuid> {
    let Branch { id, kept_max } = tx.branch();
    if last == id {
        return Ok(last);
    }
    // Another sidecar has written since. The branch may be noted all the same.
    if tx.row::<Noted>(IS_NOTED, vec![sequence.into(), id.into()]).await?.is_some() {
        return Ok(last);
    }
    let values: Vec<Value> = vec![sequence.into(), first_number.into(), id.into()];
    tx.run(NOTE, values).await?;
    tx.run(FOLD, vec![sequence.into(), sequence.into(), kept_max.into()]).await?;
    Ok(id)
}

/// Removes the branches of a sequence that has ended.
pub async fn remove(tx: &Tx<'_>, sequence: i64) -> Result<()> {
    tx.run(REMOVE, vec![sequence.into()]).await.map(|_| ())
}
