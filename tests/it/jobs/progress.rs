//! ReportProgress: counts of jobs without results, absolute or by steps.

use pannier_proto::durability::v1::Durability;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress::{Add, Set};
use tonic::Code;

use super::calls::{counts, of_type};
use crate::harness::{assert_status, pannier};

fn items(successful_count: i64, failed_count: i64) -> pb::ProgressCounts {
    pb::ProgressCounts { successful_count, failed_count }
}

const MOST: i64 = 1 << 40;

#[tokio::test]
async fn counts_are_set_and_advanced() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let steps = [
        (Set(items(3, 1)), (4, 3, 1)),
        (Add(items(2, 0)), (6, 5, 1)),
        (Add(items(0, 0)), (6, 5, 1)),
        (Set(items(0, 7)), (7, 0, 7)),
        (Add(items(1, 1)), (9, 1, 8)),
    ];
    for (progress, (processed, successful, failed)) in steps {
        let job = pannier.report(&id, progress).await.unwrap();
        assert_eq!(counts(&job), (None, processed, successful, failed), "{progress:?}");
        assert_eq!(job.status(), JobStatus::Processing, "the first report begins the job");
        assert_eq!(counts(&pannier.get_job(&id).await), counts(&job));
    }
}

#[tokio::test]
async fn a_report_that_changes_nothing_is_no_change() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let first = pannier.report(&id, Set(items(1, 1))).await.unwrap();
    pannier.advance_s(1);
    assert_eq!(pannier.report(&id, Set(items(1, 1))).await.unwrap(), first);
    assert_eq!(pannier.report(&id, Add(items(0, 0))).await.unwrap(), first);
    let more = pannier.report(&id, Add(items(1, 0))).await.unwrap();
    assert_eq!(more.revision, first.revision + 1);
}

#[tokio::test]
async fn the_total_comes_when_it_is_known_and_is_never_below_what_is_processed() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let total = pannier.report_total(&id, 10).await.unwrap();
    assert_eq!((total.status(), counts(&total)), (JobStatus::Pending, (Some(10), 0, 0, 0)));
    assert_eq!(counts(&pannier.report(&id, Set(items(4, 4))).await.unwrap()), (Some(10), 8, 4, 4));
    assert_eq!(counts(&pannier.report(&id, Add(items(4, 0))).await.unwrap()), (Some(12), 12, 8, 4));
    let before = pannier.get_job(&id).await;
    for (progress, total) in [(None, 11), (Some(Add(items(1, 0))), 12), (None, 0)] {
        let request = pb::ReportProgressRequest {
            job_id: id.clone(),
            progress,
            total_count: Some(total),
            ..Default::default()
        };
        let status = pannier.try_report(request).await.unwrap_err();
        assert_status(&status, Code::FailedPrecondition, ErrorReason::JobCountInvalid);
        assert_eq!(pannier.get_job(&id).await, before);
    }
    let request = pb::ReportProgressRequest {
        job_id: id.clone(),
        progress: Some(Set(items(1, 1))),
        total_count: Some(2),
        ..Default::default()
    };
    assert_eq!(counts(&pannier.try_report(request).await.unwrap()), (Some(2), 2, 1, 1));
}

#[tokio::test]
async fn counts_end_at_their_limit_and_do_not_wrap() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let most = pannier.report(&id, Set(items(MOST, 0))).await.unwrap();
    assert_eq!(counts(&most), (None, MOST, MOST, 0));
    for progress in [Add(items(1, 0)), Add(items(MOST, MOST)), Set(items(MOST, 1))] {
        let status = pannier.report(&id, progress).await.unwrap_err();
        assert_status(&status, Code::FailedPrecondition, ErrorReason::JobCountInvalid);
    }
    assert_eq!(pannier.report_total(&id, MOST).await.unwrap().total_count, Some(MOST));
}

#[tokio::test]
async fn a_job_completes_by_itself_with_the_report_of_its_last_item() {
    let pannier = pannier().await;
    let request = pb::CreateRequest { total_count: Some(5), auto_complete: true, ..of_type("t") };
    let id = pannier.create(request).await.id;
    assert_eq!(pannier.report(&id, Add(items(4, 0))).await.unwrap().status(), JobStatus::Processing);
    let done = pannier.report(&id, Add(items(0, 3))).await.unwrap();
    assert_eq!((done.status(), counts(&done)), (JobStatus::Completed, (Some(7), 7, 4, 3)));
    assert!(done.end_time.is_some());
}

#[tokio::test]
async fn every_durability_is_taken() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    for durability in [Durability::Unspecified, Durability::Full, Durability::Relaxed] {
        let request = pb::ReportProgressRequest {
            job_id: id.clone(),
            progress: Some(Add(items(1, 0))),
            durability: durability.into(),
            ..Default::default()
        };
        pannier.try_report(request).await.unwrap();
    }
    let pannier = pannier.restart().await;
    assert_eq!(pannier.get_job(&id).await.processed_count, 3);
}
