//! What is done by hand: cancelling, retrying, redriving dead letters, pausing.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind as Kind, TaskState};
use tonic::Code;

use super::calls::{claiming, completed, failed, item, numbered, numbers, released, seconds};
use crate::harness::{Pannier, assert_status, pannier};

fn finally() -> pb::outcome::What {
    let fail = pb::FailOutcome { error: "broken".into(), r#final: true, retry_delay: None };
    pb::outcome::What::Fail(fail)
}

fn state(result: pb::TaskResult) -> Result<TaskState, (i32, ErrorReason)> {
    match result.result.unwrap() {
        pb::task_result::Result::State(state) => Ok(TaskState::try_from(state).unwrap()),
        pb::task_result::Result::Error(error) => Err((error.code, error.reason())),
    }
}

async fn retry(pannier: &Pannier, task_ids: Vec<i64>) -> Vec<Result<TaskState, (i32, ErrorReason)>> {
    let request = pb::RetryRequest { task_ids, ..Default::default() };
    pannier.queue().retry(request).await.unwrap().into_inner().results.into_iter().map(state).collect()
}

#[tokio::test]
async fn what_is_not_held_is_cancelled_at_once() {
    let pannier = pannier().await;
    let delayed = pb::EnqueueItem { when: Some(pb::enqueue_item::When::Delay(seconds(60))), ..item("a") };
    for id in pannier.enqueue_all(vec![item("a"), delayed]).await {
        assert_eq!(state(pannier.cancel(id).await), Ok(TaskState::Cancelled));
        assert_eq!(state(pannier.cancel(id).await), Ok(TaskState::Cancelled), "again");
        assert_eq!(pannier.log_of(id).await, [Kind::Enqueued, Kind::Cancelled]);
    }
    pannier.advance_s(60);
    assert!(pannier.claim(&[], 5).await.is_empty());
}

#[tokio::test]
async fn a_held_task_is_cancelled_by_any_end_but_completion() {
    let pannier = pannier().await;
    let snooze = pb::outcome::What::Snooze(pb::SnoozeOutcome { delay: Some(seconds(1)) });
    let ends = [
        (Some(completed()), TaskState::Completed),
        (Some(failed("e")), TaskState::Cancelled),
        (Some(released()), TaskState::Cancelled),
        (Some(snooze), TaskState::Cancelled),
        // Its lease expires.
        (None, TaskState::Cancelled),
    ];
    for (what, expected) in ends {
        let id = pannier.enqueue(item("a")).await;
        let task = pannier.claim_one().await;
        assert_eq!(state(pannier.cancel(id).await), Ok(TaskState::Claimed));
        assert_eq!(state(pannier.cancel(id).await), Ok(TaskState::Claimed), "again");
        assert!(pannier.task(id).await.cancel_requested);
        let extend = pb::outcome::What::Extend(pb::ExtendOutcome { lease: Some(seconds(60)) });
        assert!(pannier.tell(&task, extend).await.cancel_requested);
        match what {
            Some(what) => {
                pannier.tell(&task, what).await;
            }
            None => pannier.advance_s(60),
        }
        assert_eq!(pannier.state_of(id).await, expected);
        let log = pannier.log_of(id).await;
        assert_eq!(log[..3], [Kind::Enqueued, Kind::Claimed, Kind::CancelRequested]);
        assert!(pannier.claim(&[], 1).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_finished_or_unknown_is_not_cancelled() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let tasks = pannier.claim(&[], 2).await;
    pannier.tell(&tasks[0], completed()).await;
    pannier.tell(&tasks[1], finally()).await;
    let request = pb::CancelRequest { task_ids: vec![tasks[0].id, 999, tasks[1].id], ..Default::default() };
    let results = pannier.queue().cancel(request).await.unwrap().into_inner().results;
    let illegal = Err((Code::FailedPrecondition as i32, ErrorReason::IllegalTransition));
    let expected = [illegal, Err((Code::NotFound as i32, ErrorReason::TaskNotFound)), illegal];
    assert_eq!(results.into_iter().map(state).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_dead_letter_is_retried_with_fresh_retries_and_its_log() {
    let pannier = pannier().await;
    let id = pannier.enqueue(pb::EnqueueItem { max_retries: Some(0), ..numbered("a", 1) }).await;
    let created = pannier.task(id).await.create_time;
    let task = pannier.claim_one().await;
    pannier.advance_s(1);
    pannier.tell(&task, failed("broken")).await;
    assert_eq!(pannier.list(TaskState::Failed).await[0].id, id);
    pannier.advance_s(1);
    assert_eq!(retry(&pannier, vec![id]).await, [Ok(TaskState::Queued)]);
    let again = pannier.claim_one().await;
    assert_eq!((again.id, again.token, again.failure_count), (id, 2, 0));
    assert_eq!((again.create_time, again.parameters_json.as_str()), (created, r#"{"n":1}"#));
    assert_eq!(again.error, "broken");
    let expected = [Kind::Enqueued, Kind::Claimed, Kind::Failed, Kind::Requeued, Kind::Claimed];
    let events = pannier.events(id).await;
    assert_eq!(events.iter().map(pb::TaskEvent::kind).collect::<Vec<_>>(), expected);
    assert_eq!((events[2].error.as_str(), events[2].token), ("broken", 1));
    assert!(events.windows(2).all(|pair| pair[0].time.unwrap().seconds <= pair[1].time.unwrap().seconds));
}

#[tokio::test]
async fn what_can_be_retried_is_and_the_rest_says_why_not() {
    let pannier = pannier().await;
    let delayed = pb::EnqueueItem { when: Some(pb::enqueue_item::When::Delay(seconds(60))), ..item("d") };
    let delayed = pannier.enqueue(delayed).await;
    let cancelled = pannier.enqueue(item("c")).await;
    pannier.cancel(cancelled).await;
    let queued = pannier.enqueue(item("q")).await;
    let done = pannier.enqueue(item("done")).await;
    let task = pannier.claim(&["done"], 1).await.remove(0);
    pannier.tell(&task, completed()).await;
    let held = pannier.enqueue(item("held")).await;
    pannier.claim(&["held"], 1).await;
    let illegal = Err((Code::FailedPrecondition as i32, ErrorReason::IllegalTransition));
    let expected = [Ok(TaskState::Queued), Ok(TaskState::Queued), illegal, illegal, illegal];
    assert_eq!(retry(&pannier, vec![delayed, cancelled, queued, done, held]).await, expected);
    let mut ids: Vec<i64> = pannier.claim(&[], 10).await.iter().map(|task| task.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [delayed, cancelled, queued]);
}

#[tokio::test]
async fn dead_letters_are_redriven_the_oldest_first_and_keep_their_origin() {
    let pannier = pannier().await;
    for number in 0..6 {
        pannier.enqueue(numbered(["a", "b"][number as usize % 2], number)).await;
        let task = pannier.claim_one().await;
        pannier.tell(&task, finally()).await;
        pannier.advance_s(1);
    }
    let before = pannier.list(TaskState::Failed).await;
    assert_eq!(numbers(&before), [5, 4, 3, 2, 1, 0], "the latest first");
    let request = pb::RedriveRequest { types: vec!["a".into()], max_tasks: 2, ..Default::default() };
    let answer = pannier.queue().redrive(request).await.unwrap().into_inner();
    assert_eq!((answer.redriven_count, answer.next_page_token.is_empty()), (2, false));
    assert_eq!(numbers(&pannier.claim(&[], 10).await), [0, 2]);
    let answer = pannier.queue().redrive(pb::RedriveRequest::default()).await.unwrap().into_inner();
    assert_eq!((answer.redriven_count, answer.next_page_token.as_str()), (4, ""));
    let again = pannier.claim(&[], 10).await;
    assert_eq!(numbers(&again), [1, 3, 4, 5]);
    for task in again {
        let former = before.iter().find(|former| former.id == task.id).unwrap();
        assert_eq!((&task.queue, &task.r#type), (&former.queue, &former.r#type));
        assert_eq!((task.create_time, &task.error), (former.create_time, &former.error));
    }
    let unknown = pb::RedriveRequest { queue: "none".into(), ..Default::default() };
    let error = pannier.queue().redrive(unknown).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::QueueNotFound);
}

#[tokio::test]
async fn a_paused_queue_or_type_is_not_claimed_from() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"), item("b")]).await;
    let held = pannier.claim(&["a"], 1).await.remove(0);
    pannier.queue().pause(pb::PauseRequest::default()).await.unwrap();
    let found = pannier.queue().get_queue(pb::GetQueueRequest::default()).await.unwrap().into_inner();
    assert!(found.queue.unwrap().paused);
    assert!(pannier.claim(&[], 5).await.is_empty());
    assert!(pannier.claim(&["b"], 5).await.is_empty());
    // Types that come now are paused as well; what is held goes on.
    pannier.enqueue(item("new")).await;
    assert!(pannier.claim(&["new"], 5).await.is_empty());
    pannier.try_complete(&held).await.unwrap();

    let only_b = pb::PauseRequest { types: vec!["b".into()], ..Default::default() };
    pannier.queue().pause(only_b).await.unwrap();
    pannier.queue().resume(pb::ResumeRequest::default()).await.unwrap();
    let types: Vec<String> = pannier.claim(&[], 5).await.into_iter().map(|task| task.r#type).collect();
    assert_eq!(types, ["new"], "b stays paused by its name");
    let only_b = pb::ResumeRequest { types: vec!["b".into()], ..Default::default() };
    pannier.queue().resume(only_b).await.unwrap();
    assert_eq!(pannier.claim(&["b"], 5).await.len(), 1);
}

#[tokio::test]
async fn a_pause_survives_a_restart_and_an_unknown_queue_cannot_be_paused() {
    let mut pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    pannier.queue().pause(pb::PauseRequest::default()).await.unwrap();
    pannier = pannier.restart().await;
    assert!(pannier.try_claim(claiming(&["a"], 1)).await.unwrap().is_empty());
    pannier.queue().resume(pb::ResumeRequest::default()).await.unwrap();
    assert_eq!(pannier.claim(&["a"], 1).await.len(), 1);
    let pause = pb::PauseRequest { queue: "none".into(), ..Default::default() };
    let error = pannier.queue().pause(pause).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::QueueNotFound);
}
