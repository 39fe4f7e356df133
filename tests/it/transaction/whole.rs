//! All or nothing, in the order given, with one answer for each mutation.

use pannier_proto::cache::v1 as cache;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::queue::v1 as queue;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use pannier_proto::transaction::v1::{cache_check, settings_check};

use super::calls::{
    check_entry, check_job, check_setting, check_task, complete_task, create, delete, enqueue, job_id, put,
    put_if, set, unset, update,
};
use crate::cache::items::{value_item, value_of};
use crate::harness::{pannier, pannier_with};
use crate::jobs::calls::success;
use crate::queue::calls::{completed, item, outcome};

#[tokio::test]
async fn a_commit_changes_every_service_and_answers_as_their_own_calls_do() {
    let pannier = pannier().await;
    let results = pannier.commit(vec![put("k", "v"), create(1), enqueue("a"), set("s", "1")]).await;
    let [
        Outcome::CachePut(stored),
        Outcome::JobsCreate(made),
        Outcome::QueueEnqueue(added),
        Outcome::SettingsSet(was_set),
    ] = &results[..]
    else {
        panic!("{results:?}")
    };
    let entry = pannier.get("n", "k").await.unwrap();
    assert_eq!(value_of(&entry), b"v");
    assert_eq!(stored.result.as_ref().unwrap().etag, entry.etag);
    assert_eq!(made.job.as_ref().unwrap(), &pannier.get_job(&job_id(1)).await);
    assert_eq!(pannier.state_of(added.enqueued.unwrap().task_id).await, TaskState::Queued);
    assert_eq!(was_set.setting.as_ref().unwrap(), &pannier.try_setting("s").await.unwrap());
    let restarted = pannier.restart().await;
    assert_eq!(restarted.setting("s").await, "1");
    assert_eq!(value_of(&restarted.get("n", "k").await.unwrap()), b"v");
}

#[tokio::test]
async fn every_kind_of_mutation_does_what_its_own_call_does() {
    let pannier = pannier().await;
    let ids = pannier.enqueue_all((0..8).map(|_| item("a")).collect()).await;
    let held = pannier.claim(&[], 6).await;
    let (first, second) = (ids[6], ids[7]);
    let of = |task: &queue::Task| (task.id, task.token);
    let results = pannier
        .commit(vec![
            What::CacheBatchPut(cache::BatchPutRequest {
                namespace: "n".into(),
                items: vec![value_item("a", "1"), value_item("b", "2")],
                ..Default::default()
            }),
            What::CacheTouch(cache::TouchRequest {
                namespace: "n".into(),
                items: vec![cache::TouchItem { key: "a".into(), expiry: None }],
                ..Default::default()
            }),
            delete("b", None),
            create(1),
            update(1, JobStatus::Processing),
            What::JobsAddResults(jobs::AddResultsRequest {
                job_id: job_id(1),
                results: vec![success("i"), success("j")],
                ..Default::default()
            }),
            What::JobsComplete(jobs::CompleteRequest { job_id: job_id(1), ..Default::default() }),
            create(2),
            What::JobsReportProgress(jobs::ReportProgressRequest {
                job_id: job_id(2),
                total_count: Some(7),
                ..Default::default()
            }),
            What::JobsFail(jobs::FailRequest { job_id: job_id(2), ..Default::default() }),
            create(3),
            What::JobsAbort(jobs::AbortRequest { job_id: job_id(3), ..Default::default() }),
            create(4),
            What::JobsDelete(jobs::DeleteRequest { job_id: job_id(4), ..Default::default() }),
            What::QueueBatchEnqueue(queue::BatchEnqueueRequest {
                items: vec![item("b"), item("b")],
                ..Default::default()
            }),
            What::QueueSettle(queue::SettleRequest {
                outcomes: vec![outcome(&held[0], completed())],
                ..Default::default()
            }),
            complete_task(&held[1]),
            What::QueueFail(queue::FailRequest {
                task_id: of(&held[2]).0,
                token: of(&held[2]).1,
                fail: Some(queue::FailOutcome { r#final: true, ..Default::default() }),
                ..Default::default()
            }),
            What::QueueRelease(queue::ReleaseRequest {
                task_id: of(&held[3]).0,
                token: of(&held[3]).1,
                ..Default::default()
            }),
            What::QueueSnooze(queue::SnoozeRequest {
                task_id: of(&held[4]).0,
                token: of(&held[4]).1,
                snooze: Some(queue::SnoozeOutcome { delay: Some(crate::queue::calls::seconds(9)) }),
                ..Default::default()
            }),
            What::QueueCancel(queue::CancelRequest { task_ids: vec![first, second], ..Default::default() }),
            What::QueueRetry(queue::RetryRequest { task_ids: vec![second], ..Default::default() }),
            set("s", "1"),
            unset("s", 0),
        ])
        .await;
    assert_eq!(results.len(), 24);
    assert_eq!(pannier.keys("n").await, ["a"]);
    let first_job = pannier.get_job(&job_id(1)).await;
    assert_eq!((first_job.status(), first_job.successful_count), (JobStatus::Completed, 2));
    let second_job = pannier.get_job(&job_id(2)).await;
    assert_eq!((second_job.status(), second_job.total_count), (JobStatus::Failed, Some(7)));
    assert_eq!(pannier.get_job(&job_id(3)).await.status(), JobStatus::Aborted);
    pannier.try_get_job(&job_id(4)).await.unwrap_err();
    let mut states = Vec::new();
    for id in held.iter().map(|task| task.id).chain([first, second]) {
        states.push(pannier.state_of(id).await);
    }
    use TaskState::{Cancelled, Claimed, Completed, Failed, Queued, Scheduled};
    assert_eq!(states, [Completed, Completed, Failed, Queued, Scheduled, Claimed, Cancelled, Queued]);
    assert_eq!(pannier.claim(&["b"], 9).await.len(), 2);
    assert!(pannier.setting_keys("").await.is_empty());
}

#[tokio::test]
async fn each_mutation_sees_what_those_before_it_have_done() {
    let pannier = pannier().await;
    let absent = || cache::put_item::Condition::IfAbsent(true);
    let results = pannier
        .commit(vec![
            put("k", "one"),
            put_if("k", "two", cache::put_item::Condition::IfPresent(true)),
            delete("k", None),
            put_if("k", "three", absent()),
            check_entry("k", cache_check::Expected::Present(true)),
            set("s", "1"),
            set("s", "2"),
            unset("s", 0),
            check_setting("s", settings_check::Expected::Absent(true)),
            set("s", "3"),
            create(1),
            check_job(1, &[JobStatus::Pending]),
            update(1, JobStatus::Processing),
            check_job(1, &[JobStatus::Failed, JobStatus::Processing]),
        ])
        .await;
    let created: Vec<bool> = results
        .iter()
        .filter_map(|result| match result {
            Outcome::CachePut(put) => Some(put.result.as_ref().unwrap().created),
            Outcome::SettingsSet(set) => Some(set.created),
            _ => None,
        })
        .collect();
    assert_eq!(created, [true, false, true, true, false, true]);
    assert_eq!(value_of(&pannier.get("n", "k").await.unwrap()), b"three");
    assert_eq!(pannier.setting("s").await, "3");
    assert_eq!(pannier.stats("n").await.entry_count, 1);
}

#[tokio::test]
async fn two_tasks_with_one_unique_key_are_one_in_a_commit_too() {
    let pannier = pannier().await;
    let unique = Some(queue::Unique { key: "u".into(), ..Default::default() });
    let task = queue::EnqueueItem { unique, ..item("a") };
    let request = queue::EnqueueRequest { item: Some(task), ..Default::default() };
    let results =
        pannier.commit(vec![What::QueueEnqueue(request.clone()), What::QueueEnqueue(request)]).await;
    let ids: Vec<_> = results
        .iter()
        .map(|result| match result {
            Outcome::QueueEnqueue(added) => added.enqueued.unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((ids[0].task_id, ids[0].duplicate, ids[1].duplicate), (ids[1].task_id, false, true));
}

#[tokio::test]
async fn limits_of_a_key_are_kept_within_a_commit() {
    let pannier = pannier().await;
    let limits = queue::Queue {
        name: "q".into(),
        key_limits: Some(queue::KeyLimits { held_max: 1, ..Default::default() }),
        ..Default::default()
    };
    pannier.update_queue(limits, &["key_limits"]).await;
    let keyed = || {
        let item = queue::EnqueueItem { limit_key: "k".into(), ..item("a") };
        let queue = "q".into();
        What::QueueEnqueue(queue::EnqueueRequest { queue, item: Some(item), ..Default::default() })
    };
    pannier.commit(vec![keyed(), keyed(), keyed()]).await;
    let claiming = || queue::Claiming { queue: "q".into(), max_tasks: 9, ..Default::default() };
    let held = pannier.try_claim(claiming()).await.unwrap();
    assert_eq!(held.len(), 1);
    assert!(pannier.try_claim(claiming()).await.unwrap().is_empty());
    pannier.commit(vec![complete_task(&held[0]), keyed()]).await;
    assert_eq!(
        pannier.try_claim(claiming()).await.unwrap().len(),
        1,
        "the room of the one is the next one's"
    );
}

#[tokio::test]
async fn a_task_whose_lease_has_just_ended_is_checked_as_it_is_now() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let held = pannier.claim_one().await;
    pannier.commit(vec![check_task(id, &[TaskState::Claimed])]).await;
    pannier.advance_s(3_600);
    pannier.commit(vec![check_task(id, &[TaskState::Queued])]).await;
    pannier.try_commit(vec![complete_task(&held)]).await.unwrap_err();
}

#[tokio::test]
async fn entries_that_a_commit_drives_out_are_gone_with_it() {
    let pannier = pannier_with(|settings| settings.cache.entries_max = 2).await;
    pannier.put("n", value_item("old", "v")).await;
    pannier.advance_s(1);
    pannier.commit(vec![put("a", "1"), put("b", "2")]).await;
    assert_eq!(pannier.keys("n").await, ["a", "b"]);
    assert!(pannier.get("n", "old").await.is_none(), "nor is it in memory");
}
