//! Requests to domain types, with all that is wrong told at once.

use std::collections::BTreeSet;

use pannier_proto::prompts::v1 as pb;

use super::super::domain::{Body, Measures, Names, NewPrompt, Score, ScoreValue, Scoring, Status, Tagging};
use crate::batch::{Batch, Failing};
use crate::clock::ms_to_us;
use crate::json::{self, Limits};
use crate::settings::{PromptsSettings, TTL_MS_MAX};

/// Bytes of a backend, a model, a framework, a provider.
const SHARED_NAME_BYTES_MAX: u64 = 4_096;

/// Bytes of a tag, a score's name, an error's code.
pub(super) const NAME_BYTES_MAX: u64 = 128;

/// Bytes of a conversation's id, an import key, a score's category.
pub(super) const ID_BYTES_MAX: u64 = 256;

const GUARDRAIL_BYTES_MAX: u64 = 4_096;
const TOKENS_MAX: i64 = 1 << 40;
const COST_MICROS_MAX: i64 = 1 << 50;
const METADATA_DEPTH_MAX: usize = 32;

/// Requests of the prompts, checked against their settings.
pub type Parser<'s> = crate::convert::Parser<'s, PromptsSettings>;

impl Parser<'_> {
    /// The number of a prompt.
    pub(in super::super) fn prompt_id(&mut self, field: &dyn Fn() -> String, id: i64) -> i64 {
        if id < 1 {
            self.violations.add(field(), format!("must be the id of a prompt, 1 or more, is {id}"));
        }
        id
    }

    /// The numbers of the prompts of a batch, in their order, each once. One below 1 is that of a prompt that is not there.
    pub(in super::super) fn prompt_ids(&mut self, ids: &[i64]) -> Vec<i64> {
        let max = self.settings.batch_prompts_max;
        if !self.batch("prompt_ids", ids.len(), max, "prompts.batch_prompts_max") {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        ids.iter().copied().filter(|id| seen.insert(*id)).collect()
    }

    /// The prompts of a batch.
    pub(in super::super) fn new_prompts(
        &mut self,
        prompts: Vec<pb::NewPrompt>,
        failing: Failing,
        now_us: i64,
    ) -> Batch<NewPrompt> {
        let limit = (self.settings.batch_prompts_max, "prompts.batch_prompts_max");
        self.items("prompts", prompts, limit, failing, |parser, new| parser.new_prompt(new, now_us))
    }

    /// A prompt to be saved.
    pub(in super::super) fn new_prompt(&mut self, new: pb::NewPrompt, now_us: i64) -> NewPrompt {
        let at = &|name: &str| name.to_owned();
        let prompt_us = new.prompt_time.map_or(now_us, |time| self.time_us(&at("prompt_time"), &time));
        let names = Names {
            backend: new.backend,
            model: new.model,
            framework: new.framework,
            provider: new.provider,
        };
        self.names(at, &names, 1);
        let status = if new.error.is_some() { Status::Failed } else { Status::Ok };
        let error = new.error.unwrap_or_default();
        self.short(&|| at("error.code"), &error.code, 0, NAME_BYTES_MAX);
        if status == Status::Failed && error.code.is_empty() && error.message.is_empty() {
            self.violations.add(at("error"), "must have a code or a message");
        }
        let body = self.body(at, new.body, error.message, status);
        let measures = Measures {
            confidence: self.confidence(&|| at("confidence"), new.confidence),
            latency_us: self.latency_us(&|| at("latency"), new.latency.as_ref()),
            prompt_tokens: self.amount(&|| at("prompt_tokens"), new.prompt_tokens, TOKENS_MAX),
            completion_tokens: self.amount(&|| at("completion_tokens"), new.completion_tokens, TOKENS_MAX),
            cost_micros: self.amount(&|| at("cost_micros"), new.cost_micros, COST_MICROS_MAX),
        };
        self.short(&|| at("conversation_id"), &new.conversation_id, 0, ID_BYTES_MAX);
        self.short(&|| at("import_key"), &new.import_key, 0, ID_BYTES_MAX);
        NewPrompt {
            body,
            prompt_us,
            names,
            status,
            error_code: error.code,
            measures,
            conversation_id: new.conversation_id,
            tags: self.tags(&|| at("tags"), new.tags),
            scores: self.scores(&|| at("scores"), new.scores, now_us),
            import_key: new.import_key,
        }
    }

    /// Checks the names of a prompt or of a filter; a backend has `min` bytes at least.
    pub(super) fn names(&mut self, at: &dyn Fn(&str) -> String, names: &Names, min: u64) {
        let max = SHARED_NAME_BYTES_MAX;
        self.short(&|| at("backend"), &names.backend, min, max);
        self.short(&|| at("model"), &names.model, 0, max);
        self.short(&|| at("framework"), &names.framework, 0, max);
        self.short(&|| at("provider"), &names.provider, 0, max);
    }

    fn body(
        &mut self,
        at: &dyn Fn(&str) -> String,
        body: Option<pb::PromptBody>,
        error_message: String,
        status: Status,
    ) -> Body {
        let Some(body) = body else {
            self.violations.add(at("body"), "is missing: a prompt has an idea at least");
            return Body::default();
        };
        // An error says why there is none.
        let improved_min = if status == Status::Ok { 1 } else { 0 };
        let texts = [
            ("body.idea", &body.idea, 1),
            ("body.context", &body.context, 0),
            ("body.improved_prompt", &body.improved_prompt, improved_min),
            ("body.directive", &body.directive, 0),
            ("body.reasoning", &body.reasoning, 0),
            ("body.role", &body.role, 0),
            ("error.message", &error_message, 0),
        ];
        for (name, text, min) in texts {
            let max = self.settings.text_bytes_max;
            self.bounded(&|| at(name), text, min, max, "prompts.text_bytes_max");
        }
        self.guardrails(at, &body.guardrails);
        self.metadata(&|| at("body.metadata_json"), &body.metadata_json);
        let body = Body {
            idea: body.idea,
            context: body.context,
            improved_prompt: body.improved_prompt,
            directive: body.directive,
            guardrails: body.guardrails,
            reasoning: body.reasoning,
            error_message,
            metadata_json: body.metadata_json,
            role: body.role,
        };
        let (bytes, max) = (body.bytes() as u64, self.settings.body_bytes_max);
        if bytes > max {
            let message =
                format!("must be at most {max} bytes together (prompts.body_bytes_max), is {bytes}");
            self.violations.add(at("body"), message);
        }
        body
    }

    fn guardrails(&mut self, at: &dyn Fn(&str) -> String, guardrails: &[String]) {
        let max = self.settings.guardrails_max;
        if guardrails.len() as u64 > max {
            let count = guardrails.len();
            let message = format!("must have at most {max} (prompts.guardrails_max), has {count}");
            self.violations.add(at("body.guardrails"), message);
            return;
        }
        for (index, guardrail) in guardrails.iter().enumerate() {
            let field = || at(&format!("body.guardrails[{index}]"));
            self.short(&field, guardrail, 1, GUARDRAIL_BYTES_MAX);
        }
    }

    fn metadata(&mut self, field: &dyn Fn() -> String, text: &str) {
        if text.is_empty() {
            return;
        }
        let max = self.settings.metadata_bytes_max;
        if text.len() as u64 > max {
            return self.text(&field(), text, 0, max, "prompts.metadata_bytes_max");
        }
        let limits = Limits { bytes_max: usize::MAX, depth_max: METADATA_DEPTH_MAX, is_object: true };
        if let Err(fault) = json::check(text, limits) {
            self.violations.add(field(), fault.to_string());
        }
    }

    /// Checks a share from 0.0 to 1.0.
    pub(super) fn confidence(&mut self, field: &dyn Fn() -> String, value: Option<f64>) -> Option<f64> {
        // Not a number lies nowhere.
        if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
            self.violations.add(field(), format!("must be 0.0 to 1.0, is {value}"));
        }
        // Minus zero is zero: the databases differ in what comes first.
        value.map(|value| value + 0.0)
    }

    /// How long something took.
    pub(super) fn latency_us(
        &mut self,
        field: &dyn Fn() -> String,
        value: Option<&prost_types::Duration>,
    ) -> Option<i64> {
        value.map(|value| self.duration_us(&field(), value, 0, ms_to_us(TTL_MS_MAX)))
    }

    fn amount(&mut self, field: &dyn Fn() -> String, value: Option<i64>, max: i64) -> Option<i64> {
        if let Some(value) = value.filter(|value| !(0..=max).contains(value)) {
            self.violations.add(field(), format!("must be 0 to {max}, is {value}"));
        }
        value
    }

    /// Tags in order, each once.
    pub(super) fn tags(&mut self, field: &dyn Fn() -> String, tags: Vec<String>) -> Vec<String> {
        let max = self.settings.tags_max;
        if tags.len() as u64 > max {
            let count = tags.len();
            let message = format!("must have at most {max} (prompts.tags_max), has {count}");
            self.violations.add(field(), message);
            return Vec::new();
        }
        for (index, tag) in tags.iter().enumerate() {
            self.short(&|| format!("{}[{index}]", field()), tag, 1, NAME_BYTES_MAX);
        }
        let tags: BTreeSet<String> = tags.into_iter().collect();
        tags.into_iter().collect()
    }

    /// Scores in the order of their names.
    fn scores(
        &mut self,
        field: &dyn Fn() -> String,
        scores: Vec<pb::PromptScore>,
        now_us: i64,
    ) -> Vec<Score> {
        if self.too_many_scores(field, scores.len()) {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut found = Vec::with_capacity(scores.len());
        for (index, score) in scores.into_iter().enumerate() {
            let at = |name: &str| format!("{}[{index}].{name}", field());
            if !seen.insert(score.name.clone()) {
                self.violations.add(at("name"), "comes twice: a score has one value");
            }
            found.push(self.score(&at, score, now_us));
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    fn too_many_scores(&mut self, field: &dyn Fn() -> String, count: usize) -> bool {
        let max = self.settings.scores_max;
        let is_too_many = count as u64 > max;
        if is_too_many {
            let message = format!("must have at most {max} (prompts.scores_max), has {count}");
            self.violations.add(field(), message);
        }
        is_too_many
    }

    fn score(&mut self, at: &dyn Fn(&str) -> String, score: pb::PromptScore, now_us: i64) -> Score {
        use pb::prompt_score::Value;
        self.short(&|| at("name"), &score.name, 1, NAME_BYTES_MAX);
        if score.update_time.is_some() {
            self.violations.add(at("update_time"), "must be left out: the sidecar tells it");
        }
        let value = match score.value {
            Some(Value::Number(number)) => {
                if !number.is_finite() {
                    self.violations.add(at("number"), format!("must be a finite number, is {number}"));
                }
                ScoreValue::Number(number)
            }
            Some(Value::Boolean(boolean)) => ScoreValue::Boolean(boolean),
            Some(Value::Category(category)) => {
                self.short(&|| at("category"), &category, 1, ID_BYTES_MAX);
                ScoreValue::Category(category)
            }
            None => {
                self.violations.add(at("value"), "is missing: give a number, a boolean or a category");
                ScoreValue::Boolean(false)
            }
        };
        Score { name: score.name, value, update_us: now_us }
    }

    /// What is to become of the scores of a prompt.
    pub(in super::super) fn scoring(
        &mut self,
        set: Vec<pb::PromptScore>,
        remove: Vec<String>,
        now_us: i64,
    ) -> Scoring {
        let set = self.scores(&|| "set".to_owned(), set, now_us);
        if !self.too_many_scores(&|| "remove".to_owned(), remove.len()) {
            for (index, name) in remove.iter().enumerate() {
                self.short(&|| format!("remove[{index}]"), name, 1, NAME_BYTES_MAX);
                if set.iter().any(|score| score.name == *name) {
                    self.violations.add(format!("remove[{index}]"), "is set by the same request");
                }
            }
        }
        self.something("set", set.is_empty() && remove.is_empty());
        Scoring { set, remove }
    }

    /// What is to become of the tags of a prompt.
    pub(in super::super) fn tagging(&mut self, add: Vec<String>, remove: Vec<String>) -> Tagging {
        let is_empty = add.is_empty() && remove.is_empty();
        let add = self.tags(&|| "add".to_owned(), add);
        for (index, tag) in remove.iter().enumerate() {
            if add.contains(tag) {
                self.violations.add(format!("remove[{index}]"), "is added by the same request");
            }
        }
        let remove = self.tags(&|| "remove".to_owned(), remove);
        self.something("add", is_empty);
        Tagging { add, remove }
    }

    fn something(&mut self, field: &str, is_nothing: bool) {
        if is_nothing {
            self.violations.add(field, "is empty, and so is remove: there is nothing to do");
        }
    }

    /// The field is named only where something is wrong: a batch has thousands of texts.
    pub(super) fn short(&mut self, field: &dyn Fn() -> String, text: &str, min: u64, max: u64) {
        self.bounded(field, text, min, max, "");
    }

    fn bounded(&mut self, field: &dyn Fn() -> String, text: &str, min: u64, max: u64, setting: &str) {
        if !(min..=max).contains(&(text.len() as u64)) || text.contains('\0') {
            self.text(&field(), text, min, max, setting);
        }
    }
}
