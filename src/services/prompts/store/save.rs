//! Saving prompts: the entries, their bodies, tags, scores and conversations in one step. Saving one is saving a batch of one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::Value;

use super::conversations::{self, Joining};
use super::names::{self, NameLimits};
use super::rows::{self, Numbers, PromptRow};
use super::{changes, index, marks};
use crate::error::{Error, Result};
use crate::services::prompts::domain::{NameKind, Names, NewPrompt, Saved};
use crate::storage::text_index::Document;
use crate::storage::{Tx, chunks, places, row, rows_of_places};

const COLUMNS: &str = r#""prompt_time", "create_time", "backend_id", "model_id", "framework_id", "provider_id", "backend_text",
    "model_text", "framework_text", "provider_text", "status", "confidence", "latency_us", "prompt_tokens", "completion_tokens",
    "cost_micros", "conversation_id", "has_body", "body_bytes", "error_code", "import_key""#;

/// How many these are.
const VALUES: usize = 21;

/// Columns of a body.
const BODY_VALUES: usize = 11;

/// A prompt to be saved, with its words for the index.
#[derive(Debug)]
pub struct Saving {
    new: NewPrompt,
    pub(super) document: Document,
}

impl Saving {
    /// Cuts the words.
    pub fn new(new: NewPrompt) -> Self {
        let body = &new.body;
        let document = index::document(&body.idea, &body.improved_prompt, &body.context);
        Self { new, document }
    }
}

/// Saves prompts, each with a result in its order. One whose import key is known, or came before in the same call, is the one that was
/// saved first. Locks are taken in one order: conversations by name, names, import keys.
pub async fn save(
    tx: &Tx<'_>,
    limits: &NameLimits,
    prompts: &[Saving],
    now_us: i64,
) -> Result<Vec<Result<Saved>>> {
    let known = imported(tx, prompts).await?;
    let mut plan = Plan::default();
    prompts.iter().for_each(|saving| plan.add(&known, saving));
    let conversations = conversations::join(tx, &plan.joining).await?;
    let shared: BTreeSet<_> = plan.added.iter().flat_map(|saving| names::of(&saving.new.names)).collect();
    let numbers = names::ensure(tx, limits, &shared).await?;
    let mut saved: Vec<(PromptRow, &Saving)> = Vec::with_capacity(plan.added.len());
    for saving in &plan.added {
        let new = &saving.new;
        let conversation = conversations.get(new.conversation_id.as_str()).copied();
        saved.push((rows::new_row(new, numbers_of(&new.names, &numbers), conversation, now_us), *saving));
    }
    insert_rows(tx, &mut saved).await?;
    insert_bodies(tx, &saved).await?;
    let tags =
        saved.iter().flat_map(|(row, saving)| saving.new.tags.iter().map(move |tag| (row, tag.as_str())));
    marks::insert_tags(tx, &tags.collect::<Vec<_>>()).await?;
    let scores =
        saved.iter().flat_map(|(row, saving)| saving.new.scores.iter().map(move |score| (row.id, score)));
    marks::insert_scores(tx, &scores.collect::<Vec<_>>()).await?;
    changes::saved(tx, &saved).await?;
    Ok(plan.outcomes.into_iter().map(|outcome| outcome.saved(&saved)).collect())
}

/// What becomes of one prompt.
enum Outcome {
    /// It is there already.
    Known(i64),
    /// It is the one of those that are added.
    Added(usize),
    /// It is the same as one of those that are added.
    Again(usize),
}

impl Outcome {
    fn saved(self, added: &[(PromptRow, &Saving)]) -> Result<Saved> {
        let (id, existed) = match self {
            Self::Known(id) => (Some(id), true),
            Self::Added(index) => (added.get(index).map(|(row, _)| row.id), false),
            Self::Again(index) => (added.get(index).map(|(row, _)| row.id), true),
        };
        let id =
            id.filter(|id| *id > 0).ok_or_else(|| Error::internal("a prompt that was saved has no id"))?;
        Ok(Saved { id, existed })
    }
}

/// What is to be written.
#[derive(Default)]
struct Plan<'n> {
    outcomes: Vec<Outcome>,
    added: Vec<&'n Saving>,
    /// Import keys of those that are added, and which that is.
    keys: HashMap<&'n str, usize>,
    joining: BTreeMap<&'n str, Joining>,
}

impl<'n> Plan<'n> {
    fn add(&mut self, known: &HashMap<String, i64>, saving: &'n Saving) {
        let key = saving.new.import_key.as_str();
        let outcome = if let Some(id) = known.get(key) {
            Outcome::Known(*id)
        } else if let Some(first) = self.keys.get(key) {
            Outcome::Again(*first)
        } else {
            self.admit(saving)
        };
        self.outcomes.push(outcome);
    }

    fn admit(&mut self, saving: &'n Saving) -> Outcome {
        let (index, new) = (self.added.len(), &saving.new);
        self.added.push(saving);
        if !new.import_key.is_empty() {
            self.keys.insert(&new.import_key, index);
        }
        if !new.conversation_id.is_empty() {
            let one = Joining::one(new.prompt_us);
            let joining = self.joining.entry(&new.conversation_id);
            joining.and_modify(|all| *all = all.and(one)).or_insert(one);
        }
        Outcome::Added(index)
    }
}

fn numbers_of(names: &Names, numbers: &HashMap<names::Name<'_>, i64>) -> Numbers {
    // A name that is not among them is the group of the others itself.
    let number = |kind: NameKind| {
        let name = names.get(kind);
        (!name.is_empty()).then(|| numbers.get(&(kind, name)).copied().unwrap_or(names::OTHER))
    };
    Numbers {
        backend: number(NameKind::Backend).unwrap_or(names::OTHER),
        model: number(NameKind::Model),
        framework: number(NameKind::Framework),
        provider: number(NameKind::Provider),
    }
}

/// Inserts the rows and gives them their numbers, which ascend in their order.
///
/// Where writers meet, rows are inserted in the order of their import keys: two batches of the same keys then wait for each other in one
/// direction only, whatever their own order.
async fn insert_rows(tx: &Tx<'_>, saved: &mut [(PromptRow, &Saving)]) -> Result<()> {
    let ids = if saved.len() > 1 { tx.next_ids("prompts", saved.len()).await? } else { None };
    let Some(ids) = ids else {
        let insert = format!(r#"INSERT INTO "prompts" ({COLUMNS}) VALUES {}"#, rows_of_places(1, VALUES));
        for (row, _) in saved {
            row.id = tx.insert_written_out(&insert, values(row)).await?;
        }
        return Ok(());
    };
    for ((row, _), id) in saved.iter_mut().zip(ids) {
        row.id = id;
    }
    let mut rows: Vec<&PromptRow> = saved.iter().map(|(row, _)| row).collect();
    rows.sort_by(|one, other| one.import_key.cmp(&other.import_key));
    for chunk in chunks(&rows) {
        let mut all: Vec<Value> = Vec::with_capacity(chunk.len() * (VALUES + 1));
        for row in chunk {
            all.extend(values(row));
            all.push(row.id.into());
        }
        let places = rows_of_places(chunk.len(), VALUES + 1);
        tx.run(&format!(r#"INSERT INTO "prompts" ({COLUMNS}, "id") VALUES {places}"#), all).await?;
    }
    Ok(())
}

row! {
    struct Imported {
        id: i64,
        import_key: String,
    }
}

/// The numbers of those prompts that are there by their import keys.
async fn imported(tx: &Tx<'_>, prompts: &[Saving]) -> Result<HashMap<String, i64>> {
    let keys: Vec<&str> =
        prompts.iter().map(|saving| saving.new.import_key.as_str()).filter(|key| !key.is_empty()).collect();
    let mut known = HashMap::new();
    for chunk in chunks(&keys) {
        let values = chunk.iter().map(|key| Value::from(*key)).collect();
        for row in tx.rows::<Imported>(&imported_query(chunk.len()), values).await? {
            known.insert(row.import_key, row.id);
        }
    }
    Ok(known)
}

pub(super) fn imported_query(keys: usize) -> String {
    let places = places(1, keys);
    format!(r#"SELECT "id", "import_key" FROM "prompts" WHERE "import_key" IN ({places})"#)
}

fn values(row: &PromptRow) -> Vec<Value> {
    let text = |kind: NameKind| Value::from(row.name(kind).1.map(str::to_owned));
    vec![
        row.prompt_time.into(),
        row.create_time.into(),
        row.backend_id.into(),
        row.model_id.into(),
        row.framework_id.into(),
        row.provider_id.into(),
        text(NameKind::Backend),
        text(NameKind::Model),
        text(NameKind::Framework),
        text(NameKind::Provider),
        row.status.into(),
        row.confidence.into(),
        row.latency_us.into(),
        row.prompt_tokens.into(),
        row.completion_tokens.into(),
        row.cost_micros.into(),
        row.conversation_id.into(),
        row.has_body.into(),
        row.body_bytes.into(),
        row.error_code.clone().into(),
        row.import_key.clone().into(),
    ]
}

async fn insert_bodies(tx: &Tx<'_>, saved: &[(PromptRow, &Saving)]) -> Result<()> {
    for chunk in chunks(saved) {
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * BODY_VALUES);
        for (row, saving) in chunk {
            let body = &saving.new.body;
            let guardrails = serde_json::to_string(&body.guardrails)
                .map_err(|error| Error::internal(error.to_string()))?;
            values.extend([row.id.into(), row.prompt_time.into()]);
            let texts = [
                &body.idea,
                &body.context,
                &body.improved_prompt,
                &body.directive,
                &guardrails,
                &body.reasoning,
                &body.error_message,
                &body.metadata_json,
                &body.role,
            ];
            values.extend(texts.map(|text| Value::from(text.as_str())));
        }
        tx.run(&insert_bodies_query(chunk.len()), values).await?;
    }
    Ok(())
}

fn insert_bodies_query(rows: usize) -> String {
    format!(
        r#"INSERT INTO "prompt_bodies" ("prompt_id", "prompt_time", "idea", "context", "improved_prompt", "directive",
        "guardrails_json", "reasoning", "error_message", "metadata_json", "role") VALUES {}"#,
        rows_of_places(rows, BODY_VALUES)
    )
}
