//! Batches: a wrong item fails alone, with the details of the single call; `atomic` makes all or none of it.

use pannier_proto::errors::v1::{ErrorReason, ItemError};
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use prost::Message as _;
use tonic::Code;
use tonic_types::pb::BadRequest;

use super::calls::{claiming, numbered};
use super::calls::{completed, item, numbers, outcome, settled};
use crate::harness::{assert_status, pannier, violated_fields};

/// The fields that an item's error names.
fn fields(error: &ItemError) -> Vec<String> {
    assert_eq!((error.code, error.reason()), (Code::InvalidArgument as i32, ErrorReason::InvalidArgument));
    let bad = error.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.BadRequest"));
    let bad = BadRequest::decode(bad.expect("details").value.as_slice()).unwrap();
    bad.field_violations.into_iter().map(|violation| violation.field).collect()
}

fn wrong_outcome(task: &pb::Task) -> pb::Outcome {
    let complete = pb::CompleteOutcome { result_json: "{".into() };
    outcome(task, pb::outcome::What::Complete(complete))
}

fn refusal(result: &pb::OutcomeResult) -> ItemError {
    match result.result.clone().unwrap() {
        pb::outcome_result::Result::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_task_of_a_batch_fails_alone() {
    let pannier = pannier().await;
    let wrong = pb::EnqueueItem { priority: -1, parameters_json: "{".into(), ..item("a b") };
    let items = vec![numbered("a", 0), wrong.clone(), numbered("a", 2)];
    let request = pb::BatchEnqueueRequest { items: items.clone(), ..Default::default() };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    use pb::batch_enqueue_result::Outcome;
    match results.into_iter().map(|result| result.outcome.unwrap()).collect::<Vec<_>>().as_slice() {
        [Outcome::Enqueued(_), Outcome::Error(error), Outcome::Enqueued(_)] => {
            assert_eq!(fields(error), ["type", "priority", "parameters_json"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(numbers(&pannier.claim(&[], 9).await), [0, 2]);
    let request = pb::BatchEnqueueRequest { items, atomic: true, ..Default::default() };
    let error = pannier.queue().batch_enqueue(request).await.unwrap_err();
    assert_eq!(violated_fields(&error), ["items[1].parameters_json", "items[1].priority", "items[1].type"]);
    // A batch in which all is wrong makes no queue.
    let request = pb::BatchEnqueueRequest { queue: "typo".into(), items: vec![wrong], ..Default::default() };
    pannier.queue().batch_enqueue(request).await.unwrap();
    let found = pannier.queue().get_queue(pb::GetQueueRequest { name: "typo".into() }).await.unwrap_err();
    assert_status(&found, Code::NotFound, ErrorReason::QueueNotFound);
    assert!(pannier.claim(&[], 9).await.is_empty());
}

#[tokio::test]
async fn a_wrong_outcome_fails_alone_and_its_task_stays_held() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..6).map(|number| numbered("a", number)).collect()).await;
    let tasks = pannier.claim(&[], 4).await;
    let results = pannier.settle_all(vec![wrong_outcome(&tasks[0]), outcome(&tasks[1], completed())]).await;
    assert_eq!(fields(&refusal(&results[0])), ["complete.result_json"]);
    assert!(settled(&results[1]).is_ok());
    assert_eq!(pannier.state_of(tasks[0].id).await, TaskState::Claimed);
    // The claim of an exchange goes on as well.
    let request = pb::ExchangeRequest {
        outcomes: vec![wrong_outcome(&tasks[2]), outcome(&tasks[0], completed())],
        claiming: Some(claiming(&[], 1)),
        ..Default::default()
    };
    let answer = pannier.queue().exchange(request).await.unwrap().into_inner();
    assert_eq!(fields(&refusal(&answer.results[0])), ["complete.result_json"]);
    assert!(settled(&answer.results[1]).is_ok());
    assert_eq!(numbers(&answer.tasks), [4]);
    // All or none.
    let stale = pb::Outcome { token: 9, ..outcome(&tasks[3], completed()) };
    let outcomes = vec![outcome(&tasks[2], completed()), stale];
    let request = pb::SettleRequest { outcomes, atomic: true, ..Default::default() };
    let error = pannier.queue().settle(request).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
    assert!(error.message().contains("outcomes[1]"), "{}", error.message());
    assert_eq!(pannier.state_of(tasks[2].id).await, TaskState::Claimed);
}

#[tokio::test]
async fn changes_by_hand_are_done_to_all_or_to_none_where_that_is_asked() {
    let pannier = pannier().await;
    let ids = pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let task_ids = vec![ids[0], 999];
    let cancel = pb::CancelRequest { task_ids: task_ids.clone(), atomic: true, ..Default::default() };
    let error = pannier.queue().cancel(cancel.clone()).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    assert!(error.message().contains("task_ids[1]"), "{}", error.message());
    assert_eq!(pannier.state_of(ids[0]).await, TaskState::Queued);
    pannier.queue().cancel(pb::CancelRequest { atomic: false, ..cancel }).await.unwrap();
    assert_eq!(pannier.state_of(ids[0]).await, TaskState::Cancelled);
    let retry = pb::RetryRequest { task_ids, atomic: true, ..Default::default() };
    let error = pannier.queue().retry(retry).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    assert_eq!(pannier.state_of(ids[0]).await, TaskState::Cancelled);
}
