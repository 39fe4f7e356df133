//! Deleting prompts, or their bodies alone.

use std::collections::HashMap;

use super::rows::{PROMPT_COLUMNS, PromptRow};
use super::{changes, conversations, sql};
use crate::error::Result;
use crate::storage::{Tx, places};

/// The tables that hold something of prompts, and the column of the prompt's number.
pub(super) const TABLES: [(&str, &str); 4] = [
    ("prompt_scores", "prompt_id"),
    ("prompt_tags", "prompt_id"),
    ("prompt_bodies", "prompt_id"),
    ("prompts", "id"),
];

/// Deletes prompts with all that is theirs; tells how many there were.
pub async fn remove(tx: &Tx<'_>, ids: &[i64]) -> Result<i64> {
    let conversations = conversations::lock_of_prompts(tx, ids).await?;
    let rows = lock(tx, ids).await?;
    let found = ids_of(&rows);
    for (table, column) in TABLES {
        delete(tx, table, column, &found).await?;
    }
    let mut left: HashMap<i64, i64> = HashMap::new();
    for conversation in rows.iter().filter_map(|row| row.conversation_id) {
        *left.entry(conversation).or_default() += 1;
    }
    conversations::leave(tx, conversations, &left).await?;
    changes::removed(tx, &rows).await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

/// Deletes the bodies of prompts; tells how many there were.
pub(super) async fn remove_bodies(tx: &Tx<'_>, ids: &[i64]) -> Result<i64> {
    let mut rows = lock(tx, ids).await?;
    rows.retain(|row| row.has_body);
    let found = ids_of(&rows);
    delete(tx, "prompt_bodies", "prompt_id", &found).await?;
    for ids in found.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        tx.run(&bodiless_query(values.len()), values).await?;
    }
    changes::bodies_removed(tx, &rows).await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

fn ids_of(rows: &[PromptRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}

/// Locks prompts in the order of their numbers; those that are not there are left out.
async fn lock(tx: &Tx<'_>, ids: &[i64]) -> Result<Vec<PromptRow>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut rows = Vec::with_capacity(ids.len());
    for ids in ids.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        let query = lock_query(values.len());
        rows.extend(tx.rows::<PromptRow>(&tx.locking(&query), values).await?);
    }
    Ok(rows)
}

pub(super) fn lock_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT {PROMPT_COLUMNS} FROM "prompts" p WHERE p."id" IN ({places}) ORDER BY p."id""#)
}

async fn delete(tx: &Tx<'_>, table: &str, column: &str, ids: &[i64]) -> Result<()> {
    for ids in ids.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        tx.run(&delete_query(table, column, values.len()), values).await?;
    }
    Ok(())
}

pub(super) fn delete_query(table: &str, column: &str, count: usize) -> String {
    let places = places(1, count);
    format!(r#"DELETE FROM "{table}" WHERE "{column}" IN ({places})"#)
}

pub(super) fn bodiless_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"UPDATE "prompts" SET "has_body" = FALSE WHERE "id" IN ({places})"#)
}
