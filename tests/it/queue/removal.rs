//! Queues and types: which calls make them, and how they go.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{claiming, completed, failed, item, outcome, seconds};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

async fn delete(
    pannier: &Pannier,
    name: &str,
    force: bool,
) -> Result<pb::DeleteQueueResponse, tonic::Status> {
    let request = pb::DeleteQueueRequest { name: name.into(), force, ..Default::default() };
    Ok(pannier.queue().delete_queue(request).await?.into_inner())
}

async fn tables(pannier: &Pannier) -> i64 {
    let mut rows = 0;
    for table in
        ["queue_queues", "queue_types", "queue_keys", "queue_uniques", "queue_counts", "queue_deltas"]
    {
        rows += pannier.row_count(table).await;
    }
    rows
}

#[tokio::test]
async fn a_typo_makes_neither_a_queue_nor_a_type() {
    let pannier = pannier().await;
    let typo = || pb::Claiming { queue: "typo".into(), ..claiming(&["typo"], 1) };
    assert!(pannier.try_claim(typo()).await.unwrap().is_empty());
    let list = pb::ListRequest { queue: "typo".into(), ..Default::default() };
    assert!(pannier.queue().list(list).await.unwrap().into_inner().tasks.is_empty());
    let pause = pb::PauseRequest { queue: "typo".into(), types: vec!["typo".into()], ..Default::default() };
    let error = pannier.queue().pause(pause.clone()).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::QueueNotFound);
    assert_eq!(tables(&pannier).await, 0);
    pannier.enqueue(item("a")).await;
    let pause = pb::PauseRequest { queue: String::new(), ..pause };
    let error = pannier.queue().pause(pause).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TypeNotFound);
    assert!(error.message().contains("typo"), "{}", error.message());
    let resume = pb::ResumeRequest { types: vec!["typo".into()], ..Default::default() };
    let error = pannier.queue().resume(resume).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TypeNotFound);
    assert!(pannier.claim(&["typo"], 1).await.is_empty());
    assert_eq!(pannier.row_count("queue_types").await, 1);
}

#[tokio::test]
async fn an_empty_queue_is_deleted_and_can_be_made_again() {
    let pannier = pannier().await;
    assert!(!delete(&pannier, "none", false).await.unwrap().deleted);
    for round in 0..3 {
        pannier
            .update_queue(
                pb::Queue { name: "q".into(), max_retries: 7, ..Default::default() },
                &["max_retries"],
            )
            .await;
        assert!(delete(&pannier, "q", false).await.unwrap().deleted, "round {round}");
        assert_eq!(tables(&pannier).await, 0);
        // Made again, with the defaults.
        pannier.try_enqueue("q", item("a")).await.unwrap();
        let error = delete(&pannier, "q", false).await.unwrap_err();
        assert_status(&error, Code::FailedPrecondition, ErrorReason::QueueNotEmpty);
        assert!(error.message().contains("1 tasks"), "{}", error.message());
        let task =
            pannier.try_claim(pb::Claiming { queue: "q".into(), ..claiming(&["a"], 1) }).await.unwrap();
        assert_eq!(task[0].max_retries, 3);
        assert!(delete(&pannier, "q", true).await.unwrap().deleted);
    }
    let error = pannier.queue().delete_queue(pb::DeleteQueueRequest::default()).await.unwrap_err();
    assert_eq!(violated_fields(&error), ["name"]);
}

#[tokio::test]
async fn a_full_queue_is_deleted_in_steps_and_leaves_nothing() {
    let pannier = pannier_with(|settings| settings.queue.batch_items_max = 4).await;
    let limits = pb::KeyLimits { held_max: 1, ..Default::default() };
    pannier.update_queue(pb::Queue { key_limits: Some(limits), ..Default::default() }, &["key_limits"]).await;
    let later = pb::enqueue_item::When::Delay(seconds(500));
    let at = pb::enqueue_item::When::RunTime(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
    let keyed = || pb::EnqueueItem { limit_key: "k".into(), ..item("c") };
    let unique =
        pb::EnqueueItem { unique: Some(pb::Unique { key: "u".into(), ..Default::default() }), ..item("a") };
    pannier.enqueue_all(vec![item("a"), item("a"), item("b"), unique]).await;
    let tasks = pannier.claim(&["a"], 3).await;
    pannier.settle_all(vec![outcome(&tasks[0], completed()), outcome(&tasks[1], failed("e"))]).await;
    pannier.enqueue_all(vec![keyed(), keyed(), keyed()]).await;
    assert_eq!(pannier.claim(&["c"], 3).await.len(), 1);
    let items = [later, at].map(|when| pb::EnqueueItem { when: Some(when), ..item("d") });
    pannier.enqueue_all(items.to_vec()).await;
    let schedule = pb::Schedule {
        name: "s".into(),
        cron: "0 0 1 1 *".into(),
        item: Some(item("e")),
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    pannier.queue().put_schedule(request).await.unwrap();
    let error = delete(&pannier, "default", false).await.unwrap_err();
    assert!(error.message().contains("9 tasks and 1 schedules"), "{}", error.message());
    let mut answers = Vec::new();
    loop {
        let answer = delete(&pannier, "default", true).await.unwrap();
        answers.push((answer.deleted_task_count, answer.deleted));
        if !answer.more {
            break;
        }
        let recount = pannier.queue().recount(pb::RecountRequest {}).await.unwrap().into_inner();
        assert_eq!(recount.corrections, []);
    }
    assert_eq!(answers, [(4, false), (4, false), (1, true)]);
    let error = pannier.try_complete(&tasks[2]).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    for table in
        ["queue_tasks", "queue_task_logs", "queue_schedules", "queue_types", "queue_keys", "queue_uniques"]
    {
        assert_eq!(pannier.row_count(table).await, 0, "{table}");
    }
    pannier.enqueue(item("a")).await;
    assert_eq!(pannier.claim(&["a"], 1).await.len(), 1);
}

#[tokio::test]
async fn a_type_without_tasks_and_schedules_is_removed_and_comes_back_with_the_next_task() {
    let pannier = pannier_with(|settings| settings.queue.retention_ms = 1_000).await;
    pannier.enqueue_all(vec![item("typo"), item("b")]).await;
    let schedule = pb::Schedule {
        name: "s".into(),
        cron: "0 0 1 1 *".into(),
        item: Some(item("e")),
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    pannier.queue().put_schedule(request).await.unwrap();
    let task = pannier.claim(&["typo"], 1).await.remove(0);
    pannier.cancel(task.id).await;
    pannier.tell(&task, failed("e")).await;
    pannier.sweep_until(|pannier| async move { pannier.row_count("queue_types").await == 2 }).await;
    let names: Vec<String> = pannier.queue_stats().await.into_iter().map(|stats| stats.r#type).collect();
    assert_eq!(names, ["b", "e"]);
    let id = pannier.enqueue(item("typo")).await;
    assert_eq!(pannier.claim(&["typo"], 1).await.remove(0).id, id);
    assert_eq!(pannier.state_of(id).await, TaskState::Claimed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_come_while_their_queue_is_deleted_are_in_a_queue() {
    let pannier = pannier().await;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let mut queue = pannier.queue();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let request = pb::EnqueueRequest { item: Some(item("a")), ..Default::default() };
                    queue.enqueue(request).await.unwrap();
                }
            })
        })
        .collect();
    let mut deleted = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        deleted += delete(&pannier, "default", true).await.unwrap().deleted_task_count;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let left = pannier.claim(&[], 1_000).await.len();
    assert_eq!(deleted + i64::try_from(left).unwrap(), 100);
    let recount = pannier.queue().recount(pb::RecountRequest {}).await.unwrap().into_inner();
    assert_eq!(recount.corrections, []);
}
