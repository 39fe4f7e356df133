//! From status to status: what leads where, and what each way leaves in the job.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus::{self, Aborted, Completed, Failed, Pending, Processing};
use pannier_proto::jobs::v1::report_progress_request::Progress;
use tonic::{Code, Status};

use super::calls::{counts, success};
use crate::cache::items::us;
use crate::harness::{START_US, assert_status, pannier};

const ALL: [JobStatus; 5] = [Pending, Processing, Completed, Failed, Aborted];

/// The drawing in docs/jobs.md.
fn leads_to(from: JobStatus, to: JobStatus) -> bool {
    match from {
        same if same == to => true,
        Pending => true,
        Processing => [Completed, Failed, Aborted].contains(&to),
        Failed => to == Processing,
        _ => false,
    }
}

#[track_caller]
fn assert_illegal(status: &Status, from: JobStatus, to: JobStatus) {
    assert_status(status, Code::FailedPrecondition, ErrorReason::JobTransitionIllegal);
    let name = |status: JobStatus| status.as_str_name().trim_start_matches("JOB_STATUS_").to_owned();
    assert!(status.message().contains(&name(from)) && status.message().contains(&name(to)), "{status:?}");
}

#[tokio::test]
async fn each_of_the_twenty_five_transitions_is_as_drawn() {
    let pannier = pannier().await;
    for from in ALL {
        for to in ALL {
            let id = pannier.job_in(from).await;
            let before = pannier.get_job(&id).await;
            pannier.advance_s(1);
            match pannier.update_status(&id, to).await {
                Ok(job) => {
                    assert!(leads_to(from, to), "{from:?} became {to:?}");
                    if from == to {
                        assert_eq!(job, before, "the same status again changes nothing");
                        continue;
                    }
                    assert_eq!((job.status(), job.revision), (to, before.revision + 1));
                    assert_eq!(job.end_time.is_some(), [Completed, Failed, Aborted].contains(&to));
                    assert!(us(job.update_time.as_ref()) > us(before.update_time.as_ref()));
                    assert_eq!(pannier.get_job(&id).await, job);
                }
                Err(status) => {
                    assert!(!leads_to(from, to), "{from:?} did not become {to:?}");
                    assert_illegal(&status, from, to);
                    assert_eq!(pannier.get_job(&id).await, before, "a refused transition changes nothing");
                }
            }
        }
    }
}

#[tokio::test]
async fn complete_fail_and_abort_go_the_same_ways() {
    let pannier = pannier().await;
    for from in ALL {
        for to in [Completed, Failed, Aborted] {
            let id = pannier.job_in(from).await;
            let answer = match to {
                Completed => pannier.complete(&id).await,
                Failed => pannier.fail(&id, None).await,
                _ => pannier.abort(&id, None).await,
            };
            match answer {
                Ok(job) => assert!(leads_to(from, to) && job.status() == to, "{from:?} to {to:?}: {job:?}"),
                Err(status) => {
                    assert!(!leads_to(from, to), "{from:?} to {to:?}");
                    assert_illegal(&status, from, to);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_status_repeated_with_another_error_is_an_illegal_transition() {
    let pannier = pannier().await;
    let error = |code: &str| Some(pb::JobError { code: code.into(), message: "m".into() });
    for end in [Failed, Aborted] {
        let id = pannier.job().await;
        let call = async |error| match end {
            Failed => pannier.fail(&id, error).await,
            _ => pannier.abort(&id, error).await,
        };
        let first = call(error("E1")).await.unwrap();
        assert_eq!(call(error("E1")).await.unwrap(), first);
        assert_eq!(call(None).await.unwrap(), first);
        let status = call(error("E2")).await.unwrap_err();
        assert_status(&status, Code::FailedPrecondition, ErrorReason::JobTransitionIllegal);
        assert!(status.message().contains("with another error"), "{status:?}");
        assert_eq!(pannier.get_job(&id).await, first);
    }
}

#[tokio::test]
async fn an_ended_job_takes_no_results_and_no_progress() {
    let pannier = pannier().await;
    let one = pb::ProgressCounts { successful_count: 1, failed_count: 0 };
    for end in [Completed, Failed, Aborted] {
        let id = pannier.job_in(end).await;
        let before = pannier.get_job(&id).await;
        let refused = [
            pannier.try_add_results(&id, vec![success("a")]).await.unwrap_err(),
            pannier.report(&id, Progress::Set(one)).await.unwrap_err(),
            pannier.report(&id, Progress::Add(one)).await.unwrap_err(),
            pannier.report_total(&id, 9).await.unwrap_err(),
        ];
        for status in refused {
            assert_status(&status, Code::FailedPrecondition, ErrorReason::JobEnded);
        }
        let nothing_new = pannier.report(&id, Progress::Set(Default::default())).await.unwrap();
        assert_eq!(nothing_new.revision, before.revision);
        assert_eq!(pannier.get_job(&id).await, before);
        assert!(pannier.results(&id).await.is_empty());
    }
}

#[tokio::test]
async fn the_reason_of_an_end_is_kept_and_goes_when_the_job_is_taken_up_again() {
    let pannier = pannier().await;
    let error = Some(pb::JobError { code: "QUOTA".into(), message: "no calls left: é".into() });
    let id = pannier.job_in(Processing).await;
    let failed = pannier.fail(&id, error.clone()).await.unwrap();
    assert_eq!(failed.error, error);
    pannier.advance_s(5);
    let again = pannier.update_status(&id, Processing).await.unwrap();
    assert_eq!((again.error.as_ref(), again.end_time), (None, None));
    assert_eq!(us(again.start_time.as_ref()), Some(START_US), "it was first begun then");
    assert_eq!(pannier.get_job(&id).await, again);

    let aborted = pannier.abort(&id, error.clone()).await.unwrap();
    assert_eq!((aborted.status(), aborted.error), (Aborted, error));
    let without = pannier.job_in(Processing).await;
    assert_eq!(pannier.fail(&without, None).await.unwrap().error, None);
    let empty = pannier.job_in(Processing).await;
    let said = Some(pb::JobError::default());
    assert_eq!(pannier.abort(&empty, said.clone()).await.unwrap().error, said);
    assert_eq!(pannier.get_job(&empty).await.error, said);
}

#[tokio::test]
async fn a_job_that_is_taken_up_again_goes_on_where_it_was() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    pannier.add_results(&id, vec![success("a"), success("b")]).await;
    pannier.fail(&id, None).await.unwrap();
    pannier.update_status(&id, Processing).await.unwrap();
    let (outcomes, job) = pannier.add_results(&id, vec![success("b"), success("c")]).await;
    assert_eq!(outcomes, [pb::AddOutcome::Duplicate, pb::AddOutcome::Added]);
    assert_eq!(counts(&job), (None, 3, 3, 0));
    assert_eq!(pannier.complete(&id).await.unwrap().status(), Completed);
}

#[tokio::test]
async fn completing_says_nothing_about_the_counts() {
    let pannier = pannier().await;
    let id =
        pannier.create(pb::CreateRequest { total_count: Some(9), r#type: "t".into(), ..Default::default() });
    let id = id.await.id;
    pannier.add_results(&id, vec![success("a")]).await;
    assert_eq!(counts(&pannier.complete(&id).await.unwrap()), (Some(9), 1, 1, 0));
    assert_eq!(counts(&pannier.complete(&pannier.job().await).await.unwrap()), (None, 0, 0, 0));
}

#[tokio::test]
async fn calls_for_an_unknown_job_tell_that_there_is_none() {
    let pannier = pannier().await;
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
    let one = pb::ProgressCounts { successful_count: 1, failed_count: 0 };
    let listed = pb::ListResultsRequest { job_id: id.into(), ..Default::default() };
    let refused = [
        pannier.try_get_job(id).await.unwrap_err(),
        pannier.update_status(id, Processing).await.unwrap_err(),
        pannier.complete(id).await.unwrap_err(),
        pannier.fail(id, None).await.unwrap_err(),
        pannier.abort(id, None).await.unwrap_err(),
        pannier.report(id, Progress::Add(one)).await.unwrap_err(),
        pannier.try_add_results(id, vec![success("a")]).await.unwrap_err(),
        pannier.try_list_results(listed).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::NotFound, ErrorReason::JobNotFound);
    }
    assert!(!pannier.delete_job(id).await);
}
