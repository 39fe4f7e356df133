//! AddResults: items and counts advance together, and an item counts once.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::AddOutcome::{Added, Duplicate, Replaced};
use pannier_proto::jobs::v1::report_progress_request::Progress;
use pannier_proto::jobs::v1::{JobCountedBy, JobStatus};
use tonic::Code;

use super::calls::{counts, failure, of_type, outcomes, success, without_key};
use crate::cache::items::us;
use crate::harness::{Pannier, START_US, assert_status, item_fields, pannier, violated_fields};

async fn replace(
    pannier: &Pannier,
    id: &str,
    results: Vec<pb::NewResult>,
) -> Result<(Vec<pb::AddOutcome>, pb::Job), tonic::Status> {
    let request =
        pb::AddResultsRequest { job_id: id.into(), results, replace_failed: true, ..Default::default() };
    let answer = pannier.jobs.clone().add_results(request).await?.into_inner();
    Ok((outcomes(&answer), answer.job.unwrap()))
}

#[tokio::test]
async fn a_result_comes_back_as_it_was_given() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let full = pb::NewResult {
        url: "https://example.org/ü?a=1".into(),
        processing_time: Some(prost_types::Duration { seconds: 12, nanos: 345_678_000 }),
        data_json: "{\"n\": 1e400, \"x\": \"\\u0000\"}".into(),
        ..success("a")
    };
    let failed = pb::NewResult { url: "u".into(), ..failure("b", "E") };
    let bare = pb::NewResult { error: None, ..failure("c", "") };
    let zero =
        pb::NewResult { processing_time: Some(prost_types::Duration::default()), ..success("é\u{1}") };
    pannier.add_results(&id, vec![full.clone(), failed.clone(), bare, zero.clone()]).await;
    let pannier = pannier.restart().await;
    let recorded = pannier.results(&id).await;
    assert_eq!(recorded.iter().map(|result| result.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let expected = pb::JobResult {
        number: 1,
        item_key: full.item_key,
        url: full.url,
        success: true,
        error: None,
        processing_time: full.processing_time,
        data_json: full.data_json,
        create_time: recorded[0].create_time,
    };
    assert_eq!(recorded[0], expected);
    assert_eq!(us(recorded[0].create_time.as_ref()), Some(START_US));
    assert_eq!((recorded[1].success, &recorded[1].error), (false, &failed.error));
    assert_eq!((recorded[2].success, &recorded[2].error), (false, &Some(pb::JobError::default())));
    assert_eq!(recorded[2].processing_time, None);
    assert_eq!((&recorded[3].item_key, recorded[3].processing_time), (&zero.item_key, zero.processing_time));
}

#[tokio::test]
async fn an_item_counts_once_however_often_its_result_comes() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let batch = vec![success("a"), failure("b", "E"), success("a"), failure("a", "E")];
    let (outcomes, first) = pannier.add_results(&id, batch.clone()).await;
    assert_eq!(outcomes, [Added, Added, Duplicate, Duplicate]);
    assert_eq!(counts(&first), (None, 2, 1, 1));
    pannier.advance_s(1);
    let (outcomes, second) = pannier.add_results(&id, batch).await;
    assert_eq!((outcomes, second), (vec![Duplicate; 4], first.clone()), "nothing has changed");
    let (outcomes, job) = pannier.add_results(&id, vec![failure("a", "E"), success("b")]).await;
    assert_eq!((outcomes, job), (vec![Duplicate; 2], first));
    let recorded = pannier.results(&id).await;
    assert_eq!(recorded.iter().map(|result| result.success).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn items_of_one_job_are_none_of_another() {
    let pannier = pannier().await;
    let (one, two) = (pannier.job().await, pannier.job().await);
    pannier.add_results(&one, vec![success("a")]).await;
    let (outcomes, job) = pannier.add_results(&two, vec![failure("a", "E"), success("A")]).await;
    assert_eq!((outcomes, counts(&job)), (vec![Added; 2], (None, 2, 1, 1)));
    assert_eq!(counts(&pannier.get_job(&one).await), (None, 1, 1, 0));
}

#[tokio::test]
async fn failures_are_replaced_where_that_is_asked_and_counted_anew() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    pannier.add_results(&id, vec![failure("a", "E1"), success("b"), failure("c", "E1")]).await;
    pannier.advance_s(1);
    let better = pb::NewResult { url: "u".into(), data_json: "{}".into(), ..success("a") };
    let batch = vec![better, failure("b", "E2"), failure("c", "E2"), success("d"), success("c")];
    let (outcomes, job) = replace(&pannier, &id, batch).await.unwrap();
    assert_eq!(outcomes, [Replaced, Duplicate, Replaced, Added, Duplicate]);
    assert_eq!(counts(&job), (None, 4, 3, 1));
    let recorded = pannier.results(&id).await;
    let told: Vec<_> = recorded
        .iter()
        .map(|result| (result.item_key.as_str(), result.success, us(result.create_time.as_ref()).unwrap()))
        .collect();
    let later = START_US + 1_000_000;
    assert_eq!(told, [("a", true, later), ("b", true, START_US), ("c", false, later), ("d", true, later)]);
    assert_eq!((recorded[0].url.as_str(), recorded[0].data_json.as_str()), ("u", "{}"));
    assert_eq!(recorded[2].error.as_ref().unwrap().code, "E2");
}

#[tokio::test]
async fn a_batch_that_comes_again_is_answered_though_the_job_has_ended() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let batch = vec![success("a"), failure("b", "E")];
    pannier.add_results(&id, batch.clone()).await;
    let done = pannier.complete(&id).await.unwrap();
    let (outcomes, job) = pannier.add_results(&id, batch.clone()).await;
    assert_eq!((outcomes, job), (vec![Duplicate; 2], done.clone()));
    let late = pannier.try_add_results(&id, vec![success("a"), success("late")]).await.unwrap_err();
    assert_status(&late, Code::FailedPrecondition, ErrorReason::JobEnded);
    let late = replace(&pannier, &id, batch).await.unwrap_err();
    assert_status(&late, Code::FailedPrecondition, ErrorReason::JobEnded);
    assert_eq!(pannier.get_job(&id).await, done);
    assert_eq!(pannier.results(&id).await.len(), 2);
}

#[tokio::test]
async fn results_beyond_the_total_raise_it() {
    let pannier = pannier().await;
    let id = pannier.create(pb::CreateRequest { total_count: Some(2), ..of_type("t") }).await.id;
    let (_, job) = pannier.add_results(&id, vec![success("a"), success("b"), success("c")]).await;
    assert_eq!(counts(&job), (Some(3), 3, 3, 0));
    assert_eq!(counts(&pannier.report_total(&id, 10).await.unwrap()), (Some(10), 3, 3, 0));
    let status = pannier.report_total(&id, 2).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, ErrorReason::JobCountInvalid);
    assert_eq!(counts(&pannier.report_total(&id, 3).await.unwrap()), (Some(3), 3, 3, 0));
}

#[tokio::test]
async fn reports_beside_results_set_the_total_only() {
    let pannier = pannier().await;
    let one = pb::ProgressCounts { successful_count: 1, failed_count: 0 };
    let id = pannier.job().await;
    pannier.add_results(&id, vec![success("a"), failure("b", "E")]).await;
    let before = pannier.get_job(&id).await;
    assert_eq!(before.counted_by(), JobCountedBy::Results);
    for progress in [Progress::Set(one), Progress::Add(one), Progress::Set(Default::default())] {
        let job = pannier.report(&id, progress).await.unwrap();
        assert_eq!((job.counted_by(), job.revision), (JobCountedBy::Results, before.revision));
    }
    let progress = Some(Progress::Set(pb::ProgressCounts { successful_count: 7, failed_count: 0 }));
    let request = pb::ReportProgressRequest {
        job_id: id.clone(),
        progress,
        total_count: Some(9),
        ..Default::default()
    };
    let job = pannier.try_report(request).await.unwrap();
    assert_eq!((job.counted_by(), counts(&job)), (JobCountedBy::Results, (Some(9), 2, 1, 1)));
    assert_eq!(counts(&pannier.get_job(&id).await), (Some(9), 2, 1, 1));
}

#[tokio::test]
async fn the_first_result_drops_reported_counts() {
    let pannier = pannier().await;
    let id = pannier.create(pb::CreateRequest { total_count: Some(5), ..of_type("t") }).await.id;
    let reported = pb::ProgressCounts { successful_count: 3, failed_count: 1 };
    let job = pannier.report(&id, Progress::Set(reported)).await.unwrap();
    assert_eq!((job.counted_by(), counts(&job)), (JobCountedBy::Reports, (Some(5), 4, 3, 1)));
    let (added, job) = pannier.add_results(&id, vec![success("a")]).await;
    assert_eq!(added, [Added]);
    assert_eq!((job.counted_by(), counts(&job)), (JobCountedBy::Results, (Some(5), 1, 1, 0)));
    pannier.add_results(&id, vec![failure("b", "E")]).await;
    let recorded = pannier.results(&id).await;
    assert_eq!(recorded.iter().map(|result| result.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(counts(&pannier.get_job(&id).await), (Some(5), 2, 1, 1));
}

#[tokio::test]
async fn a_result_without_a_key_is_a_row_of_its_own_and_requires_a_request_id() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    // A playlist holds one video twice.
    let results = vec![without_key("v"), success("a"), without_key("v")];
    let answer = pannier.try_add_results(&id, results.clone()).await.unwrap();
    assert_eq!(outcomes(&answer), [Default::default(), Added, Default::default()]);
    let error = answer.results[0].error.as_ref().unwrap();
    assert_eq!(error.reason(), ErrorReason::InvalidArgument);
    assert!(error.message.starts_with("item_key is empty"), "{error:?}");

    let request = pb::AddResultsRequest {
        job_id: id.clone(),
        results,
        request_id: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(),
        replace_failed: true,
        ..Default::default()
    };
    let mut jobs = pannier.jobs.clone();
    let first = jobs.add_results(request.clone()).await.unwrap().into_inner();
    assert_eq!(outcomes(&first), [Added, Duplicate, Added]);
    assert_eq!(jobs.add_results(request).await.unwrap().into_inner(), first, "a repeat counts once");
    let recorded = pannier.restart().await.results(&id).await;
    let told: Vec<_> = recorded.iter().map(|r| (r.number, r.item_key.as_str(), r.url.as_str())).collect();
    assert_eq!(told, [(1, "a", ""), (2, "", "v"), (3, "", "v")]);
}

#[tokio::test]
async fn a_wrong_result_fails_alone_unless_the_call_is_atomic() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let results = vec![success("a"), pb::NewResult { url: "\0".into(), ..success("b") }, success("c")];
    let mut request =
        pb::AddResultsRequest { job_id: id.clone(), results, atomic: true, ..Default::default() };
    let mut jobs = pannier.jobs.clone();
    let status = jobs.add_results(request.clone()).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["results[1].url"]);
    assert!(pannier.results(&id).await.is_empty());
    request.atomic = false;
    let answer = jobs.add_results(request).await.unwrap().into_inner();
    assert_eq!(outcomes(&answer), [Added, Default::default(), Added]);
    assert_eq!(item_fields(answer.results[1].error.as_ref().unwrap()), ["url"]);
    assert_eq!(counts(answer.job.as_ref().unwrap()), (None, 2, 2, 0));
    let keys: Vec<String> = pannier.results(&id).await.into_iter().map(|result| result.item_key).collect();
    assert_eq!(keys, ["a", "c"]);
}

#[tokio::test]
async fn a_job_that_completes_by_itself_does_so_with_its_last_item() {
    let pannier = pannier().await;
    let request = pb::CreateRequest { total_count: Some(3), auto_complete: true, ..of_type("t") };
    let id = pannier.create(request.clone()).await.id;
    let (_, job) = pannier.add_results(&id, vec![success("a"), failure("b", "E")]).await;
    assert_eq!(job.status(), JobStatus::Processing);
    pannier.advance_s(1);
    let last = vec![failure("c", "E")];
    let (_, job) = pannier.add_results(&id, last.clone()).await;
    assert_eq!((job.status(), counts(&job)), (JobStatus::Completed, (Some(3), 3, 1, 2)));
    assert_eq!(us(job.end_time.as_ref()), Some(START_US + 1_000_000));
    let (outcomes, again) = pannier.add_results(&id, last).await;
    assert_eq!((outcomes, again), (vec![Duplicate], job), "a lost answer can be asked for again");

    let empty = pannier.create(pb::CreateRequest { total_count: Some(0), ..request.clone() }).await;
    assert_eq!(empty.status(), JobStatus::Completed, "there is nothing to do");
    assert!(empty.end_time.is_some());
    let unknown = pannier.create(pb::CreateRequest { total_count: None, ..request }).await.id;
    pannier.add_results(&unknown, vec![success("a")]).await;
    assert_eq!(pannier.get_job(&unknown).await.status(), JobStatus::Processing);
    assert_eq!(pannier.report_total(&unknown, 1).await.unwrap().status(), JobStatus::Completed);
}

#[tokio::test]
async fn failures_that_are_tried_again_do_not_complete_the_job_before_its_caller_does() {
    let pannier = pannier().await;
    let request = pb::CreateRequest { total_count: Some(3), auto_complete: true, ..of_type("t") };
    let id = pannier.create(request).await.id;
    pannier.add_results(&id, vec![failure("a", "E"), failure("b", "E")]).await;
    pannier.fail(&id, None).await.unwrap();
    pannier.update_status(&id, JobStatus::Processing).await.unwrap();
    let (_, job) = replace(&pannier, &id, vec![success("a")]).await.unwrap();
    assert_eq!((job.status(), counts(&job)), (JobStatus::Processing, (Some(3), 2, 1, 1)));
    let (_, job) = replace(&pannier, &id, vec![success("b"), success("c")]).await.unwrap();
    assert_eq!((job.status(), counts(&job)), (JobStatus::Completed, (Some(3), 3, 3, 0)));
}

#[tokio::test]
async fn a_batch_of_many_is_numbered_in_its_order() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let mut expected = Vec::new();
    for size in [1, 3, 17, 63, 256, 341, 1_000] {
        let keys: Vec<String> = (0..size).map(|i| format!("{size}/{i}")).collect();
        pannier.add_results(&id, keys.iter().map(success).collect()).await;
        expected.extend(keys);
    }
    let recorded = pannier.results(&id).await;
    assert!(recorded.iter().zip(1..).all(|(result, number)| result.number == number));
    assert_eq!(recorded.into_iter().map(|result| result.item_key).collect::<Vec<_>>(), expected);
    assert_eq!(pannier.get_job(&id).await.processed_count, i64::try_from(expected.len()).unwrap());
}

#[tokio::test]
async fn evicting_from_the_cache_leaves_results_alone() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let namespace = "videos";
    pannier.put(namespace, crate::cache::items::value_item("v1", "transcript")).await;
    pannier.add_results(&id, vec![success("v1")]).await;
    pannier.evict(namespace, 1).await;
    pannier.delete_namespace(namespace).await;
    assert_eq!(pannier.results(&id).await.len(), 1);
    assert_eq!(pannier.get_job(&id).await.processed_count, 1);
}
