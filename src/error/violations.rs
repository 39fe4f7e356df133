//! The wrong fields of a request, gathered before it is refused.

use super::{Error, Result};

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where it is in the request, such as `items[3].ttl`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
}

/// Gathers all violations of a request before it is refused.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

/// Violations that are kept of one request or one item. A batch of thousands of wrong items needs no more to be mended.
const VIOLATIONS_MAX: usize = 100;

/// Bytes of a violation's field or description; the rest, which a caller may have chosen, is cut off.
const VIOLATION_TEXT_BYTES_MAX: usize = 256;

impl Violations {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.0.len() < VIOLATIONS_MAX {
            let (field, description) = (cut(field.into()), cut(description.into()));
            self.0.push(Violation { field, description });
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts `place` before the field of every violation from number `first` on: they were found in a part of the request.
    pub fn place(&mut self, first: usize, place: impl FnOnce() -> String) {
        let found = self.0.get_mut(first..).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        let place = place();
        for violation in found {
            violation.field = match violation.field.as_str() {
                "" => place.clone(),
                field => cut(format!("{place}.{field}")),
            };
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Error: Invalid, if there are any.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// At most [`VIOLATION_TEXT_BYTES_MAX`] bytes of `text`.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > VIOLATION_TEXT_BYTES_MAX {
        let end = text.floor_char_boundary(VIOLATION_TEXT_BYTES_MAX - '…'.len_utf8());
        text.truncate(end);
        text.push('…');
    }
    text
}
