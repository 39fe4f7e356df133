//! What is wrong with a request is told whole, and nothing is stored.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use prost_types::{Duration, FieldMask, Timestamp};
use tonic::Code;

use super::calls::{claiming, item, outcome, seconds};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

const NOT_A_UUID: &str = "6f1b3c52";

/// The fields that a call is refused for.
macro_rules! refused {
    ($pannier:expr, $method:ident, $request:expr) => {
        violated_fields(&$pannier.queue().$method($request).await.unwrap_err())
    };
}

async fn small() -> Pannier {
    pannier_with(|settings| {
        settings.queue.parameters_bytes_max = 20;
        settings.queue.result_bytes_max = 20;
        settings.queue.batch_items_max = 3;
        settings.queue.claim_tasks_max = 10;
    })
    .await
}

#[tokio::test]
async fn a_wrong_task_is_told_whole() {
    let pannier = small().await;
    let wrong = pb::EnqueueItem {
        r#type: "a b".into(),
        parameters_json: "{\"a\": nope}".into(),
        priority: 11,
        when: Some(pb::enqueue_item::When::Delay(Duration { seconds: -1, nanos: 0 })),
        max_retries: Some(1_001),
        timeout: Some(seconds(0)),
        limit_key: "\n".into(),
        unique: Some(pb::Unique {
            key: String::new(),
            states: vec![pb::TaskState::Queued.into(), 0, 99],
            period: Some(seconds(-5)),
        }),
        job_id: "a job".into(),
        job_item_key: "k".repeat(1_025),
    };
    let request = pb::EnqueueRequest {
        queue: "ü".into(),
        item: Some(wrong.clone()),
        request_id: NOT_A_UUID.into(),
        ..Default::default()
    };
    let expected = [
        "item.delay",
        "item.job_id",
        "item.job_item_key",
        "item.limit_key",
        "item.max_retries",
        "item.parameters_json",
        "item.priority",
        "item.timeout",
        "item.type",
        "item.unique.key",
        "item.unique.period",
        "item.unique.states[1]",
        "item.unique.states[2]",
        "queue",
        "request_id",
    ];
    assert_eq!(refused!(pannier, enqueue, request), expected);
    let items = vec![item("a"), pb::EnqueueItem { priority: -1, ..item("") }, item("b")];
    let request = pb::BatchEnqueueRequest { items, ..Default::default() };
    let request = pb::BatchEnqueueRequest { atomic: true, ..request };
    assert_eq!(refused!(pannier, batch_enqueue, request), ["items[1].priority", "items[1].type"]);
    assert_eq!(refused!(pannier, enqueue, pb::EnqueueRequest::default()), ["item.type"]);
    assert_eq!(pannier.row_count("queue_tasks").await + pannier.row_count("queue_queues").await, 0);
}

#[tokio::test]
async fn sizes_are_bounded_and_the_bound_is_named() {
    let pannier = small().await;
    let large = |bytes: usize| pb::EnqueueItem {
        parameters_json: format!("\"{}\"", "x".repeat(bytes - 2)),
        ..item("a")
    };
    pannier.enqueue(large(20)).await;
    let error = pannier.try_enqueue("", large(21)).await.unwrap_err();
    assert_eq!(violated_fields(&error), ["item.parameters_json"]);
    assert!(error.message().contains("queue.parameters_bytes_max"), "{}", error.message());
    for count in [0, 4] {
        let request = pb::BatchEnqueueRequest { items: vec![item("a"); count], ..Default::default() };
        let error = pannier.queue().batch_enqueue(request).await.unwrap_err();
        assert_eq!(violated_fields(&error), ["items"]);
        assert!(error.message().contains("queue.batch_items_max"));
    }
}

#[tokio::test]
async fn any_json_is_stored_as_it_was_given_and_nothing_else() {
    let pannier = pannier().await;
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for text in ["", "null", " {\"b\" : 1.50, \"a\":\"\\u0000ü\"} ", "[1,2]", "\"text\"", "12e400", &deep] {
        let id = pannier.enqueue(pb::EnqueueItem { parameters_json: text.into(), ..item("a") }).await;
        assert_eq!(pannier.task(id).await.parameters_json, text);
    }
    let too_deep = "[".repeat(100_000);
    for text in ["{", "nope", "{\"a\":1}}", "'a'", "{\"a\": NaN}", "\0", " ", too_deep.as_str()] {
        let item = pb::EnqueueItem { parameters_json: text.into(), ..item("a") };
        let error = pannier.try_enqueue("", item).await.unwrap_err();
        assert_eq!(violated_fields(&error), ["item.parameters_json"], "{text:.20}");
    }
}

#[tokio::test]
async fn run_times_are_times_within_ten_years() {
    let pannier = pannier().await;
    let at = |seconds, nanos| pb::EnqueueItem {
        when: Some(pb::enqueue_item::When::RunTime(Timestamp { seconds, nanos })),
        ..item("a")
    };
    let now_s = pannier.now_us() / 1_000_000;
    let year_s = 366 * 24 * 3_600;
    for (seconds, nanos) in
        [(now_s + 10 * year_s + 1, 0), (i64::MAX, 0), (i64::MIN, 0), (now_s, -1), (now_s, i32::MAX)]
    {
        let error = pannier.try_enqueue("", at(seconds, nanos)).await.unwrap_err();
        assert_eq!(violated_fields(&error), ["item.run_time"], "{seconds} {nanos}");
    }
    pannier.enqueue(at(now_s + 10 * year_s, 0)).await;
    pannier.enqueue(at(-62_135_596_800, 0)).await;
}

#[tokio::test]
async fn a_wrong_claim_is_told_whole() {
    let pannier = small().await;
    let request = pb::ClaimRequest {
        claiming: Some(pb::Claiming {
            queue: " ".into(),
            types: vec!["a".into(), String::new(), "x".repeat(129)],
            max_tasks: 11,
            wait: Some(seconds(61)),
            worker_id: -1,
            lease: Some(seconds(0)),
            start: false,
            ..Default::default()
        }),
        request_id: "x".into(),
        ..Default::default()
    };
    let expected = [
        "claiming.lease",
        "claiming.lease",
        "claiming.max_tasks",
        "claiming.queue",
        "claiming.types[1]",
        "claiming.types[2]",
        "claiming.wait",
        "claiming.worker_id",
        "request_id",
    ];
    assert_eq!(refused!(pannier, claim, request), expected);
    let negative = pb::Claiming { max_tasks: -1, types: vec!["a".into(); 257], ..Default::default() };
    let request = pb::ClaimRequest { claiming: Some(negative), ..Default::default() };
    assert_eq!(refused!(pannier, claim, request), ["claiming.max_tasks", "claiming.types"]);
    let unknown = pb::Claiming { worker_id: 99, ..claiming(&[], 1) };
    let error = pannier.try_claim(unknown).await.unwrap_err();
    assert_status(&error, Code::FailedPrecondition, ErrorReason::WorkerLost);
}

#[tokio::test]
async fn wrong_outcomes_are_told_whole_and_none_is_recorded() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let with = |what| outcome(&task, what);
    let fail = |error: String, is_final| {
        pb::outcome::What::Fail(pb::FailOutcome {
            error,
            r#final: is_final,
            retry_delay: is_final.then(|| seconds(1)),
        })
    };
    let outcomes = vec![
        with(super::calls::completed()),
        pb::Outcome { task_id: task.id, token: task.token, what: None },
        with(pb::outcome::What::Extend(pb::ExtendOutcome { lease: Some(seconds(90_000)) })),
        with(pb::outcome::What::Complete(pb::CompleteOutcome { result_json: "{".into() })),
        with(fail("x".repeat(4_097), false)),
        with(fail("\0".into(), true)),
        with(pb::outcome::What::Snooze(pb::SnoozeOutcome { delay: None })),
    ];
    let request = pb::ExchangeRequest {
        outcomes: outcomes.clone(),
        claiming: Some(claiming(&["a b"], 1)),
        request_id: NOT_A_UUID.into(),
        ..Default::default()
    };
    assert_eq!(refused!(pannier, exchange, request), ["claiming.types[0]", "request_id"]);
    let request =
        pb::SettleRequest { outcomes, request_id: NOT_A_UUID.into(), atomic: true, ..Default::default() };
    let expected = [
        "outcomes[1].what",
        "outcomes[2].extend.lease",
        "outcomes[3].complete.result_json",
        "outcomes[4].fail.error",
        "outcomes[5].fail.error",
        "outcomes[5].fail.retry_delay",
        "outcomes[6].snooze.delay",
        "request_id",
    ];
    assert_eq!(refused!(pannier, settle, request), expected);
    assert_eq!(pannier.state_of(task.id).await, pb::TaskState::Claimed);
    assert_eq!(refused!(pannier, settle, pb::SettleRequest::default()), ["outcomes"]);
    let (task_id, token) = (task.id, task.token);
    let snooze = pb::SnoozeRequest { task_id, token, ..Default::default() };
    assert_eq!(refused!(pannier, snooze, snooze), ["snooze.delay"]);
    let complete = Some(pb::CompleteOutcome { result_json: "nope".into() });
    let complete =
        pb::CompleteRequest { task_id, token, complete, request_id: "x".into(), ..Default::default() };
    assert_eq!(refused!(pannier, complete, complete), ["complete.result_json", "request_id"]);
}

#[tokio::test]
async fn wrong_changes_by_hand_are_told() {
    let pannier = small().await;
    let request = pb::CancelRequest { task_ids: vec![], request_id: "x".into(), ..Default::default() };
    assert_eq!(refused!(pannier, cancel, request), ["request_id", "task_ids"]);
    let request = pb::RetryRequest { task_ids: vec![1; 4], ..Default::default() };
    assert_eq!(refused!(pannier, retry, request), ["task_ids"]);
    let request = pb::RedriveRequest {
        queue: "?".into(),
        types: vec!["?".into()],
        max_tasks: 4,
        request_id: "x".into(),
        ..Default::default()
    };
    assert_eq!(refused!(pannier, redrive, request), ["max_tasks", "queue", "request_id", "types[0]"]);
    let request = pb::PauseRequest { queue: "?".into(), types: vec!["?".into()], request_id: "x".into() };
    assert_eq!(refused!(pannier, pause, request), ["queue", "request_id", "types[0]"]);
    let request = pb::ResumeRequest { queue: "?".into(), types: vec!["?".into()], request_id: "x".into() };
    assert_eq!(refused!(pannier, resume, request), ["queue", "request_id", "types[0]"]);
}

#[tokio::test]
async fn wrong_reads_are_told() {
    let pannier = pannier().await;
    let request = pb::ListRequest {
        queue: "?".into(),
        types: vec!["?".into()],
        states: vec![99, 0],
        page_size: 1_001,
        page_token: String::new(),
        worker_id: -1,
        worker_name: "\n".into(),
        create_time_from: Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
        create_time_before: Some(Timestamp { seconds: 0, nanos: -1 }),
    };
    let expected = [
        "create_time_before",
        "create_time_from",
        "page_size",
        "queue",
        "states[0]",
        "states[1]",
        "types[0]",
        "worker_id",
        "worker_name",
    ];
    assert_eq!(refused!(pannier, list, request), expected);
    let request = pb::WatchRequest { interval_min: Some(seconds(0)), ..Default::default() };
    assert_eq!(refused!(pannier, watch, request), ["interval_min", "task_ids"]);
    let request = pb::StatsRequest { queue: "?".into(), types: vec![], rate_minutes: 61 };
    assert_eq!(refused!(pannier, stats, request), ["queue", "rate_minutes"]);
    let request = pb::LogsRequest { task_id: 1, page_size: -1, page_token: String::new() };
    assert_eq!(refused!(pannier, logs, request), ["page_size"]);
    assert_eq!(
        refused!(pannier, list_workers, pb::ListWorkersRequest { page_size: -1, ..Default::default() }),
        ["page_size"]
    );
    assert_eq!(
        refused!(
            pannier,
            list_keys,
            pb::ListKeysRequest { page_size: -1, queue: "?".into(), ..Default::default() }
        ),
        ["page_size", "queue"]
    );
    assert_eq!(refused!(pannier, get_queue, pb::GetQueueRequest { name: "?".into() }), ["name"]);
    let error = pannier.try_task(7).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    let error = pannier.queue().logs(pb::LogsRequest { task_id: 7, ..Default::default() }).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::TaskNotFound);
    let request = pb::GetQueueRequest::default();
    let error = pannier.queue().get_queue(request).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::QueueNotFound);
    for token in ["x", "AAAA"] {
        let request = pb::ListRequest { page_token: token.into(), ..Default::default() };
        let error = pannier.queue().list(request).await.unwrap_err();
        assert_status(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn a_wrong_worker_is_told() {
    let pannier = small().await;
    let request =
        pb::RegisterWorkerRequest { name: String::new(), metadata_json: "[]".into(), request_id: "x".into() };
    assert_eq!(refused!(pannier, register_worker, request), ["metadata_json", "name", "request_id"]);
    let tasks = vec![pb::HeldTask { task_id: 1, token: 1 }; 4];
    let request =
        pb::HeartbeatRequest { worker_id: 1, held: Some(pb::HeldTasks { tasks, heartbeat_time: None }) };
    assert_eq!(refused!(pannier, heartbeat, request), ["held.tasks"]);
}

#[tokio::test]
async fn a_wrong_queue_or_key_is_told_whole() {
    let pannier = pannier().await;
    let queue = pb::Queue {
        name: "?".into(),
        order: 9,
        max_retries: -1,
        backoff: Some(seconds(-1)),
        backoff_max: Some(seconds(31 * 24 * 3_600)),
        timeout: Some(seconds(8 * 24 * 3_600)),
        retention: Some(seconds(-1)),
        failed_retention: Some(seconds(i64::MAX)),
        key_limits: Some(pb::KeyLimits { held_max: -1, claims_max: 5, claims_period: None }),
        ..Default::default()
    };
    let request = pb::UpdateQueueRequest { queue: Some(queue), update_mask: None, request_id: "x".into() };
    let expected = [
        "queue.backoff",
        "queue.backoff_max",
        "queue.failed_retention",
        "queue.key_limits.claims_period",
        "queue.key_limits.held_max",
        "queue.max_retries",
        "queue.name",
        "queue.order",
        "queue.retention",
        "queue.timeout",
        "request_id",
    ];
    assert_eq!(refused!(pannier, update_queue, request), expected);
    let mask = FieldMask { paths: vec!["order".into(), "name".into(), "paused".into()] };
    let request = pb::UpdateQueueRequest { update_mask: Some(mask), ..Default::default() };
    assert_eq!(refused!(pannier, update_queue, request), ["update_mask.paths[1]", "update_mask.paths[2]"]);
    let limits = pb::KeyLimits { held_max: -1, claims_max: -1, claims_period: Some(seconds(-1)) };
    let key = pb::Key { name: String::new(), limits: Some(limits), held_count: 0 };
    let request = pb::UpdateKeyRequest { queue: "?".into(), key: Some(key), request_id: "x".into() };
    let expected = [
        "key.limits.claims_max",
        "key.limits.claims_period",
        "key.limits.held_max",
        "key.name",
        "queue",
        "request_id",
    ];
    assert_eq!(refused!(pannier, update_key, request), expected);
}

#[tokio::test]
async fn a_wrong_schedule_is_told_whole() {
    let pannier = pannier().await;
    let schedule = pb::Schedule {
        name: String::new(),
        queue: "?".into(),
        item: Some(pb::EnqueueItem {
            when: Some(pb::enqueue_item::When::Delay(seconds(1))),
            priority: 99,
            ..item("?")
        }),
        cron: "61 * * * *".into(),
        time_zone: "Europe/Atlantis".into(),
        missed_runs: 9,
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), request_id: "x".into() };
    let expected = [
        "request_id",
        "schedule.cron",
        "schedule.item.priority",
        "schedule.item.type",
        "schedule.item.when",
        "schedule.missed_runs",
        "schedule.name",
        "schedule.queue",
        "schedule.time_zone",
    ];
    assert_eq!(refused!(pannier, put_schedule, request), expected);
    for cron in ["", "* * * *", "every day", "0 0 32 * *", "*/0 * * * *", "\0", &"* ".repeat(200)] {
        let schedule =
            pb::Schedule { name: "s".into(), item: Some(item("a")), cron: cron.into(), ..Default::default() };
        let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
        assert_eq!(refused!(pannier, put_schedule, request), ["schedule.cron"], "{cron:.20}");
    }
    assert_eq!(refused!(pannier, get_schedule, pb::GetScheduleRequest::default()), ["name"]);
}

#[tokio::test]
async fn no_more_queues_and_types_are_made_than_may() {
    let pannier = pannier_with(|settings| {
        settings.queue.queues_max = 2;
        settings.queue.types_max = 2;
    })
    .await;
    pannier.enqueue_all(vec![item("a"), item("b")]).await;
    pannier.try_enqueue("second", item("a")).await.unwrap();
    let error = pannier.try_enqueue("third", item("a")).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::TooManyQueues);
    let error = pannier.try_enqueue("", item("c")).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::TooManyTypes);
    let request = pb::BatchEnqueueRequest { items: vec![item("a"), item("c")], ..Default::default() };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    assert!(matches!(results[0].outcome, Some(pb::batch_enqueue_result::Outcome::Enqueued(_))));
    match results[1].outcome.as_ref().unwrap() {
        pb::batch_enqueue_result::Outcome::Error(error) => {
            assert_eq!(error.reason(), ErrorReason::TooManyTypes);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pannier.claim(&[], 10).await.len(), 3);
}
