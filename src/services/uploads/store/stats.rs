//! Numbers of files, sessions and reservations.
//!
//! Reads the newest rows and stops at a bound: nothing that every write would have to keep, and nothing that grows with the
//! tables.

use super::names::Names;
use super::rows;
use crate::error::Result;
use crate::services::uploads::domain::{Counts, NameKind, ServiceFiles, Stats, StatusSessions};
use crate::storage::{Db, row};

pub(super) const FILES: &str = r#"SELECT "service_id", CAST(count(*) AS bigint) AS "files", CAST(sum("size_bytes") AS bigint) AS "bytes"
    FROM (SELECT "service_id", "size_bytes" FROM "upload_files" ORDER BY "id" DESC LIMIT $1) AS "newest" GROUP BY "service_id""#;
pub(super) const SESSIONS: &str = r#"SELECT "status", CAST(count(*) AS bigint) AS "sessions",
    CAST(sum("success_count") AS bigint) AS "success", CAST(sum("error_count") AS bigint) AS "error",
    CAST(sum("duplicate_count") AS bigint) AS "duplicate"
    FROM (SELECT "status", "success_count", "error_count", "duplicate_count" FROM "upload_sessions" ORDER BY "row_id" DESC LIMIT $1)
    AS "newest" GROUP BY "status""#;
pub(super) const MORE_FILES: &str =
    r#"SELECT "id" AS "number" FROM "upload_files" ORDER BY "id" DESC LIMIT 1 OFFSET $1"#;
pub(super) const MORE_SESSIONS: &str =
    r#"SELECT "row_id" AS "number" FROM "upload_sessions" ORDER BY "row_id" DESC LIMIT 1 OFFSET $1"#;
pub(super) const RESERVATIONS: &str =
    r#"SELECT CAST(count(*) AS bigint) AS "number" FROM "upload_reservations" WHERE "expire_time" > $1"#;

row! {
    struct FileSums {
        service_id: i64,
        files: i64,
        bytes: i64,
    }
}

row! {
    struct SessionSums {
        status: i64,
        sessions: i64,
        success: i64,
        error: i64,
        duplicate: i64,
    }
}

row! {
    struct Number {
        number: i64,
    }
}

/// Numbers of the newest files and sessions, at most so many of each.
pub async fn stats(
    db: &Db<'_>,
    names: &Names,
    files_max: i64,
    sessions_max: i64,
    now_us: i64,
) -> Result<Stats> {
    let mut stats = Stats::default();
    let (mut files, mut sessions) = (0, 0);
    for sums in db.rows::<FileSums>(FILES, vec![files_max.into()]).await? {
        files += sums.files;
        stats.services.push(ServiceFiles {
            service: names.name(db, NameKind::Service, sums.service_id).await?.to_string(),
            files: sums.files,
            bytes: sums.bytes,
        });
    }
    for sums in db.rows::<SessionSums>(SESSIONS, vec![sessions_max.into()]).await? {
        sessions += sums.sessions;
        stats.sessions.push(StatusSessions {
            status: rows::status(sums.status, 0)?,
            sessions: sums.sessions,
            counts: Counts { success: sums.success, error: sums.error, duplicate: sums.duplicate },
        });
    }
    stats.services.sort_by(|one, other| one.service.cmp(&other.service));
    stats.sessions.sort_by_key(|sums| sums.status);
    stats.files_truncated = files >= files_max && has_more(db, MORE_FILES, files_max).await?;
    stats.sessions_truncated = sessions >= sessions_max && has_more(db, MORE_SESSIONS, sessions_max).await?;
    let held = db.row::<Number>(RESERVATIONS, vec![now_us.into()]).await?;
    stats.reservations = held.map_or(0, |row| row.number);
    Ok(stats)
}

async fn has_more(db: &Db<'_>, query: &str, rows_max: i64) -> Result<bool> {
    Ok(db.row::<Number>(query, vec![rows_max.into()]).await?.is_some())
}
