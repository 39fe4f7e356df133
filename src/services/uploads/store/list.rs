//! Lists of sessions and of files, a page at a time.
//!
//! A page is read in small pieces, so that a page of the largest rows takes no more memory than it may take in an answer, and
//! looks at a bounded number of rows, so that a filter which takes few of them holds up no reader.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::names::Names;
use super::rows::{self, FILE_COLUMNS, FileRow};
use super::sessions::{Metadata, find};
use crate::answer::Budget;
use crate::error::Result;
use crate::services::uploads::domain::{NameKind, Session, Status};
use crate::services::uploads::entity::sessions;
use crate::services::uploads::file::File;
use crate::storage::Db;

/// Rows of one piece.
pub(super) const PIECE_ROWS: u64 = 64;

/// Rows that one page looks at.
pub(super) const LOOKED_AT_MAX: u64 = 10_000;

/// Times, counts, numbers and framing of a row in an answer.
const ROW_OVERHEAD_BYTES: usize = 200;

/// How much of a list.
#[derive(Clone, Debug)]
pub struct Page<K> {
    /// Those behind this one.
    pub after: Option<K>,
    /// At most so many.
    pub rows_max: usize,
    /// At most this many bytes.
    pub budget: Budget,
}

/// Which sessions.
#[derive(Clone, Debug)]
pub struct SessionFilter {
    /// Those in this status; none: in any.
    pub status: Option<Status>,
    /// Those of this source; empty: of any.
    pub source_id: String,
}

/// Which files.
#[derive(Clone, Debug)]
pub struct FileFilter {
    /// Those that this session registered; none: all.
    pub session_id: Option<String>,
    /// Those of this source; empty: of any.
    pub source_id: String,
    /// Those of this service; empty: of any.
    pub service: String,
    /// The one that was registered first comes first.
    pub oldest_first: bool,
}

/// A page of sessions, the newest first; and where the next one begins.
pub async fn list_sessions(
    db: &Db<'_>,
    names: &Names,
    filter: &SessionFilter,
    page: &Page<i64>,
) -> Result<(Vec<Session>, Option<i64>)> {
    let source = match filter.source_id.is_empty() {
        true => None,
        false => match names.number(db, NameKind::Source, &filter.source_id).await? {
            Some(number) => Some(number),
            None => return Ok((Vec::new(), None)),
        },
    };
    let mut found = Found::new(page);
    let mut after = page.after;
    loop {
        let piece = sessions_of(filter.status, source, after).all(db).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for row in piece {
            let session = rows::session(db, names, row).await?;
            let row_id = session.row_id;
            let texts = session.source_id.len() + session.name.len() + session.last_processed_file.len();
            let bytes = texts + session.error.len() + session.metadata_json.len();
            if !found.take(session, bytes, |session| session.id.to_string())? {
                return Ok((found.rows, after));
            }
            after = Some(row_id);
        }
        if is_last {
            return Ok((found.rows, None));
        }
    }
}

/// The next sessions of a list.
pub(super) fn sessions_of(
    status: Option<Status>,
    source_number: Option<i64>,
    after: Option<i64>,
) -> Select<sessions::Entity> {
    use sessions::Column as C;
    let mut query = sessions::Entity::find().order_by_desc(C::RowId).limit(PIECE_ROWS);
    if let Some(number) = source_number {
        query = query.filter(C::SourceId.eq(number));
    }
    if let Some(status) = status {
        query = query.filter(C::Status.eq(rows::status_number(status)));
    }
    match after {
        Some(after) => query.filter(C::RowId.lt(after)),
        None => query,
    }
}

/// What a list of files runs along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    /// A session, by the number of its row.
    Session(i64),
    /// A source, by its number.
    Source(i64),
    /// All files.
    All,
}

/// A page of files by the time they were registered; and where the next one begins. Error: UploadSessionNotFound.
pub async fn list_files(
    db: &Db<'_>,
    names: &Names,
    filter: &FileFilter,
    page: &Page<i64>,
) -> Result<(Vec<File>, Option<i64>)> {
    let number = |kind, name: String| async move {
        match name.is_empty() {
            true => Ok(Some(None)),
            // A name without a number has no files.
            false => Ok::<_, crate::error::Error>(names.number(db, kind, &name).await?.map(Some)),
        }
    };
    let session = match &filter.session_id {
        Some(id) => Some(find(db, names, id, Metadata::Left).await?.row_id),
        None => None,
    };
    let Some(source) = number(NameKind::Source, filter.source_id.clone()).await? else {
        return Ok((Vec::new(), None));
    };
    let Some(service) = number(NameKind::Service, filter.service.clone()).await? else {
        return Ok((Vec::new(), None));
    };
    let along = match (session, source) {
        (Some(session), _) => Along::Session(session),
        (None, Some(source)) => Along::Source(source),
        (None, None) => Along::All,
    };
    let takes = |row: &FileRow| {
        source.is_none_or(|source| row.source_id == Some(source))
            && service.is_none_or(|service| row.service_id == service)
    };
    let mut found = Found::new(page);
    let mut after = page.after;
    for _ in 0..LOOKED_AT_MAX / PIECE_ROWS {
        let (query, values) = files_of(along, filter.oldest_first, after);
        let piece: Vec<FileRow> = db.rows(&query, values).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for row in piece {
            let id = row.id;
            if takes(&row) {
                let file = row.file(db, names).await?;
                let bytes = file_bytes(&file);
                if !found.take(file, bytes, |file| file.hash.to_string())? {
                    return Ok((found.rows, after));
                }
            }
            after = Some(id);
        }
        if is_last {
            return Ok((found.rows, None));
        }
    }
    Ok((found.rows, after))
}

/// Bytes of a file's texts in an answer.
pub(super) fn file_bytes(file: &File) -> usize {
    let path = file.path.len() + file.name.len();
    path + file.service.len() + file.mime_type.len() + file.service_file_id.len() + file.source_id.len()
}

/// The next files of a list, and the values.
pub(super) fn files_of(
    along: Along,
    oldest_first: bool,
    after: Option<i64>,
) -> (String, Vec<sea_orm::Value>) {
    let mut values = Vec::new();
    let mut conditions = Vec::new();
    match along {
        Along::Session(number) => {
            values.push(number.into());
            conditions.push(r#"f."session_row_id" = $1"#.to_owned());
        }
        Along::Source(number) => {
            values.push(number.into());
            conditions.push(r#"f."source_id" = $1"#.to_owned());
        }
        Along::All => {}
    }
    let (than, order) = if oldest_first { (">", "ASC") } else { ("<", "DESC") };
    if let Some(after) = after {
        values.push(after.into());
        conditions.push(format!(r#"f."id" {than} ${}"#, values.len()));
    }
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let query = format!(
        r#"SELECT {FILE_COLUMNS} FROM "upload_files" f LEFT JOIN "upload_sessions" s ON s."row_id" = f."session_row_id" {filter}
        ORDER BY f."id" {order} LIMIT {PIECE_ROWS}"#
    );
    (query, values)
}

/// The rows of a page so far.
pub(super) struct Found<T> {
    pub(super) rows: Vec<T>,
    rows_max: usize,
    budget: Budget,
}

impl<T> Found<T> {
    pub(super) fn new<K>(page: &Page<K>) -> Self {
        Self { rows: Vec::new(), rows_max: page.rows_max, budget: page.budget }
    }

    /// Takes a row unless the page is full. Error: AnswerTooLarge.
    pub(super) fn take(
        &mut self,
        row: T,
        text_bytes: usize,
        name: impl FnOnce(&T) -> String,
    ) -> Result<bool> {
        let bytes = text_bytes + ROW_OVERHEAD_BYTES;
        if self.rows.len() >= self.rows_max || !self.budget.take(bytes, || name(&row))? {
            return Ok(false);
        }
        self.rows.push(row);
        Ok(true)
    }
}
