//! The life of a task: enqueued, claimed, and what becomes of it.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind as Kind, TaskState};
use tonic::Code;

use super::calls::{
    claiming, completed, failed, item, numbered, numbers, outcome, released, seconds, settled, us,
};
use crate::harness::{START_US, assert_status, pannier};

#[tokio::test]
async fn a_task_is_enqueued_claimed_and_completed() {
    let pannier = pannier().await;
    let id = pannier.enqueue(numbered("scrape", 7)).await;
    let queued = pannier.task(id).await;
    assert_eq!((queued.state(), queued.priority, queued.token), (TaskState::Queued, 5, 0));
    assert_eq!((queued.queue.as_str(), queued.r#type.as_str()), ("default", "scrape"));
    assert_eq!(queued.parameters_json, r#"{"n":7}"#);
    assert_eq!((queued.max_retries, queued.worker_id, queued.claim_time), (3, 0, None));
    assert!((us(queued.create_time.as_ref()).unwrap() - START_US).abs() < 1_000);

    pannier.advance_s(5);
    let task = pannier.claim_one().await;
    assert_eq!((task.id, task.token, task.state()), (id, 1, TaskState::Claimed));
    assert_eq!(task.parameters_json, queued.parameters_json);
    assert_eq!(us(task.claim_time.as_ref()), Some(pannier.now_us()));
    assert_eq!(us(task.lease_expire_time.as_ref()), Some(pannier.now_us() + 60_000_000));
    assert!(pannier.claim(&[], 1).await.is_empty());

    pannier.advance_s(5);
    let result = pb::CompleteOutcome { result_json: r#"{"found":3}"#.into() };
    let done = pannier.tell(&task, pb::outcome::What::Complete(result)).await;
    assert_eq!((done.task_id, done.state()), (id, TaskState::Completed));
    let task = pannier.task(id).await;
    assert_eq!((task.state(), task.result_json.as_str()), (TaskState::Completed, r#"{"found":3}"#));
    assert_eq!(us(task.finish_time.as_ref()), Some(pannier.now_us()));
    assert_eq!((task.create_time, task.lease_expire_time), (queued.create_time, None));
    assert_eq!(pannier.log_of(id).await, [Kind::Enqueued, Kind::Claimed, Kind::Completed]);
}

#[tokio::test]
async fn tasks_go_first_in_first_out() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..5).map(|n| numbered("a", n)).collect()).await;
    pannier.enqueue(numbered("a", 5)).await;
    assert_eq!(numbers(&pannier.claim(&["a"], 2).await), [0, 1]);
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_claim_takes_only_the_types_it_asks_for_in_one_line() {
    let pannier = pannier().await;
    for n in 0..9 {
        pannier.enqueue(numbered(["a", "b", "c"][n % 3], n as i64)).await;
    }
    assert_eq!(numbers(&pannier.claim(&["b"], 1).await), [1]);
    assert_eq!(numbers(&pannier.claim(&["a", "c"], 3).await), [0, 2, 3]);
    assert!(pannier.claim(&["unknown"], 3).await.is_empty());
    assert_eq!(numbers(&pannier.claim(&["unknown", "b", "c"], 1).await), [4]);
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [5, 6, 7, 8]);
}

#[tokio::test]
async fn queues_are_apart() {
    let pannier = pannier().await;
    let mine = pannier.try_enqueue("mine", item("a")).await.unwrap().task_id;
    assert!(pannier.claim(&[], 1).await.is_empty());
    let claiming = pb::Claiming { queue: "mine".into(), ..claiming(&["a"], 1) };
    assert_eq!(pannier.try_claim(claiming).await.unwrap()[0].id, mine);
}

#[tokio::test]
async fn a_failed_attempt_is_retried_until_its_retries_are_used_up() {
    let pannier = pannier().await;
    let id = pannier.enqueue(pb::EnqueueItem { max_retries: Some(2), ..item("a") }).await;
    for attempt in 1..=2 {
        let task = pannier.claim_one().await;
        assert_eq!((task.token, task.failure_count), (attempt, i32::try_from(attempt).unwrap() - 1));
        let retried = pannier.tell(&task, failed(&format!("attempt {attempt}"))).await;
        assert_eq!(retried.state(), TaskState::Scheduled);
        // The backoff is 1 s, then 2 s, each a fifth more or less.
        let delay_us = us(retried.run_time.as_ref()).unwrap() - pannier.now_us();
        let exact_us = attempt * 1_000_000;
        assert!((delay_us - exact_us).abs() <= exact_us / 5, "{delay_us}");
        assert!(pannier.claim(&[], 1).await.is_empty(), "not before its time");
        pannier.advance_s(3);
    }
    let task = pannier.claim_one().await;
    assert_eq!(task.error, "attempt 2");
    assert_eq!(pannier.tell(&task, failed("the last")).await.state(), TaskState::Failed);
    let task = pannier.task(id).await;
    assert_eq!((task.failure_count, task.error.as_str()), (3, "the last"));
    let expected = [
        Kind::Enqueued,
        Kind::Claimed,
        Kind::Retried,
        Kind::Claimed,
        Kind::Retried,
        Kind::Claimed,
        Kind::Failed,
    ];
    assert_eq!(pannier.log_of(id).await, expected);
    let errors: Vec<String> = pannier.events(id).await.into_iter().map(|event| event.error).collect();
    assert_eq!(errors, ["", "", "attempt 1", "", "attempt 2", "", "the last"]);
}

#[tokio::test]
async fn a_final_failure_is_not_retried_and_a_delay_can_be_said() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a"), item("a")]).await;
    let tasks = pannier.claim(&[], 3).await;
    let fail = |is_final, delay: Option<i64>| {
        pb::outcome::What::Fail(pb::FailOutcome {
            error: "e".into(),
            r#final: is_final,
            retry_delay: delay.map(seconds),
        })
    };
    assert_eq!(pannier.tell(&tasks[0], fail(true, None)).await.state(), TaskState::Failed);
    let later = pannier.tell(&tasks[1], fail(false, Some(100))).await;
    assert_eq!(us(later.run_time.as_ref()), Some(pannier.now_us() + 100_000_000));
    assert_eq!(pannier.tell(&tasks[2], fail(false, Some(0))).await.state(), TaskState::Queued);
    let again = pannier.claim_one().await;
    assert_eq!((again.id, again.failure_count), (tasks[2].id, 1));
    pannier.try_complete(&again).await.unwrap();
    pannier.advance_s(100);
    assert_eq!(pannier.claim_one().await.id, tasks[1].id);
}

#[tokio::test]
async fn a_released_task_takes_its_old_place_and_keeps_its_retries() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..3).map(|n| numbered("a", n)).collect()).await;
    let first = pannier.claim_one().await;
    assert_eq!(pannier.tell(&first, released()).await.state(), TaskState::Queued);
    let again = pannier.claim(&[], 3).await;
    assert_eq!(numbers(&again), [0, 1, 2]);
    assert_eq!((again[0].token, again[0].failure_count), (2, 0));
    let log = pannier.log_of(first.id).await;
    assert_eq!(log, [Kind::Enqueued, Kind::Claimed, Kind::Released, Kind::Claimed]);
}

#[tokio::test]
async fn a_snoozed_task_comes_back_at_its_time_without_a_failure() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let snooze = pb::outcome::What::Snooze(pb::SnoozeOutcome { delay: Some(seconds(30)) });
    let put_off = pannier.tell(&task, snooze).await;
    assert_eq!(put_off.state(), TaskState::Scheduled);
    assert_eq!(us(put_off.run_time.as_ref()), Some(pannier.now_us() + 30_000_000));
    pannier.advance_s(29);
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.advance_s(1);
    let task = pannier.claim_one().await;
    assert_eq!((task.id, task.token, task.failure_count), (id, 2, 0));
}

#[tokio::test]
async fn a_task_runs_at_its_time_and_not_before() {
    let pannier = pannier().await;
    let run_us = pannier.now_us() + 60_000_000;
    let run_time = prost_types::Timestamp { seconds: run_us / 1_000_000, nanos: 0 };
    let at = pb::EnqueueItem { when: Some(pb::enqueue_item::When::RunTime(run_time)), ..numbered("a", 1) };
    let after =
        pb::EnqueueItem { when: Some(pb::enqueue_item::When::Delay(seconds(90))), ..numbered("a", 2) };
    let past = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let past = pb::EnqueueItem { when: Some(pb::enqueue_item::When::RunTime(past)), ..numbered("a", 3) };
    let ids = pannier.enqueue_all(vec![at, after, past]).await;
    assert_eq!(pannier.state_of(ids[0]).await, TaskState::Scheduled);
    for (after_s, expected) in [(0, Some(3)), (59, None), (1, Some(1)), (29, None), (1, Some(2))] {
        pannier.advance_s(after_s);
        let tasks = pannier.claim(&[], 3).await;
        assert_eq!(numbers(&tasks), Vec::from_iter(expected));
        for task in tasks {
            pannier.try_complete(&task).await.unwrap();
        }
    }
}

#[tokio::test]
async fn started_tasks_run_and_a_claim_can_start_them() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let task = pannier.claim_one().await;
    let start = || pb::outcome::What::Start(pb::StartOutcome {});
    assert_eq!(pannier.tell(&task, start()).await.state(), TaskState::Running);
    assert_eq!(pannier.tell(&task, start()).await.state(), TaskState::Running);
    let log = pannier.log_of(task.id).await;
    assert_eq!(log, [Kind::Enqueued, Kind::Claimed, Kind::Started]);
    assert_eq!(pannier.tell(&task, completed()).await.state(), TaskState::Completed);
    let started = pannier.try_claim(pb::Claiming { start: true, ..claiming(&[], 1) }).await.unwrap();
    assert_eq!(started[0].state(), TaskState::Running);
}

#[tokio::test]
async fn outcomes_of_all_kinds_are_mixed_in_one_call() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..5).map(|n| numbered("a", n)).collect()).await;
    let tasks = pannier.claim(&[], 5).await;
    let stranger = pb::Outcome { task_id: 999_999, token: 1, what: Some(completed()) };
    let stale = pb::Outcome { token: 7, ..outcome(&tasks[4], completed()) };
    let snooze = pb::outcome::What::Snooze(pb::SnoozeOutcome { delay: Some(seconds(1)) });
    let outcomes = vec![
        outcome(&tasks[0], completed()),
        outcome(&tasks[1], failed("e")),
        stranger,
        outcome(&tasks[2], released()),
        stale,
        outcome(&tasks[3], snooze),
        // The same claim cannot end twice.
        outcome(&tasks[0], completed()),
    ];
    let results = pannier.settle_all(outcomes).await;
    let found: Vec<Result<TaskState, (i32, ErrorReason)>> = results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            pb::outcome_result::Result::Settled(settled) => Ok(settled.state()),
            pb::outcome_result::Result::Error(error) => Err((error.code, error.reason())),
        })
        .collect();
    let lost = Err((Code::Aborted as i32, ErrorReason::LeaseLost));
    let expected = [
        Ok(TaskState::Completed),
        Ok(TaskState::Scheduled),
        Err((Code::NotFound as i32, ErrorReason::TaskNotFound)),
        Ok(TaskState::Queued),
        lost,
        Ok(TaskState::Scheduled),
        lost,
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_exchange_reports_and_claims_in_one_call() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..4).map(|n| numbered("a", n)).collect()).await;
    let first = pannier.claim(&[], 2).await;
    let request = pb::ExchangeRequest {
        outcomes: vec![outcome(&first[0], completed()), outcome(&first[1], released())],
        claiming: Some(claiming(&[], 2)),
        ..Default::default()
    };
    let answer = pannier.queue().exchange(request).await.unwrap().into_inner();
    assert!(answer.results.iter().all(|result| settled(result).is_ok()));
    // What was released in the same call is there again.
    assert_eq!(numbers(&answer.tasks), [1, 2]);
}

#[tokio::test]
async fn a_single_outcome_that_is_refused_is_an_error() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let stale = pb::Task { token: 0, ..task.clone() };
    assert_status(&pannier.try_complete(&stale).await.unwrap_err(), Code::Aborted, ErrorReason::LeaseLost);
    let unknown = pb::Task { id: 12_345, ..task.clone() };
    let error = pannier.try_complete(&unknown).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    pannier.try_complete(&task).await.unwrap();
    assert_status(&pannier.try_complete(&task).await.unwrap_err(), Code::Aborted, ErrorReason::LeaseLost);
}
