//! Limits per key: how many may be held at once, and how many claimed in a time.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{claiming, completed, failed, item, numbered, numbers, outcome, released, seconds};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

pub fn keyed(kind: &str, key: &str, number: i64) -> pb::EnqueueItem {
    pb::EnqueueItem { limit_key: key.into(), ..numbered(kind, number) }
}

pub fn at_once(held_max: i32) -> pb::KeyLimits {
    pb::KeyLimits { held_max, ..Default::default() }
}

fn in_a_minute(claims_max: i32) -> pb::KeyLimits {
    pb::KeyLimits { claims_max, claims_period: Some(seconds(60)), ..Default::default() }
}

pub async fn limit_all(pannier: &Pannier, limits: pb::KeyLimits) {
    let queue = pb::Queue { key_limits: Some(limits), ..Default::default() };
    pannier.update_queue(queue, &["key_limits"]).await;
}

async fn limit(pannier: &Pannier, key: &str, limits: Option<pb::KeyLimits>) -> pb::Key {
    let key = pb::Key { name: key.into(), limits, ..Default::default() };
    let request = pb::UpdateKeyRequest { key: Some(key), ..Default::default() };
    pannier.queue().update_key(request).await.unwrap().into_inner().key.unwrap()
}

pub async fn keys(pannier: &Pannier) -> Vec<pb::Key> {
    pannier.queue().list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner().keys
}

#[tokio::test]
async fn no_more_of_a_key_are_held_than_may() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(2)).await;
    pannier.enqueue_all((0..5).map(|number| keyed("a", "k", number)).collect()).await;
    pannier.enqueue(keyed("a", "other", 10)).await;
    pannier.enqueue(numbered("a", 20)).await;
    let mut held = pannier.claim(&[], 10).await;
    assert_eq!(numbers(&held), [0, 1, 10, 20]);
    assert_eq!(held[0].limit_key, "k");
    let expected = [("k", 2), ("other", 1)];
    let found: Vec<(String, i64)> =
        keys(&pannier).await.into_iter().map(|key| (key.name, key.held_count)).collect();
    assert_eq!(found, expected.map(|(name, count)| (name.to_owned(), count)));
    // Each way in which a claim can end makes room for one.
    let ends = [completed(), failed("e"), released()];
    for (what, next) in ends.into_iter().zip([2, 3, 2]) {
        let task = held.remove(0);
        pannier.tell(&task, what).await;
        let claimed = pannier.claim(&[], 10).await;
        assert_eq!(numbers(&claimed), [next], "what is released goes before what came after it");
        held.insert(1, claimed[0].clone());
    }
}

#[tokio::test]
async fn a_cancelled_or_lost_task_makes_room() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(1)).await;
    let ids = pannier.enqueue_all((0..4).map(|number| keyed("a", "k", number)).collect()).await;
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [0]);
    assert_eq!(pannier.state_of(ids[1]).await, TaskState::Blocked);
    pannier.cancel(ids[1]).await;
    pannier.advance_s(60);
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [0], "it has its old place");
    let worker = pannier.worker("w").await;
    pannier.advance_s(13);
    assert!(pannier.claim_for(worker).await.is_none());
    pannier.beat(worker).await;
    pannier.advance_s(47);
    pannier.enqueue(keyed("a", "k", 9)).await;
    let again = pannier.claim(&[], 10).await;
    assert_eq!(numbers(&again), [2], "what is lost again backs off, and nobody holds one of the key twice");
}

#[tokio::test]
async fn blocked_tasks_do_not_stand_in_the_way_of_others() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(1)).await;
    pannier.enqueue_all((0..3_000).map(|number| keyed("a", "busy", number)).collect()).await;
    pannier.enqueue_all((0..5).map(|number| keyed("a", &format!("k{number}"), number)).collect()).await;
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [0, 0, 1, 2, 3, 4]);
    let blocked = pannier.queue_stats().await[0].counts.clone();
    let blocked = blocked.iter().find(|count| count.state() == TaskState::Blocked).unwrap().count;
    assert_eq!(blocked, 2_999);
}

#[tokio::test]
async fn limits_that_come_late_block_what_is_queued_already() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..2_500).map(|number| keyed("a", "k", number)).collect()).await;
    pannier.enqueue(numbered("a", 9_999)).await;
    limit(&pannier, "k", Some(at_once(1))).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(numbers(&pannier.claim(&[], 2).await));
    }
    assert_eq!(found, [0, 9_999]);
    // And back again.
    let key = limit(&pannier, "k", None).await;
    assert_eq!((key.limits, key.held_count), (None, 1));
    let mut found = Vec::new();
    while found.len() < 2_499 {
        let tasks = pannier.claim(&[], 1_000).await;
        assert!(!tasks.is_empty(), "after {}", found.len());
        found.extend(numbers(&tasks));
    }
    found.sort_unstable();
    assert_eq!(found, (1..2_500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_key_counts_over_all_types_and_blocks_none_whose_turn_it_could_be() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(1)).await;
    // Nobody ever claims type a.
    pannier.enqueue_all((0..10).map(|number| keyed("a", "k", number)).collect()).await;
    pannier.enqueue_all((10..13).map(|number| keyed("b", "k", number)).collect()).await;
    for number in 10..13 {
        let tasks = pannier.claim(&["b"], 10).await;
        assert_eq!(numbers(&tasks), [number]);
        assert!(pannier.claim(&["a"], 10).await.is_empty());
        pannier.try_complete(&tasks[0]).await.unwrap();
    }
    assert_eq!(numbers(&pannier.claim(&["a"], 10).await), [0]);
}

#[tokio::test]
async fn an_urgent_task_of_a_key_goes_before_those_that_wait() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(1)).await;
    pannier.enqueue_all((0..5).map(|number| keyed("a", "k", number)).collect()).await;
    pannier.enqueue(pb::EnqueueItem { priority: 10, ..keyed("a", "k", 99) }).await;
    let first = pannier.claim(&[], 10).await;
    assert_eq!(numbers(&first), [99]);
    pannier.enqueue(pb::EnqueueItem { priority: 9, ..keyed("a", "k", 98) }).await;
    pannier.try_complete(&first[0]).await.unwrap();
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [98]);
}

#[tokio::test]
async fn claims_of_a_key_are_limited_in_a_time() {
    let pannier = pannier().await;
    limit_all(&pannier, in_a_minute(6)).await;
    pannier.enqueue_all((0..20).map(|number| keyed("a", "k", number)).collect()).await;
    // A burst, then one each ten seconds; whether tasks end or not.
    let held = pannier.claim(&[], 20).await;
    assert_eq!(numbers(&held), [0, 1, 2, 3, 4, 5]);
    pannier.try_complete(&held[0]).await.unwrap();
    assert!(pannier.claim(&[], 20).await.is_empty());
    for number in 6..9 {
        pannier.advance_s(9);
        assert!(pannier.claim(&[], 20).await.is_empty());
        pannier.advance_s(1);
        let tasks = pannier.claim(&[], 20).await;
        assert_eq!(numbers(&tasks), [number]);
        pannier.try_complete(&tasks[0]).await.unwrap();
    }
    pannier.advance_s(25);
    assert_eq!(numbers(&pannier.claim(&["a"], 20).await), [9, 10]);
}

#[tokio::test]
async fn one_who_waits_is_woken_when_the_rate_allows() {
    let pannier = pannier().await;
    limit_all(&pannier, in_a_minute(1)).await;
    let ids = pannier.enqueue_all(vec![keyed("a", "k", 0), keyed("a", "k", 1)]).await;
    assert_eq!(pannier.claim_one().await.id, ids[0]);
    let wait = pb::Claiming { wait: Some(seconds(60)), ..claiming(&[], 1) };
    pannier.advance_s(30);
    let waiter = pannier.waiter(wait).await;
    pannier.advance_s(30);
    let tasks = waiter.await.unwrap();
    assert!(tasks[0].id == ids[1] || tasks[0].id == ids[0], "the first one's lease has ended as well");
}

#[tokio::test]
async fn limits_survive_a_restart() {
    let mut pannier = pannier().await;
    pannier.enqueue(item("b")).await;
    limit(&pannier, "k", Some(at_once(1))).await;
    pannier.claim(&["b"], 1).await;
    pannier.enqueue_all((0..3).map(|number| keyed("a", "k", number)).collect()).await;
    let held = pannier.claim(&[], 10).await;
    assert_eq!(numbers(&held), [0]);
    pannier = pannier.restart().await;
    assert!(pannier.claim(&[], 10).await.is_empty());
    pannier.try_complete(&held[0]).await.unwrap();
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [1]);
}

#[tokio::test]
async fn no_more_keys_are_made_than_may_and_unused_ones_are_forgotten() {
    let pannier = pannier_with(|settings| {
        settings.queue.keys_max = 2;
        settings.queue.retention_ms = 1_000;
    })
    .await;
    limit_all(&pannier, at_once(5)).await;
    limit(&pannier, "mine", Some(at_once(5))).await;
    let id = pannier.enqueue(keyed("a", "k", 0)).await;
    let error = pannier.try_enqueue("", keyed("a", "l", 0)).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::TooManyKeys);
    let request = pb::BatchEnqueueRequest {
        items: vec![item("a"), keyed("a", "l", 0), keyed("a", "k", 1)],
        ..Default::default()
    };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    let is_error = |result: &pb::BatchEnqueueResult| {
        matches!(result.outcome, Some(pb::batch_enqueue_result::Outcome::Error(_)))
    };
    assert_eq!(results.iter().map(is_error).collect::<Vec<_>>(), [false, true, false]);
    for task in pannier.claim(&[], 10).await {
        pannier.try_complete(&task).await.unwrap();
    }
    assert_eq!(pannier.task(id).await.limit_key, "k");
    pannier.sweep_until(|pannier| async move { keys(pannier).await.len() == 1 }).await;
    pannier.enqueue(keyed("a", "l", 0)).await;
}

#[tokio::test]
async fn an_exchange_finds_the_room_that_its_own_outcome_makes() {
    let pannier = pannier().await;
    limit_all(&pannier, at_once(1)).await;
    pannier.enqueue_all((0..3).map(|number| keyed("a", "k", number)).collect()).await;
    let mut task = pannier.claim_one().await;
    for next in [1, 2] {
        let request = pb::ExchangeRequest {
            outcomes: vec![outcome(&task, completed())],
            claiming: Some(claiming(&[], 10)),
            ..Default::default()
        };
        let answer = pannier.queue().exchange(request).await.unwrap().into_inner();
        assert_eq!(numbers(&answer.tasks), [next]);
        task = answer.tasks[0].clone();
    }
}
