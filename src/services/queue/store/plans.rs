//! Every query that reads more than one row runs on an index of its own, and none sorts: asked of the database itself. So claims
//! cost the same whatever else the tables hold.

use super::{
    by_hand, claim, due, etags, job_results, keys, lanes, lines, log, remove, schedules, stats, uniques,
    workers,
};
use crate::services::queue::order::{Order, Requested};
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

/// Every order of a claim.
fn orders() -> Vec<Order> {
    let mut rules = crate::services::queue::rules::tests::rules();
    let mut orders = Vec::new();
    for (is_lifo, ageing_us) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        (rules.is_lifo, rules.ageing_us) = (is_lifo, ageing_us);
        let requested = [Requested::QueueDefault, Requested::Priority, Requested::Fifo, Requested::Lifo];
        orders.extend(requested.map(|requested| Order::of(&rules, requested)));
    }
    orders
}

#[tokio::test]
async fn a_claim_is_a_seek_into_an_index_of_claimable_tasks_alone() {
    let (storage, _directory) = storage().await;
    let indexes = ["queue_tasks_claimable", "by id", "by id"];
    let lane = |priority| lanes::Lane { type_id: 1, priority };
    assert_runs_on(&storage, &claim::line_of(lane(None), Order::OF_INDEX), &indexes).await;
    // The subquery of the priority is read once for each of its two uses, or once for both.
    let heads = explain(&storage, lanes::HEADS).await;
    let searches: Vec<&String> = heads.iter().filter(|line| line.starts_with("SEARCH")).collect();
    let is_seek = |line: &&&String| {
        line.contains("queue_types_by_name (queue_id=?") || line.contains("queue_tasks_claimable (type_id=?")
    };
    assert_eq!(searches.iter().filter(is_seek).count(), searches.len(), "{heads:#?}");
    assert!(searches.len() >= 3, "{heads:#?}");
    assert!(!heads.iter().any(|line| line.contains("TEMP B-TREE")), "{heads:#?}");
    assert_runs_on(&storage, lanes::KEYS, &["queue_tasks_claimable"]).await;
    for order in orders() {
        assert_runs_on(&storage, &claim::line_of(lane(Some(5)), order), &indexes).await;
        let is_lifo = order.is_lifo();
        assert_runs_on(&storage, &lanes::heads(is_lifo), &["queue_types_by_name", "queue_tasks_claimable"])
            .await;
        assert_runs_on(&storage, &lanes::keys(is_lifo), &["queue_tasks_claimable"]).await;
    }
    let of_index = "SELECT sql FROM sqlite_schema WHERE name = 'queue_tasks_claimable'";
    let made = texts(&storage, of_index.into(), "sql").await;
    assert_eq!(
        made,
        [
            r#"CREATE INDEX "queue_tasks_claimable" ON "queue_tasks" ("type_id", "priority" DESC, "order_key") WHERE "state" = 0"#
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
    assert_runs_on(&storage, job_results::TASK_OF_ITEM, &["queue_tasks_by_job"]).await;
    assert_runs_on(&storage, log::MERGE, &["by id", "queue_task_logs_by_task"]).await;
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
    for order in orders() {
        for select in lanes::blocked(order) {
            assert_runs_on(&storage, &select, &["queue_tasks_by_key"]).await;
        }
        assert_runs_on(&storage, &lanes::lasts(order.is_lifo()), &["queue_tasks_by_key"]).await;
    }
    assert_runs_on(&storage, keys::BLOCKED_TYPES, &["queue_types_by_name", "queue_tasks_by_key"]).await;
    let of_state = ["queue_tasks_by_unique"; 2];
    assert_runs_on(&storage, &uniques::latest(0b11), &[&of_state[..], &["by id"]].concat()).await;
    assert_runs_on(&storage, uniques::DELETE_UNUSED, &["by id", "queue_tasks_by_unique"]).await;
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
    assert_runs_on(&storage, lines::COUNT, &["queue_task_logs_by_task"]).await;
    assert_runs_on(&storage, lines::MIDDLE, &["queue_task_logs_by_task"]).await;
    assert_runs_on(&storage, etags::marks(), &["by id", "queue_task_logs_by_task"]).await;
    assert_runs_on(&storage, &stats::levels(), &["queue_tasks_claimable", "queue_tasks_claimable"]).await;
    assert_runs_on(&storage, stats::NEXT_RUN, &["queue_tasks_scheduled"]).await;
    assert_runs_on(&storage, stats::NEXT_RETRY, &["queue_tasks_expiring"]).await;
}
