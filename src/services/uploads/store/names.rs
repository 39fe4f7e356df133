//! The names that files and sessions share.

use crate::error::{Error, Result};
use crate::services::uploads::domain::NameKind;
use crate::storage::{Db, names};

/// Their numbers, cheap to clone.
pub type Names = names::NameNumbers<NameKind>;

impl names::NameKind for NameKind {
    const TABLE: &'static str = "upload_names";

    fn number(self) -> i64 {
        match self {
            Self::Service => 1,
            Self::Source => 2,
            Self::MimeType => 3,
        }
    }

    fn too_many(self, names_max: i64) -> Error {
        let (what, setting) = match self {
            Self::Service => ("services", "uploads.services"),
            Self::Source => ("sources", "uploads.sources_max"),
            Self::MimeType => ("MIME types", "uploads.mime_types_max"),
        };
        Error::TooManyUploadNames { what, names_max, setting }
    }
}

/// The names of all services that files were ever registered for, in their order.
pub async fn services(db: &Db<'_>) -> Result<Vec<String>> {
    names::all(db, NameKind::Service).await
}
