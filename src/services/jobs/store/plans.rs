//! Every query that reads more than one row runs on an index, and none sorts: asked of the database itself.

use sea_orm::{DbBackend, QueryTrait as _};

use super::list::{jobs_of, results_of};
use super::remove::{ended_by, first_of};
use super::results::of_items;
use super::stats::{oldest_in, sums};
use super::{Filter, JobKey};
use crate::services::jobs::domain::Status;
use crate::storage::Storage;
use crate::storage::plans::{explain, storage};

/// How SQLite would run a statement: the lines that name a table, and those that tell of a sort.
async fn plan(storage: &Storage, statement: &str) -> String {
    let mut lines = explain(storage, statement).await;
    lines.retain(|line| line.contains("job") || line.contains("ORDER BY"));
    lines.join("; ")
}

#[track_caller]
fn assert_runs_on(plan: &str, index: &str, what: &str) {
    let named = plan.split("INDEX ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("none");
    // The index of a primary key has a name that the database gives it.
    let is_it = named == index || (index.starts_with('_') && named.ends_with(index));
    assert!(is_it, "{what} not on {index}: {plan}");
    assert!(!plan.contains(';') && !plan.contains("TEMP B-TREE"), "{what}: {plan}");
}

fn filter(job_type: &str, range: (Option<i64>, Option<i64>), oldest_first: bool) -> Filter {
    let (from_us, before_us) = range;
    Filter { statuses: Vec::new(), job_type: job_type.into(), from_us, before_us, oldest_first }
}

#[tokio::test]
async fn each_list_runs_on_the_index_of_its_filter_and_needs_no_sort() {
    let (storage, _directory) = storage().await;
    let ranges = [(None, None), (Some(1), None), (None, Some(2)), (Some(1), Some(2))];
    let places: [Option<JobKey>; 2] = [None, Some((5, 6))];
    let filters = [
        ("", None, "jobs_by_create_time"),
        ("t", None, "jobs_by_type"),
        ("", Some(Status::Failed), "jobs_by_status"),
        ("t", Some(Status::Failed), "jobs_by_type_and_status"),
    ];
    for (job_type, status, index) in filters {
        for (range, oldest_first, after) in ranges
            .iter()
            .flat_map(|range| [true, false].map(|oldest| (*range, oldest)))
            .flat_map(|(range, oldest)| places.map(|after| (range, oldest, after)))
        {
            let filter = filter(job_type, range, oldest_first);
            let what = format!("{filter:?} {status:?} {after:?}");
            let plan = plan(&storage, &jobs_of(&filter, status, after).build(DbBackend::Sqlite).sql).await;
            assert_runs_on(&plan, index, &what);
            let bounded = range != (None, None) || after.is_some();
            assert!(
                plan.starts_with("SEARCH") || (index == "jobs_by_create_time" && !bounded),
                "{what}: {plan}"
            );
        }
    }
}

#[tokio::test]
async fn results_are_found_by_their_indexes() {
    let (storage, _directory) = storage().await;
    let all = plan(&storage, &results_of(1, false, 5).build(DbBackend::Sqlite).sql).await;
    assert_runs_on(&all, "_autoindex_job_results_1", "all");
    let failed = plan(&storage, &results_of(1, true, 5).build(DbBackend::Sqlite).sql).await;
    assert_runs_on(&failed, "job_results_that_failed", "failed");
    let first = plan(&storage, &first_of(1).build(DbBackend::Sqlite).sql).await;
    assert_runs_on(&first, "_autoindex_job_results_1", "first");
    for count in [1, 4, 256] {
        let items = vec!["a"; count];
        let plan = plan(&storage, &of_items(1, &items).0).await;
        assert_runs_on(&plan, "job_results_by_item", "items");
        assert!(plan.contains("item_key=?"), "{plan}");
    }
}

#[tokio::test]
async fn statistics_and_removal_read_no_more_than_they_must() {
    let (storage, _directory) = storage().await;
    for (job_type, index) in [("", "jobs_by_create_time"), ("t", "jobs_by_type")] {
        let range = filter(job_type, (Some(1), Some(2)), false);
        let counted = plan(&storage, &DbBackend::Sqlite.build(&sums(&range, 9)).sql).await;
        assert_runs_on(&counted, index, "sums");
        assert!(counted.starts_with("SEARCH"), "{counted}");
    }
    for (job_type, index) in [("", "jobs_by_status"), ("t", "jobs_by_type_and_status")] {
        let open = filter(job_type, (None, None), false);
        let oldest = plan(&storage, &oldest_in(&open, Status::Pending).build(DbBackend::Sqlite).sql).await;
        assert_runs_on(&oldest, index, "oldest");
        assert!(oldest.starts_with("SEARCH jobs USING COVERING INDEX"), "{oldest}");
    }
    let ended = plan(&storage, &ended_by(5, 9).build(DbBackend::Sqlite).sql).await;
    assert_runs_on(&ended, "jobs_by_end_time", "ended");
    assert!(ended.starts_with("SEARCH"), "{ended}");
}
