//! `v_active_tasks`, `v_worker_status`, `v_task_stats`: what the queue does, with names and ISO times, for a person with a
//! database shell.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATE: &str = r#"CASE t."state" WHEN 0 THEN 'queued' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'claimed'
    WHEN 3 THEN 'running' WHEN 4 THEN 'completed' WHEN 5 THEN 'failed' WHEN 6 THEN 'cancelled' WHEN 7 THEN 'blocked' END"#;

const CREATE_TIME: &str = r#"coalesce(t."create_time", t."order_key")"#;

/// A time column for people.
fn iso(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Postgres => format!(
            "to_char(to_timestamp({column} / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        ),
        _ => format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000000.0, 'unixepoch')"),
    }
}

/// The number of tasks by type and state: what is counted, and the changes that are not added to it yet.
fn counted() -> String {
    let states = ["queued", "scheduled", "claimed", "running", "completed", "failed", "cancelled", "blocked"];
    let of = |table: &str, state: &str| {
        format!(r#"SELECT "type_id", '{state}' AS "state", "{state}" AS "tasks" FROM "{table}""#)
    };
    let tables = ["queue_counts", "queue_deltas"];
    let all = states.iter().flat_map(|state| tables.map(|table| of(table, state)));
    all.collect::<Vec<_>>().join(" UNION ALL ")
}

fn views(backend: DbBackend) -> [String; 3] {
    let iso = |column: &str| iso(backend, column);
    let names =
        r#"JOIN "queue_types" y ON y."id" = t."type_id" JOIN "queue_queues" q ON q."id" = y."queue_id""#;
    [
        format!(
            r#"CREATE VIEW "v_active_tasks" AS SELECT t."id" AS "task_id", q."name" AS "queue", y."name" AS "type",
            {STATE} AS "state", t."priority", t."token", t."failure_count" AS "failures", coalesce(t."worker_name", w."name") AS "worker",
            t."worker_id", {created} AS "created", {claimed} AS "claimed", {expires} AS "lease_expires",
            t."is_cancelling" AS "cancel_requested", t."parameters"
            FROM "queue_tasks" t {names} LEFT JOIN "queue_workers" w ON w."id" = t."worker_id"
            WHERE t."state" IN (0, 2, 3)"#,
            created = iso(CREATE_TIME),
            claimed = iso(r#"t."claim_time""#),
            expires = iso(r#"t."expire_time""#),
        ),
        format!(
            r#"CREATE VIEW "v_worker_status" AS SELECT w."id" AS "worker_id", w."name",
            CASE WHEN w."end_time" IS NULL THEN 'alive' ELSE 'ended' END AS "status",
            {registered} AS "registered", {beat} AS "last_beat", {ended} AS "ended",
            (SELECT count(*) FROM "queue_tasks" t WHERE t."worker_id" = w."id" AND t."state" IN (2, 3)) AS "tasks_held",
            coalesce(c."completed", 0) AS "completed", coalesce(c."failed", 0) AS "failed"
            FROM "queue_workers" w LEFT JOIN "queue_worker_counts" c ON c."worker_id" = w."id""#,
            registered = iso(r#"w."create_time""#),
            beat = iso(r#"w."beat_time""#),
            ended = iso(r#"w."end_time""#),
        ),
        format!(
            r#"CREATE VIEW "v_task_stats" AS SELECT q."name" AS "queue", y."name" AS "type", t."state",
            CAST(sum(t."tasks") AS bigint) AS "tasks" FROM ({}) t {names}
            GROUP BY q."name", y."name", t."state" HAVING sum(t."tasks") > 0"#,
            counted()
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
        for view in ["v_task_stats", "v_worker_status", "v_active_tasks"] {
            manager.get_connection().execute_unprepared(&format!("DROP VIEW \"{view}\"")).await?;
        }
        Ok(())
    }
}
