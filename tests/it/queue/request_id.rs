//! Every mutation takes a request_id: repeated, it gives its first answer and has no second effect.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{claiming, completed, item, numbered, numbers, outcome, seconds};
use crate::harness::{Pannier, assert_status, pannier};

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";

fn id() -> String {
    ID.into()
}

#[tokio::test]
async fn a_repeated_enqueue_adds_nothing() {
    let pannier = pannier().await;
    let request = pb::EnqueueRequest { item: Some(item("a")), request_id: id(), ..Default::default() };
    let first = pannier.queue().enqueue(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().enqueue(request).await.unwrap().into_inner(), first);
    let other = pb::EnqueueRequest { item: Some(item("b")), request_id: id(), ..Default::default() };
    let error = pannier.queue().enqueue(other).await.unwrap_err();
    assert_status(&error, Code::InvalidArgument, ErrorReason::RequestIdReused);
    let batch = pb::BatchEnqueueRequest {
        items: vec![item("a"), item("b")],
        request_id: ID.replace('6', "7"),
        ..Default::default()
    };
    let first = pannier.queue().batch_enqueue(batch.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().batch_enqueue(batch).await.unwrap().into_inner(), first);
    assert_eq!(pannier.claim(&[], 10).await.len(), 3);
}

#[tokio::test]
async fn a_repeated_claim_gives_the_same_tasks() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..5).map(|number| numbered("a", number)).collect()).await;
    let request =
        pb::ClaimRequest { claiming: Some(claiming(&[], 2)), request_id: id(), ..Default::default() };
    let first = pannier.queue().claim(request.clone()).await.unwrap().into_inner();
    assert_eq!(numbers(&first.tasks), [0, 1]);
    pannier.advance_s(5);
    let again = pannier.queue().claim(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(again.tasks[0].token, 1);
    let pannier = pannier.restart().await;
    assert_eq!(pannier.queue().claim(request).await.unwrap().into_inner(), first);
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [2, 3, 4]);
}

#[tokio::test]
async fn a_claim_that_found_nothing_looks_again() {
    let pannier = pannier().await;
    let request =
        pb::ClaimRequest { claiming: Some(claiming(&[], 2)), request_id: id(), ..Default::default() };
    assert!(pannier.queue().claim(request.clone()).await.unwrap().into_inner().tasks.is_empty());
    pannier.enqueue(item("a")).await;
    let first = pannier.queue().claim(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.tasks.len(), 1);
    assert_eq!(pannier.queue().claim(request).await.unwrap().into_inner(), first);
}

#[tokio::test]
async fn a_repeated_settlement_tells_its_first_results() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let tasks = pannier.claim(&[], 2).await;
    let request = pb::SettleRequest {
        outcomes: vec![
            outcome(&tasks[0], completed()),
            pb::Outcome { token: 9, ..outcome(&tasks[1], completed()) },
        ],
        request_id: id(),
        ..Default::default()
    };
    let first = pannier.queue().settle(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().settle(request).await.unwrap().into_inner(), first);
    let request = pb::CompleteRequest {
        task_id: tasks[1].id,
        token: tasks[1].token,
        request_id: ID.replace('6', "7"),
        ..Default::default()
    };
    let first = pannier.queue().complete(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().complete(request).await.unwrap().into_inner(), first);
}

#[tokio::test]
async fn a_repeated_exchange_has_no_second_effect_also_when_it_waited() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let request = pb::ExchangeRequest {
        outcomes: vec![outcome(&task, completed())],
        claiming: Some(pb::Claiming { wait: Some(seconds(60)), ..claiming(&[], 2) }),
        request_id: id(),
        ..Default::default()
    };
    let mut queue = pannier.queue();
    let waiter = tokio::spawn({
        let request = request.clone();
        async move { queue.exchange(request).await.unwrap().into_inner() }
    });
    pannier.let_arrive().await;
    // The connection breaks here, say: what was recorded is told, though the wait goes on.
    let meanwhile = pannier.queue().exchange(request.clone()).await.unwrap().into_inner();
    assert_eq!((meanwhile.results.len(), meanwhile.tasks.len()), (1, 0));
    let second = pannier.enqueue(item("a")).await;
    let answer = waiter.await.unwrap();
    assert_eq!((&answer.results, answer.tasks[0].id), (&meanwhile.results, second));
    assert_eq!(pannier.queue().exchange(request).await.unwrap().into_inner(), answer);
    assert!(pannier.claim(&[], 5).await.is_empty());
}

#[tokio::test]
async fn repeated_changes_by_hand_have_no_second_effect() {
    let pannier = pannier().await;
    let task_id = pannier.enqueue(item("a")).await;
    let cancel = pb::CancelRequest { task_ids: vec![task_id], request_id: id(), ..Default::default() };
    let first = pannier.queue().cancel(cancel.clone()).await.unwrap().into_inner();
    let retry =
        pb::RetryRequest { task_ids: vec![task_id], request_id: ID.replace('6', "7"), ..Default::default() };
    let retried = pannier.queue().retry(retry.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().cancel(cancel).await.unwrap().into_inner(), first);
    assert_eq!(pannier.state_of(task_id).await, TaskState::Queued);
    pannier.cancel(task_id).await;
    assert_eq!(pannier.queue().retry(retry).await.unwrap().into_inner(), retried);
    assert_eq!(pannier.state_of(task_id).await, TaskState::Cancelled);
}

#[tokio::test]
async fn repeated_registrations_updates_and_pauses_have_no_second_effect() {
    let pannier = pannier().await;
    let register = pb::RegisterWorkerRequest { name: "w".into(), request_id: id(), ..Default::default() };
    let first = pannier.queue().register_worker(register.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.queue().register_worker(register).await.unwrap().into_inner(), first);
    let all = pannier.queue().list_workers(pb::ListWorkersRequest::default()).await.unwrap();
    assert_eq!(all.into_inner().workers.len(), 1);

    let update = pb::UpdateQueueRequest {
        queue: Some(pb::Queue { max_retries: 7, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["max_retries".into()] }),
        request_id: ID.replace('6', "7"),
    };
    let first = pannier.queue().update_queue(update.clone()).await.unwrap().into_inner();
    assert!(first.created);
    pannier.update_queue(pb::Queue { max_retries: 8, ..Default::default() }, &["max_retries"]).await;
    assert_eq!(pannier.queue().update_queue(update).await.unwrap().into_inner(), first);
    let now = pannier.queue().get_queue(pb::GetQueueRequest::default()).await.unwrap().into_inner();
    assert_eq!(now.queue.unwrap().max_retries, 8);

    let pause = pb::PauseRequest { request_id: ID.replace('6', "8"), ..Default::default() };
    pannier.queue().pause(pause.clone()).await.unwrap();
    pannier.queue().resume(pb::ResumeRequest::default()).await.unwrap();
    pannier.queue().pause(pause).await.unwrap();
    pannier.enqueue(item("a")).await;
    assert_eq!(pannier.claim(&[], 1).await.len(), 1, "it was not paused again");
}

/// A claim with the id, on its way.
pub async fn waiting(pannier: &Pannier) -> tokio::task::JoinHandle<Vec<pb::Task>> {
    let mut queue = pannier.queue();
    let claiming = Some(pb::Claiming { wait: Some(seconds(60)), ..claiming(&[], 1) });
    let request = pb::ClaimRequest { claiming, request_id: id(), ..Default::default() };
    let waiter = tokio::spawn(async move { queue.claim(request).await.unwrap().into_inner().tasks });
    pannier.let_arrive().await;
    waiter
}

#[tokio::test]
async fn a_claim_that_came_twice_and_waits_twice_gets_the_same_tasks() {
    let pannier = pannier().await;
    let (first, second) = (waiting(&pannier).await, waiting(&pannier).await);
    let ids = pannier.enqueue_all(vec![item("a"), item("a"), item("a")]).await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first[0].id, first.len()), (ids[0], 1));
    assert_eq!(first, second);
    assert_eq!(pannier.list(TaskState::Claimed).await.len(), 1);
    assert_eq!(waiting(&pannier).await.await.unwrap(), first, "later, too");
}

#[tokio::test]
async fn a_repeat_of_a_claim_whose_call_hangs_gets_its_tasks_at_once() {
    let pannier = pannier().await;
    let first = waiting(&pannier).await;
    let second = waiting(&pannier).await;
    let task_id = pannier.enqueue(item("a")).await;
    // Only one of them was called for the task; the clock stands still, so no wait ends by time.
    assert_eq!(second.await.unwrap()[0].id, task_id);
    assert_eq!(first.await.unwrap()[0].id, task_id);
}
