//! Reading prompts by their numbers, and completing rows with what lies in other tables.

use std::collections::{BTreeSet, HashMap};

use super::index::INDEX;
use super::names::Texts;
use super::rows::{BODY_COLUMNS, BodyRow, PROMPT_COLUMNS, PromptRow};
use super::{conversations, marks, sql};
use crate::answer::Budget;
use crate::error::Result;
use crate::services::prompts::domain::{NameKind, Prompt, ScoreValue};
use crate::storage::{Db, places};

/// Numbers, times and framing of a prompt in an answer.
const ROW_OVERHEAD_BYTES: usize = 300;

/// The same of a tag or a score.
const MARK_OVERHEAD_BYTES: usize = 40;

/// Whether prompts are read with their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// With them.
    Read,
    /// Without.
    Left,
}

/// The prompts of those numbers that are there, in the order given; and those numbers for which there was no room.
pub async fn find(
    db: &Db<'_>,
    ids: &[i64],
    bodies: Bodies,
    budget: Budget,
) -> Result<(Vec<Prompt>, Vec<i64>)> {
    let rows: Vec<PromptRow> = sql::all_of_ids(db, rows_query, ids).await?;
    let mut by_id: HashMap<i64, PromptRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    // Each once: it is taken out of the map.
    let rows: Vec<PromptRow> = ids.iter().filter_map(|id| by_id.remove(id)).collect();
    let mut found = Found::new(usize::MAX, budget);
    let mut rest = rows.as_slice();
    while let Some((fitting, after)) = found.fitting(rest, bodies) {
        for prompt in complete(db, fitting, bodies).await? {
            if !found.take(prompt)? {
                break;
            }
        }
        rest = after;
    }
    let left = rows.iter().skip(found.prompts.len()).map(|row| row.id).collect();
    Ok((found.prompts, left))
}

pub(super) fn rows_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT {PROMPT_COLUMNS} FROM "prompts" p WHERE p."id" IN ({places})"#)
}

pub(super) fn bodies_query(count: usize) -> String {
    let places = places(1, count);
    format!(r#"SELECT {BODY_COLUMNS} FROM "prompt_bodies" WHERE "prompt_id" IN ({places})"#)
}

/// The prompts that rows hold, with conversation, tags and scores, and with the body if that is asked for.
pub(super) async fn complete(db: &Db<'_>, rows: &[PromptRow], bodies: Bodies) -> Result<Vec<Prompt>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let names = rows.iter().flat_map(|row| NameKind::ALL.into_iter().filter_map(|kind| row.name(kind).0));
    let texts = Texts::of(db, names.collect()).await?;
    let numbers: BTreeSet<i64> = rows.iter().filter_map(|row| row.conversation_id).collect();
    let conversations = conversations::names(db, &numbers).await?;
    let mut prompts = Vec::with_capacity(rows.len());
    let mut places = HashMap::with_capacity(rows.len());
    for row in rows {
        let conversation = row.conversation_id.and_then(|number| conversations.get(&number));
        let mut prompt = row.clone().prompt(&texts)?;
        prompt.conversation_id = conversation.cloned().unwrap_or_default();
        places.insert(row.id, prompts.len());
        prompts.push(prompt);
    }
    let place = |id: &i64| places.get(id).copied().unwrap_or(usize::MAX);
    for row in marks::tags(db, &ids).await? {
        if let Some(prompt) = prompts.get_mut(place(&row.prompt_id)) {
            prompt.tags.push(row.tag);
        }
    }
    for row in marks::scores(db, &ids).await? {
        if let Some(prompt) = prompts.get_mut(place(&row.prompt_id)) {
            prompt.scores.push(row.score()?);
        }
    }
    let with_body: Vec<i64> = rows.iter().filter(|row| row.has_body).map(|row| row.id).collect();
    for id in INDEX.truncated(db, &with_body).await? {
        if let Some(prompt) = prompts.get_mut(place(&id)) {
            prompt.is_truncated = true;
        }
    }
    if bodies == Bodies::Read {
        for row in sql::all_of_ids::<BodyRow>(db, bodies_query, &with_body).await? {
            if let Some(prompt) = prompts.get_mut(place(&row.prompt_id)) {
                prompt.body = Some(row.body()?);
            }
        }
    }
    Ok(prompts)
}

/// The prompts of an answer so far.
pub(super) struct Found {
    pub(super) prompts: Vec<Prompt>,
    rows_max: usize,
    budget: Budget,
    is_full: bool,
}

impl Found {
    pub(super) fn new(rows_max: usize, budget: Budget) -> Self {
        Self { prompts: Vec::new(), rows_max, budget, is_full: false }
    }

    /// The first of some rows, as many as there may be room for, and the others; none if there are no rows or there is no room.
    /// What is read together is bounded so: a page takes no more memory than an answer may.
    pub(super) fn fitting<'r>(
        &self,
        rows: &'r [PromptRow],
        bodies: Bodies,
    ) -> Option<(&'r [PromptRow], &'r [PromptRow])> {
        if self.is_full || rows.is_empty() {
            return None;
        }
        let mut bytes_left = self.budget.bytes_left();
        let fits = |row: &&PromptRow| {
            let body = if bodies == Bodies::Read {
                usize::try_from(row.body_bytes).unwrap_or(usize::MAX)
            } else {
                0
            };
            let left = bytes_left.checked_sub(body.saturating_add(ROW_OVERHEAD_BYTES));
            bytes_left = left.unwrap_or(0);
            left.is_some()
        };
        // The next one is looked at even if it does not fit: it fills the page, or is the only one.
        let rows_max = (self.rows_max - self.prompts.len()).saturating_add(1).min(sql::IDS_MAX);
        let count = rows.iter().take(rows_max).take_while(fits).count().max(1);
        rows.split_at_checked(count)
    }

    /// Takes a prompt unless the page is full. Error: AnswerTooLarge.
    pub(super) fn take(&mut self, prompt: Prompt) -> Result<bool> {
        let has_row = !self.is_full && self.prompts.len() < self.rows_max;
        if !has_row || !self.budget.take(bytes(&prompt), || prompt.id.to_string())? {
            self.is_full = true;
            return Ok(false);
        }
        self.prompts.push(prompt);
        Ok(true)
    }
}

/// Bytes of a prompt in an answer, about.
fn bytes(prompt: &Prompt) -> usize {
    let names = &prompt.names;
    let texts = [&names.backend, &names.model, &names.framework, &names.provider, &prompt.error_code];
    let texts: usize = texts.into_iter().map(String::len).sum();
    let own = prompt.conversation_id.len() + prompt.import_key.len();
    let tags: usize = prompt.tags.iter().map(|tag| tag.len() + MARK_OVERHEAD_BYTES).sum();
    let scores = prompt.scores.iter().map(|score| {
        let category = match &score.value {
            ScoreValue::Category(category) => category.len(),
            ScoreValue::Number(_) | ScoreValue::Boolean(_) => 0,
        };
        score.name.len() + category + MARK_OVERHEAD_BYTES
    });
    let body =
        prompt.body.as_ref().map_or(0, |body| body.bytes() + body.guardrails.len() * MARK_OVERHEAD_BYTES);
    ROW_OVERHEAD_BYTES + texts + own + tags + scores.sum::<usize>() + body
}
