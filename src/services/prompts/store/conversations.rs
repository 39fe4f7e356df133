//! Conversations: there while they have prompts, with their count and the times of the oldest and the newest one. Everything that
//! changes one begins with its lock, several in the order of their names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{EntityTrait as _, Set, Value};

use super::sql;
use crate::error::Result;
use crate::services::prompts::domain::Conversation;
use crate::services::prompts::entity::conversations;
use crate::storage::{Db, Rank, RowLock, Tx, places, row};

const BY_NAME: &str = r#"SELECT "id", "name", "prompt_count", "first_time", "last_time" FROM "prompt_conversations" WHERE "name" = $1"#;
const CHANGE: &str = r#"UPDATE "prompt_conversations" SET "prompt_count" = $1, "first_time" = $2, "last_time" = $3 WHERE "id" = $4"#;
pub(super) const TIMES: &str = r#"SELECT (SELECT min("prompt_time") FROM "prompts" WHERE "conversation_id" = $1) AS "first_time",
    (SELECT max("prompt_time") FROM "prompts" WHERE "conversation_id" = $1) AS "last_time""#;

row! {
    impl conversations::Model { id, name, prompt_count, first_time, last_time, }
}

/// Prompts that join a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    count: i64,
    first_us: i64,
    last_us: i64,
}

impl Joining {
    /// One prompt.
    pub(super) fn one(prompt_us: i64) -> Self {
        Self { count: 1, first_us: prompt_us, last_us: prompt_us }
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            first_us: self.first_us.min(other.first_us),
            last_us: self.last_us.max(other.last_us),
        }
    }
}

/// The lock of a conversation's row.
pub fn lock_of(name: &str) -> RowLock {
    RowLock::new(Rank::Conversations, name, BY_NAME, vec![name.into()])
}

/// Has prompts join their conversations, which are made if they are not there; answers with their numbers.
pub(super) async fn join<'n>(
    tx: &Tx<'_>,
    joining: &BTreeMap<&'n str, Joining>,
) -> Result<HashMap<&'n str, i64>> {
    let mut numbers = HashMap::with_capacity(joining.len());
    for (name, joining) in joining {
        let found: Option<conversations::Model> = tx.row(&tx.locking(BY_NAME), vec![(*name).into()]).await?;
        let number = match found {
            Some(row) => {
                let all =
                    Joining { count: row.prompt_count, first_us: row.first_time, last_us: row.last_time };
                change(tx, row.id, all.and(*joining)).await?;
                row.id
            }
            None => {
                let row = conversations::ActiveModel {
                    name: Set((*name).to_owned()),
                    prompt_count: Set(joining.count),
                    first_time: Set(joining.first_us),
                    last_time: Set(joining.last_us),
                    ..Default::default()
                };
                tx.insert(row).await?
            }
        };
        numbers.insert(*name, number);
    }
    Ok(numbers)
}

async fn change(tx: &Tx<'_>, number: i64, all: Joining) -> Result<()> {
    let values: Vec<Value> = vec![all.count.into(), all.first_us.into(), all.last_us.into(), number.into()];
    tx.run(CHANGE, values).await.map(drop)
}

row! {
    struct Name {
        name: String,
    }
}

pub(super) fn of_prompts_query(count: usize) -> String {
    let places = places(1, count);
    format!(
        r#"SELECT v."name" FROM "prompts" p CROSS JOIN "prompt_conversations" v WHERE p."id" IN ({places}) AND v."id" = p."conversation_id""#
    )
}

/// Locks the conversations of prompts.
pub(super) async fn lock_of_prompts(tx: &Tx<'_>, ids: &[i64]) -> Result<Vec<conversations::Model>> {
    let names: Vec<Name> = sql::all_of_ids(tx, of_prompts_query, ids).await?;
    let names: BTreeSet<String> = names.into_iter().map(|row| row.name).collect();
    let mut locked = Vec::with_capacity(names.len());
    for name in names {
        locked.extend(tx.row::<conversations::Model>(&tx.locking(BY_NAME), vec![name.into()]).await?);
    }
    Ok(locked)
}

row! {
    struct Times {
        first_time: Option<i64>,
        last_time: Option<i64>,
    }
}

/// Takes prompts that were deleted, so many of each, out of their conversations, which are locked.
pub(super) async fn leave(
    tx: &Tx<'_>,
    locked: Vec<conversations::Model>,
    left: &HashMap<i64, i64>,
) -> Result<()> {
    for row in locked {
        let count = row.prompt_count - left.get(&row.id).copied().unwrap_or_default();
        let times = match count {
            1.. => tx.row::<Times>(TIMES, vec![row.id.into()]).await?,
            _ => None,
        };
        match times {
            Some(Times { first_time: Some(first_us), last_time: Some(last_us) }) => {
                change(tx, row.id, Joining { count, first_us, last_us }).await?;
            }
            _ => {
                conversations::Entity::delete_by_id(row.id).exec(&**tx).await?;
            }
        }
    }
    Ok(())
}

/// The names of conversations, by their numbers.
pub(super) async fn names(db: &Db<'_>, numbers: &BTreeSet<i64>) -> Result<HashMap<i64, String>> {
    let numbers: Vec<i64> = numbers.iter().copied().collect();
    let rows: Vec<conversations::Model> = sql::all_of_ids(db, names_query, &numbers).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

pub(super) fn names_query(count: usize) -> String {
    let places = places(1, count);
    format!(
        r#"SELECT "id", "name", "prompt_count", "first_time", "last_time" FROM "prompt_conversations" WHERE "id" IN ({places})"#
    )
}

/// The number of a conversation, if it is there.
pub(super) async fn number(db: &Db<'_>, name: &str) -> Result<Option<i64>> {
    let row: Option<conversations::Model> = db.row(BY_NAME, vec![name.into()]).await?;
    Ok(row.map(|row| row.id))
}

/// Conversations, that of the newest prompt first; and where the next page begins. The key is the time and the number.
pub async fn list_conversations(
    db: &Db<'_>,
    after: Option<(i64, i64)>,
    rows_max: u64,
) -> Result<(Vec<Conversation>, Option<(i64, i64)>)> {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX - 1);
    let mut rows: Vec<conversations::Model> = Vec::new();
    if let Some((last_us, number)) = after {
        rows = db.rows(TIES, vec![last_us.into(), number.into(), limit(rows_max + 1)]).await?;
    }
    let rest = limit((rows_max + 1).saturating_sub(rows.len()));
    // Behind those of the same time; at first behind no time.
    let before_us = after.map_or(i64::MAX, |(last_us, _)| last_us);
    rows.extend(db.rows::<conversations::Model>(BEHIND, vec![before_us.into(), rest]).await?);
    let has_more = rows.len() > rows_max;
    rows.truncate(rows_max);
    let next = rows.last().filter(|_| has_more).map(|row| (row.last_time, row.id));
    let conversation = |row: conversations::Model| Conversation {
        number: row.id,
        id: row.name,
        prompt_count: row.prompt_count,
        first_us: row.first_time,
        last_us: row.last_time,
    };
    Ok((rows.into_iter().map(conversation).collect(), next))
}

fn limit(rows: usize) -> Value {
    i64::try_from(rows).unwrap_or(i64::MAX).into()
}

pub(super) const TIES: &str = r#"SELECT "id", "name", "prompt_count", "first_time", "last_time" FROM "prompt_conversations"
    WHERE "last_time" = $1 AND "id" < $2 ORDER BY "id" DESC LIMIT $3"#;
pub(super) const BEHIND: &str = r#"SELECT "id", "name", "prompt_count", "first_time", "last_time" FROM "prompt_conversations"
    WHERE "last_time" < $1 ORDER BY "last_time" DESC, "id" DESC LIMIT $2"#;
