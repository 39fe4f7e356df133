//! Paths into documents: `title`, `metrics.views`, `tags[0]`, `"a name with spaces".x`.
//!
//! ```text
//! path  = step { "." name | "[" index "]" }
//! step  = name | "[" index "]"
//! name  = one or more characters other than . [ ] " \ and space, or a JSON string
//! index = 0, or digits that do not begin with 0
//! ```
//!
//! JSONPath and JSON pointers are read as well: `$.a.b[0]`, `$['a b']` and `/a/b/0` are `a.b[0]`, `"a b"` and `a.b[0]`. A token of digits
//! in a pointer is an index. A first name that is `$` or begins with `/` is written as a JSON string.

use std::fmt;

use super::reader::{Event, Reader, Scalar, elements, member, unescaped};

/// Bytes of the longest path.
pub const PATH_BYTES_MAX: usize = 512;

/// Digits of the largest index.
const INDEX_DIGITS_MAX: usize = 9;

/// A way from a document to one of its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// What is wrong with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFault {
    /// What is wrong.
    pub problem: &'static str,
    /// Where, in characters from 1.
    pub column: usize,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is no path: {} at column {}", self.problem, self.column)
    }
}

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        let fault = |rest: &str, problem| {
            let column = text[..text.len() - rest.len()].chars().count() + 1;
            Err(PathFault { problem, column })
        };
        if text.len() > PATH_BYTES_MAX {
            return fault(text, "it is longer than 512 bytes, which is too much");
        }
        if text.starts_with('/') {
            return pointer(text).or_else(|(at, problem)| fault(at, problem));
        }
        if text == "$" {
            return fault(text, "it leads to the whole document");
        }
        let mut steps = Vec::new();
        let mut rest = match text.strip_prefix("$.") {
            Some(rest) => rest,
            None if text.starts_with("$[") => &text[1..],
            None => text,
        };
        while !rest.is_empty() || steps.is_empty() {
            let is_first = steps.is_empty();
            let found = match rest.strip_prefix('[') {
                Some(index) => step_of_index(index),
                None if is_first => step_of_name(rest),
                None => match rest.strip_prefix('.') {
                    Some(name) => step_of_name(name),
                    None => return fault(rest, "there should be '.', '[' or the end"),
                },
            };
            match found {
                Ok((step, after)) => {
                    steps.push(step);
                    rest = after;
                }
                Err((at, problem)) => return fault(at, problem),
            }
        }
        Ok(Self(steps))
    }

    /// Its steps.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The value that it leads to in a document, as it is written there.
    pub fn find<'d>(&self, document: &'d str) -> Option<&'d str> {
        self.0.iter().try_fold(document, |value, step| match step {
            Step::Name(name) => member(value, name),
            Step::Index(index) => elements(value).nth(*index),
        })
    }
}

/// What was read and what follows it, or where it goes wrong and how.
type Read<'t> = Result<(Step, &'t str), (&'t str, &'static str)>;

/// A JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<Path, (&str, &'static str)> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(tokens) = rest.strip_prefix('/') {
        let end = tokens.find('/').unwrap_or(tokens.len());
        let (token, after) = tokens.split_at(end);
        if token.split('~').skip(1).any(|escape| !escape.starts_with(['0', '1'])) {
            return Err((tokens, "'~' stands before 0 or 1 only"));
        }
        let is_index = (1..=INDEX_DIGITS_MAX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_digit())
            && (token == "0" || !token.starts_with('0'));
        steps.push(match token.parse() {
            Ok(index) if is_index => Step::Index(index),
            _ => Step::Name(token.replace("~1", "/").replace("~0", "~")),
        });
        rest = after;
    }
    Ok(Path(steps))
}

/// A name in brackets, as JSONPath has it: `'a b'` or `"a b"`, behind the bracket.
fn step_of_bracketed_name(text: &str) -> Read<'_> {
    let (step, after) = match text.strip_prefix('\'') {
        None => step_of_quoted_name(text)?,
        Some(name) => match name.split_once('\'') {
            Some((name, after)) if !name.contains('\\') => (Step::Name(name.to_owned()), after),
            _ => return Err((text, "the quoted name has no end, or an escape: quote it by \"")),
        },
    };
    after.strip_prefix(']').map(|after| (step, after)).ok_or((after, "there should be ']'"))
}

fn step_of_index(text: &str) -> Read<'_> {
    if text.starts_with(['\'', '"']) {
        return step_of_bracketed_name(text);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (index, after) = text.split_at(digits);
    let is_index = (1..=INDEX_DIGITS_MAX).contains(&digits) && (index == "0" || !index.starts_with('0'));
    match index.parse() {
        Ok(index) if is_index => match after.strip_prefix(']') {
            Some(after) => Ok((Step::Index(index), after)),
            None => Err((after, "there should be ']'")),
        },
        _ => Err((text, "there should be an index: 0, or at most 9 digits that do not begin with 0")),
    }
}

fn step_of_name(text: &str) -> Read<'_> {
    if text.starts_with('"') {
        return step_of_quoted_name(text);
    }
    let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
    if end == 0 {
        return Err((text, "there should be a name"));
    }
    Ok((Step::Name(text[..end].to_owned()), &text[end..]))
}

fn step_of_quoted_name(text: &str) -> Read<'_> {
    // The first quote before which there is an even number of backslashes ends it.
    let mut is_escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let Some(end) = end else { return Err((text, "the quoted name has no end")) };
    let (quoted, after) = text.split_at(end + 2);
    match Reader::new(quoted).next() {
        Ok(Some(Event::Scalar(Scalar::String, written))) => {
            Ok((Step::Name(unescaped(written).into_owned()), after))
        }
        _ => Err((text, "the quoted name is no JSON string")),
    }
}

/// Whether a path begins as those of JSONPath or as JSON pointers.
fn is_foreign(text: &str) -> bool {
    text == "$" || ["$.", "$[", "/"].iter().any(|start| text.starts_with(start))
}

/// Whether a name that is not quoted may have it.
fn is_plain(c: char) -> bool {
    !matches!(c, '.' | '[' | ']' | '"' | '\\') && !c.is_whitespace() && !c.is_control()
}

/// The one way to write a path: names are quoted where they must be.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) => {
                    let dot = if at == 0 { "" } else { "." };
                    let is_bare = !name.is_empty() && name.chars().all(is_plain);
                    let is_bare = is_bare && (at > 0 || !is_foreign(name));
                    // A string is always written.
                    let quoted = || serde_json::to_string(name).map_err(|_| fmt::Error);
                    let written = if is_bare { name.clone() } else { quoted()? };
                    write!(f, "{dot}{written}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        r#"{"a": {"b": [10, {"c": "x"}], "": 1, "x.y": 2, "é": 3}, "k 1": null, "$id": 4, "a-b": [[5]]}"#;

    #[test]
    fn paths_lead_to_values() {
        for (path, expected) in [
            ("a.b[0]", Some("10")),
            ("a.b[1].c", Some(r#""x""#)),
            (r#"a."""#, Some("1")),
            (r#"a."x.y""#, Some("2")),
            ("a.é", Some("3")),
            (r#"a."\u00e9""#, Some("3")),
            (r#""k 1""#, Some("null")),
            ("$id", Some("4")),
            ("a-b[0][0]", Some("5")),
            ("a.b[2]", None),
            ("a.b.c", None),
            ("a[0]", None),
            ("[0]", None),
            ("nothing", None),
        ] {
            assert_eq!(Path::parse(path).unwrap().find(DOCUMENT), expected, "{path}");
        }
        assert_eq!(Path::parse("[1].a").unwrap().find(r#"[0, {"a": 1}]"#), Some("1"));
    }

    #[test]
    fn a_path_has_one_way_to_be_written() {
        for (path, expected) in [
            ("a.b[0]", "a.b[0]"),
            (r#""a"."b c"[12]"#, r#"a."b c"[12]"#),
            (r#""\u0061""#, "a"),
            (r#"[0]."a\"b\\""#, r#"[0]."a\"b\\""#),
            (r#""""#, r#""""#),
            (r#""$".a"#, r#""$".a"#),
            (r#""/a"."/b"."$""#, r#""/a"./b.$"#),
            ("$id", "$id"),
            ("$.a.b[0]", "a.b[0]"),
            ("$[0].a", "[0].a"),
            ("$['a b']['c'][1]", r#""a b".c[1]"#),
            (r#"$["a"].b"#, "a.b"),
            ("/a/b/0", "a.b[0]"),
            ("/a~1b/m~0n/01", "a/b.m~n.01"),
            ("/", r#""""#),
        ] {
            let path = Path::parse(path).unwrap();
            assert_eq!(path.to_string(), expected);
            assert_eq!(Path::parse(expected).unwrap(), path);
        }
    }

    #[test]
    fn what_is_wrong_with_a_path_is_told_with_its_place() {
        for (path, column) in [
            ("", 1),
            (".a", 1),
            ("a.", 3),
            ("a..b", 3),
            ("é.é[x]", 5),
            ("a[01]", 3),
            ("a[1", 4),
            ("a[1234567890]", 3),
            ("a[0]b", 5),
            ("a b", 2),
            (r#"a."b"#, 3),
            (r#"a."\x""#, 3),
            (r#""a"b"#, 4),
            ("a]", 2),
            ("$", 1),
            ("$.", 3),
            ("$.a b", 4),
            ("$['a", 3),
            ("/a~b", 2),
        ] {
            let fault = Path::parse(path).unwrap_err();
            assert_eq!(fault.column, column, "{path}: {fault}");
        }
        assert_eq!(
            Path::parse("a.").unwrap_err().to_string(),
            "is no path: there should be a name at column 3"
        );
        assert!(Path::parse(&"a".repeat(513)).is_err());
    }
}
