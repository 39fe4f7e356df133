//! Many callers at once: counts never disagree with what is recorded.

use std::sync::Arc;

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress;

use super::calls::{counts, failure, of_type, success};
use crate::cache::items::Random;
use crate::harness::{Pannier, pannier};

/// Asserts that a job's counts are those of its results.
async fn assert_recount(pannier: &Pannier, id: &str) -> Vec<pb::JobResult> {
    let results = pannier.results(id).await;
    let job = pannier.get_job(id).await;
    let successful = i64::try_from(results.iter().filter(|result| result.success).count()).unwrap();
    let processed = i64::try_from(results.len()).unwrap();
    assert_eq!(counts(&job), (job.total_count, processed, successful, processed - successful));
    assert!(results.iter().zip(1..).all(|(result, number)| result.number == number), "numbered without gaps");
    let mut keys: Vec<&str> = results.iter().map(|result| result.item_key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), results.len(), "each item once");
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_of_many_callers_count_each_item_once() {
    let pannier = Arc::new(pannier().await);
    let jobs = [pannier.job().await, pannier.job().await];
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (pannier, jobs) = (pannier.clone(), jobs.clone());
            tokio::spawn(async move {
                let mut random = Random::new(task);
                let mut added = [0, 0];
                for _ in 0..40 {
                    let which = usize::try_from(random.below(2)).unwrap();
                    let results: Vec<_> = (0..random.below(20) + 1)
                        .map(|_| {
                            let key = random.below(300).to_string();
                            if random.below(3) == 0 { failure(key, "E") } else { success(key) }
                        })
                        .collect();
                    let (outcomes, _) = pannier.add_results(&jobs[which], results).await;
                    added[which] += outcomes.iter().filter(|o| **o == pb::AddOutcome::Added).count();
                }
                added
            })
        })
        .collect();
    let mut added = [0, 0];
    for task in tasks {
        let task = task.await.unwrap();
        added = [added[0] + task[0], added[1] + task[1]];
    }
    for (id, added) in jobs.iter().zip(added) {
        assert_eq!(assert_recount(&pannier, id).await.len(), added, "each was added by one caller");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn steps_of_many_callers_are_all_counted() {
    let pannier = Arc::new(pannier().await);
    let id = pannier.job().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (pannier, id) = (pannier.clone(), id.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let step = pb::ProgressCounts { successful_count: task, failed_count: 1 };
                    pannier.report(&id, Progress::Add(step)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(counts(&pannier.get_job(&id).await), (None, 50 * 28 + 400, 50 * 28, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_end_a_job_agree_on_the_end_and_nothing_is_counted_after_it() {
    let pannier = Arc::new(pannier().await);
    for round in 0..10 {
        let id = pannier.job().await;
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (pannier, id) = (pannier.clone(), id.clone());
                tokio::spawn(async move {
                    for item in 0..5 {
                        // Too late is a rightful answer.
                        let _ = pannier.try_add_results(&id, vec![success(format!("{task}/{item}"))]).await;
                    }
                    let ended = match (task + round) % 3 {
                        0 => pannier.complete(&id).await,
                        1 => pannier.abort(&id, None).await,
                        _ => pannier.update_status(&id, JobStatus::Completed).await,
                    };
                    ended.ok().map(|job| (job.status(), job.revision))
                })
            })
            .collect();
        let ended = pannier_ends(tasks).await;
        assert!(!ended.is_empty());
        let job = pannier.get_job(&id).await;
        assert!(ended.iter().all(|end| *end == (job.status(), job.revision)), "{ended:?} {job:?}");
        assert_recount(&pannier, &id).await;
    }
}

/// The answers of those that were not refused.
async fn pannier_ends(
    tasks: Vec<tokio::task::JoinHandle<Option<(JobStatus, i64)>>>,
) -> Vec<(JobStatus, i64)> {
    let mut ended = Vec::new();
    for task in tasks {
        ended.extend(task.await.unwrap());
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_make_a_job_of_one_id_one_does() {
    let pannier = Arc::new(pannier().await);
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let pannier = pannier.clone();
            let request = pb::CreateRequest { job_id: id.into(), ..of_type(&format!("t{task}")) };
            tokio::spawn(async move { pannier.try_create(request).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_beside_writers_are_consistent() {
    let pannier = Arc::new(pannier().await);
    let id = pannier.job().await;
    let writer = tokio::spawn({
        let (pannier, id) = (pannier.clone(), id.clone());
        async move {
            for batch in 0..60 {
                let results = (0..10).map(|i| success(format!("{batch}/{i}"))).collect();
                pannier.add_results(&id, results).await;
            }
        }
    });
    while !writer.is_finished() {
        let results = pannier.results(&id).await;
        assert!(results.len().is_multiple_of(10), "a batch is seen whole");
        assert!(pannier.get_job(&id).await.processed_count >= i64::try_from(results.len()).unwrap());
    }
    writer.await.unwrap();
    assert_eq!(assert_recount(&pannier, &id).await.len(), 600);
}
