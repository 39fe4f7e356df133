//! Leases and fencing: who holds a task, until when, and whose outcome counts.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind as Kind, TaskState};
use tonic::Code;

use super::calls::{claiming, failed, item, outcome, released, seconds, us};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with};

const HOUR_US: i64 = 3_600_000_000;
const YEAR_US: i64 = 365 * 24 * HOUR_US;

fn leased(lease_s: i64) -> pb::Claiming {
    pb::Claiming { lease: Some(seconds(lease_s)), ..claiming(&[], 1) }
}

async fn claim_for_s(pannier: &Pannier, lease_s: i64) -> pb::Task {
    pannier.try_claim(leased(lease_s)).await.unwrap().pop().expect("a task")
}

fn extend(lease_s: i64) -> pb::outcome::What {
    pb::outcome::What::Extend(pb::ExtendOutcome { lease: Some(seconds(lease_s)) })
}

/// Every kind of outcome is refused, and nothing changes.
async fn assert_lost(pannier: &Pannier, task: &pb::Task) {
    let before = pannier.task(task.id).await;
    let snooze = pb::SnoozeOutcome { delay: Some(seconds(1)) };
    let kinds = vec![
        outcome(task, pb::outcome::What::Start(pb::StartOutcome {})),
        outcome(task, extend(60)),
        outcome(task, pb::outcome::What::Complete(pb::CompleteOutcome { result_json: "1".into() })),
        outcome(task, failed("late")),
        outcome(task, released()),
        outcome(task, pb::outcome::What::Snooze(snooze)),
    ];
    for result in pannier.settle_all(kinds).await {
        match result.result {
            Some(pb::outcome_result::Result::Error(error)) => {
                assert_eq!((error.code, error.reason()), (Code::Aborted as i32, ErrorReason::LeaseLost));
            }
            other => panic!("a stale token was accepted: {other:?}"),
        }
    }
    assert_eq!(pannier.task(task.id).await, before);
}

#[tokio::test]
async fn a_lease_that_has_expired_returns_its_task_and_its_token_is_stale() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let first = claim_for_s(&pannier, 10).await;
    pannier.advance_s(9);
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.advance_s(1);
    assert_lost(&pannier, &first).await;
    let second = claim_for_s(&pannier, 10).await;
    assert_eq!((second.id, second.token, second.failure_count), (id, 2, 0));
    assert_lost(&pannier, &first).await;
    pannier.try_complete(&second).await.unwrap();
    assert_lost(&pannier, &first).await;
    assert_lost(&pannier, &second).await;
    let expected = [Kind::Enqueued, Kind::Claimed, Kind::LeaseExpired, Kind::Claimed, Kind::Completed];
    assert_eq!(pannier.log_of(id).await, expected);
}

#[tokio::test]
async fn an_extended_lease_lasts() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = claim_for_s(&pannier, 10).await;
    for _ in 0..10 {
        pannier.advance_s(9);
        let extended = pannier.tell(&task, extend(10)).await;
        assert_eq!(us(extended.lease_expire_time.as_ref()), Some(pannier.now_us() + 10_000_000));
        assert!(!extended.cancel_requested);
    }
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.try_complete(&task).await.unwrap();
}

#[tokio::test]
async fn an_attempt_ends_with_its_timeout_whatever_is_extended_and_has_failed() {
    let pannier = pannier().await;
    let id = pannier.enqueue(pb::EnqueueItem { timeout: Some(seconds(15)), ..item("a") }).await;
    let task = claim_for_s(&pannier, 10).await;
    pannier.advance_s(9);
    let extended = pannier.tell(&task, extend(60)).await;
    assert_eq!(us(extended.lease_expire_time.as_ref()), Some(START_US + 15_000_000));
    pannier.advance_s(6);
    assert_lost(&pannier, &task).await;
    let after = pannier.task(id).await;
    assert_eq!((after.state(), after.failure_count), (TaskState::Scheduled, 1));
    assert!(after.error.contains("15 s"), "{}", after.error);
}

#[tokio::test]
async fn the_queues_timeout_holds_for_tasks_without_their_own() {
    let pannier = pannier().await;
    let queue = pb::Queue { timeout: Some(seconds(5)), max_retries: 0, ..Default::default() };
    pannier.update_queue(queue, &["timeout", "max_retries"]).await;
    let id = pannier.enqueue(item("a")).await;
    let task = claim_for_s(&pannier, 60).await;
    assert_eq!(task.timeout, Some(seconds(5)));
    assert_eq!(us(task.lease_expire_time.as_ref()), Some(START_US + 5_000_000));
    pannier.advance_s(5);
    assert_eq!(pannier.state_of(id).await, TaskState::Failed);
}

#[tokio::test]
async fn a_task_that_is_lost_too_often_is_given_up() {
    let pannier = pannier_with(|settings| settings.queue.losses_max = 3).await;
    let id = pannier.enqueue(item("a")).await;
    for token in 1..=4 {
        // From the second loss on it waits for the queue's backoff.
        let expected = if token <= 2 { TaskState::Queued } else { TaskState::Scheduled };
        assert_eq!(pannier.state_of(id).await, expected);
        pannier.advance_s(if token <= 2 { 0 } else { 3 });
        assert_eq!(claim_for_s(&pannier, 1).await.token, token);
        pannier.advance_s(1);
    }
    let task = pannier.task(id).await;
    assert_eq!((task.state(), task.failure_count), (TaskState::Failed, 0));
    assert!(task.error.contains("4 times"), "{}", task.error);
    let log = pannier.log_of(id).await;
    assert_eq!(log[log.len() - 2..], [Kind::LeaseExpired, Kind::Failed]);
}

#[tokio::test]
async fn setting_the_clock_neither_ends_a_lease_nor_keeps_it() {
    for jump_us in [HOUR_US, -HOUR_US, YEAR_US, -YEAR_US] {
        let pannier = pannier().await;
        pannier.enqueue_all(vec![item("a"), item("a"), item("a")]).await;
        let worker = pannier.worker("w").await;
        let (mine, leased) = (pannier.claim_for(worker).await.unwrap(), claim_for_s(&pannier, 10).await);
        pannier.clock.set(START_US + jump_us);
        let others = pannier.claim(&[], 5).await;
        assert_eq!(others.len(), 1, "only what nobody held, after a jump of {jump_us} us");
        assert_eq!(pannier.beat(worker).await.lost_task_ids, [0; 0]);
        pannier.advance_s(9);
        assert!(pannier.claim(&[], 5).await.is_empty());
        pannier.advance_s(1);
        assert_eq!(pannier.claim_one().await.id, leased.id, "at its time");
        pannier.beat(worker).await;
        pannier.try_complete(&mine).await.unwrap();
        // The wall clock is corrected: tasks that came meanwhile stand behind those that were there before.
        let second = pannier.enqueue(item("b")).await;
        pannier.clock.set(pannier.now_us());
        let third = pannier.enqueue(item("b")).await;
        let order: Vec<i64> = pannier.claim(&["b"], 5).await.iter().map(|task| task.id).collect();
        assert_eq!(order, [second, third]);
    }
}

#[tokio::test]
async fn retries_wait_their_time_though_the_clock_is_set_back() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    pannier.tell(&task, failed("e")).await;
    pannier.clock.set(START_US - YEAR_US);
    pannier.advance_s(2);
    assert_eq!(pannier.claim_one().await.token, 2);
}

#[tokio::test]
async fn a_run_time_follows_the_wall_clock() {
    let pannier = pannier().await;
    let run_time = prost_types::Timestamp { seconds: (START_US + YEAR_US) / 1_000_000, nanos: 0 };
    pannier
        .enqueue(pb::EnqueueItem { when: Some(pb::enqueue_item::When::RunTime(run_time)), ..item("a") })
        .await;
    pannier.clock.set(START_US + YEAR_US - 1);
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.clock.set(START_US + YEAR_US);
    assert_eq!(pannier.claim(&[], 1).await.len(), 1);
}

#[tokio::test]
async fn leases_survive_a_restart_and_end_afterwards() {
    let mut pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = claim_for_s(&pannier, 60).await;
    pannier = pannier.restart().await;
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.advance_s(58);
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.advance_s(1);
    assert_eq!(pannier.claim_one().await.token, 2);
    assert_lost(&pannier, &task).await;
}

#[tokio::test]
async fn after_a_restart_at_another_time_holders_can_report_and_nothing_is_held_for_ever() {
    for jump_us in [HOUR_US, -HOUR_US, YEAR_US, -YEAR_US] {
        let mut pannier = pannier().await;
        pannier.enqueue_all(vec![item("a"), item("a"), item("a")]).await;
        let (one, two) = (claim_for_s(&pannier, 60).await, claim_for_s(&pannier, 60).await);
        let worker = pannier.worker("w").await;
        let three = pannier.claim_for(worker).await.unwrap();
        pannier = pannier.restart_at(START_US + jump_us).await;
        assert!(pannier.claim(&[], 5).await.is_empty(), "after a jump of {jump_us} us");
        pannier.try_complete(&one).await.unwrap();
        pannier.beat(worker).await;
        pannier.advance_s(61);
        let mut ids: Vec<i64> = pannier.claim(&[], 5).await.iter().map(|task| task.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [two.id, three.id], "after a jump of {jump_us} us");
    }
}

#[tokio::test]
async fn a_token_only_grows_over_retries_by_hand() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let mut last = 0;
    for _ in 0..5 {
        let task = pannier.claim_one().await;
        assert!(task.token > last);
        last = task.token;
        let fail = pb::FailOutcome { r#final: true, ..Default::default() };
        pannier.tell(&task, pb::outcome::What::Fail(fail)).await;
        let request = pb::RetryRequest { task_ids: vec![id], ..Default::default() };
        pannier.queue().retry(request).await.unwrap();
        assert_lost(&pannier, &task).await;
    }
}

#[tokio::test]
async fn a_lease_of_nobody_is_refused() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let never_claimed = pb::Task { token: 0, ..pannier.list(TaskState::Queued).await.remove(0) };
    let error = pannier.try_complete(&never_claimed).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
async fn a_task_that_is_lost_again_backs_off_and_the_next_in_line_comes_first() {
    let rules =
        pb::Queue { backoff: Some(seconds(100)), backoff_max: Some(seconds(150)), ..Default::default() };
    let pannier = pannier().await;
    pannier.update_queue(rules, &["backoff", "backoff_max"]).await;
    let id = pannier.enqueue(item("a")).await;
    claim_for_s(&pannier, 1).await;
    pannier.advance_s(1);
    let other = pannier.enqueue(item("a")).await;
    assert_eq!(claim_for_s(&pannier, 1).await.id, id, "once: at once, in its old place");
    pannier.advance_s(1);
    let lost = pannier.task(id).await;
    let delay_us = us(lost.run_time.as_ref()).unwrap() - pannier.now_us();
    assert_eq!(lost.state(), TaskState::Scheduled);
    assert!((80_000_000..=120_000_000).contains(&delay_us), "{delay_us}");
    assert_eq!(claim_for_s(&pannier, 1_000).await.id, other);
    pannier.advance_s(120);
    assert_eq!(claim_for_s(&pannier, 1).await.id, id);
    pannier.advance_s(1);
    let delay_us = us(pannier.task(id).await.run_time.as_ref()).unwrap() - pannier.now_us();
    assert!((120_000_000..=180_000_000).contains(&delay_us), "twice as long, up to the longest: {delay_us}");
}

#[tokio::test]
async fn a_retry_by_hand_forgets_the_losses() {
    let pannier = pannier_with(|settings| settings.queue.losses_max = 1).await;
    let id = pannier.enqueue(item("a")).await;
    for _ in 0..2 {
        claim_for_s(&pannier, 1).await;
        pannier.advance_s(1);
    }
    assert_eq!(pannier.state_of(id).await, TaskState::Failed);
    let request = pb::RetryRequest { task_ids: vec![id], ..Default::default() };
    pannier.queue().retry(request).await.unwrap();
    claim_for_s(&pannier, 1).await;
    pannier.advance_s(1);
    assert_eq!(pannier.state_of(id).await, TaskState::Queued, "one loss is allowed again");
    let log = pannier.log_of(id).await;
    let lost = log.iter().filter(|kind| **kind == Kind::LeaseExpired).count();
    assert_eq!(lost, 3, "none is dropped: {log:?}");
}

#[tokio::test]
async fn equal_events_in_a_row_are_one_with_a_count() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    for _ in 0..300 {
        let task = pannier.claim_one().await;
        let start = pb::outcome::What::Start(pb::StartOutcome {});
        pannier.settle_all(vec![outcome(&task, start), outcome(&task, released())]).await;
        pannier.advance_s(1);
    }
    assert_eq!(pannier.row_count("queue_task_logs").await, 1);
    let events = pannier.events(id).await;
    let kinds: Vec<_> = events.iter().map(|event| (event.kind(), event.count)).collect();
    let expected = [(Kind::Enqueued, 1), (Kind::Claimed, 300), (Kind::Started, 300), (Kind::Released, 300)];
    assert_eq!(kinds, expected);
    for event in &events[1..] {
        assert_eq!((event.first_token, event.token), (1, 300));
        assert_eq!(us(event.first_time.as_ref()), Some(START_US));
        assert_eq!(us(event.time.as_ref()), Some(START_US + 299_000_000));
    }
    // Another end, another error, or one between them, is an event of its own.
    for what in [failed("x"), failed("x"), failed("y")] {
        let task = pannier.claim_one().await;
        pannier.tell(&task, what).await;
        pannier.advance_s(60);
    }
    let log: Vec<_> = pannier.events(id).await[4..].iter().map(|event| (event.kind(), event.count)).collect();
    let expected = [(Kind::Claimed, 2), (Kind::Retried, 2), (Kind::Claimed, 1), (Kind::Retried, 1)];
    assert_eq!(log, expected);
}
