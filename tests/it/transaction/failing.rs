//! A mutation that fails: which one is told, as its own call would tell it, and nothing is changed.

use pannier_proto::cache::v1 as cache;
use pannier_proto::cache::v1::put_item::Condition;
use pannier_proto::errors::v1::ErrorReason as Reason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::queue::v1 as queue;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::settings::v1::set_request;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::{cache_check, settings_check};
use tonic::Code;

use super::calls::{
    assert_failed, check_entry, check_job, check_setting, check_task, complete_task, create, delete, enqueue,
    job_id, put, put_if, set, set_if, unset, update,
};
use crate::cache::items::{value_item, value_of};
use crate::harness::{Pannier, pannier, pannier_with};
use crate::queue::calls::{completed, item, outcome};

/// What every service would do before the one that fails.
fn before() -> Vec<What> {
    vec![put("new", "v"), create(100), enqueue("new"), set("new", "1")]
}

/// Commits a mutation behind others, and asserts that it fails so and that nothing is changed.
async fn fails(pannier: &Pannier, what: What, place: &str, code: Code, reason: Reason) {
    let stored = pannier.stored().await;
    let mut whats = before();
    let index = whats.len();
    whats.push(what);
    whats.extend([set("after", "1")]);
    let status = pannier.try_commit(whats).await.unwrap_err();
    assert_failed(&status, &format!("mutations[{index}].{place}"), code, reason);
    assert_eq!(pannier.stored().await, stored, "{place}: something is left");
    assert!(pannier.get("n", "new").await.is_none(), "{place}: memory has what was never committed");
    assert!(pannier.claim(&["new"], 1).await.is_empty());
    pannier.try_get_job(&job_id(100)).await.unwrap_err();
    pannier.try_setting("new").await.unwrap_err();
}

#[tokio::test]
async fn of_the_cache() {
    let pannier = pannier().await;
    pannier.put("n", value_item("k", "v")).await;
    let batch = |condition| {
        let items =
            vec![value_item("x", "v"), cache::PutItem { condition: Some(condition), ..value_item("k", "v") }];
        What::CacheBatchPut(cache::BatchPutRequest { namespace: "n".into(), items, ..Default::default() })
    };
    let absent = Condition::IfAbsent(true);
    for (what, place, code, reason) in [
        (put_if("k", "w", absent.clone()), "cache_put", Code::AlreadyExists, Reason::EntryExists),
        (put_if("z", "w", Condition::IfPresent(true)), "cache_put", Code::NotFound, Reason::EntryNotFound),
        (put_if("k", "w", Condition::IfEtag("1".into())), "cache_put", Code::Aborted, Reason::EtagMismatch),
        (batch(absent), "cache_batch_put.items[1]", Code::AlreadyExists, Reason::EntryExists),
        (delete("k", Some("1")), "cache_delete.items[0]", Code::Aborted, Reason::EtagMismatch),
        (delete("z", Some("1")), "cache_delete.items[0]", Code::NotFound, Reason::EntryNotFound),
        (
            check_entry("k", cache_check::Expected::Absent(true)),
            "cache_check",
            Code::AlreadyExists,
            Reason::EntryExists,
        ),
        (
            check_entry("z", cache_check::Expected::Present(true)),
            "cache_check",
            Code::NotFound,
            Reason::EntryNotFound,
        ),
        (
            check_entry("k", cache_check::Expected::Etag("1".into())),
            "cache_check",
            Code::Aborted,
            Reason::EtagMismatch,
        ),
    ] {
        fails(&pannier, what, place, code, reason).await;
    }
    assert_eq!(value_of(&pannier.get("n", "k").await.unwrap()), b"v");
    let leased = cache::PutItem { lease_token: job_id(1), ..value_item("k", "v") };
    let fill =
        What::CachePut(cache::PutRequest { namespace: "n".into(), item: Some(leased), ..Default::default() });
    fails(&pannier, fill, "cache_put", Code::Aborted, Reason::LeaseLost).await;
}

#[tokio::test]
async fn of_the_jobs() {
    let pannier = pannier().await;
    pannier.commit(vec![create(1), update(1, JobStatus::Completed)]).await;
    let add = What::JobsAddResults(jobs::AddResultsRequest {
        job_id: job_id(1),
        results: vec![crate::jobs::calls::success("i")],
        ..Default::default()
    });
    for (what, place, code, reason) in [
        (create(1), "jobs_create", Code::AlreadyExists, Reason::JobExists),
        (update(9, JobStatus::Processing), "jobs_update_status", Code::NotFound, Reason::JobNotFound),
        (
            update(1, JobStatus::Processing),
            "jobs_update_status",
            Code::FailedPrecondition,
            Reason::JobTransitionIllegal,
        ),
        (add, "jobs_add_results", Code::FailedPrecondition, Reason::JobEnded),
        (check_job(9, &[JobStatus::Pending]), "jobs_check", Code::NotFound, Reason::JobNotFound),
        (
            check_job(1, &[JobStatus::Pending, JobStatus::Failed]),
            "jobs_check",
            Code::FailedPrecondition,
            Reason::CheckFailed,
        ),
    ] {
        fails(&pannier, what, place, code, reason).await;
    }
}

#[tokio::test]
async fn of_the_queue() {
    let pannier = pannier().await;
    let ids = pannier.enqueue_all(vec![item("a"), item("a")]).await;
    let held = pannier.claim(&[], 2).await;
    pannier.tell(&held[0], completed()).await;
    let settle = What::QueueSettle(queue::SettleRequest {
        outcomes: vec![outcome(&held[1], completed()), outcome(&held[0], completed())],
        ..Default::default()
    });
    let cancel =
        |task_ids: Vec<i64>| What::QueueCancel(queue::CancelRequest { task_ids, ..Default::default() });
    for (what, place, code, reason) in [
        (complete_task(&held[0]), "queue_complete", Code::Aborted, Reason::LeaseLost),
        (settle, "queue_settle.outcomes[1]", Code::Aborted, Reason::LeaseLost),
        (cancel(vec![ids[1], 999]), "queue_cancel.task_ids[1]", Code::NotFound, Reason::TaskNotFound),
        (
            cancel(vec![ids[0]]),
            "queue_cancel.task_ids[0]",
            Code::FailedPrecondition,
            Reason::IllegalTransition,
        ),
        (check_task(999, &[TaskState::Queued]), "queue_check", Code::NotFound, Reason::TaskNotFound),
        (
            check_task(ids[0], &[TaskState::Queued, TaskState::Claimed]),
            "queue_check",
            Code::FailedPrecondition,
            Reason::CheckFailed,
        ),
    ] {
        fails(&pannier, what, place, code, reason).await;
    }
    assert_eq!(pannier.state_of(ids[1]).await, TaskState::Claimed, "the first outcome was undone");
    assert!(!pannier.task(ids[1]).await.cancel_requested);
}

#[tokio::test]
async fn of_the_settings() {
    let pannier = pannier_with(|settings| settings.settings.settings_max = 3).await;
    let revision = pannier.set("k", "0").await;
    let other = Some(set_request::Condition::IfRevision(revision + 7));
    for (what, place, code, reason) in [
        (
            set_if("k", "1", Some(set_request::Condition::IfAbsent(true))),
            "settings_set",
            Code::AlreadyExists,
            Reason::SettingExists,
        ),
        (set_if("k", "1", other), "settings_set", Code::Aborted, Reason::SettingChanged),
        (unset("z", 1), "settings_delete", Code::NotFound, Reason::SettingNotFound),
        (
            check_setting("k", settings_check::Expected::Absent(true)),
            "settings_check",
            Code::AlreadyExists,
            Reason::SettingExists,
        ),
        (
            check_setting("z", settings_check::Expected::Present(true)),
            "settings_check",
            Code::NotFound,
            Reason::SettingNotFound,
        ),
        (
            check_setting("k", settings_check::Expected::Revision(revision + 7)),
            "settings_check",
            Code::Aborted,
            Reason::SettingChanged,
        ),
    ] {
        fails(&pannier, what, place, code, reason).await;
    }
    let many = vec![set("a", "1"), set("b", "1"), set("c", "1")];
    let status = pannier.try_commit(many).await.unwrap_err();
    assert_failed(&status, "mutations[2].settings_set", Code::ResourceExhausted, Reason::TooManySettings);
    assert_eq!(pannier.setting_keys("").await, ["k"]);
}

#[tokio::test]
async fn names_made_by_a_commit_that_failed_are_not_remembered() {
    let pannier = pannier().await;
    let status = pannier.try_commit(vec![put("k", "v"), enqueue("a"), unset("z", 1)]).await.unwrap_err();
    assert_failed(&status, "mutations[2].settings_delete", Code::NotFound, Reason::SettingNotFound);
    // Its namespace, queue and type were never stored: what is remembered of them would point nowhere.
    pannier.put("n", value_item("k", "w")).await;
    let id = pannier.enqueue(item("a")).await;
    assert_eq!(pannier.claim_one().await.id, id);
    assert_eq!(value_of(&pannier.get("n", "k").await.unwrap()), b"w");
}

#[tokio::test]
async fn what_memory_has_is_as_before_a_commit_that_failed() {
    let pannier = pannier().await;
    pannier.put_all("n", vec![value_item("k", "v"), value_item("l", "v")]).await;
    let before = pannier.get("n", "k").await.unwrap();
    let whats = vec![put("k", "w"), delete("l", None), put("m", "w"), unset("z", 1)];
    pannier.try_commit(whats).await.unwrap_err();
    let after = pannier.get("n", "k").await.unwrap();
    assert_eq!((value_of(&after), &after.etag), (&b"v"[..], &before.etag));
    assert!(pannier.get("n", "l").await.is_some() && pannier.get("n", "m").await.is_none());
    assert_eq!(pannier.stats("n").await.entry_count, 2);
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_is_told_before_anything_is_changed() {
    let pannier = pannier_with(|settings| {
        settings.server.message_bytes_max = 300_000;
        settings.transaction.bytes_max = 300_000;
        settings.cache.value_bytes_max = 100_000;
        settings.server.response_bytes_max = 200_000;
    })
    .await;
    let metadata_json = format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000));
    let create =
        jobs::CreateRequest { job_id: job_id(1), metadata_json, r#type: "t".into(), ..Default::default() };
    let statuses = [JobStatus::Processing, JobStatus::Failed].into_iter().cycle().take(9);
    let updates = statuses.map(|status| update(1, status));
    let whats: Vec<What> = [What::JobsCreate(create)].into_iter().chain(updates).collect();
    let status = pannier.try_commit(whats).await.unwrap_err();
    crate::harness::assert_status(&status, Code::ResourceExhausted, Reason::AnswerTooLarge);
    pannier.try_get_job(&job_id(1)).await.unwrap_err();
}
