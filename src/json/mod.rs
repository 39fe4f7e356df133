//! JSON texts, which are kept as they were given: checked, patched, looked into and compared, never rewritten.
//!
//! Nothing here does any I/O, and nothing recurses deeper than the texts that [`check`] has let pass.

mod check;
mod filter;
mod finder;
mod matcher;
mod members;
mod merge_patch;
mod number;
mod path;
mod reader;
mod sort_key;

use std::fmt;

pub use check::{Limits, check};
pub use filter::{Filter, Range, Side, Test};
pub use matcher::Matcher;
pub use members::{keep_members, replace_members};
pub use merge_patch::merge_patch;
pub use path::Path;
pub use reader::{elements, scalar, text_of};
pub use sort_key::order_key;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub problem: Problem,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// What can be wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no JSON.
    NoJson,
    /// Something follows the value.
    MoreThanOneValue,
    /// An escape stands for half a character.
    HalfCharacter,
    /// The value is no object.
    NoObject,
    /// More bytes than may be.
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// Objects and arrays lie deeper in each other than may be.
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// An object has a name twice.
    DuplicateName,
    /// The exponent of a number is out of all proportion.
    ExponentTooLarge,
}

impl Fault {
    fn at(text: &str, at: usize, problem: Problem) -> Self {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        // Every character has one byte that continues no other.
        let column = before[line_start..].iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
        Self { problem, line, column }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::NoJson => write!(f, "is no JSON")?,
            Problem::MoreThanOneValue => write!(f, "has more than one JSON value")?,
            Problem::HalfCharacter => write!(f, "has an escape of half a character")?,
            Problem::NoObject => write!(f, "is JSON, but no object")?,
            Problem::TooLong { bytes_max } => return write!(f, "is longer than {bytes_max} bytes"),
            Problem::TooDeep { depth_max } => write!(f, "is deeper than {depth_max} levels")?,
            Problem::DuplicateName => write!(f, "has a name twice in one object")?,
            Problem::ExponentTooLarge => write!(f, "has a number whose exponent has more than 9 digits")?,
        }
        write!(f, " (line {}, column {})", self.line, self.column)
    }
}
