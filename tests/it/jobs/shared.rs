//! Two sidecars on one database share the jobs.

use std::sync::Arc;
use std::time::Duration;

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress;

use super::calls::{failure, of_type, success};
use super::watch::{Watcher, let_arrive};
use crate::harness::{pannier, pannier_with};

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_changes_the_other_tells_its_watchers() {
    let first = pannier().await;
    let second = first.beside().await;
    let id = first.job().await;
    let watcher = Watcher::new(&second, &id, 0).await;
    // It looks, and may look again from 100 ms later on.
    second.advance(Duration::from_millis(100));
    let_arrive(&second).await;
    second.advance(Duration::from_millis(100));
    first.add_results(&id, vec![success("a")]).await;
    // The second one's clock stands still: only the wake-up can end the wait.
    let mut turns = 0;
    while watcher.seen().len() < 2 {
        turns += 1;
        assert!(turns < 1_000, "nobody told the watcher");
        let_arrive(&second).await;
    }
    assert_eq!(watcher.seen()[1].processed_count, 1);
    assert_eq!(second.get_job(&id).await.processed_count, 1);
    first.complete(&id).await.unwrap();
    let_arrive(&second).await;
    second.advance(Duration::from_millis(100));
    let (seen, end) = watcher.ended().await;
    end.unwrap();
    assert_eq!(seen.last().unwrap().status(), JobStatus::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn batches_and_steps_through_both_are_counted_once() {
    let first = Arc::new(pannier().await);
    let second = Arc::new(first.beside().await);
    let with_results = first.job().await;
    let with_reports = first.job().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let pannier = if task % 2 == 0 { first.clone() } else { second.clone() };
            let (with_results, with_reports) = (with_results.clone(), with_reports.clone());
            tokio::spawn(async move {
                let step = pb::ProgressCounts { successful_count: 1, failed_count: 2 };
                for round in 0..20 {
                    let result = |i: usize| match (task + i) % 3 {
                        0 => failure(format!("{}", (round + i) % 40), "E"),
                        _ => success(format!("{}", (round + i) % 40)),
                    };
                    pannier.add_results(&with_results, (0..15).map(result).collect()).await;
                    pannier.report(&with_reports, Progress::Add(step)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let job = second.get_job(&with_results).await;
    let results = first.results(&with_results).await;
    let successful = i64::try_from(results.iter().filter(|result| result.success).count()).unwrap();
    assert_eq!((job.processed_count, job.successful_count), (34, successful));
    assert!(results.iter().zip(1..).all(|(result, number)| result.number == number));
    let job = first.get_job(&with_reports).await;
    assert_eq!((job.successful_count, job.failed_count), (160, 320));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn of_both_that_end_or_make_a_job_one_does() {
    let first = Arc::new(pannier().await);
    let second = Arc::new(first.beside().await);
    for round in 0..20 {
        let id = format!("6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d{round:02}");
        let make = |pannier: &crate::harness::Pannier| {
            let mut jobs = pannier.jobs.clone();
            let request = pb::CreateRequest { job_id: id.clone(), ..of_type("t") };
            async move { jobs.create(request).await.is_ok() }
        };
        let (one, two) = tokio::join!(tokio::spawn(make(&first)), tokio::spawn(make(&second)));
        assert_ne!(one.unwrap(), two.unwrap(), "one of them makes it");
        let (one, two) = tokio::join!(first.complete(&id), second.abort(&id, None));
        assert_ne!(one.is_ok(), two.is_ok(), "one of them ends it");
    }
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn both_remove_what_is_over() {
    let first = pannier_with(|settings| settings.jobs.retention_ms = 1_000).await;
    let second = first.beside().await;
    for _ in 0..100 {
        let id = first.job().await;
        first.add_results(&id, (0..30).map(|i| success(i.to_string())).collect()).await;
        first.complete(&id).await.unwrap();
    }
    for turn in 0..1_000 {
        if first.row_count("job_results").await == 0 && first.row_count("job_remains").await == 0 {
            assert!(second.job_ids(pb::ListRequest::default()).await.is_empty());
            return;
        }
        if turn % 20 == 0 {
            first.advance_s(5);
            second.advance_s(5);
        }
        let_arrive(&first).await;
    }
    panic!("{} results are left", first.row_count("job_results").await);
}
