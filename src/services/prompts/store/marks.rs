//! Tags and scores of prompts. What changes those of one prompt begins with the lock of its row.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;

use super::index::prompts_query;
use super::rows::{PromptRow, ScoreRow, TagRow};
use super::sql;
use crate::error::{Error, Result};
use crate::services::prompts::domain::{Score, ScoreValue, Scoring, Tagging};
use crate::storage::{Db, Rank, RowLock, Tx, chunks, places, row, rows_of_places};

const LOCK: &str = r#"SELECT "prompt_time" FROM "prompts" WHERE "id" = $1"#;
const REMOVE_SCORE: &str = r#"DELETE FROM "prompt_scores" WHERE "prompt_id" = $1 AND "name" = $2"#;
const REMOVE_TAG: &str = r#"DELETE FROM "prompt_tags" WHERE "prompt_id" = $1 AND "tag" = $2"#;

row! {
    struct Locked {
        prompt_time: i64,
    }
}

/// The lock of a prompt's row.
pub fn lock_of(id: i64) -> RowLock {
    // Numbers are positive: their bytes are in their order.
    RowLock::new(Rank::Prompts, id.to_be_bytes(), LOCK, vec![id.into()])
}

/// Locks a prompt. Error: PromptNotFound.
async fn lock(tx: &Tx<'_>, id: i64) -> Result<Locked> {
    tx.row(&tx.locking(LOCK), vec![id.into()]).await?.ok_or(Error::PromptNotFound)
}

/// Sets and removes scores of a prompt, and answers with all that it has then, by name.
/// Errors, with nothing stored: PromptNotFound, TooManyPromptMarks.
pub async fn score(tx: &Tx<'_>, id: i64, scoring: &Scoring, scores_max: i64) -> Result<Vec<Score>> {
    lock(tx, id).await?;
    let rows: Vec<ScoreRow> = tx.rows(&scores_query(1), vec![id.into()]).await?;
    let mut scores = BTreeMap::new();
    for row in rows {
        let score = row.score()?;
        scores.insert(score.name.clone(), score);
    }
    let before: BTreeSet<String> = scores.keys().cloned().collect();
    for name in &scoring.remove {
        scores.remove(name);
    }
    for score in &scoring.set {
        scores.insert(score.name.clone(), score.clone());
    }
    refuse_too_many(scores.len(), before.len(), "scores", scores_max, "prompts.scores_max")?;
    let set = scoring.set.iter().map(|score| &score.name);
    for name in scoring.remove.iter().chain(set).filter(|name| before.contains(*name)) {
        tx.run(REMOVE_SCORE, vec![id.into(), name.as_str().into()]).await?;
    }
    let set: Vec<(i64, &Score)> = scoring.set.iter().map(|score| (id, score)).collect();
    insert_scores(tx, &set).await?;
    Ok(scores.into_values().collect())
}

/// The same for many prompts, each with a result in its order: how many scores it has then, or its error. All are locked first, in the order
/// of their numbers, and read and written together.
pub async fn score_all(tx: &Tx<'_>, items: &[(i64, Scoring)], scores_max: i64) -> Result<Vec<Result<usize>>> {
    let mut there = locked_scores(tx, items).await?;
    let mut changes: BTreeMap<(i64, &str), Option<&Score>> = BTreeMap::new();
    let mut results = Vec::with_capacity(items.len());
    for (id, scoring) in items {
        let Some(scores) = there.get_mut(id) else {
            results.push(Err(Error::PromptNotFound));
            continue;
        };
        let mut after = scores.clone();
        after.retain(|name| !scoring.remove.contains(name));
        after.extend(scoring.set.iter().map(|score| score.name.clone()));
        let within = refuse_too_many(after.len(), scores.len(), "scores", scores_max, "prompts.scores_max");
        if within.is_ok() {
            changes.extend(scoring.remove.iter().map(|name| ((*id, name.as_str()), None)));
            changes.extend(scoring.set.iter().map(|score| ((*id, score.name.as_str()), Some(score))));
            *scores = after;
        }
        results.push(within.map(|()| scores.len()));
    }
    for (id, name) in changes.iter().filter(|(_, score)| score.is_none()).map(|(key, _)| *key) {
        tx.run(REMOVE_SCORE, vec![id.into(), name.into()]).await?;
    }
    let set: Vec<(i64, &Score)> =
        changes.iter().filter_map(|((id, _), score)| score.map(|score| (*id, score))).collect();
    insert_scores(tx, &set).await?;
    Ok(results)
}

row! {
    struct Id {
        id: i64,
    }
}

/// Locks the prompts of some items; the names of the scores that each has.
async fn locked_scores(tx: &Tx<'_>, items: &[(i64, Scoring)]) -> Result<BTreeMap<i64, BTreeSet<String>>> {
    let ids: BTreeSet<i64> = items.iter().map(|(id, _)| *id).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let mut there: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for ids in ids.chunks(sql::IDS_MAX) {
        let values = sql::padded(ids);
        let query = prompts_query(values.len());
        let rows: Vec<Id> = tx.rows(&tx.locking(&query), values).await?;
        there.extend(rows.into_iter().map(|row| (row.id, BTreeSet::new())));
    }
    let known: Vec<i64> = there.keys().copied().collect();
    for row in scores(tx, &known).await? {
        let id = row.prompt_id;
        let name = row.score()?.name;
        there.entry(id).or_default().insert(name);
    }
    Ok(there)
}

/// Adds and removes tags of a prompt, and answers with all that it has then, in order.
/// Errors, with nothing stored: PromptNotFound, TooManyPromptMarks.
pub async fn tag(tx: &Tx<'_>, id: i64, tagging: &Tagging, tags_max: i64) -> Result<Vec<String>> {
    let Locked { prompt_time } = lock(tx, id).await?;
    let rows: Vec<TagRow> = tx.rows(&tags_query(1), vec![id.into()]).await?;
    let before: BTreeSet<String> = rows.into_iter().map(|row| row.tag).collect();
    let mut tags = before.clone();
    for tag in &tagging.remove {
        tags.remove(tag);
    }
    tags.extend(tagging.add.iter().cloned());
    refuse_too_many(tags.len(), before.len(), "tags", tags_max, "prompts.tags_max")?;
    for tag in before.difference(&tags) {
        tx.run(REMOVE_TAG, vec![id.into(), tag.as_str().into()]).await?;
    }
    let added: Vec<(i64, i64, &str)> =
        tags.difference(&before).map(|tag| (id, prompt_time, tag.as_str())).collect();
    insert_tag_rows(tx, &added).await?;
    Ok(tags.into_iter().collect())
}

/// A prompt that has more than the limit, which was lowered, may still lose some.
fn refuse_too_many(
    count: usize,
    before: usize,
    what: &'static str,
    max: i64,
    setting: &'static str,
) -> Result<()> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let grows = count > i64::try_from(before).unwrap_or(i64::MAX);
    if grows && count > max {
        return Err(Error::TooManyPromptMarks { what, count, setting });
    }
    Ok(())
}

/// Stores the tags of prompts that are new.
pub(super) async fn insert_tags(tx: &Tx<'_>, tags: &[(&PromptRow, &str)]) -> Result<()> {
    let rows: Vec<(i64, i64, &str)> = tags.iter().map(|(row, tag)| (row.id, row.prompt_time, *tag)).collect();
    insert_tag_rows(tx, &rows).await
}

async fn insert_tag_rows(tx: &Tx<'_>, rows: &[(i64, i64, &str)]) -> Result<()> {
    for chunk in chunks(rows) {
        let values = chunk
            .iter()
            .flat_map(|(id, prompt_us, tag)| [Value::from(*id), (*tag).into(), (*prompt_us).into()]);
        let places = rows_of_places(chunk.len(), 3);
        let insert =
            format!(r#"INSERT INTO "prompt_tags" ("prompt_id", "tag", "prompt_time") VALUES {places}"#);
        tx.run(&insert, values.collect()).await?;
    }
    Ok(())
}

/// Stores scores, each in place of the one of its name.
pub(super) async fn insert_scores(tx: &Tx<'_>, scores: &[(i64, &Score)]) -> Result<()> {
    for chunk in chunks(scores) {
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * 6);
        for (id, score) in chunk {
            let (number, boolean, category) = match &score.value {
                ScoreValue::Number(number) => (Some(*number), None, None),
                ScoreValue::Boolean(boolean) => (None, Some(*boolean), None),
                ScoreValue::Category(category) => (None, None, Some(category.clone())),
            };
            values.extend([(*id).into(), score.name.as_str().into(), number.into(), boolean.into()]);
            values.extend([category.into(), score.update_us.into()]);
        }
        let places = rows_of_places(chunk.len(), 6);
        let insert = format!(
            r#"INSERT INTO "prompt_scores" ("prompt_id", "name", "number", "boolean", "category", "update_time") VALUES {places}
            ON CONFLICT ("prompt_id", "name") DO UPDATE SET "number" = excluded."number", "boolean" = excluded."boolean",
            "category" = excluded."category", "update_time" = excluded."update_time""#
        );
        tx.run(&insert, values).await?;
    }
    Ok(())
}

/// The tags of prompts, in their order.
pub(super) async fn tags(db: &Db<'_>, ids: &[i64]) -> Result<Vec<TagRow>> {
    sql::all_of_ids(db, tags_query, ids).await
}

/// The scores of prompts, in the order of their names.
pub(super) async fn scores(db: &Db<'_>, ids: &[i64]) -> Result<Vec<ScoreRow>> {
    sql::all_of_ids(db, scores_query, ids).await
}

pub(super) fn tags_query(count: usize) -> String {
    let places = places(1, count);
    format!(
        r#"SELECT "prompt_id", "tag" FROM "prompt_tags" WHERE "prompt_id" IN ({places}) ORDER BY "prompt_id", "tag""#
    )
}

pub(super) fn scores_query(count: usize) -> String {
    let places = places(1, count);
    format!(
        r#"SELECT "prompt_id", "name", "number", "boolean", "category", "update_time" FROM "prompt_scores"
        WHERE "prompt_id" IN ({places}) ORDER BY "prompt_id", "name""#
    )
}
