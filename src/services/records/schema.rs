//! JSON Schemas of collections: compiled once, and what a document breaks of them.
//!
//! References are followed within the schema alone, and patterns are run by an engine whose time grows with the text and not beyond: a
//! pattern that needs another one (look-around, references back) is refused when the schema is declared. The steps of a schema with a document
//! are counted before they are taken (`steps.rs`).

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::steps::References;
use crate::error::{RecordsError, Result, Violation};
use crate::json::{self, Limits};
use crate::settings::RecordsSettings;

/// Things that a document breaks, at most so many.
const BREACHES_MAX: usize = 20;

/// Bytes of the longest path or rule that is told.
const TOLD_BYTES_MAX: usize = 200;

/// How deep a schema may be nested.
const DEPTH_MAX: usize = 64;

/// Bytes of one pattern when it is compiled, whatever the schema has room for.
const PATTERN_BYTES_MAX: u64 = 16 << 20;

/// Schemas that are kept compiled.
const KEPT_MAX: u64 = 256;

/// What schemas may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps of a schema with one document.
    pub steps_max: u64,
    /// Bytes of all patterns of a schema when they are compiled.
    pub pattern_bytes_max: u64,
}

impl Bounds {
    /// The bounds of the settings.
    pub fn new(settings: &RecordsSettings) -> Self {
        let RecordsSettings { schema_steps_max, schema_pattern_bytes_max, .. } = *settings;
        Self { steps_max: schema_steps_max, pattern_bytes_max: schema_pattern_bytes_max }
    }
}

/// A schema that is ready for use, cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Ready>);

#[derive(Debug)]
struct Ready {
    validator: Validator,
    references: References,
}

impl Schema {
    /// Makes a schema of its text. Error: what is wrong with it.
    pub fn compile(text: &str, bounds: Bounds) -> Result<Self, String> {
        json::check(text, Limits { bytes_max: usize::MAX, depth_max: DEPTH_MAX, is_object: true })
            .map_err(|fault| fault.to_string())?;
        let schema: Value =
            serde_json::from_str(text).map_err(|_| "has a number that is too large".to_owned())?;
        let each_max = (bounds.pattern_bytes_max / count_patterns(&schema).max(1)).min(PATTERN_BYTES_MAX);
        let patterns = PatternOptions::regex().size_limit(usize::try_from(each_max).unwrap_or(usize::MAX));
        let options = jsonschema::options().with_pattern_options(patterns).offline();
        // The schema is no payload: what is wrong with it is told in full.
        let validator = options.build(&schema).map_err(|error| {
            let path = told(error.instance_path());
            let is_pattern = path.ends_with("/pattern") || path.contains("/patternProperties");
            let bound = match is_pattern {
                true => format!(
                    "; of {} bytes for all compiled patterns (records.schema_pattern_bytes_max) it may take {each_max}",
                    bounds.pattern_bytes_max
                ),
                false => String::new(),
            };
            format!("is no JSON Schema that can be used, at {path}: {}{bound}", told(&error))
        })?;
        let references = References::new(schema)?;
        let steps_max = bounds.steps_max;
        if !references.fit(&Value::Object(serde_json::Map::new()), steps_max) {
            return Err(format!(
                "takes more than {steps_max} steps (records.schema_steps_max) with an empty object: its references go in a circle, or double"
            ));
        }
        Ok(Self(Arc::new(Ready { validator, references })))
    }

    /// Judges a document, which has passed [`json::check`]. Errors: SchemaViolated, SchemaStepsExceeded.
    pub fn judge(&self, document: &str, steps_max: u64) -> Result<()> {
        let Ok(instance) = serde_json::from_str::<Value>(document) else {
            let description = "has a number beyond 1.8e308, which no schema can judge".into();
            let violation = Violation { field: String::new(), description };
            return Err(RecordsError::SchemaViolated(vec![violation]).into());
        };
        if !self.0.references.fit(&instance, steps_max) {
            return Err(RecordsError::SchemaStepsExceeded { steps_max }.into());
        }
        match self.breaches(&instance) {
            breaches if breaches.is_empty() => Ok(()),
            breaches => Err(RecordsError::SchemaViolated(breaches).into()),
        }
    }

    /// The paths (JSON pointers) at which a document breaks the schema, and no values.
    fn breaches(&self, instance: &Value) -> Vec<Violation> {
        // Most documents break nothing, and that is found sooner without looking for where.
        if self.0.validator.is_valid(instance) {
            return Vec::new();
        }
        let breaches = self.0.validator.iter_errors(instance).take(BREACHES_MAX);
        breaches
            .map(|breach| Violation {
                field: told(breach.instance_path()),
                description: format!("breaks the schema's {}", told(breach.schema_path())),
            })
            .collect()
    }
}

/// How many patterns a schema may have, at most: names in data count as well.
fn count_patterns(schema: &Value) -> u64 {
    match schema {
        Value::Array(elements) => elements.iter().map(count_patterns).sum(),
        Value::Object(members) => {
            let of_member = |(name, value): (&String, &Value)| {
                let own = match (name.as_str(), value) {
                    ("pattern", Value::String(_)) => 1,
                    ("patternProperties", Value::Object(patterns)) => patterns.len() as u64,
                    _ => 0,
                };
                own + count_patterns(value)
            };
            members.iter().map(of_member).sum()
        }
        _ => 0,
    }
}

/// As much of a text as is told.
fn told(what: &impl fmt::Display) -> String {
    let mut text = what.to_string();
    if text.len() > TOLD_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TOLD_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Compiled schemas, cheap to clone, by their collections and revisions, which are not given twice.
#[derive(Clone, Debug)]
pub struct Schemas(moka::sync::Cache<(i64, i64), Schema>);

impl Default for Schemas {
    fn default() -> Self {
        Self(moka::sync::Cache::new(KEPT_MAX))
    }
}

impl Schemas {
    /// The schema of a collection and a revision, if it is kept.
    pub fn get(&self, law: (i64, i64)) -> Option<Schema> {
        self.0.get(&law)
    }

    /// Keeps a schema.
    pub fn keep(&self, law: (i64, i64), schema: Schema) {
        self.0.insert(law, schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn compile(schema: &str) -> std::result::Result<Schema, String> {
        Schema::compile(schema, Bounds::new(&RecordsSettings::default()))
    }

    fn breaches(schema: &str, document: &str) -> Vec<String> {
        match compile(schema).unwrap().judge(document, 1_000_000) {
            Ok(()) => Vec::new(),
            Err(Error::Records(RecordsError::SchemaViolated(breaches))) => breaches
                .into_iter()
                .map(|breach| format!("{}: {}", breach.field, breach.description))
                .collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn patterns_in_use_are_accepted_and_what_bounds_others_is_named() {
        for pattern in [r"^\\p{L}{1,30}$", "^.{1,5000}$", r"^[\\p{L}\\p{N} ._-]{0,200}$"] {
            let schema = format!(r#"{{"properties":{{"a":{{"pattern":"{pattern}"}}}}}}"#);
            assert_eq!(breaches(&schema, r#"{"a":"abc"}"#), Vec::<String>::new(), "{pattern}");
        }
        let refused = compile(r#"{"pattern":"(((a{1000}){1000}){1000})"}"#).unwrap_err();
        assert!(
            refused.contains("records.schema_pattern_bytes_max") && refused.contains("16777216"),
            "{refused}"
        );
        let many: Vec<_> = (0..600).map(|n| format!(r#""{n}":{{"pattern":"^.{{1,5000}}$"}}"#)).collect();
        let many = format!(r#"{{"properties":{{{}}}}}"#, many.join(","));
        assert!(compile(&many).unwrap_err().contains("schema_pattern_bytes_max"), "they share the bytes");
    }

    #[test]
    fn a_schema_whose_steps_double_is_refused_or_judges_no_document() {
        let both =
            |level| format!(r##"{{"allOf":[{{"$ref":"#/$defs/a{level}"}},{{"$ref":"#/$defs/a{level}"}}]}}"##);
        let defs: Vec<_> = (0..60).map(|level| format!(r#""a{level}":{}"#, both(level + 1))).collect();
        let defs = defs.join(",");
        let at_once = format!(r##"{{"$defs":{{{defs},"a60":{{}}}},"$ref":"#/$defs/a0"}}"##);
        assert!(compile(&at_once).unwrap_err().contains("records.schema_steps_max"));
        let later =
            format!(r##"{{"$defs":{{{defs},"a60":{{}}}},"properties":{{"a":{{"$ref":"#/$defs/a0"}}}}}}"##);
        let schema = compile(&later).unwrap();
        assert!(schema.judge("{}", 1_000_000).is_ok());
        let refused = schema.judge(r#"{"a":1}"#, 1_000_000);
        assert!(matches!(refused, Err(Error::Records(RecordsError::SchemaStepsExceeded { .. }))));
    }

    #[test]
    fn breaches_have_paths_and_no_values() {
        let schema = r#"{"type":"object","required":["id"],"properties":{"tags":{"items":{"type":"string"}},"n":{"maximum":5}}}"#;
        assert_eq!(breaches(schema, r#"{"id":1,"tags":["a"],"n":5.0}"#), Vec::<String>::new());
        let mut found = breaches(schema, r#"{"tags":["a",{"secret":"secret"}],"n":6666}"#);
        found.sort();
        assert_eq!(
            found,
            [
                "/n: breaks the schema's /properties/n/maximum",
                "/tags/1: breaks the schema's /properties/tags/items/type",
                ": breaks the schema's /required",
            ]
        );
    }

    #[test]
    fn breaches_are_bounded() {
        let document = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(1_000));
        let schema = r#"{"properties":{"a":{"items":{"type":"string"}}}}"#;
        assert_eq!(breaches(schema, &document).len(), BREACHES_MAX);
        let name = "n".repeat(10_000);
        let found = breaches(r#"{"additionalProperties":false}"#, &format!(r#"{{"{name}":1}}"#));
        assert!(found[0].len() < 500, "{found:?}");
    }

    #[test]
    fn schemas_that_cannot_be_used_are_refused() {
        for (schema, part) in [
            ("", "is no JSON"),
            ("true", "no object"),
            (r#"{"type":"objekt"}"#, "/type"),
            (r#"{"type":"object","type":"array"}"#, "twice"),
            (r#"{"$ref":"https://example.com/schema.json"}"#, "example.com"),
            (r#"{"$ref":"file:///etc/passwd"}"#, "file:///etc/passwd"),
            (r##"{"$ref":"#/$defs/nothing"}"##, "nothing"),
            (r#"{"$schema":"https://example.com/draft"}"#, "example.com"),
            (r#"{"pattern":"(a"}"#, "pattern"),
            (r#"{"pattern":"(?=a)b"}"#, "pattern"),
            (r#"{"pattern":"(a)\\1"}"#, "pattern"),
            (r#"{"pattern":"(((a{1000}){1000}){1000})"}"#, "pattern"),
            (r#"{"maximum":1e400}"#, "too large"),
        ] {
            let told = compile(schema).unwrap_err();
            assert!(told.contains(part) && told.len() < 700, "{schema}: {told}");
        }
        let deep = format!("{}{}", r#"{"not":"#.repeat(100), "{}".to_owned() + &"}".repeat(100));
        assert!(compile(&deep).unwrap_err().contains("deeper"));
    }

    #[test]
    fn references_within_the_schema_are_followed() {
        let schema = r##"{"$defs":{"tree":{"properties":{"n":{"type":"integer"},"child":{"$ref":"#/$defs/tree"}}}},"$ref":"#/$defs/tree"}"##;
        assert_eq!(breaches(schema, r#"{"n":1,"child":{"n":2,"child":{"n":3}}}"#), Vec::<String>::new());
        assert_eq!(breaches(schema, r#"{"n":1,"child":{"child":{"n":"x"}}}"#).len(), 1);
    }

    #[test]
    fn a_pattern_that_would_explode_elsewhere_takes_no_time() {
        let schema = r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#;
        let document = format!(r#"{{"a":"{}!"}}"#, "a".repeat(50_000));
        assert_eq!(breaches(schema, &document).len(), 1);
    }

    #[test]
    fn a_number_that_no_double_holds_is_no_panic() {
        assert_eq!(breaches("{}", r#"{"a":1e400}"#).len(), 1);
    }
}
