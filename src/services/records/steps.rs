//! How many steps a schema takes with a document, counted before any is taken: schemas can be written so that their steps double with
//! every line, or with every level of the document.
//!
//! The count is an upper bound: every branch is taken, every pattern matches. It ends when it exceeds the limit.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// How deep schemas may follow one another: deeper ones go in a circle.
const DEPTH_MAX: usize = 512;

/// Steps of an official meta-schema for each value that it looks at, about.
const META_SCHEMA_STEPS: u64 = 256;

/// Bytes of a string that a pattern looks at in a step.
const PATTERN_BYTES: usize = 64;

/// The schemas that a schema refers to.
#[derive(Clone, Debug)]
pub struct References {
    root: Value,
    /// Pointers to the schemas that have an anchor.
    anchors: HashMap<String, String>,
}

impl References {
    /// The references of a schema. Error: one that leads out of it.
    pub fn new(root: Value) -> Result<Self, String> {
        let mut anchors = HashMap::new();
        gather(&root, "", &mut anchors);
        let references = Self { root, anchors };
        references.check(&references.root, true)?;
        Ok(references)
    }

    /// Every reference leads to a schema that is counted.
    fn check(&self, schema: &Value, is_root: bool) -> Result<(), String> {
        match schema {
            Value::Array(elements) => elements.iter().try_for_each(|element| self.check(element, false)),
            Value::Object(members) => {
                if let (Some(Value::String(id)), false) = (members.get("$id"), is_root) {
                    return Err(format!(
                        "has a schema with an $id of its own inside ({id}), which is not followed"
                    ));
                }
                for (name, value) in members {
                    if let (true, Value::String(reference)) = (is_reference(name), value) {
                        self.target(reference)
                            .ok_or_else(|| format!("refers to {reference}, which is not in it"))?;
                    }
                    self.check(value, false)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn target(&self, reference: &str) -> Option<Target<'_>> {
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or_default().trim_end_matches('#');
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if is_meta_schema(document) {
            return Some(Target::MetaSchema);
        }
        if !document.is_empty() && document != own {
            return None;
        }
        let decoded = percent_decoded(fragment);
        let pointer = match decoded.as_str() {
            pointer if pointer.is_empty() || pointer.starts_with('/') => pointer,
            anchor => self.anchors.get(anchor)?,
        };
        self.root.pointer(pointer).map(Target::Schema)
    }

    /// Whether judging `document` takes at most `steps_max` steps.
    pub fn fit(&self, document: &Value, steps_max: u64) -> bool {
        let mut count = Count { references: self, left: steps_max, depth: 0 };
        count.schema(&self.root, document).is_some()
    }
}

enum Target<'s> {
    Schema(&'s Value),
    MetaSchema,
}

fn is_reference(name: &str) -> bool {
    matches!(name, "$ref" | "$dynamicRef" | "$recursiveRef")
}

fn is_meta_schema(document: &str) -> bool {
    ["http://json-schema.org/draft-", "https://json-schema.org/draft/"]
        .iter()
        .any(|start| document.starts_with(start))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.first_chunk::<2>().filter(|_| *first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where schemas have anchors.
fn gather(schema: &Value, pointer: &str, anchors: &mut HashMap<String, String>) {
    let at = |step: &str| format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"));
    match schema {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                gather(element, &at(&index.to_string()), anchors);
            }
        }
        Value::Object(members) => {
            for name in ["$anchor", "$dynamicAnchor"] {
                if let Some(Value::String(anchor)) = members.get(name) {
                    anchors.insert(anchor.clone(), pointer.to_owned());
                }
            }
            for (name, value) in members {
                gather(value, &at(name), anchors);
            }
        }
        _ => {}
    }
}

struct Count<'s> {
    references: &'s References,
    left: u64,
    depth: usize,
}

impl<'s> Count<'s> {
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.left = self.left.checked_sub(steps as u64)?;
        Some(())
    }

    fn schema(&mut self, schema: &'s Value, instance: &Value) -> Option<()> {
        self.spend(1)?;
        let Value::Object(keywords) = schema else { return Some(()) };
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        for (keyword, value) in keywords {
            self.keyword(keyword, value, instance)?;
        }
        self.depth -= 1;
        Some(())
    }

    fn keyword(&mut self, keyword: &str, value: &'s Value, instance: &Value) -> Option<()> {
        let empty = Map::new();
        let members = instance.as_object().unwrap_or(&empty);
        let elements = instance.as_array().map_or(&[][..], Vec::as_slice);
        match (keyword, value) {
            (name, Value::String(reference)) if is_reference(name) => {
                match self.references.target(reference) {
                    Some(Target::Schema(target)) => self.schema(target, instance),
                    Some(Target::MetaSchema) => self.values(instance),
                    None => Some(()),
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| self.schema(schema, instance))
            }
            ("not" | "if" | "then" | "else", schema) => self.schema(schema, instance),
            ("properties", Value::Object(schemas)) => {
                let named = schemas.iter().filter_map(|(name, schema)| Some((schema, members.get(name)?)));
                self.spend(schemas.len().min(members.len()))?;
                named.into_iter().try_for_each(|(schema, member)| self.schema(schema, member))
            }
            ("patternProperties", Value::Object(schemas)) => schemas
                .values()
                .try_for_each(|schema| members.values().try_for_each(|member| self.schema(schema, member))),
            ("additionalProperties" | "unevaluatedProperties" | "propertyNames", schema) => {
                members.values().try_for_each(|member| self.schema(schema, member))
            }
            ("items" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter().zip(elements).try_for_each(|(schema, element)| self.schema(schema, element))
            }
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", schema) => {
                elements.iter().try_for_each(|element| self.schema(schema, element))
            }
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                let named = schemas.iter().filter(|(name, _)| members.contains_key(*name));
                named.into_iter().try_for_each(|(_, schema)| self.schema(schema, instance))
            }
            ("enum" | "required" | "type", Value::Array(values)) => self.spend(values.len()),
            ("uniqueItems", _) => self.spend(elements.len()),
            ("pattern" | "format", _) => self.spend(instance.as_str().map_or(0, str::len) / PATTERN_BYTES),
            _ => Some(()),
        }
    }

    /// The steps of a meta-schema with a value and all that it holds.
    fn values(&mut self, value: &Value) -> Option<()> {
        self.left = self.left.checked_sub(META_SCHEMA_STEPS)?;
        match value {
            Value::Array(elements) => elements.iter().try_for_each(|element| self.values(element)),
            Value::Object(members) => members.values().try_for_each(|member| self.values(member)),
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(schema: &str, document: &str, steps_max: u64) -> bool {
        let references = References::new(serde_json::from_str(schema).unwrap()).unwrap();
        references.fit(&serde_json::from_str(document).unwrap(), steps_max)
    }

    /// `$defs` of which each has all of the next one twice.
    fn doubling(levels: usize) -> String {
        let both =
            |level| format!(r##"{{"allOf":[{{"$ref":"#/$defs/a{level}"}},{{"$ref":"#/$defs/a{level}"}}]}}"##);
        let defs: Vec<_> = (0..levels).map(|level| format!(r#""a{level}":{}"#, both(level + 1))).collect();
        format!(r##"{{"$defs":{{{},"a{levels}":{{}}}},"$ref":"#/$defs/a0"}}"##, defs.join(","))
    }

    #[test]
    fn steps_that_double_are_counted_before_they_are_taken() {
        assert!(fit(&doubling(10), "{}", 10_000));
        assert!(!fit(&doubling(60), "{}", 1_000_000));
        let tree = r##"{"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}"##;
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(fit(tree, &deep(5), 10_000));
        assert!(!fit(tree, &deep(40), 1_000_000), "they double with every level of the document");
    }

    #[test]
    fn schemas_in_use_take_few_steps() {
        let schema = r##"{"$id":"https://example.com/s","type":"object","required":["id"],
            "properties":{"id":{"$anchor":"id","type":"integer"},"tags":{"items":{"$ref":"#/$defs/tag"}},"other":{"$ref":"#id"}},
            "$defs":{"tag":{"type":"string","pattern":"^[a-z]+$"}},"additionalProperties":false}"##;
        let tags: Vec<_> = (0..1_000).map(|n| format!("\"t{n}\"")).collect();
        let document = format!(r#"{{"id":1,"other":2,"tags":[{}]}}"#, tags.join(","));
        assert!(fit(schema, &document, 5_000) && !fit(schema, &document, 500));
    }

    #[test]
    fn references_that_are_not_followed_are_refused_and_circles_end() {
        for schema in [
            r#"{"$ref":"https://example.com/x"}"#,
            r##"{"$ref":"#/$defs/none"}"##,
            r##"{"$ref":"#none"}"##,
            r#"{"$defs":{"a":{"$id":"b"}}}"#,
        ] {
            assert!(References::new(serde_json::from_str(schema).unwrap()).is_err(), "{schema}");
        }
        assert!(!fit(r##"{"$ref":"#"}"##, "{}", 1_000_000));
        assert!(fit(r#"{"$ref":"http://json-schema.org/draft-07/schema#"}"#, r#"{"a":[1,2]}"#, 2_000));
    }
}
