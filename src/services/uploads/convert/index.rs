//! Files as lines of newline-delimited JSON, for an index that is taken elsewhere.

use std::str::FromStr as _;

use pannier_proto::uploads::v1 as pb;
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::file::{File, NewFile, Sent};
use super::Parser;
use crate::convert::timestamp;
use crate::error::{Error, Result};

/// A line. The order of the fields is that of the output.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    service: String,
    sha256: String,
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    size_bytes: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    mime_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service_file_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    upload_time: String,
}

/// Appends a file's line.
pub(in super::super) fn line(out: &mut String, file: File) -> Result<()> {
    let line = Line {
        service: file.service,
        sha256: file.hash.to_string(),
        path: file.path,
        name: file.name,
        size_bytes: file.size_bytes,
        mime_type: file.mime_type,
        service_file_id: file.service_file_id,
        source_id: file.source_id,
        upload_time: timestamp(file.upload_us).to_string(),
    };
    let text = serde_json::to_string(&line).map_err(|error| Error::internal(error.to_string()))?;
    out.push_str(&text);
    out.push('\n');
    Ok(())
}

/// The files of a message's lines, and what is wrong with the others.
#[derive(Debug, Default)]
pub(in super::super) struct Lines {
    pub(in super::super) files: Vec<NewFile>,
    /// Numbers of lines, with IndexLineInvalid of nothing taken.
    pub(in super::super) refused: Vec<(i64, Error)>,
}

/// The lines of a message, of which the first has the number `first`.
pub(in super::super) fn lines<'s>(
    parser: impl Fn() -> Parser<'s>,
    text: &str,
    first: i64,
    now_us: i64,
) -> Lines {
    let mut lines = Lines::default();
    for (line, text) in (first..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match file(parser(), text, now_us) {
            Ok(file) => lines.files.push(file),
            Err(problem) => {
                lines.refused.push((line, Error::IndexLineInvalid { line, problem, taken: None }))
            }
        }
    }
    lines
}

/// The file of a line; or what is wrong with it.
fn file(mut parser: Parser<'_>, text: &str, now_us: i64) -> Result<NewFile, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| match error.classify() {
        // Names a field of ours, or one that we do not have: no value.
        serde_json::error::Category::Data => {
            format!("is JSON, but no such object (column {})", error.column())
        }
        _ => format!("is no JSON (column {})", error.column()),
    })?;
    if !text.trim_start().starts_with('{') {
        // An array of the fields in their order would pass for one.
        return Err("is JSON, but no object".to_owned());
    }
    let upload_time = match line.upload_time.as_str() {
        "" => None,
        text => Some(
            Timestamp::from_str(text)
                .map_err(|_| "has an upload_time that is no time by RFC 3339".to_owned())?,
        ),
    };
    let new = pb::NewFile {
        service: line.service,
        sha256: line.sha256,
        path: line.path,
        name: line.name,
        size_bytes: line.size_bytes,
        mime_type: line.mime_type,
        service_file_id: line.service_file_id,
        source_id: line.source_id,
        upload_time,
        reservation_token: String::new(),
    };
    let new = parser.new_file(new, now_us);
    match parser.violations.check() {
        Ok(()) => Ok(NewFile { sent: Sent::Elsewhere, ..new }),
        Err(Error::Invalid(violations)) => {
            let wrong = violations.iter().map(|wrong| format!("{} {}", wrong.field, wrong.description));
            Err(format!("is wrong: {}", wrong.collect::<Vec<_>>().join("; ")))
        }
        Err(other) => Err(other.to_string()),
    }
}
