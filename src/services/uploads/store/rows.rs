//! Rows of the uploads' tables, and what they mean.

use sea_orm::{NotSet, Set};

use super::names::Names;
use crate::error::{Error, Result};
use crate::services::uploads::domain::{Counts, NameKind, Refusal, Session, Status, UploadError};
use crate::services::uploads::entity::{errors, sessions};
use crate::services::uploads::file::{File, Sha256, base_name};
use crate::storage::{Db, row};

/// What a status is stored as.
pub(super) fn status_number(status: Status) -> i64 {
    match status {
        Status::Running => 1,
        Status::Paused => 2,
        Status::Completed => 3,
        Status::Failed => 4,
    }
}

/// The status that is stored in the row `row_id`.
pub(super) fn status(number: i64, row_id: i64) -> Result<Status> {
    let found = Status::ALL.into_iter().find(|status| status_number(*status) == number);
    found.ok_or_else(|| Error::CorruptRow {
        table: "upload_sessions",
        column: "status",
        row: row_id,
        cause: format!("{number} is unknown"),
    })
}

/// The session that a row holds.
pub(super) async fn session(db: &Db<'_>, names: &Names, row: sessions::Model) -> Result<Session> {
    let source_id = names.name(db, NameKind::Source, row.source_id).await?.to_string();
    Ok(Session {
        status: status(row.status, row.row_id)?,
        row_id: row.row_id,
        id: row.id,
        source_number: row.source_id,
        source_id,
        name: row.name,
        total: row.total_count,
        counts: Counts { success: row.success_count, error: row.error_count, duplicate: row.duplicate_count },
        logged_errors: row.logged_error_count,
        last_processed_file: row.last_processed_file.unwrap_or_default(),
        error: row.error.unwrap_or_default(),
        metadata_json: row.metadata_json,
        revision: row.revision,
        start_us: row.start_time,
        create_us: row.create_time,
        update_us: row.update_time,
        end_us: row.end_time,
    })
}

/// The row of a new session.
pub(super) fn inserted(session: &Session) -> sessions::ActiveModel {
    sessions::ActiveModel {
        row_id: NotSet,
        id: Set(session.id.clone()),
        source_id: Set(session.source_number),
        status: Set(status_number(session.status)),
        total_count: Set(session.total),
        success_count: Set(session.counts.success),
        error_count: Set(session.counts.error),
        duplicate_count: Set(session.counts.duplicate),
        logged_error_count: Set(session.logged_errors),
        revision: Set(session.revision),
        start_time: Set(session.start_us),
        create_time: Set(session.create_us),
        update_time: Set(session.update_us),
        end_time: Set(session.end_us),
        last_processed_file: Set(filled(&session.last_processed_file)),
        name: Set(session.name.clone()),
        error: Set(filled(&session.error)),
        metadata_json: Set(session.metadata_json.clone()),
    }
}

/// What is to be written of a session that was changed.
pub(super) fn changed(session: &Session) -> sessions::ActiveModel {
    sessions::ActiveModel {
        id: NotSet,
        source_id: NotSet,
        start_time: NotSet,
        create_time: NotSet,
        ..inserted(session)
    }
}

/// A text that is NULL when it is empty.
pub(super) fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The columns of [`FileRow`], from `upload_files` f and `upload_sessions` s.
pub(super) const FILE_COLUMNS: &str = r#"f."id", f."service_id", f."source_id", s."id" AS "session_id", f."mime_type_id",
    f."size_bytes", f."upload_time", f."hash", f."path", f."name", f."service_file_id""#;

row! {
    /// A row of `upload_files`.
    #[derive(Clone, Debug)]
    pub(super) struct FileRow {
        pub(super) id: i64,
        pub(super) service_id: i64,
        pub(super) source_id: Option<i64>,
        session_id: Option<String>,
        mime_type_id: Option<i64>,
        size_bytes: i64,
        upload_time: i64,
        hash: Vec<u8>,
        path: String,
        name: Option<String>,
        service_file_id: Option<String>,
    }
}

impl FileRow {
    /// The hash that it holds.
    pub(super) fn hash(&self) -> Result<Sha256> {
        hash("upload_files", self.id, &self.hash)
    }

    /// The file that it holds.
    pub(super) async fn file(self, db: &Db<'_>, names: &Names) -> Result<File> {
        Ok(File {
            hash: self.hash()?,
            service: names.name(db, NameKind::Service, self.service_id).await?.to_string(),
            mime_type: names.name_or_empty(db, NameKind::MimeType, self.mime_type_id).await?,
            source_id: names.name_or_empty(db, NameKind::Source, self.source_id).await?,
            name: self.name.unwrap_or_else(|| base_name(&self.path).to_owned()),
            path: self.path,
            size_bytes: self.size_bytes,
            service_file_id: self.service_file_id.unwrap_or_default(),
            session_id: self.session_id,
            upload_us: self.upload_time,
        })
    }
}

/// A hash as a row has it.
pub(super) fn hash(table: &'static str, row: i64, bytes: &[u8]) -> Result<Sha256> {
    bytes.try_into().map(Sha256).map_err(|_| Error::CorruptRow {
        table,
        column: "hash",
        row,
        cause: format!("{} bytes instead of 32", bytes.len()),
    })
}

/// The error that a row of the session holds.
pub(super) fn upload_error(row: errors::Model, session_id: String) -> UploadError {
    UploadError {
        id: row.id,
        session_id,
        path: row.path,
        error_type: row.error_type,
        message: row.message,
        retry_count: row.retry_count,
        create_us: row.create_time,
        update_us: row.update_time,
        resolve_us: row.resolve_time,
        is_counted: row.is_counted,
    }
}

/// Why a session stays as it is, as its caller is told.
pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Transition(from, to) => Error::UploadTransitionIllegal { from: from.name(), to: to.name() },
        Refusal::Finished(status) => Error::UploadSessionFinished { status: status.name() },
        Refusal::TotalBelow(processed) => Error::UploadTotalTooSmall { processed },
    }
}
