//! Start, Extend, Fail and Release by their own calls: each is a Settle of one.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind as Kind, TaskState};
use tonic::Code;

use super::calls::{item, seconds, us};
use crate::harness::{Pannier, assert_status, pannier};

async fn claimed(pannier: &Pannier) -> pb::Task {
    pannier.enqueue(item("a")).await;
    pannier.claim_one().await
}

#[tokio::test]
async fn start_says_that_work_has_begun() {
    let pannier = pannier().await;
    let task = claimed(&pannier).await;
    let request = pb::StartRequest { task_id: task.id, token: task.token, ..Default::default() };
    let started = pannier.queue().start(request.clone()).await.unwrap().into_inner().settled.unwrap();
    assert_eq!((started.task_id, started.state()), (task.id, TaskState::Running));
    assert_eq!(pannier.state_of(task.id).await, TaskState::Running);
    pannier.queue().start(request.clone()).await.unwrap();
    assert_eq!(pannier.log_of(task.id).await, [Kind::Enqueued, Kind::Claimed, Kind::Started]);
    let stale = pb::StartRequest { token: 9, ..request };
    let error = pannier.queue().start(stale).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
async fn extend_makes_the_lease_last_longer() {
    let pannier = pannier().await;
    let task = claimed(&pannier).await;
    let extend = Some(pb::ExtendOutcome { lease: Some(seconds(300)) });
    let request = pb::ExtendRequest { task_id: task.id, token: task.token, extend, ..Default::default() };
    let extended = pannier.queue().extend(request.clone()).await.unwrap().into_inner().settled.unwrap();
    assert_eq!(us(extended.lease_expire_time.as_ref()), Some(pannier.now_us() + 300_000_000));
    pannier.advance_s(299);
    assert_eq!(pannier.state_of(task.id).await, TaskState::Claimed);
    pannier.advance_s(1);
    let error = pannier.queue().extend(request).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
async fn fail_records_a_failed_attempt() {
    let pannier = pannier().await;
    let task = claimed(&pannier).await;
    let fail = |r#final| {
        let error = "it broke".into();
        let fail = pb::FailOutcome { error, r#final, retry_delay: (!r#final).then(|| seconds(30)) };
        Some(fail)
    };
    let request =
        pb::FailRequest { task_id: task.id, token: task.token, fail: fail(false), ..Default::default() };
    let failed = pannier.queue().fail(request).await.unwrap().into_inner().settled.unwrap();
    assert_eq!(failed.state(), TaskState::Scheduled);
    assert_eq!(us(failed.run_time.as_ref()), Some(pannier.now_us() + 30_000_000));
    pannier.advance_s(30);
    let again = pannier.claim_one().await;
    assert_eq!((again.failure_count, again.error.as_str()), (1, "it broke"));
    let request =
        pb::FailRequest { task_id: again.id, token: again.token, fail: fail(true), ..Default::default() };
    let failed = pannier.queue().fail(request).await.unwrap().into_inner().settled.unwrap();
    assert_eq!(failed.state(), TaskState::Failed);
}

#[tokio::test]
async fn release_gives_a_task_back_at_once() {
    let pannier = pannier().await;
    let task = claimed(&pannier).await;
    let request = pb::ReleaseRequest { task_id: task.id, token: task.token, ..Default::default() };
    let released = pannier.queue().release(request.clone()).await.unwrap().into_inner().settled.unwrap();
    assert_eq!((released.task_id, released.state()), (task.id, TaskState::Queued));
    let error = pannier.queue().release(request).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
    let again = pannier.claim_one().await;
    assert_eq!((again.id, again.token, again.failure_count), (task.id, 2, 0));
    let unknown = pb::ReleaseRequest { task_id: 999, token: 1, ..Default::default() };
    let error = pannier.queue().release(unknown).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
}
