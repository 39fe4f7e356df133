//! `v_prompts`: the history of prompts with names, texts and ISO times, for a person with a database shell.
//!
//! `ORDER BY "prompt_time" DESC LIMIT 10` and `ORDER BY "id" DESC LIMIT 10` run on an index; an order by the text `time` sorts all rows.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The text of a name: that of its row, or that of the prompt's row where its kind has too many.
fn name(kind: &str) -> String {
    format!(
        r#"coalesce(p."{kind}_text", (SELECT n."name" FROM "prompt_names" n WHERE n."id" = p."{kind}_id")) AS "{kind}""#
    )
}

fn view(backend: DbBackend) -> String {
    let is_postgres = backend == DbBackend::Postgres;
    let iso = |column: &str| match is_postgres {
        true => format!(
            "to_char(to_timestamp({column} / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        ),
        false => format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000000.0, 'unixepoch')"),
    };
    let tags = match is_postgres {
        true => r#"string_agg(t."tag", ', ' ORDER BY t."tag")"#,
        // In the order of the primary key. An ORDER BY in an aggregate is an error of the whole schema to a shell older than SQLite 3.44.
        false => r#"group_concat(t."tag", ', ')"#,
    };
    format!(
        r#"CREATE VIEW "v_prompts" AS SELECT p."id", {time} AS "time", {provider}, {backend}, {model}, {framework}, b."role",
        CASE p."status" WHEN 1 THEN 'ok' WHEN 2 THEN 'failed' END AS "status", b."idea", b."context", b."improved_prompt", b."directive",
        b."guardrails_json" AS "guardrails", b."reasoning", p."confidence", p."latency_us" / 1000.0 AS "latency_ms", p."prompt_tokens",
        p."completion_tokens", p."cost_micros", p."error_code", b."error_message", c."name" AS "conversation",
        (SELECT {tags} FROM "prompt_tags" t WHERE t."prompt_id" = p."id") AS "tags", b."metadata_json" AS "metadata", p."import_key",
        {saved} AS "saved", p."prompt_time"
        FROM "prompts" p LEFT JOIN "prompt_bodies" b ON b."prompt_id" = p."id"
        LEFT JOIN "prompt_conversations" c ON c."id" = p."conversation_id""#,
        time = iso(r#"p."prompt_time""#),
        saved = iso(r#"p."create_time""#),
        provider = name("provider"),
        backend = name("backend"),
        model = name("model"),
        framework = name("framework"),
    )
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(&view(manager.get_database_backend())).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(r#"DROP VIEW "v_prompts""#).await.map(drop)
    }
}
