//! One request_id for the whole: a repeated commit is answered, not done again.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::transaction::v1 as pb;
use tonic::Code;

use super::calls::{create, delete, enqueue, job_id, of, put, set, unset};
use crate::harness::{assert_status, pannier};

fn with_id(request: pb::CommitRequest) -> pb::CommitRequest {
    pb::CommitRequest { request_id: job_id(77), ..request }
}

#[tokio::test]
async fn the_same_commit_again_has_the_same_answer_and_no_effect() {
    let pannier = pannier().await;
    let request =
        || with_id(of(vec![create(1), enqueue("a"), set("s", "1"), put("k", "v"), delete("z", None)]));
    let first = pannier.try_commit_request(request()).await.unwrap();
    pannier.set("s", "2").await;
    let stored = pannier.stored().await;
    assert_eq!(pannier.try_commit_request(request()).await.unwrap(), first);
    assert_eq!(pannier.stored().await, stored);
    assert_eq!(pannier.setting("s").await, "2");
    let pannier = pannier.restart().await;
    assert_eq!(pannier.try_commit_request(request()).await.unwrap(), first, "after a restart as well");
}

#[tokio::test]
async fn another_body_with_the_same_id_is_refused() {
    let pannier = pannier().await;
    pannier.try_commit_request(with_id(of(vec![set("s", "1")]))).await.unwrap();
    let other = with_id(of(vec![set("s", "2")]));
    let status = pannier.try_commit_request(other).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    assert_eq!(pannier.setting("s").await, "1");
    // The id is known to the other services' calls too.
    let single = pannier_proto::settings::v1::SetRequest {
        request_id: job_id(77),
        ..crate::settings::calls::set_request("s", "3")
    };
    let status = pannier.try_set(single).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn a_commit_that_failed_may_be_tried_again_with_its_id() {
    let pannier = pannier().await;
    let request = || with_id(of(vec![set("t", "1"), unset("s", 1)]));
    pannier.try_commit_request(request()).await.unwrap_err();
    pannier.set("s", "1").await;
    pannier.try_commit_request(request()).await.unwrap();
    assert_eq!(pannier.setting_keys("").await, ["t"]);
}
