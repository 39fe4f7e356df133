//! JSON Schemas of collections: compiled once, and what a document breaks of them.
//!
//! References are followed within the schema alone, and patterns are run by an engine whose time grows with the text and not beyond: a
//! pattern that needs another one (look-around, references back) is refused when the schema is declared.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};

use crate::error::Violation;
use crate::json::{self, Limits};

/// Things that a document breaks, at most so many.
const BREACHES_MAX: usize = 20;

/// Bytes of the longest path or rule that is told.
const TOLD_BYTES_MAX: usize = 200;

/// How deep a schema may be nested.
const DEPTH_MAX: usize = 64;

/// Bytes of a pattern when it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Schemas that are kept compiled.
const KEPT_MAX: u64 = 256;

/// A schema that is ready for use, cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Validator>);

impl Schema {
    /// Makes a schema of its text. Error: what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, String> {
        json::check(text, Limits { bytes_max: usize::MAX, depth_max: DEPTH_MAX, is_object: true })
            .map_err(|fault| fault.to_string())?;
        let schema = serde_json::from_str(text).map_err(|_| "has a number that is too large".to_owned())?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_pattern_options(patterns).offline();
        match options.build(&schema) {
            Ok(validator) => Ok(Self(Arc::new(validator))),
            // The schema is no payload: what is wrong with it is told in full.
            Err(error) => {
                let path = told(error.instance_path());
                Err(format!("is no JSON Schema that can be used, at {path}: {}", told(&error)))
            }
        }
    }

    /// What a document, which has passed [`json::check`], breaks of the schema: the paths (JSON pointers), and no values.
    pub fn breaches(&self, document: &str) -> Vec<Violation> {
        let Ok(instance) = serde_json::from_str::<serde_json::Value>(document) else {
            let description = "has a number beyond 1.8e308, which no schema can judge";
            return vec![Violation { field: String::new(), description: description.into() }];
        };
        // Most documents break nothing, and that is found sooner without looking for where.
        if self.0.is_valid(&instance) {
            return Vec::new();
        }
        let breaches = self.0.iter_errors(&instance).take(BREACHES_MAX);
        breaches
            .map(|breach| Violation {
                field: told(breach.instance_path()),
                description: format!("breaks the schema's {}", told(breach.schema_path())),
            })
            .collect()
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

/// Compiled schemas, cheap to clone. A schema of a collection has a number that is not given twice.
#[derive(Clone, Debug)]
pub struct Schemas(moka::sync::Cache<(i64, i64), Schema>);

impl Default for Schemas {
    fn default() -> Self {
        Self(moka::sync::Cache::new(KEPT_MAX))
    }
}

impl Schemas {
    /// The schema of that number of a collection, if it is kept.
    pub fn get(&self, collection_id: i64, schema_revision: i64) -> Option<Schema> {
        self.0.get(&(collection_id, schema_revision))
    }

    /// Keeps a schema. Not before the commit of the transaction that has read it: it may have been declared in the same one.
    pub fn keep(&self, collection_id: i64, schema_revision: i64, schema: Schema) {
        self.0.insert((collection_id, schema_revision), schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(schema: &str, document: &str) -> Vec<String> {
        let schema = Schema::compile(schema).unwrap();
        schema
            .breaches(document)
            .into_iter()
            .map(|breach| format!("{}: {}", breach.field, breach.description))
            .collect()
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
            let told = Schema::compile(schema).unwrap_err();
            assert!(told.contains(part) && told.len() < 500, "{schema}: {told}");
        }
        let deep = format!("{}{}", r#"{"not":"#.repeat(100), "{}".to_owned() + &"}".repeat(100));
        assert!(Schema::compile(&deep).unwrap_err().contains("deeper"));
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
