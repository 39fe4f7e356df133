//! What a history of prompts is: entries, their bodies, scores and conversations. No I/O.

/// The group of all names beyond the limit of their kind.
pub const OTHER_NAME: &str = "(other)";

/// What a name is of that is stored as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// Which program or service made a prompt.
    Backend,
    /// A model and its version.
    Model,
    /// A framework of prompting.
    Framework,
    /// Who runs a model.
    Provider,
}

impl NameKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Backend, Self::Model, Self::Framework, Self::Provider];
}

/// What came of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is an improved prompt, or an answer.
    Ok,
    /// It has an error.
    Failed,
}

/// The texts of a prompt, and its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What was asked for.
    pub idea: String,
    /// What was known besides.
    pub context: String,
    /// What was made of the idea.
    pub improved_prompt: String,
    /// The task as the model is told.
    pub directive: String,
    /// What the model must keep to.
    pub guardrails: Vec<String>,
    /// Why it was made so.
    pub reasoning: String,
    /// What people are told of the error.
    pub error_message: String,
    /// A JSON object as it was given, or empty.
    pub metadata_json: String,
    /// The role that the model plays.
    pub role: String,
}

impl Body {
    /// Bytes of everything in it.
    pub fn bytes(&self) -> usize {
        let Self {
            idea,
            context,
            improved_prompt,
            directive,
            reasoning,
            error_message,
            metadata_json,
            role,
            ..
        } = self;
        let texts =
            [idea, context, improved_prompt, directive, reasoning, error_message, metadata_json, role];
        texts.into_iter().chain(&self.guardrails).map(String::len).sum()
    }
}

/// What a score says.
#[derive(Clone, Debug, PartialEq)]
pub enum ScoreValue {
    /// A finite number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// One of some words.
    Category(String),
}

/// A mark of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// What is scored.
    pub name: String,
    /// The score.
    pub value: ScoreValue,
    /// When it was set.
    pub update_us: i64,
}

/// What was measured of a prompt; none: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// 0.0 to 1.0.
    pub confidence: Option<f64>,
    /// How long it took.
    pub latency_us: Option<i64>,
    /// Tokens that went in.
    pub prompt_tokens: Option<i64>,
    /// Tokens that came out.
    pub completion_tokens: Option<i64>,
    /// Millionths of a unit of currency.
    pub cost_micros: Option<i64>,
}

/// What names a prompt has; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Which program or service made it.
    pub backend: String,
    /// The model.
    pub model: String,
    /// The framework.
    pub framework: String,
    /// The provider.
    pub provider: String,
}

impl Names {
    /// The name of a kind.
    pub fn get(&self, kind: NameKind) -> &str {
        match kind {
            NameKind::Backend => &self.backend,
            NameKind::Model => &self.model,
            NameKind::Framework => &self.framework,
            NameKind::Provider => &self.provider,
        }
    }
}

/// A prompt to be saved.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPrompt {
    /// Its texts.
    pub body: Body,
    /// When it was made.
    pub prompt_us: i64,
    /// Its names.
    pub names: Names,
    /// What came of it.
    pub status: Status,
    /// What programs call its error, or empty.
    pub error_code: String,
    /// What was measured.
    pub measures: Measures,
    /// What it is part of, or empty.
    pub conversation_id: String,
    /// In order, each once.
    pub tags: Vec<String>,
    /// In order, each name once.
    pub scores: Vec<Score>,
    /// The caller's own name for it, or empty.
    pub import_key: String,
}

/// What became of a prompt that was to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its number.
    pub id: i64,
    /// Whether it was there by its import key.
    pub existed: bool,
}

/// A prompt of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its number.
    pub id: i64,
    /// Its texts, if they were asked for and are kept.
    pub body: Option<Body>,
    /// Whether they are kept.
    pub has_body: bool,
    /// Bytes of the texts when it was saved.
    pub body_bytes: i64,
    /// When it was made.
    pub prompt_us: i64,
    /// When it was saved.
    pub create_us: i64,
    /// Its names.
    pub names: Names,
    /// What came of it.
    pub status: Status,
    /// What programs call its error, or empty.
    pub error_code: String,
    /// What was measured.
    pub measures: Measures,
    /// What it is part of, or empty.
    pub conversation_id: String,
    /// In order.
    pub tags: Vec<String>,
    /// In the order of their names.
    pub scores: Vec<Score>,
    /// The caller's own name for it, or empty.
    pub import_key: String,
    /// Whether the index of words does not hold all of it.
    pub is_truncated: bool,
}

/// Prompts that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The number of its row.
    pub number: i64,
    /// What it is called.
    pub id: String,
    /// How many prompts it has.
    pub prompt_count: i64,
    /// When its oldest prompt was made.
    pub first_us: i64,
    /// When its newest prompt was made.
    pub last_us: i64,
}

/// What is to become of the scores of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scoring {
    /// To be set, in order, each name once.
    pub set: Vec<Score>,
    /// Names to be removed.
    pub remove: Vec<String>,
}

/// What is to become of the tags of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagging {
    /// To be added, in order, each once.
    pub add: Vec<String>,
    /// To be removed.
    pub remove: Vec<String>,
}

/// Up to where the oldest prompts go: those of an earlier time, and of this time those of a smaller number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The time.
    pub prompt_us: i64,
    /// The number.
    pub id: i64,
}

impl Cut {
    /// Before that time.
    pub fn before(prompt_us: i64) -> Self {
        Self { prompt_us, id: i64::MIN }
    }
}

/// What goes of a prompt whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// All of it.
    All,
    /// Its body.
    Bodies,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_bytes_of_all_that_is_in_it() {
        let body = Body {
            idea: "é".into(),
            context: "12".into(),
            improved_prompt: "123".into(),
            directive: "1234".into(),
            guardrails: vec!["a".into(), "b".into()],
            reasoning: "12345".into(),
            error_message: "123456".into(),
            metadata_json: "{}".into(),
            role: "1234567".into(),
        };
        assert_eq!(body.bytes(), 2 + 2 + 3 + 4 + 2 + 5 + 6 + 2 + 7);
        assert_eq!(Body::default().bytes(), 0);
    }
}
