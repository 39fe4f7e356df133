//! Every query that reads more than one row runs on an index of its own, and none sorts: asked of the database itself. So claims
//! cost the same whatever else the tables hold.

use sea_orm::{ConnectionTrait as _, Statement};

use super::{by_hand, claim, due, enqueue, keys, remove, schedules, stats, workers};
use crate::settings::StorageSettings;
use crate::storage::{Storage, migrate};

/// A database with the schema and nothing else.
async fn storage() -> (Storage, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("data").display().to_string();
    let storage = Storage::open(&StorageSettings { directory: place, ..Default::default() }).await.unwrap();
    migrate::up(&storage, None, &mut |_: &str| {}).await.unwrap();
    (storage, directory)
}

/// How the database would run a statement, a line for each step.
async fn plan(storage: &Storage, sql: &str) -> Vec<String> {
    storage
        .read(sql.to_owned(), |db, sql| {
            Box::pin(async move {
                let sql = format!("EXPLAIN QUERY PLAN {sql}");
                let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
                let lines: Result<Vec<String>, _> =
                    rows.iter().map(|row| row.try_get("", "detail")).collect();
                Ok(lines?)
            })
        })
        .await
        .unwrap()
}

/// Asserts that a statement searches these indexes, or walks along them, in this order, that it reads no table through, and that
/// it does not sort.
async fn assert_runs_on(storage: &Storage, sql: &str, indexes: &[&str]) {
    let plan = plan(storage, sql).await;
    let searched: Vec<&str> = plan
        .iter()
        .filter(|line| line.starts_with("SEARCH") || line.contains("USING INDEX"))
        .map(|line| match line.split("INDEX ").nth(1) {
            Some(rest) => rest.split(' ').next().unwrap(),
            None => "by id",
        })
        .collect();
    assert_eq!(searched, indexes, "{sql}: {plan:#?}");
    let wasteful = |line: &&String| {
        let reads_through = line.starts_with("SCAN queue") && !line.contains("USING INDEX");
        reads_through || line.contains("TEMP B-TREE")
    };
    assert_eq!(plan.iter().find(wasteful), None, "{sql}: {plan:#?}");
}

#[tokio::test]
async fn a_claim_is_a_seek_into_an_index_of_claimable_tasks_alone() {
    let (storage, _directory) = storage().await;
    let indexes = ["queue_tasks_claimable", "by id", "by id"];
    assert_runs_on(&storage, claim::LINE, &indexes).await;
    assert_runs_on(&storage, claim::HEADS, &["queue_types_by_name", "queue_tasks_claimable"]).await;
    assert_runs_on(&storage, claim::KEYS, &["queue_tasks_claimable"]).await;
    let made: Vec<String> = plan_text(&storage).await;
    assert_eq!(
        made,
        [
            r#"CREATE INDEX "queue_tasks_claimable" ON "queue_tasks" ("type_id", "order_key") WHERE "state" = 0"#
        ]
    );
}

/// The statement that has made the index of claims.
async fn plan_text(storage: &Storage) -> Vec<String> {
    storage
        .read((), |db, ()| {
            Box::pin(async move {
                let sql = "SELECT sql FROM sqlite_schema WHERE name = 'queue_tasks_claimable'";
                let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
                let texts: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get("", "sql")).collect();
                Ok(texts?)
            })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_due_is_found_by_its_time() {
    let (storage, _directory) = storage().await;
    assert_runs_on(&storage, due::SCHEDULED, &["queue_tasks_scheduled"]).await;
    assert_runs_on(&storage, &due::expired_query(), &["queue_tasks_expiring"]).await;
    assert_runs_on(&storage, due::DEAD, &["queue_workers_beating"]).await;
    assert_runs_on(&storage, &due::orphans_query(), &["queue_tasks_held", "queue_workers_ended"]).await;
    assert_runs_on(&storage, due::KEYS, &["queue_keys_blocked"]).await;
    assert_runs_on(&storage, due::LOSSES, &["queue_task_logs_by_task"]).await;
    assert_runs_on(&storage, schedules::DUE, &["queue_schedules_due"]).await;
    let indexes = [
        "queue_tasks_expiring",
        "queue_workers_beating",
        "queue_keys_blocked",
        "queue_tasks_scheduled",
        "queue_schedules_due",
    ];
    assert_runs_on(&storage, due::NEXT, &indexes).await;
}

#[tokio::test]
async fn keys_workers_and_unique_keys_have_their_indexes() {
    let (storage, _directory) = storage().await;
    assert_runs_on(&storage, keys::QUEUED, &["queue_tasks_by_key"]).await;
    assert_runs_on(&storage, keys::BLOCKED, &["queue_tasks_by_key"]).await;
    assert_runs_on(&storage, keys::BLOCKED_TYPES, &["queue_types_by_name", "queue_tasks_by_key"]).await;
    assert_runs_on(&storage, enqueue::WORST, &["queue_tasks_by_key"]).await;
    assert_runs_on(&storage, enqueue::UNIQUE, &["sqlite_autoindex_queue_uniques_1"]).await;
    for query in [workers::HELD, workers::CANCELLING, workers::TOLD] {
        assert_runs_on(&storage, query, &["queue_tasks_held"]).await;
    }
}

#[tokio::test]
async fn what_is_finished_is_found_by_type_state_and_time() {
    let (storage, _directory) = storage().await;
    assert_runs_on(&storage, by_hand::DEAD_LETTERS, &["queue_tasks_finished"]).await;
    assert_runs_on(&storage, remove::OVER, &["queue_tasks_finished"]).await;
    assert_runs_on(&storage, remove::WORKERS, &["queue_workers_ended"]).await;
    assert_runs_on(&storage, remove::DELETE_UNUSED, &["by id", "queue_tasks_by_key"]).await;
    assert_runs_on(&storage, stats::HEAD, &["queue_tasks_claimable"]).await;
    assert_runs_on(&storage, stats::NEXT_RUN, &["queue_tasks_scheduled"]).await;
    assert_runs_on(&storage, stats::NEXT_RETRY, &["queue_tasks_expiring"]).await;
}
