//! `v_upload_sessions`, `v_upload_errors`: how far uploads have come and what goes wrong, with names and ISO times, for a person
//! with a database shell.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATUS: &str = r#"CASE s."status" WHEN 1 THEN 'running' WHEN 2 THEN 'paused' WHEN 3 THEN 'completed'
    WHEN 4 THEN 'failed' END"#;

const PROCESSED: &str = r#"s."success_count" + s."error_count" + s."duplicate_count""#;

/// A time column for people.
fn iso(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Postgres => format!(
            "to_char(to_timestamp({column} / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        ),
        _ => format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000000.0, 'unixepoch')"),
    }
}

fn views(backend: DbBackend) -> [String; 2] {
    let iso = |column: &str| iso(backend, column);
    [
        format!(
            r#"CREATE VIEW "v_upload_sessions" AS SELECT s."id" AS "session_id", n."name" AS "source", s."name",
            {STATUS} AS "status", s."total_count" AS "total", {PROCESSED} AS "processed",
            CASE WHEN s."total_count" > 0 THEN round(100.0 * ({PROCESSED}) / s."total_count", 1) END AS "percent",
            s."success_count" AS "succeeded", s."error_count" AS "errors", s."duplicate_count" AS "duplicates",
            s."last_processed_file", {started} AS "started", {created} AS "created", {updated} AS "updated", {ended} AS "ended", s."error"
            FROM "upload_sessions" s JOIN "upload_names" n ON n."id" = s."source_id""#,
            started = iso(r#"s."start_time""#),
            created = iso(r#"s."create_time""#),
            updated = iso(r#"s."update_time""#),
            ended = iso(r#"s."end_time""#),
        ),
        format!(
            r#"CREATE VIEW "v_upload_errors" AS SELECT e."type",
            sum(CASE WHEN e."resolve_time" IS NULL THEN 1 ELSE 0 END) AS "open",
            sum(CASE WHEN e."resolve_time" IS NULL THEN 0 ELSE 1 END) AS "resolved",
            count(DISTINCT e."session_row_id") AS "sessions", max(e."retry_count") AS "most_retries",
            {first} AS "first", {last} AS "last"
            FROM "upload_errors" e JOIN "upload_sessions" s ON s."row_id" = e."session_row_id" GROUP BY e."type""#,
            first = iso(r#"min(e."create_time")"#),
            last = iso(r#"max(e."update_time")"#),
        ),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for view in views(manager.get_database_backend()) {
            manager.get_connection().execute_unprepared(&view).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for view in ["v_upload_errors", "v_upload_sessions"] {
            manager.get_connection().execute_unprepared(&format!("DROP VIEW \"{view}\"")).await?;
        }
        Ok(())
    }
}
