//! Every query that reads more than one row runs on an index of its own, and none sorts: asked of the database itself. So claims
//! cost the same whatever else the tables hold.

use super::{by_hand, claim, due, enqueue, keys, remove, schedules, stats, workers};
use crate::storage::Storage;
use crate::storage::plans::{explain, storage, texts};

/// Asserts that a statement searches these indexes, or walks along them, in this order, that it reads no table through, and that
/// it does not sort.
async fn assert_runs_on(storage: &Storage, sql: &str, indexes: &[&str]) {
    let plan = explain(storage, sql).await;
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
    let of_index = "SELECT sql FROM sqlite_schema WHERE name = 'queue_tasks_claimable'";
    let made = texts(&storage, of_index.into(), "sql").await;
    assert_eq!(
        made,
        [
            r#"CREATE INDEX "queue_tasks_claimable" ON "queue_tasks" ("type_id", "order_key") WHERE "state" = 0"#
        ]
    );
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
