//! Saving prompts: the entries, their bodies, tags, scores and conversations in one step. Saving one is saving a batch of one.

use std::collections::{BTreeMap, HashMap};

use sea_orm::Value;

use super::conversations::{self, Joining};
use super::names::NameNumbers;
use super::rows::{self, Numbers, PromptRow};
use super::{changes, index, marks};
use crate::error::{Error, Result};
use crate::services::prompts::domain::{NameKind, NewPrompt, Saved};
use crate::storage::text_index::Document;
use crate::storage::{Tx, chunks, places, row, rows_of_places};

const INSERT: &str = r#"INSERT INTO "prompts" ("prompt_time", "create_time", "backend_id", "model_id", "framework_id", "role_id",
    "status", "confidence", "latency_us", "prompt_tokens", "completion_tokens", "cost_micros", "conversation_id", "has_body",
    "body_bytes", "error_code", "import_key")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"#;

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

/// Saves prompts in their order, each with a result of its own: TooManyPromptNames. One whose import key is known, or came before in
/// the same call, is the one that was saved first.
pub async fn save(
    tx: &Tx<'_>,
    names: &NameNumbers,
    prompts: &[Saving],
    now_us: i64,
) -> Result<Vec<Result<Saved>>> {
    let known = imported(tx, prompts).await?;
    let mut plan = Plan::default();
    for saving in prompts {
        plan.add(tx, names, &known, saving).await?;
    }
    let conversations = conversations::join(tx, &plan.joining).await?;
    let mut saved: Vec<(PromptRow, &Saving)> = Vec::with_capacity(plan.added.len());
    for (saving, numbers) in &plan.added {
        let new = &saving.new;
        let conversation = conversations.get(new.conversation_id.as_str()).copied();
        let mut row = rows::new_row(new, *numbers, conversation, now_us);
        row.id = tx.insert_written_out(INSERT, values(&row)).await?;
        saved.push((row, *saving));
    }
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
    /// It is refused.
    Refused(Error),
}

impl Outcome {
    fn saved(self, added: &[(PromptRow, &Saving)]) -> Result<Saved> {
        let id = |index: usize| added.get(index).map_or(0, |(row, _)| row.id);
        match self {
            Self::Known(id) => Ok(Saved { id, existed: true }),
            Self::Added(index) => Ok(Saved { id: id(index), existed: false }),
            Self::Again(index) => Ok(Saved { id: id(index), existed: true }),
            Self::Refused(error) => Err(error),
        }
    }
}

/// What is to be written.
#[derive(Default)]
struct Plan<'n> {
    outcomes: Vec<Outcome>,
    added: Vec<(&'n Saving, Numbers)>,
    /// Import keys of those that are added, and which that is.
    keys: HashMap<&'n str, usize>,
    joining: BTreeMap<&'n str, Joining>,
}

impl<'n> Plan<'n> {
    async fn add(
        &mut self,
        tx: &Tx<'_>,
        names: &NameNumbers,
        known: &HashMap<String, i64>,
        saving: &'n Saving,
    ) -> Result<()> {
        let key = saving.new.import_key.as_str();
        let outcome = if let Some(id) = known.get(key) {
            Outcome::Known(*id)
        } else if let Some(first) = self.keys.get(key) {
            Outcome::Again(*first)
        } else {
            match numbers(tx, names, &saving.new).await {
                Ok(numbers) => self.admit(saving, numbers),
                Err(error @ Error::TooManyPromptNames { .. }) => Outcome::Refused(error),
                Err(error) => return Err(error),
            }
        };
        self.outcomes.push(outcome);
        Ok(())
    }

    fn admit(&mut self, saving: &'n Saving, numbers: Numbers) -> Outcome {
        let (index, new) = (self.added.len(), &saving.new);
        self.added.push((saving, numbers));
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

async fn numbers(tx: &Tx<'_>, names: &NameNumbers, new: &NewPrompt) -> Result<Numbers> {
    Ok(Numbers {
        backend: names.ensure(tx, NameKind::Backend, &new.names.backend).await?,
        model: names.ensure_filled(tx, NameKind::Model, &new.names.model).await?,
        framework: names.ensure_filled(tx, NameKind::Framework, &new.names.framework).await?,
        role: names.ensure_filled(tx, NameKind::Role, &new.names.role).await?,
    })
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
    vec![
        row.prompt_time.into(),
        row.create_time.into(),
        row.backend_id.into(),
        row.model_id.into(),
        row.framework_id.into(),
        row.role_id.into(),
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
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * 10);
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
        "guardrails_json", "reasoning", "error_message", "metadata_json") VALUES {}"#,
        rows_of_places(rows, 10)
    )
}
