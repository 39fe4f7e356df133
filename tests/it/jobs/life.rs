//! The life of a job: made, begun, ended; what each step leaves in it.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use tonic::Code;

use super::calls::{counts, failure, of_type, success};
use crate::cache::items::us;
use crate::harness::{START_US, assert_status, pannier, violated_fields};

#[tokio::test]
async fn a_batch_goes_from_pending_over_its_results_to_completed() {
    let pannier = pannier().await;
    let request = pb::CreateRequest {
        r#type: "playlist".into(),
        total_count: Some(3),
        metadata_json: "{\"title\": \"ü\", \"n\": 1e400}".into(),
        ..Default::default()
    };
    let made = pannier.create(request.clone()).await;
    assert_eq!((made.status(), counts(&made)), (JobStatus::Pending, (Some(3), 0, 0, 0)));
    assert_eq!((&made.r#type, &made.metadata_json), (&request.r#type, &request.metadata_json));
    assert_eq!((us(made.create_time.as_ref()), made.start_time, made.end_time), (Some(START_US), None, None));
    assert_eq!(pannier.get_job(&made.id).await, made);

    pannier.advance_s(1);
    let (outcomes, begun) = pannier.add_results(&made.id, vec![success("a"), failure("b", "E1")]).await;
    assert_eq!(outcomes, [pb::AddOutcome::Added; 2]);
    assert_eq!((begun.status(), counts(&begun)), (JobStatus::Processing, (Some(3), 2, 1, 1)));
    assert_eq!(us(begun.start_time.as_ref()), Some(START_US + 1_000_000));
    assert_eq!(begun.metadata_json, "", "left out of answers that come often");

    pannier.advance_s(1);
    pannier.add_results(&made.id, vec![success("c")]).await;
    pannier.advance_s(1);
    let done = pannier.complete(&made.id).await.unwrap();
    assert_eq!((done.status(), counts(&done)), (JobStatus::Completed, (Some(3), 3, 2, 1)));
    assert_eq!(us(done.start_time.as_ref()), Some(START_US + 1_000_000));
    assert_eq!(us(done.end_time.as_ref()), Some(START_US + 3_000_000));
    assert_eq!(done.update_time, done.end_time);
    assert_eq!((done.metadata_json.as_str(), done.revision), (request.metadata_json.as_str(), 4));
    assert_eq!(pannier.get_job(&made.id).await, done);
    let keys: Vec<_> = pannier.results(&made.id).await.into_iter().map(|r| (r.number, r.item_key)).collect();
    assert_eq!(keys, [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
}

#[tokio::test]
async fn metadata_total_and_error_of_a_job_can_be_changed_in_any_status() {
    let pannier = pannier().await;
    let paths = |paths: &[&str]| {
        Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    };
    let error = Some(pb::JobError { code: "PARTIAL".into(), message: "two are private".into() });
    for status in [JobStatus::Pending, JobStatus::Processing, JobStatus::Completed, JobStatus::Aborted] {
        let id = pannier.job_in(status).await;
        let base = || pb::UpdateJobRequest { job_id: id.clone(), ..Default::default() };
        // A title is learned after the job was made.
        let titled = pb::UpdateJobRequest { metadata_json: "{\"title\":\"t\"}".into(), ..base() };
        let job = pannier.update_job(titled.clone()).await.unwrap();
        assert_eq!(
            (job.metadata_json.as_str(), job.status(), job.total_count),
            ("{\"title\":\"t\"}", status, None)
        );
        assert_eq!(pannier.update_job(titled).await.unwrap(), job, "the same again changes nothing");
        let request = pb::UpdateJobRequest { total_count: Some(9), error: error.clone(), ..base() };
        let job = pannier.update_job(request).await.unwrap();
        assert_eq!(
            (job.total_count, &job.error, job.revision),
            (Some(9), &error, 3 + i64::from(status != JobStatus::Pending))
        );
        assert_eq!(pannier.get_job(&id).await, job);
        let request =
            pb::UpdateJobRequest { update_mask: paths(&["metadata_json", "total_count", "error"]), ..base() };
        let cleared = pannier.update_job(request).await.unwrap();
        assert_eq!((cleared.metadata_json.as_str(), cleared.total_count, cleared.error), ("", None, None));
    }
}

#[tokio::test]
async fn a_total_by_hand_completes_a_job_and_is_not_below_what_is_processed() {
    let pannier = pannier().await;
    let id = pannier.create(pb::CreateRequest { auto_complete: true, ..of_type("t") }).await.id;
    pannier.add_results(&id, vec![success("a"), success("b")]).await;
    let total =
        |total| pb::UpdateJobRequest { job_id: id.clone(), total_count: Some(total), ..Default::default() };
    let status = pannier.update_job(total(1)).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, ErrorReason::JobCountInvalid);
    assert_eq!(pannier.update_job(total(2)).await.unwrap().status(), JobStatus::Completed);
}

#[tokio::test]
async fn the_creator_may_give_create_time_and_counts() {
    let pannier = pannier().await;
    let create_time = Some(prost_types::Timestamp { seconds: 1_500_000_000, nanos: 5_000 });
    let counts_given = Some(pb::ProgressCounts { successful_count: 3, failed_count: 1 });
    let request =
        pb::CreateRequest { create_time, counts: counts_given, total_count: Some(9), ..of_type("t") };
    let job = pannier.create(request.clone()).await;
    assert_eq!((job.create_time, counts(&job)), (create_time, (Some(9), 4, 3, 1)));
    assert_eq!((job.status(), job.counted_by()), (JobStatus::Processing, pb::JobCountedBy::Reports));
    assert_eq!(us(job.start_time.as_ref()), Some(START_US));
    assert_eq!(us(job.update_time.as_ref()), Some(START_US));
    let newer = pannier.job().await;
    let pannier = pannier.restart().await;
    assert_eq!(pannier.get_job(&job.id).await, job);
    assert_eq!(pannier.job_ids(pb::ListRequest::default()).await, [newer, job.id]);

    let zero = pb::CreateRequest { counts: Some(Default::default()), ..of_type("t") };
    let zero = pannier.create(zero).await;
    assert_eq!((zero.status(), zero.counted_by()), (JobStatus::Pending, pb::JobCountedBy::Nothing));
    let too_small = pb::CreateRequest { total_count: Some(3), ..request };
    assert_eq!(violated_fields(&pannier.try_create(too_small).await.unwrap_err()), ["total_count"]);
    let whole =
        pb::CreateRequest { auto_complete: true, counts: counts_given, total_count: Some(4), ..of_type("t") };
    assert_eq!(pannier.create(whole).await.status(), JobStatus::Completed);
}

#[tokio::test]
async fn ids_are_made_in_order_or_given_once() {
    let pannier = pannier().await;
    let (first, second) = (pannier.job().await, pannier.job().await);
    assert!(first < second, "{first} then {second}");
    assert_eq!(first.chars().nth(14), Some('7'), "{first} is a UUIDv7");

    let id = "6F1B3C52-8A0E-4F4E-9C2D-0F6A7B8C9D0E";
    let request = pb::CreateRequest { job_id: id.into(), ..of_type("batch") };
    assert_eq!(pannier.create(request.clone()).await.id, id.to_lowercase());
    let status =
        pannier.try_create(pb::CreateRequest { r#type: "other".into(), ..request }).await.unwrap_err();
    assert_status(&status, Code::AlreadyExists, ErrorReason::JobExists);
    assert_eq!(pannier.get_job(id).await.r#type, "batch");
}
