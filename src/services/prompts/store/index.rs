//! The index of the words of prompts: kept up with every body that comes and goes, and filled with those that are not in it yet.

use std::collections::BTreeSet;
use std::time::Duration;

use super::sql;
use crate::clock;
use crate::error::Result;
use crate::services::prompts::search::tokens::{VERSION, words};
use crate::storage::text_index::{Document, TextIndex};
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
    #[derive(Debug)]
    pub(super) struct TextsRow {
        pub(super) prompt_id: i64,
        idea: String,
        context: String,
        improved_prompt: String,
    }
}

impl TextsRow {
    pub(super) fn texts(&self) -> [&str; 3] {
        [&self.idea, &self.improved_prompt, &self.context]
    }
}

/// The texts of some prompts, as far as they have them.
pub(super) async fn texts(db: &Db<'_>, ids: &[i64]) -> Result<Vec<TextsRow>> {
    sql::all_of_ids(db, texts_query, ids).await
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
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
    let cut = |text| words(text, usize::MAX).into_iter().map(|word| word.text).collect();
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

/// Merges segments of the index until the step's time is over. Returns whether more may be merged.
pub async fn merge(tx: &Tx<'_>, step: Duration) -> Result<bool> {
    INDEX.merge(tx, step).await
}

/// Whether there are prompts that are not in the index yet.
pub async fn is_filling(db: &Db<'_>) -> Result<bool> {
    let state = db.row::<State>(STATE, Vec::new()).await?;
    Ok(!state.is_some_and(|state| state.is_filled()))
}

/// Prompts that are not in the index yet, with their words.
#[derive(Debug)]
pub struct Filling {
    /// How far the index is.
    from: Option<State>,
    /// Up to where it is with these, before the documents.
    next_id: i64,
    /// By number, the greatest first.
    documents: Vec<(i64, Document)>,
}

/// The texts of prompts that are not in the index yet.
#[derive(Debug)]
pub struct Unfilled {
    from: Option<State>,
    next_id: i64,
    texts: Vec<TextsRow>,
}

impl Unfilled {
    /// Bytes of the texts.
    pub fn bytes(&self) -> usize {
        self.texts.iter().flat_map(TextsRow::texts).map(str::len).sum()
    }

    /// Cuts the words. Nobody waits for it but the one who fills.
    pub fn cut(self) -> Filling {
        let Self { from, next_id, texts } = self;
        let mut documents: Vec<(i64, Document)> = texts
            .iter()
            .map(|row| (row.prompt_id, document(&row.idea, &row.improved_prompt, &row.context)))
            .collect();
        documents.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        Filling { from, next_id, documents }
    }
}

/// The next prompts that are not in the index, the newest first; none if all are.
pub async fn unfilled(db: &Db<'_>) -> Result<Option<Unfilled>> {
    let from = db.row::<State>(STATE, Vec::new()).await?;
    let next_id = match &from {
        Some(state) if state.is_filled() => return Ok(None),
        Some(state) if state.version == VERSION => state.next_id,
        _ => db.row::<Id>(NEWEST, Vec::new()).await?.map_or(0, |newest| newest.id),
    };
    let rows: Vec<Id> = db.rows(NEXT, vec![next_id.into(), STEP_ROWS.into()]).await?;
    let ids: Vec<i64> = rows.into_iter().map(|row| row.id).collect();
    let next_id = ids.iter().min().map_or(0, |first| first - 1);
    Ok(Some(Unfilled { from, next_id, texts: texts(db, &ids).await? }))
}

/// Puts prompts in, one after the other until the step has taken its time. A prompt that is saved meanwhile puts itself in.
///
/// How far the index is stands in one row, which is locked: where another sidecar has gone on, these prompts are left to it.
pub async fn fill(tx: &Tx<'_>, filling: &Filling, step: Duration) -> Result<()> {
    let until = clock::instant() + step;
    let known = tx.row::<State>(&tx.locking(STATE), Vec::new()).await?;
    if known != filling.from {
        return Ok(());
    }
    // Who deletes a prompt locks it first: it is there until the commit, or its body is not found any more.
    let ids: Vec<i64> = filling.documents.iter().rev().map(|(id, _)| *id).collect();
    let mut next_id = filling.next_id;
    if !ids.is_empty() {
        let values = sql::padded(&ids);
        tx.lock(&prompts_query(values.len()), values).await?;
        let there = sql::all_of_ids::<Id>(tx, there_query, &ids).await?;
        let there: BTreeSet<i64> = there.into_iter().map(|row| row.id).collect();
        for (id, document) in filling.documents.iter().filter(|(id, _)| there.contains(id)) {
            put(tx, &[(*id, document)]).await?;
            if clock::instant() >= until {
                next_id = id - 1;
                break;
            }
        }
    }
    let statement = if known.is_some() { GO_ON } else { BEGIN };
    tx.run(statement, vec![VERSION.into(), next_id.into()]).await?;
    Ok(())
}

pub(super) fn there_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT "prompt_id" AS "id" FROM "prompt_bodies" WHERE "prompt_id" IN ({places})"#)
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
