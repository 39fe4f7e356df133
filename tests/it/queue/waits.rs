//! Claims that wait: woken by tasks, without polling, in the order they came.

use std::time::Duration;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use tonic::{Code, Request};

use super::calls::{claiming, item, numbered, outcome, released, seconds, settled};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

fn waiting(types: &[&str], wait_s: i64) -> pb::Claiming {
    pb::Claiming { wait: Some(seconds(wait_s)), ..claiming(types, 1) }
}

#[tokio::test]
async fn one_who_waits_is_woken_by_a_task() {
    let pannier = pannier().await;
    // Neither the queue nor the type is there yet.
    let waiter = pannier.waiter(waiting(&["a"], 60)).await;
    pannier.enqueue(item("b")).await;
    pannier.let_arrive().await;
    assert!(!waiter.is_finished(), "another type");
    let id = pannier.enqueue(item("a")).await;
    assert_eq!(waiter.await.unwrap()[0].id, id);
}

#[tokio::test]
async fn each_task_wakes_one() {
    let pannier = pannier().await;
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(pannier.waiter(waiting(&[], 60)).await);
    }
    for number in 0..5 {
        pannier.enqueue(numbered("a", number)).await;
        let (first, _, rest) = futures_util::future::select_all(waiters).await;
        assert_eq!(super::calls::numbers(&first.unwrap()), [number]);
        pannier.let_arrive().await;
        assert!(rest.iter().all(|waiter| !waiter.is_finished()));
        waiters = rest;
    }
}

#[tokio::test]
async fn a_batch_wakes_as_many_as_it_has_tasks() {
    let pannier = pannier().await;
    let mut waiters = Vec::new();
    for _ in 0..6 {
        waiters.push(pannier.waiter(waiting(&[], 60)).await);
    }
    pannier.enqueue_all((0..4).map(|number| numbered("a", number)).collect()).await;
    for _ in 0..4 {
        let (first, _, rest) = futures_util::future::select_all(waiters).await;
        assert_eq!(first.unwrap().len(), 1);
        waiters = rest;
    }
    pannier.let_arrive().await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
}

#[tokio::test]
async fn a_wait_ends_after_its_time_with_nothing() {
    let pannier = pannier().await;
    let waiter = pannier.waiter(waiting(&[], 20)).await;
    pannier.advance_s(19);
    pannier.let_arrive().await;
    assert!(!waiter.is_finished());
    pannier.advance_s(1);
    assert!(waiter.await.unwrap().is_empty());
}

#[tokio::test]
async fn whatever_makes_a_task_claimable_wakes_one_who_waits() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;

    let task = pannier.claim_one().await;
    let waiter = pannier.waiter(waiting(&[], 60)).await;
    pannier.tell(&task, released()).await;
    let task = waiter.await.unwrap().remove(0);

    let waiter = pannier.waiter(waiting(&[], 60)).await;
    let snooze = pb::SnoozeOutcome { delay: Some(seconds(5)) };
    pannier.tell(&task, pb::outcome::What::Snooze(snooze)).await;
    pannier.advance_s(5);
    let task = waiter.await.unwrap().remove(0);

    pannier.advance_s(30);
    let waiter = pannier.waiter(waiting(&[], 60)).await;
    pannier.advance_s(30);
    let task_of_expired = waiter.await.unwrap().remove(0);
    assert_eq!((task_of_expired.id, task_of_expired.token), (id, task.token + 1));

    let fail = pb::FailOutcome { r#final: true, ..Default::default() };
    pannier.tell(&task_of_expired, pb::outcome::What::Fail(fail)).await;
    let waiter = pannier.waiter(waiting(&[], 60)).await;
    pannier.queue().redrive(pb::RedriveRequest::default()).await.unwrap();
    let task = waiter.await.unwrap().remove(0);

    let pause = pb::PauseRequest::default();
    pannier.queue().pause(pause).await.unwrap();
    pannier.tell(&task, released()).await;
    let waiter = pannier.waiter(waiting(&[], 60)).await;
    pannier.queue().resume(pb::ResumeRequest::default()).await.unwrap();
    assert_eq!(waiter.await.unwrap()[0].id, id);
}

#[tokio::test]
async fn an_exchange_records_its_outcomes_before_it_waits() {
    let pannier = pannier().await;
    let first = pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let request = pb::ExchangeRequest {
        outcomes: vec![outcome(&task, super::calls::completed())],
        claiming: Some(waiting(&[], 60)),
        ..Default::default()
    };
    let mut queue = pannier.queue();
    let waiter = tokio::spawn(async move { queue.exchange(request).await.unwrap().into_inner() });
    pannier.let_arrive().await;
    assert!(!waiter.is_finished());
    assert_eq!(pannier.state_of(first).await, pb::TaskState::Completed);
    let second = pannier.enqueue(item("a")).await;
    let answer = waiter.await.unwrap();
    assert_eq!((answer.results.len(), answer.tasks[0].id), (1, second));
}

#[tokio::test]
async fn what_was_recorded_is_told_though_the_worker_is_lost_in_the_wait() {
    let pannier = pannier().await;
    let done = pannier.enqueue(item("a")).await;
    let worker_id = pannier.worker("w").await;
    let task = pannier.claim_for(worker_id).await.unwrap();
    let request = pb::ExchangeRequest {
        outcomes: vec![outcome(&task, super::calls::completed())],
        claiming: Some(pb::Claiming { worker_id, ..waiting(&[], 60) }),
        ..Default::default()
    };
    let mut queue = pannier.queue();
    let waiter = tokio::spawn(async move { queue.exchange(request).await.unwrap().into_inner() });
    pannier.let_arrive().await;
    let leave = pb::UnregisterWorkerRequest { worker_id, ..Default::default() };
    pannier.queue().unregister_worker(leave).await.unwrap();
    let left = pannier.enqueue(item("a")).await;
    let answer = waiter.await.unwrap();
    assert!(settled(&answer.results[0]).is_ok());
    assert!(answer.tasks.is_empty());
    assert_eq!(pannier.state_of(done).await, pb::TaskState::Completed);
    assert_eq!(pannier.claim_one().await.id, left);
}

#[tokio::test]
async fn a_wait_ends_before_the_calls_deadline() {
    let pannier = pannier().await;
    let claiming = Some(waiting(&[], 60));
    let mut request = Request::new(pb::ClaimRequest { claiming, ..Default::default() });
    request.set_timeout(Duration::from_secs(10));
    // The clock of the test stands still: what ends the wait is the deadline. An answer without tasks, not an error.
    let mut queue = pannier.queue();
    let waiter = tokio::spawn(async move { queue.claim(request).await });
    pannier.let_arrive().await;
    while !waiter.is_finished() {
        pannier.advance_s(2);
        pannier.let_arrive().await;
    }
    assert!(waiter.await.unwrap().unwrap().into_inner().tasks.is_empty());
}

#[tokio::test]
async fn a_caller_who_leaves_takes_no_task_along() {
    let pannier = pannier().await;
    for _ in 0..20 {
        let waiter = pannier.waiter(waiting(&[], 60)).await;
        let id = pannier.enqueue(item("a")).await;
        waiter.abort();
        let _ = waiter.await;
        // Either the task was never given, or it was given back, or the answer was out: then its lease ends.
        let mut tries = 0;
        let task = loop {
            if let Some(task) = pannier.claim(&[], 1).await.pop() {
                break task;
            }
            tries += 1;
            if tries > 20 {
                pannier.advance_s(60);
            }
            assert!(tries < 50, "the task is lost");
        };
        assert_eq!(task.id, id);
        pannier.try_complete(&task).await.unwrap();
    }
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let pannier = pannier_with(|settings| settings.queue.claims_waiting_max = 2).await;
    let one = pannier.waiter(waiting(&[], 60)).await;
    let two = pannier.waiter(waiting(&[], 60)).await;
    let error = pannier.try_claim(waiting(&[], 60)).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::Overloaded);
    assert!(error.message().contains("queue.claims_waiting_max"));
    assert!(pannier.claim(&[], 1).await.is_empty(), "without a wait it goes on");
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    assert_eq!((one.await.unwrap().len(), two.await.unwrap().len()), (1, 1));
    pannier.waiter(waiting(&[], 60)).await;
}

#[tokio::test]
async fn those_who_wait_are_answered_at_the_stop() {
    let pannier: Pannier = pannier().await;
    let waiter = pannier.waiter(waiting(&[], 60)).await;
    let pannier = pannier.restart().await;
    assert!(waiter.await.unwrap().is_empty());
    pannier.enqueue(item("a")).await;
}
