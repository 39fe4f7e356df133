//! Every mutation takes a request_id: repeated, it gives its first answer and has no second effect.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use tonic::Code;

use super::calls::{counts, of_type, outcomes, success};
use crate::harness::{assert_status, pannier};

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";

fn request_id() -> String {
    ID.into()
}

#[tokio::test]
async fn a_repeated_create_makes_one_job() {
    let pannier = pannier().await;
    let request = pb::CreateRequest { request_id: request_id(), ..of_type("t") };
    let first = pannier.create(request.clone()).await;
    pannier.complete(&first.id).await.unwrap();
    assert_eq!(pannier.create(request.clone()).await, first);
    assert_eq!(pannier.job_ids(pb::ListRequest::default()).await, [first.id]);
    let status = pannier.try_create(pb::CreateRequest { r#type: "u".into(), ..request }).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn a_repeated_add_counts_once() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let results = vec![success("a"), success("b")];
    let request =
        pb::AddResultsRequest { job_id: id.clone(), results, request_id: request_id(), ..Default::default() };
    let first = pannier.jobs.clone().add_results(request.clone()).await.unwrap().into_inner();
    assert_eq!(outcomes(&first), [pb::AddOutcome::Added; 2]);
    pannier.complete(&id).await.unwrap();
    let second = pannier.jobs.clone().add_results(request).await.unwrap().into_inner();
    assert_eq!(second, first, "ADDED, as it was told first");
    assert_eq!(pannier.results(&id).await.len(), 2);
}

#[tokio::test]
async fn a_repeated_step_of_progress_counts_once() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let request = pb::ReportProgressRequest {
        job_id: id.clone(),
        progress: Some(Progress::Add(pb::ProgressCounts { successful_count: 5, failed_count: 1 })),
        request_id: request_id(),
        ..Default::default()
    };
    let first = pannier.try_report(request.clone()).await.unwrap();
    let again =
        pannier.try_report(pb::ReportProgressRequest { request_id: String::new(), ..request.clone() });
    assert_eq!(counts(&again.await.unwrap()), (None, 12, 10, 2));
    assert_eq!(pannier.try_report(request).await.unwrap(), first);
    assert_eq!(pannier.get_job(&id).await.processed_count, 12);
}

#[tokio::test]
async fn a_repeated_change_of_status_is_no_illegal_transition() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let update = pb::UpdateStatusRequest {
        job_id: id.clone(),
        status: JobStatus::Processing.into(),
        request_id: request_id(),
        ..Default::default()
    };
    let mut jobs = pannier.jobs.clone();
    let first = jobs.update_status(update.clone()).await.unwrap().into_inner();
    assert_eq!(jobs.update_status(update).await.unwrap().into_inner(), first);

    let fail = pb::FailRequest { job_id: id.clone(), request_id: ID.replace('6', "7"), ..Default::default() };
    let first = jobs.fail(fail.clone()).await.unwrap().into_inner();
    assert_eq!(jobs.fail(fail.clone()).await.unwrap().into_inner(), first);
    pannier.update_status(&id, JobStatus::Processing).await.unwrap();
    assert_eq!(jobs.fail(fail).await.unwrap().into_inner(), first);
    assert_eq!(pannier.get_job(&id).await.status(), JobStatus::Processing, "no second effect");

    let complete =
        pb::CompleteRequest { job_id: id.clone(), request_id: ID.replace('6', "8"), ..Default::default() };
    let first = jobs.complete(complete.clone()).await.unwrap().into_inner();
    assert_eq!(jobs.complete(complete).await.unwrap().into_inner(), first);

    let id = pannier.job().await;
    let abort = pb::AbortRequest { job_id: id, request_id: ID.replace('6', "9"), ..Default::default() };
    let first = jobs.abort(abort.clone()).await.unwrap().into_inner();
    assert_eq!(jobs.abort(abort).await.unwrap().into_inner(), first);
}

#[tokio::test]
async fn a_repeated_delete_leaves_a_new_job_of_that_id_alone() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let request = pb::DeleteRequest { job_id: id.clone(), request_id: request_id(), ..Default::default() };
    assert!(pannier.jobs.clone().delete(request.clone()).await.unwrap().into_inner().deleted);
    pannier.create(pb::CreateRequest { job_id: id.clone(), ..of_type("t") }).await;
    assert!(pannier.jobs.clone().delete(request).await.unwrap().into_inner().deleted);
    assert_eq!(pannier.get_job(&id).await.r#type, "t");
}

#[tokio::test]
async fn a_refused_call_is_not_kept() {
    let pannier = pannier().await;
    let id = pannier.job_in(JobStatus::Failed).await;
    let request = pb::AddResultsRequest {
        job_id: id.clone(),
        results: vec![success("a")],
        request_id: request_id(),
        ..Default::default()
    };
    let status = pannier.jobs.clone().add_results(request.clone()).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, ErrorReason::JobEnded);
    pannier.update_status(&id, JobStatus::Processing).await.unwrap();
    let answer = pannier.jobs.clone().add_results(request).await.unwrap().into_inner();
    assert_eq!(outcomes(&answer), [pb::AddOutcome::Added]);
}
