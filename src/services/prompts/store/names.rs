//! The names that prompts share.

use crate::error::Error;
use crate::services::prompts::domain::NameKind;
use crate::storage::names;

/// Their numbers, cheap to clone.
pub type NameNumbers = names::NameNumbers<NameKind>;

impl names::NameKind for NameKind {
    const TABLE: &'static str = "prompt_names";

    fn number(self) -> i64 {
        match self {
            Self::Backend => 1,
            Self::Model => 2,
            Self::Framework => 3,
            Self::Role => 4,
        }
    }

    fn too_many(self, names_max: i64) -> Error {
        let what = match self {
            Self::Backend => "backends",
            Self::Model => "models",
            Self::Framework => "frameworks",
            Self::Role => "roles",
        };
        Error::TooManyPromptNames { what, names_max }
    }
}
