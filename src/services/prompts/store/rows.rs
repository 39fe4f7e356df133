//! Rows of the tables of prompts, and what they mean.

use super::names::{OTHER, Texts};
use crate::error::{Error, Result};
use crate::services::prompts::domain::{
    Body, Measures, NameKind, Names, NewPrompt, Prompt, Score, ScoreValue, Status,
};
use crate::services::prompts::filter::{Key, KeyValue, OrderBy};
use crate::storage::row;

/// The columns of [`PromptRow`], from `prompts` p.
pub(super) const PROMPT_COLUMNS: &str = r#"p."id", p."prompt_time", p."create_time", p."backend_id", p."model_id", p."framework_id",
    p."provider_id", p."backend_text", p."model_text", p."framework_text", p."provider_text", p."status", p."confidence", p."latency_us", p."prompt_tokens", p."completion_tokens", p."cost_micros",
    p."conversation_id", p."has_body", p."body_bytes", p."error_code", p."import_key""#;

row! {
    /// A row of `prompts`.
    #[derive(Clone, Debug)]
    pub(super) struct PromptRow {
        pub(super) id: i64,
        pub(super) prompt_time: i64,
        pub(super) create_time: i64,
        pub(super) backend_id: i64,
        pub(super) model_id: Option<i64>,
        pub(super) framework_id: Option<i64>,
        pub(super) provider_id: Option<i64>,
        backend_text: Option<String>,
        model_text: Option<String>,
        framework_text: Option<String>,
        provider_text: Option<String>,
        pub(super) status: i64,
        pub(super) confidence: Option<f64>,
        pub(super) latency_us: Option<i64>,
        pub(super) prompt_tokens: Option<i64>,
        pub(super) completion_tokens: Option<i64>,
        pub(super) cost_micros: Option<i64>,
        pub(super) conversation_id: Option<i64>,
        pub(super) has_body: bool,
        pub(super) body_bytes: i64,
        pub(super) error_code: Option<String>,
        pub(super) import_key: Option<String>,
    }
}

impl PromptRow {
    /// What was measured.
    pub(super) fn measures(&self) -> Measures {
        Measures {
            confidence: self.confidence,
            latency_us: self.latency_us,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            cost_micros: self.cost_micros,
        }
    }

    /// Where it stands in an order; none: it has nothing to be put in order by.
    pub(super) fn key(&self, by: OrderBy) -> Option<Key> {
        let value = match by {
            OrderBy::Time => Some(KeyValue::Us(self.prompt_time)),
            OrderBy::Latency => self.latency_us.map(KeyValue::Us),
            OrderBy::Confidence => self.confidence.map(KeyValue::Share),
        };
        value.map(|value| Key { value, id: self.id })
    }

    /// The number and the text of its name of a kind.
    pub(super) fn name(&self, kind: NameKind) -> (Option<i64>, Option<&str>) {
        let (number, text) = match kind {
            NameKind::Backend => (Some(self.backend_id), &self.backend_text),
            NameKind::Model => (self.model_id, &self.model_text),
            NameKind::Framework => (self.framework_id, &self.framework_text),
            NameKind::Provider => (self.provider_id, &self.provider_text),
        };
        (number, text.as_deref())
    }

    /// The prompt that it holds, without body, conversation, tags and scores.
    pub(super) fn prompt(self, texts: &Texts) -> Result<Prompt> {
        let name = |kind: NameKind| {
            let (number, text) = self.name(kind);
            texts.get(number, text)
        };
        let names = Names {
            backend: name(NameKind::Backend)?,
            model: name(NameKind::Model)?,
            framework: name(NameKind::Framework)?,
            provider: name(NameKind::Provider)?,
        };
        Ok(Prompt {
            id: self.id,
            measures: self.measures(),
            body: None,
            has_body: self.has_body,
            body_bytes: self.body_bytes,
            prompt_us: self.prompt_time,
            create_us: self.create_time,
            names,
            status: status(self.status, self.id)?,
            error_code: self.error_code.unwrap_or_default(),
            conversation_id: String::new(),
            tags: Vec::new(),
            scores: Vec::new(),
            import_key: self.import_key.unwrap_or_default(),
            is_truncated: false,
        })
    }
}

/// The numbers of a prompt's names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) backend: i64,
    pub(super) model: Option<i64>,
    pub(super) framework: Option<i64>,
    pub(super) provider: Option<i64>,
}

/// The row of a prompt that is saved.
pub(super) fn new_row(
    new: &NewPrompt,
    numbers: Numbers,
    conversation: Option<i64>,
    now_us: i64,
) -> PromptRow {
    let text = |number: Option<i64>, name: &str| (number == Some(OTHER)).then(|| name.to_owned());
    let names = &new.names;
    PromptRow {
        id: 0,
        prompt_time: new.prompt_us,
        create_time: now_us,
        backend_id: numbers.backend,
        model_id: numbers.model,
        framework_id: numbers.framework,
        provider_id: numbers.provider,
        backend_text: text(Some(numbers.backend), &names.backend),
        model_text: text(numbers.model, &names.model),
        framework_text: text(numbers.framework, &names.framework),
        provider_text: text(numbers.provider, &names.provider),
        status: status_number(new.status),
        confidence: new.measures.confidence,
        latency_us: new.measures.latency_us,
        prompt_tokens: new.measures.prompt_tokens,
        completion_tokens: new.measures.completion_tokens,
        cost_micros: new.measures.cost_micros,
        conversation_id: conversation,
        has_body: true,
        body_bytes: i64::try_from(new.body.bytes()).unwrap_or(i64::MAX),
        error_code: filled(&new.error_code),
        import_key: filled(&new.import_key),
    }
}

/// What a status is stored as.
pub(super) fn status_number(status: Status) -> i64 {
    match status {
        Status::Ok => 1,
        Status::Failed => 2,
    }
}

fn status(number: i64, row: i64) -> Result<Status> {
    match number {
        1 => Ok(Status::Ok),
        2 => Ok(Status::Failed),
        _ => Err(corrupt("prompts", "status", row, format!("{number} is unknown"))),
    }
}

/// A text that is NULL when it is empty.
pub(super) fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The columns of [`BodyRow`].
pub(super) const BODY_COLUMNS: &str = r#""prompt_id", "idea", "context", "improved_prompt", "directive", "guardrails_json", "reasoning",
    "error_message", "metadata_json", "role""#;

row! {
    /// A row of `prompt_bodies`.
    #[derive(Clone, Debug)]
    pub(super) struct BodyRow {
        pub(super) prompt_id: i64,
        idea: String,
        context: String,
        improved_prompt: String,
        directive: String,
        guardrails_json: String,
        reasoning: String,
        error_message: String,
        metadata_json: String,
        role: String,
    }
}

impl BodyRow {
    /// The body that it holds.
    pub(super) fn body(self) -> Result<Body> {
        let guardrails = serde_json::from_str(&self.guardrails_json).map_err(|error| {
            corrupt("prompt_bodies", "guardrails_json", self.prompt_id, error.to_string())
        })?;
        Ok(Body {
            idea: self.idea,
            context: self.context,
            improved_prompt: self.improved_prompt,
            directive: self.directive,
            guardrails,
            reasoning: self.reasoning,
            error_message: self.error_message,
            metadata_json: self.metadata_json,
            role: self.role,
        })
    }
}

row! {
    /// A row of `prompt_scores`.
    #[derive(Clone, Debug)]
    pub(super) struct ScoreRow {
        pub(super) prompt_id: i64,
        name: String,
        number: Option<f64>,
        boolean: Option<bool>,
        category: Option<String>,
        update_time: i64,
    }
}

impl ScoreRow {
    /// The score that it holds.
    pub(super) fn score(self) -> Result<Score> {
        let value = match (self.number, self.boolean, self.category) {
            (Some(number), None, None) => ScoreValue::Number(number),
            (None, Some(boolean), None) => ScoreValue::Boolean(boolean),
            (None, None, Some(category)) => ScoreValue::Category(category),
            _ => {
                let cause = format!("the score {} has no value, or several", self.name);
                return Err(corrupt("prompt_scores", "number", self.prompt_id, cause));
            }
        };
        Ok(Score { name: self.name, value, update_us: self.update_time })
    }
}

row! {
    /// A row of `prompt_tags`.
    #[derive(Clone, Debug)]
    pub(super) struct TagRow {
        pub(super) prompt_id: i64,
        pub(super) tag: String,
    }
}

fn corrupt(table: &'static str, column: &'static str, row: i64, cause: String) -> Error {
    Error::CorruptRow { table, column, row, cause }
}
