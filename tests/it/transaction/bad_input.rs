//! Bad input: told whole and with its places, before anything is done.

use pannier_proto::cache::v1 as cache;
use pannier_proto::cache::v1::put_item::Condition;
use pannier_proto::durability::v1::Durability;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::queue::v1 as queue;
use pannier_proto::settings::v1 as settings;
use pannier_proto::settings::v1::set_request;
use pannier_proto::transaction::v1 as pb;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::{cache_check, settings_check};

use super::calls::{
    check_entry, check_job, check_setting, check_task, create, delete, enqueue, job_id, of, put, put_if, set,
    set_if, unset, update,
};
use crate::cache::items::value_item;
use crate::harness::{Pannier, pannier, pannier_with, violated_fields};
use crate::queue::calls::item;

async fn violations(pannier: &Pannier, whats: Vec<What>) -> Vec<String> {
    violated_fields(&pannier.try_commit(whats).await.unwrap_err())
}

#[tokio::test]
async fn an_empty_commit_and_an_empty_mutation_are_refused() {
    let pannier = pannier().await;
    assert_eq!(violations(&pannier, vec![]).await, ["mutations"]);
    let mut request = of(vec![set("a", "1")]);
    request.mutations.push(pb::Mutation { what: None });
    let status = pannier.try_commit_request(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["mutations[1]"]);
    assert!(pannier.setting_keys("").await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_in_several_mutations_is_told_at_once_with_its_places() {
    let pannier = pannier().await;
    let batch = What::CacheBatchPut(cache::BatchPutRequest {
        namespace: "N!".into(),
        items: vec![value_item("a", "v"), cache::PutItem::default()],
        ..Default::default()
    });
    let task = queue::EnqueueItem { priority: 11, ..item("") };
    let enqueue = What::QueueEnqueue(queue::EnqueueRequest { item: Some(task), ..Default::default() });
    let whats = vec![
        put("", "v"),
        set("ok", "1"),
        set("k", "{"),
        update(1, JobStatus::Unspecified),
        enqueue,
        batch,
        What::JobsComplete(jobs::CompleteRequest { job_id: "x".into(), ..Default::default() }),
        What::QueueCancel(queue::CancelRequest::default()),
    ];
    let request = pb::CommitRequest { durability: 9, request_id: "x".into(), ..of(whats) };
    let status = pannier.try_commit_request(request).await.unwrap_err();
    assert_eq!(
        violated_fields(&status),
        [
            "durability",
            "mutations[0].cache_put.item.key",
            "mutations[2].settings_set.value_json",
            "mutations[3].jobs_update_status.status",
            "mutations[4].queue_enqueue.item.priority",
            "mutations[4].queue_enqueue.item.type",
            "mutations[5].cache_batch_put.items[1].content",
            "mutations[5].cache_batch_put.items[1].key",
            "mutations[5].cache_batch_put.namespace",
            "mutations[6].jobs_complete.job_id",
            "mutations[7].queue_cancel.task_ids",
            "request_id",
        ]
    );
    assert!(pannier.setting_keys("").await.is_empty());
}

#[tokio::test]
async fn a_mutation_has_no_request_id_and_no_durability_of_its_own() {
    let pannier = pannier().await;
    let (request_id, durability) = (job_id(5), Durability::Full.into());
    let whats = vec![
        What::CachePut(cache::PutRequest {
            namespace: "n".into(),
            item: Some(value_item("k", "v")),
            durability,
            request_id: request_id.clone(),
        }),
        What::JobsCreate(jobs::CreateRequest {
            r#type: "t".into(),
            durability,
            request_id: request_id.clone(),
            ..Default::default()
        }),
        What::QueueEnqueue(queue::EnqueueRequest {
            item: Some(item("a")),
            request_id: request_id.clone(),
            ..Default::default()
        }),
        What::SettingsSet(settings::SetRequest {
            key: "k".into(),
            value_json: "1".into(),
            durability: Durability::Relaxed.into(),
            request_id,
            ..Default::default()
        }),
    ];
    assert_eq!(
        violations(&pannier, whats).await,
        [
            "mutations[0].cache_put.durability",
            "mutations[0].cache_put.request_id",
            "mutations[1].jobs_create.durability",
            "mutations[1].jobs_create.request_id",
            "mutations[2].queue_enqueue.request_id",
            "mutations[3].settings_set.durability",
            "mutations[3].settings_set.request_id",
        ]
    );
}

#[tokio::test]
async fn checks_that_ask_for_nothing_are_refused() {
    let pannier = pannier().await;
    let whats = vec![
        check_entry("k", cache_check::Expected::Absent(false)),
        check_entry("l", cache_check::Expected::Etag(String::new())),
        What::CacheCheck(pb::CacheCheck { namespace: "n".into(), key: "m".into(), expected: None }),
        check_setting("k", settings_check::Expected::Present(false)),
        check_setting("l", settings_check::Expected::Revision(0)),
        What::SettingsCheck(pb::SettingsCheck { key: "m".into(), expected: None }),
        check_job(1, &[]),
        check_job(2, &[JobStatus::Unspecified]),
        check_task(1, &[]),
        check_task(1, &[queue::TaskState::Unspecified]),
    ];
    assert_eq!(
        violations(&pannier, whats).await,
        [
            "mutations[0].cache_check.absent",
            "mutations[1].cache_check.etag",
            "mutations[2].cache_check.expected",
            "mutations[3].settings_check.present",
            "mutations[4].settings_check.revision",
            "mutations[5].settings_check.expected",
            "mutations[6].jobs_check.statuses",
            "mutations[7].jobs_check.statuses[0]",
            "mutations[8].queue_check.states",
            "mutations[9].queue_check.states[0]",
        ]
    );
}

#[tokio::test]
async fn limits_on_number_items_and_bytes_are_held() {
    let pannier = pannier_with(|settings| {
        settings.transaction.mutations_max = 4;
        settings.transaction.items_max = 6;
        settings.transaction.bytes_max = 2_000;
    })
    .await;
    let many = |count: u64| (0..count).map(|number| set(&format!("k{number}"), "1")).collect::<Vec<_>>();
    pannier.commit(many(4)).await;
    assert_eq!(violations(&pannier, many(5)).await, ["mutations"]);
    let batch = |count: u64| {
        let items = (0..count).map(|number| value_item(format!("k{number}"), "v")).collect();
        What::CacheBatchPut(cache::BatchPutRequest { namespace: "n".into(), items, ..Default::default() })
    };
    pannier.commit(vec![batch(5), set("a", "1")]).await;
    assert_eq!(violations(&pannier, vec![batch(6), set("b", "1")]).await, ["mutations"]);
    pannier.commit(vec![put("large", &"x".repeat(1_900))]).await;
    assert_eq!(violations(&pannier, vec![put("larger", &"x".repeat(2_000))]).await, ["mutations"]);
    assert_eq!(pannier.setting_keys("").await, ["a", "k0", "k1", "k2", "k3"]);
    assert_eq!(pannier.keys("n").await.len(), 6);
}

#[tokio::test]
async fn a_service_s_own_limits_hold_in_a_commit() {
    let pannier = pannier_with(|settings| {
        settings.settings.value_bytes_max = 10;
        settings.queue.batch_items_max = 1;
    })
    .await;
    let batch = What::QueueBatchEnqueue(queue::BatchEnqueueRequest {
        items: vec![item("a"), item("a")],
        ..Default::default()
    });
    let whats = vec![set("k", "1234567890123"), batch];
    let fields = ["mutations[0].settings_set.value_json", "mutations[1].queue_batch_enqueue.items"];
    assert_eq!(violations(&pannier, whats).await, fields);
}

#[tokio::test]
async fn mutations_that_contradict_each_other_are_refused_and_named() {
    let pannier = pannier().await;
    let revision = pannier.set("s", "1").await;
    let etag = pannier.put("n", value_item("k", "v")).await.etag;
    let absent = || Condition::IfAbsent(true);
    let if_absent = || Some(set_request::Condition::IfAbsent(true));
    let if_revision = || Some(set_request::Condition::IfRevision(revision));
    let upper =
        jobs::CreateRequest { job_id: job_id(1).to_uppercase(), r#type: "t".into(), ..Default::default() };
    for (first, second) in [
        (put_if("new", "1", absent()), put_if("new", "2", absent())),
        (put("k", "1"), delete("k", Some(&etag))),
        (delete("k", None), put_if("k", "1", Condition::IfPresent(true))),
        (delete("k", Some(&etag)), put_if("k", "1", Condition::IfEtag(etag.clone()))),
        (check_entry("k", cache_check::Expected::Absent(true)), delete("k", Some(&etag))),
        (set_if("new", "1", if_absent()), set_if("new", "2", if_absent())),
        (set_if("s", "2", if_revision()), unset("s", revision)),
        (unset("s", revision), set_if("s", "2", if_revision())),
        (set("s", "2"), check_setting("s", settings_check::Expected::Revision(revision))),
        (
            check_setting("s", settings_check::Expected::Present(true)),
            check_setting("s", settings_check::Expected::Absent(true)),
        ),
        (create(1), What::JobsCreate(upper)),
        (
            What::JobsDelete(jobs::DeleteRequest { job_id: job_id(1), ..Default::default() }),
            update(1, JobStatus::Processing),
        ),
        (check_job(1, &[JobStatus::Pending]), create(1)),
    ] {
        let whats = vec![enqueue("a"), first.clone(), set("other", "1"), second.clone()];
        let status = pannier.try_commit(whats).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["mutations[3]"], "{first:?} {second:?}");
        assert!(status.message().contains("mutations[1]"), "{}", status.message());
    }
    let batch = What::CacheBatchPut(cache::BatchPutRequest {
        namespace: "n".into(),
        items: vec![cache::PutItem { condition: Some(absent()), ..value_item("x", "v") }; 2],
        ..Default::default()
    });
    assert_eq!(violations(&pannier, vec![batch]).await, ["mutations[0]"], "of one batch");
    assert_eq!((pannier.setting("s").await, pannier.keys("n").await), ("1".into(), vec!["k".into()]));
}

#[tokio::test]
async fn one_key_in_two_namespaces_is_two_things() {
    let pannier = pannier().await;
    let put_into = |namespace: &str| {
        let condition = Some(Condition::IfAbsent(true));
        let item = Some(cache::PutItem { condition, ..value_item("k", "v") });
        What::CachePut(cache::PutRequest { namespace: namespace.into(), item, ..Default::default() })
    };
    pannier.commit(vec![put_into("n"), put_into("m")]).await;
    assert!(pannier.get("n", "k").await.is_some() && pannier.get("m", "k").await.is_some());
}
