//! Delete and retention: a job goes at once, its results in small steps behind it.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use tonic::Code;

use super::calls::{counts, of_type, success};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, pannier_without_upkeep};

/// Moves the clock a little now and then until the upkeep has left so many results.
async fn until_results_are(pannier: &Pannier, expected: i64) {
    for turn in 1..=2_000 {
        let left = pannier.row_count("job_results").await;
        if left == expected && pannier.row_count("job_remains").await == 0 {
            return;
        }
        assert!(turn < 2_000, "{left} results are left, not {expected}");
        pannier.exists("unrelated", &["a"]).await;
        if turn % 20 == 0 {
            pannier.advance_s(5);
        }
    }
}

async fn job_with(pannier: &Pannier, count: usize) -> String {
    let id = pannier.job().await;
    pannier.add_results(&id, (0..count).map(|i| success(i.to_string())).collect()).await;
    id
}

#[tokio::test]
async fn a_deleted_job_is_gone_at_once_with_its_results() {
    let pannier = pannier_without_upkeep().await;
    let id = job_with(&pannier, 600).await;
    let other = job_with(&pannier, 10).await;
    assert!(pannier.delete_job(&id).await);
    assert!(!pannier.delete_job(&id).await);
    let status = pannier.try_get_job(&id).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::JobNotFound);
    let listed = pb::ListResultsRequest { job_id: id.clone(), ..Default::default() };
    let status = pannier.try_list_results(listed).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::JobNotFound);
    assert_eq!(pannier.job_ids(pb::ListRequest::default()).await, std::slice::from_ref(&other));
    assert_eq!(pannier.row_count("job_results").await, 610, "rows go in steps of their own");

    let again = pannier.create(pb::CreateRequest { job_id: id.clone(), ..of_type("again") }).await;
    assert_eq!(counts(&again), (None, 0, 0, 0));
    assert!(pannier.results(&id).await.is_empty());
    let (outcomes, _) = pannier.add_results(&id, vec![success("0")]).await;
    assert_eq!(outcomes, [pb::AddOutcome::Added], "the old results are none of the new job's");

    let pannier = pannier.restart_with(|settings| settings.jobs.sweep_ms = 5_000).await;
    until_results_are(&pannier, 11).await;
    assert_eq!(pannier.results(&id).await.len(), 1);
    assert_eq!(pannier.results(&other).await.len(), 10);
}

#[tokio::test]
async fn a_job_can_be_deleted_in_every_status() {
    let pannier = pannier().await;
    for status in [
        JobStatus::Pending,
        JobStatus::Processing,
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Aborted,
    ] {
        let id = pannier.job_in(status).await;
        assert!(pannier.delete_job(&id).await, "{status:?}");
        assert!(pannier.try_get_job(&id).await.is_err());
    }
    assert!(pannier.job_ids(pb::ListRequest::default()).await.is_empty());
    assert_eq!(pannier.row_count("job_remains").await, 0, "without results nothing remains");
}

#[tokio::test]
async fn ended_jobs_go_when_their_retention_is_over_and_open_ones_never() {
    let pannier = pannier_with(|settings| settings.jobs.retention_ms = 600_000).await;
    let open = [pannier.job().await, job_with(&pannier, 3).await];
    let early = job_with(&pannier, 700).await;
    pannier.complete(&early).await.unwrap();
    pannier.advance_s(500);
    let late = job_with(&pannier, 5).await;
    pannier.fail(&late, None).await.unwrap();
    pannier.advance_s(99);
    for id in [&open[0], &open[1], &early, &late] {
        pannier.get_job(id).await;
    }
    pannier.advance_s(2);
    until_results_are(&pannier, 8).await;
    assert!(pannier.try_get_job(&early).await.is_err());
    pannier.get_job(&late).await;
    pannier.advance_s(600);
    until_results_are(&pannier, 3).await;
    assert!(pannier.try_get_job(&late).await.is_err());
    pannier.advance_s(86_400 * 365);
    for id in &open {
        pannier.get_job(id).await;
    }
}

#[tokio::test]
async fn a_job_that_is_taken_up_again_is_kept() {
    let pannier = pannier_with(|settings| settings.jobs.retention_ms = 60_000).await;
    let id = job_with(&pannier, 3).await;
    let gone = job_with(&pannier, 300).await;
    pannier.fail(&id, None).await.unwrap();
    pannier.fail(&gone, None).await.unwrap();
    pannier.advance_s(30);
    pannier.update_status(&id, JobStatus::Processing).await.unwrap();
    pannier.advance_s(60);
    until_results_are(&pannier, 3).await;
    assert_eq!(pannier.results(&id).await.len(), 3);
}

#[tokio::test]
async fn many_jobs_go_at_once_in_their_steps() {
    let pannier = pannier_with(|settings| settings.jobs.retention_ms = 1_000).await;
    for _ in 0..150 {
        let id = job_with(&pannier, 2).await;
        pannier.complete(&id).await.unwrap();
    }
    let kept = job_with(&pannier, 2).await;
    pannier.advance_s(10);
    until_results_are(&pannier, 2).await;
    assert_eq!(pannier.job_ids(pb::ListRequest::default()).await, [kept]);
}

#[tokio::test]
async fn without_a_retention_jobs_are_kept() {
    let pannier = pannier_with(|settings| settings.jobs.retention_ms = 0).await;
    let id = job_with(&pannier, 2).await;
    let deleted = job_with(&pannier, 2).await;
    pannier.complete(&id).await.unwrap();
    pannier.delete_job(&deleted).await;
    pannier.advance_s(86_400 * 365 * 20);
    until_results_are(&pannier, 2).await;
    assert_eq!(pannier.results(&id).await.len(), 2);
}
