//! Workers: beats, death, leave, and what each is told.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind as Kind, TaskState};
use prost_types::Timestamp;
use tonic::Code;

use super::calls::{claiming, completed, item, outcome, released, seconds, us};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

/// A beat with what a worker holds, as far as it knows since the beat before.
async fn beat_with(
    pannier: &Pannier,
    worker_id: i64,
    tasks: &[&pb::Task],
    heartbeat_time: Option<Timestamp>,
) -> pb::HeartbeatResponse {
    let tasks = tasks.iter().map(|task| pb::HeldTask { task_id: task.id, token: task.token }).collect();
    let request = pb::HeartbeatRequest { worker_id, held: Some(pb::HeldTasks { tasks, heartbeat_time }) };
    pannier.queue().heartbeat(request).await.unwrap().into_inner()
}

async fn workers(pannier: &Pannier, include_ended: bool) -> Vec<pb::Worker> {
    let request = pb::ListWorkersRequest { include_ended, ..Default::default() };
    pannier.queue().list_workers(request).await.unwrap().into_inner().workers
}

#[tokio::test]
async fn a_registered_worker_is_told_how_often_to_beat() {
    let pannier = pannier().await;
    let request = pb::RegisterWorkerRequest {
        name: "host-1/4711".into(),
        metadata_json: r#"{"version":2}"#.into(),
        ..Default::default()
    };
    let answer = pannier.queue().register_worker(request).await.unwrap().into_inner();
    assert_eq!(answer.timeout, Some(seconds(14)));
    assert_eq!(answer.heartbeat_interval.unwrap().seconds, 4);
    let worker = answer.worker.unwrap();
    assert_eq!((worker.name.as_str(), worker.metadata_json.as_str()), ("host-1/4711", r#"{"version":2}"#));
    assert_eq!(workers(&pannier, false).await, [worker]);
}

#[tokio::test]
async fn a_slow_task_of_a_worker_that_beats_is_not_taken_away() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let worker = pannier.worker("w").await;
    let task = pannier.claim_for(worker).await.unwrap();
    assert_eq!((task.worker_id, task.lease_expire_time), (worker, None));
    for _ in 0..360 {
        pannier.advance_s(10);
        pannier.beat(worker).await;
    }
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.try_complete(&task).await.unwrap();
}

#[tokio::test]
async fn the_tasks_of_a_dead_worker_are_back_within_15_seconds_of_its_last_beat() {
    let pannier = pannier().await;
    let ids = pannier.enqueue_all(vec![item("a"), item("a"), item("a")]).await;
    let (dead, alive) = (pannier.worker("dead").await, pannier.worker("alive").await);
    let lost = pannier.claim_for(dead).await.unwrap();
    let kept = pannier.claim_for(alive).await.unwrap();
    pannier.advance_s(13);
    pannier.beat(alive).await;
    assert_eq!(pannier.claim(&[], 1).await[0].id, ids[2], "what nobody held");
    pannier.advance_s(1);
    let again = pannier.claim_one().await;
    assert_eq!((again.id, again.token, again.failure_count), (lost.id, 2, 0));
    let error = pannier.try_complete(&lost).await.unwrap_err();
    assert_status(&error, Code::Aborted, ErrorReason::LeaseLost);
    pannier.try_complete(&kept).await.unwrap();
    let log = pannier.log_of(lost.id).await;
    assert_eq!(log, [Kind::Enqueued, Kind::Claimed, Kind::WorkerDied, Kind::Claimed]);
    assert_eq!(pannier.events(lost.id).await[2].worker_id, dead);

    let error = pannier.try_beat(dead).await.unwrap_err();
    assert_status(&error, Code::FailedPrecondition, ErrorReason::WorkerLost);
    let claim = pb::Claiming { worker_id: dead, ..claiming(&[], 1) };
    let error = pannier.try_claim(claim).await.unwrap_err();
    assert_status(&error, Code::FailedPrecondition, ErrorReason::WorkerLost);
    let names = |workers: Vec<pb::Worker>| workers.into_iter().map(|worker| worker.name).collect::<Vec<_>>();
    assert_eq!(names(workers(&pannier, false).await), ["alive"]);
    assert_eq!(names(workers(&pannier, true).await), ["alive", "dead"]);
}

#[tokio::test]
async fn one_who_waits_gets_a_dead_workers_task_without_anybody_asking() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let worker = pannier.worker("w").await;
    pannier.claim_for(worker).await.unwrap();
    let wait = pb::Claiming { wait: Some(seconds(60)), ..claiming(&[], 1) };
    let waiter = pannier.waiter(wait).await;
    pannier.advance_s(14);
    assert_eq!(waiter.await.unwrap()[0].id, id);
}

#[tokio::test]
async fn a_worker_is_told_with_its_beat_what_to_stop() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let worker = pannier.worker("w").await;
    let (one, two) = (pannier.claim_for(worker).await.unwrap(), pannier.claim_for(worker).await.unwrap());
    let answer = pannier.cancel(one.id).await;
    assert_eq!(answer.result, Some(pb::task_result::Result::State(TaskState::Claimed.into())));
    assert_eq!(pannier.beat(worker).await.cancel_task_ids, [one.id]);
    let told = beat_with(&pannier, worker, &[&one, &two], None).await;
    assert_eq!((told.cancel_task_ids, told.lost_task_ids), (vec![one.id], vec![]));
}

#[tokio::test]
async fn what_a_worker_does_not_know_of_is_queued_again() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let worker = pannier.worker("w").await;
    let known = pannier.claim_for(worker).await.unwrap();
    let unknown = pannier.claim_for(worker).await.unwrap();
    pannier.advance_s(1);
    let first = pannier.beat(worker).await.heartbeat_time;
    pannier.advance_s(4);
    let second = pannier.beat(worker).await.heartbeat_time;
    // The answer to the claim may still be on its way, as far as these tell; one is from a clock that runs ahead.
    let ahead = Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let early = Timestamp { seconds: 1, nanos: 0 };
    for heartbeat_time in [None, Some(early)] {
        beat_with(&pannier, worker, &[&known], heartbeat_time).await;
        assert_eq!(pannier.state_of(unknown.id).await, TaskState::Claimed);
    }
    assert_eq!(us(first.as_ref()).unwrap() + 4_000_000, us(second.as_ref()).unwrap());
    let late = pannier.claim_for(worker).await;
    assert!(late.is_none());
    beat_with(&pannier, worker, &[&known], second).await;
    assert_eq!(pannier.state_of(unknown.id).await, TaskState::Queued);
    let again = pannier.claim_for(worker).await.unwrap();
    assert_eq!(again.id, unknown.id);
    // However often the beat is repeated, and whatever it says, it does not know of this claim.
    for heartbeat_time in [second, second, Some(ahead)] {
        beat_with(&pannier, worker, &[&known], heartbeat_time).await;
        assert_eq!(pannier.state_of(unknown.id).await, TaskState::Claimed);
    }
    pannier.try_complete(&again).await.unwrap();
    assert_eq!(pannier.state_of(known.id).await, TaskState::Claimed);
    let log = pannier.log_of(unknown.id).await;
    assert_eq!(log[..3], [Kind::Enqueued, Kind::Claimed, Kind::Forgotten]);
    let told = beat_with(&pannier, worker, &[&known, &unknown], None).await;
    assert_eq!(told.lost_task_ids, [unknown.id]);
}

#[tokio::test]
async fn a_worker_that_takes_its_leave_gives_back_what_it_holds() {
    let pannier = pannier().await;
    pannier.enqueue_all((0..3).map(|_| item("a")).collect()).await;
    let worker = pannier.worker("w").await;
    let tasks: Vec<pb::Task> =
        vec![pannier.claim_for(worker).await.unwrap(), pannier.claim_for(worker).await.unwrap()];
    let listed = workers(&pannier, false).await.remove(0);
    assert_eq!(listed.task_ids, tasks.iter().map(|task| task.id).collect::<Vec<_>>());
    let leave = || pb::UnregisterWorkerRequest { worker_id: worker, ..Default::default() };
    let answer = pannier.queue().unregister_worker(leave()).await.unwrap().into_inner();
    assert_eq!((answer.unregistered, answer.released_count), (true, 2));
    let again = pannier.claim(&[], 5).await;
    assert_eq!(again.iter().map(|task| task.token).collect::<Vec<_>>(), [2, 2, 1]);
    let answer = pannier.queue().unregister_worker(leave()).await.unwrap().into_inner();
    assert_eq!((answer.unregistered, answer.released_count), (false, 0));
    let ended = workers(&pannier, true).await.remove(0);
    assert_eq!(us(ended.end_time.as_ref()), Some(pannier.now_us()));
}

#[tokio::test]
async fn a_worker_that_beats_again_after_a_restart_has_kept_its_tasks() {
    let mut pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let (back, gone) = (pannier.worker("back").await, pannier.worker("gone").await);
    let kept = pannier.claim_for(back).await.unwrap();
    let lost = pannier.claim_for(gone).await.unwrap();
    let later_us = pannier.now_us() + 3_600_000_000;
    pannier = pannier.restart_at(later_us).await;
    assert!(pannier.claim(&[], 5).await.is_empty(), "they have time to report");
    pannier.advance_s(10);
    pannier.beat(back).await;
    pannier.advance_s(4);
    assert_eq!(pannier.claim(&[], 5).await.iter().map(|task| task.id).collect::<Vec<_>>(), [lost.id]);
    pannier.try_complete(&kept).await.unwrap();
}

#[tokio::test]
async fn a_worker_with_a_timeout_loses_the_task_at_its_time_though_it_beats() {
    let pannier = pannier().await;
    let id = pannier.enqueue(pb::EnqueueItem { timeout: Some(seconds(20)), ..item("a") }).await;
    let worker = pannier.worker("w").await;
    let task = pannier.claim_for(worker).await.unwrap();
    assert_eq!(us(task.lease_expire_time.as_ref()), Some(pannier.now_us() + 20_000_000));
    pannier.advance_s(10);
    pannier.beat(worker).await;
    pannier.advance_s(10);
    let told = beat_with(&pannier, worker, &[&task], None).await;
    assert_eq!(told.lost_task_ids, [id]);
    assert_eq!(pannier.task(id).await.failure_count, 1);
}

#[tokio::test]
async fn no_more_workers_live_than_may() {
    let pannier = pannier_with(|settings| settings.queue.workers_max = 2).await;
    let first = pannier.worker("one").await;
    pannier.worker("two").await;
    let request = pb::RegisterWorkerRequest { name: "three".into(), ..Default::default() };
    let error = pannier.queue().register_worker(request.clone()).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::TooManyWorkers);
    let leave = pb::UnregisterWorkerRequest { worker_id: first, ..Default::default() };
    pannier.queue().unregister_worker(leave).await.unwrap();
    pannier.queue().register_worker(request).await.unwrap();
}

#[tokio::test]
async fn workers_are_listed_by_pages_the_latest_first() {
    let pannier = pannier().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.insert(0, pannier.worker(&format!("w{number}")).await);
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListWorkersRequest { page_size: 2, page_token: token, ..Default::default() };
        let page = pannier.queue().list_workers(request).await.unwrap().into_inner();
        assert!(page.workers.len() <= 2);
        found.extend(page.workers.into_iter().map(|worker| worker.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ids);
}

#[tokio::test]
async fn tasks_completed_and_attempts_failed_are_counted_by_worker() {
    let pannier = pannier().await;
    let (first, second) = (pannier.worker("host-1").await, pannier.worker("host-2").await);
    pannier.enqueue_all(vec![item("a"); 5]).await;
    let claim = |worker_id| pb::Claiming { worker_id, max_tasks: 2, ..Default::default() };
    let of_first = pannier.try_claim(claim(first)).await.unwrap();
    let of_second = pannier.try_claim(claim(second)).await.unwrap();
    let again = pb::FailOutcome { error: "e".into(), retry_delay: Some(seconds(0)), ..Default::default() };
    pannier
        .settle_all(vec![
            outcome(&of_first[0], completed()),
            outcome(&of_first[1], pb::outcome::What::Fail(again)),
            outcome(&of_second[0], completed()),
            outcome(&of_second[1], released()),
        ])
        .await;
    let pannier = pannier.restart().await;
    let request = pb::ListWorkersRequest::default();
    let workers = pannier.queue().list_workers(request).await.unwrap().into_inner().workers;
    let counts: Vec<_> = workers
        .iter()
        .map(|worker| (worker.name.as_str(), worker.completed_count, worker.failed_count))
        .collect();
    assert_eq!(counts, [("host-2", 1, 0), ("host-1", 1, 1)]);
    let columns = "name, CAST(completed AS text), CAST(failed AS text)";
    let viewed = pannier.rows_as_text(&format!("SELECT {columns} FROM v_worker_status ORDER BY name")).await;
    assert_eq!(viewed, [["host-1", "1", "1"], ["host-2", "1", "0"]]);
}
