//! The index of the words of prompts: kept up with every body that comes and goes, and filled with those that are not in it yet.

use super::sql;
use crate::error::Result;
use crate::services::prompts::search::tokens::{VERSION, words};
use crate::storage::text_index::{Document, TextIndex, WORDS_MAX};
use crate::storage::{Db, Tx, places, row};

/// The index. Its fields in the order of their weight.
pub(super) const INDEX: TextIndex =
    TextIndex { table: "prompt_search", fields: ["idea", "improved_prompt", "context"] };

/// Prompts that one step of filling looks at. Their bodies are in memory meanwhile.
const STEP_ROWS: i64 = 32;

pub(super) const STATE: &str = r#"SELECT "version", "next_id" FROM "prompt_search_state" WHERE "id" = 1"#;
const BEGIN: &str = r#"INSERT INTO "prompt_search_state" ("id", "version", "next_id") VALUES (1, $1, $2)"#;
const GO_ON: &str = r#"UPDATE "prompt_search_state" SET "version" = $1, "next_id" = $2 WHERE "id" = 1"#;
pub(super) const NEWEST: &str = r#"SELECT coalesce(max("id"), 0) AS "id" FROM "prompts""#;
pub(super) const NEXT: &str = r#"SELECT "prompt_id" AS "id" FROM "prompt_bodies" WHERE "prompt_id" <= $1 ORDER BY "prompt_id" DESC LIMIT $2"#;

row! {
    /// The texts of a body that are looked through.
    struct TextsRow {
        prompt_id: i64,
        idea: String,
        context: String,
        improved_prompt: String,
    }
}

row! {
    struct State {
        version: i64,
        next_id: i64,
    }
}

impl State {
    fn is_filled(&self) -> bool {
        self.version == VERSION && self.next_id == 0
    }
}

row! {
    struct Id {
        id: i64,
    }
}

/// What is looked through of a prompt. Whoever saves has it cut before the write, which would wait for it.
pub(super) fn document(idea: &str, improved_prompt: &str, context: &str) -> Document {
    let cut = |text| words(text, WORDS_MAX).into_iter().map(|word| word.text).collect();
    Document::new(&[idea, improved_prompt, context].map(cut))
}

/// Puts prompts in.
pub(super) async fn put(tx: &Tx<'_>, documents: &[(i64, &Document)]) -> Result<()> {
    INDEX.put(tx, documents).await
}

/// Takes bodies out.
pub(super) async fn remove(tx: &Tx<'_>, ids: &[i64]) -> Result<()> {
    INDEX.remove(tx, ids).await
}

/// Whether there are prompts that are not in the index yet.
pub async fn is_filling(db: &Db<'_>) -> Result<bool> {
    let state = db.row::<State>(STATE, Vec::new()).await?;
    Ok(!state.is_some_and(|state| state.is_filled()))
}

/// Puts some of the prompts in that are not there yet, the newest first; tells whether there are more.
///
/// What is saved meanwhile puts itself in. Going on is one row, which is locked: sidecars take turns.
pub async fn fill(tx: &Tx<'_>) -> Result<bool> {
    let known = tx.row::<State>(&tx.locking(STATE), Vec::new()).await?;
    let next_id = match &known {
        Some(state) if state.is_filled() => return Ok(false),
        Some(state) if state.version == VERSION => state.next_id,
        _ => tx.row::<Id>(NEWEST, Vec::new()).await?.map_or(0, |newest| newest.id),
    };
    let ids: Vec<i64> = match next_id {
        0 => Vec::new(),
        _ => {
            let rows = tx.rows::<Id>(NEXT, vec![next_id.into(), STEP_ROWS.into()]).await?;
            rows.into_iter().map(|row| row.id).rev().collect()
        }
    };
    // Who deletes a prompt locks it first: it is there until the commit, or its text is not found any more.
    let values = || sql::padded(&ids);
    if !ids.is_empty() {
        tx.lock(&prompts_query(values().len()), values()).await?;
        let rows = tx.rows::<TextsRow>(&texts_query(values().len()), values()).await?;
        let documents: Vec<(i64, Document)> = rows
            .iter()
            .map(|row| (row.prompt_id, document(&row.idea, &row.improved_prompt, &row.context)))
            .collect();
        put(tx, &documents.iter().map(|(id, document)| (*id, document)).collect::<Vec<_>>()).await?;
    }
    let next_id = ids.first().map_or(0, |first| first - 1);
    let statement = if known.is_some() { GO_ON } else { BEGIN };
    tx.run(statement, vec![VERSION.into(), next_id.into()]).await?;
    Ok(next_id > 0)
}

pub(super) fn prompts_query(count: usize) -> String {
    format!(r#"SELECT "id" FROM "prompts" WHERE "id" IN ({}) ORDER BY "id""#, places(1, count))
}

pub(super) fn texts_query(count: usize) -> String {
    format!(
        r#"SELECT "prompt_id", "idea", "context", "improved_prompt" FROM "prompt_bodies" WHERE "prompt_id" IN ({})"#,
        places(1, count)
    )
}
