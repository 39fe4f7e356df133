//! The life of a job: made, begun, ended; what each step leaves in it.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use tonic::Code;

use super::calls::{counts, failure, of_type, success};
use crate::cache::items::us;
use crate::harness::{START_US, assert_status, pannier};

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
