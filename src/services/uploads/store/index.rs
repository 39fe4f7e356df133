//! Reading the index of known files in its own order: by service and hash.

use sea_orm::Value;

use super::list::{Found, PIECE_ROWS, Page, file_bytes};
use super::names::Names;
use super::rows::{FILE_COLUMNS, FileRow};
use super::sql;
use crate::error::Result;
use crate::services::uploads::domain::NameKind;
use crate::services::uploads::file::{File, Sha256};
use crate::storage::Db;

/// The next files of a service, those after a hash; and whether there are more.
pub async fn index(
    db: &Db<'_>,
    names: &Names,
    service: &str,
    page: &Page<Sha256>,
) -> Result<(Vec<File>, bool)> {
    let Some(service_number) = names.number(db, NameKind::Service, service).await? else {
        return Ok((Vec::new(), false));
    };
    let mut found = Found::new(page);
    let mut after = page.after;
    loop {
        let mut values: Vec<Value> = vec![service_number.into()];
        values.extend(after.as_ref().map(sql::bytes));
        let piece: Vec<FileRow> = db.rows(&files_after(after.is_some()), values).await?;
        let is_last = (piece.len() as u64) < PIECE_ROWS;
        for row in piece {
            let file = row.file(db, names).await?;
            after = Some(file.hash);
            let bytes = file_bytes(&file);
            if !found.take(file, bytes, |file| file.hash.to_string())? {
                return Ok((found.rows, true));
            }
        }
        if is_last {
            return Ok((found.rows, false));
        }
    }
}

/// The next files of a service by their hashes.
pub(super) fn files_after(is_after: bool) -> String {
    let after = if is_after { r#"AND f."hash" > $2"# } else { "" };
    format!(
        r#"SELECT {FILE_COLUMNS} FROM "upload_files" f LEFT JOIN "upload_sessions" s ON s."row_id" = f."session_row_id"
        WHERE f."service_id" = $1 {after} ORDER BY f."hash" LIMIT {PIECE_ROWS}"#
    )
}
