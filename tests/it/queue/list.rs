//! Lists of tasks by state and type, logs, queues; pages of all of them; retention.

use pannier_proto::durability::v1::Durability;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{claiming, completed, item, numbered, numbers, outcome, released, seconds, states};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

/// All pages of a list.
async fn pages(pannier: &Pannier, request: pb::ListRequest) -> Vec<Vec<i64>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRequest { page_token, ..request.clone() };
        let page = pannier.queue().list(request).await.unwrap().into_inner();
        pages.push(numbers(&page.tasks));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

fn listing(state: TaskState, page_size: i32) -> pb::ListRequest {
    pb::ListRequest { states: states(state), page_size, ..Default::default() }
}

#[tokio::test]
async fn queued_tasks_are_listed_as_they_will_be_claimed() {
    let pannier = pannier().await;
    for number in 0..10 {
        let priority = i32::try_from(number % 3).unwrap() * 4 + 1;
        let kind = ["a", "b"][usize::try_from(number % 2).unwrap()];
        pannier.enqueue(pb::EnqueueItem { priority, ..numbered(kind, number) }).await;
    }
    let listed = pages(&pannier, listing(TaskState::Queued, 3)).await;
    assert_eq!(listed.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
    let of_b = pb::ListRequest { types: vec!["b".into()], ..listing(TaskState::Queued, 100) };
    assert!(pages(&pannier, of_b).await.concat().iter().all(|number| number % 2 == 1));
    assert_eq!(listed.concat(), numbers(&pannier.claim(&[], 10).await));
}

#[tokio::test]
async fn finished_tasks_are_listed_the_latest_first() {
    let pannier = pannier().await;
    pannier
        .enqueue_all((0..7).map(|number| numbered(["a", "b"][number as usize % 2], number)).collect())
        .await;
    let tasks = pannier.claim(&[], 7).await;
    // Some finish at the same moment.
    for batch in tasks.chunks(2) {
        pannier.settle_all(batch.iter().map(|task| outcome(task, completed())).collect()).await;
        pannier.advance_s(1);
    }
    let listed = pages(&pannier, listing(TaskState::Completed, 2)).await.concat();
    assert_eq!(listed, [6, 5, 4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn tasks_of_all_states_are_listed_the_latest_enqueued_first() {
    let pannier = pannier().await;
    let delayed = pb::enqueue_item::When::Delay(seconds(60));
    pannier.enqueue_all((0..3).map(|number| numbered("a", number)).collect()).await;
    pannier.enqueue(pb::EnqueueItem { when: Some(delayed), ..numbered("b", 3) }).await;
    pannier.try_enqueue("other", numbered("a", 99)).await.unwrap();
    pannier.enqueue(numbered("b", 4)).await;
    let held = pannier.claim(&["a"], 2).await;
    pannier.try_complete(&held[0]).await.unwrap();
    assert_eq!(pages(&pannier, listing(TaskState::Unspecified, 2)).await.concat(), [4, 3, 2, 1, 0]);
    assert_eq!(pages(&pannier, listing(TaskState::Claimed, 2)).await.concat(), [1]);
    assert_eq!(pages(&pannier, listing(TaskState::Scheduled, 2)).await.concat(), [3]);
    assert_eq!(pages(&pannier, listing(TaskState::Running, 2)).await.concat(), [0; 0]);
    let none = pb::ListRequest { queue: "none".into(), ..Default::default() };
    assert_eq!(pages(&pannier, none).await, [[0_i64; 0]; 1]);
    let none = pb::ListRequest { types: vec!["none".into()], ..Default::default() };
    assert_eq!(pages(&pannier, none).await.concat(), [0; 0]);
}

#[tokio::test]
async fn tasks_are_listed_by_worker_time_and_several_states() {
    let pannier = pannier().await;
    let (first, second) = (pannier.worker("host-1").await, pannier.worker("host-2").await);
    for number in 0..6 {
        pannier.enqueue(numbered("a", number)).await;
        pannier.advance_s(1);
    }
    let claim = |worker_id| pb::Claiming { worker_id, ..claiming(&[], 2) };
    let held = pannier.try_claim(claim(first)).await.unwrap();
    pannier.try_claim(claim(second)).await.unwrap();
    pannier.try_complete(&held[0]).await.unwrap();
    let at = |second: i64| {
        let us = crate::harness::START_US + second * 1_000_000;
        Some(prost_types::Timestamp { seconds: us / 1_000_000, nanos: 0 })
    };
    let base = || pb::ListRequest { page_size: 2, ..Default::default() };
    let both = vec![TaskState::Queued.into(), TaskState::Completed.into()];
    let cases = [
        (pb::ListRequest { states: both.clone(), ..base() }, vec![5, 4, 0]),
        (pb::ListRequest { worker_id: first, ..base() }, vec![1, 0]),
        (pb::ListRequest { worker_name: "host-2".into(), ..base() }, vec![3, 2]),
        (pb::ListRequest { worker_name: "host-1".into(), states: both, ..base() }, vec![0]),
        (pb::ListRequest { create_time_from: at(2), create_time_before: at(5), ..base() }, vec![4, 3, 2]),
        (
            pb::ListRequest { states: states(TaskState::Claimed), create_time_from: at(2), ..base() },
            vec![3, 2],
        ),
        (pb::ListRequest { worker_name: "none".into(), ..base() }, vec![]),
    ];
    for (request, expected) in cases {
        assert_eq!(pages(&pannier, request.clone()).await.concat(), expected, "{request:?}");
    }
    let done = pannier.task(held[0].id).await;
    assert_eq!((done.worker_name.as_str(), done.update_time), ("host-1", done.finish_time));
    // The name stays when the worker is forgotten.
    pannier.execute("DELETE FROM queue_workers").await;
    assert_eq!(pannier.task(held[0].id).await.worker_name, "host-1");
    let request = pb::ListRequest { worker_name: "host-1".into(), ..base() };
    assert_eq!(pages(&pannier, request).await.concat(), [0]);
}

#[tokio::test]
async fn a_token_of_another_list_is_refused() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![numbered("a", 0), numbered("a", 1)]).await;
    let first = pannier.queue().list(listing(TaskState::Queued, 1)).await.unwrap().into_inner();
    let page_token = first.next_page_token;
    for other in [
        listing(TaskState::Unspecified, 1),
        pb::ListRequest { types: vec!["a".into()], ..listing(TaskState::Queued, 1) },
        pb::ListRequest { queue: "other".into(), ..listing(TaskState::Queued, 1) },
    ] {
        let request = pb::ListRequest { page_token: page_token.clone(), ..other };
        let error = pannier.queue().list(request).await.unwrap_err();
        assert_status(&error, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn a_page_ends_where_its_answer_would_be_too_large() {
    let pannier = pannier_with(|settings| {
        settings.queue.parameters_bytes_max = 1_000;
        settings.queue.result_bytes_max = 1_000;
        settings.server.response_bytes_max = 4_000;
    })
    .await;
    let large = pb::EnqueueItem { parameters_json: format!("\"{}\"", "x".repeat(998)), ..item("a") };
    pannier.enqueue_all(vec![large; 5]).await;
    let (mut sizes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRequest { page_token, ..Default::default() };
        let page = pannier.queue().list(request).await.unwrap().into_inner();
        sizes.push(page.tasks.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn a_log_is_told_by_pages() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    for number in 0..4 {
        let task = pannier.claim_one().await;
        pannier.tell(&task, pb::outcome::What::Start(pb::StartOutcome {})).await;
        // No end is equal to the one before.
        let end = if number % 2 == 0 { released() } else { super::calls::failed("e") };
        pannier.tell(&task, end).await;
        pannier.advance_s(60);
    }
    let task = pannier.claim_one().await;
    pannier.try_complete(&task).await.unwrap();
    let whole = pannier.events(id).await;
    assert_eq!(whole.len(), 1 + 4 * 3 + 2);
    for page_size in [1, 2, 5, 15, 100] {
        let (mut events, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::LogsRequest { task_id: id, page_size, page_token };
            let page = pannier.queue().logs(request).await.unwrap().into_inner();
            assert!(page.events.len() <= usize::try_from(page_size).unwrap());
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(events, whole, "by {page_size}");
    }
}

#[tokio::test]
async fn queues_have_rules_that_are_read_changed_and_listed() {
    let pannier = pannier().await;
    let written = pannier
        .update_queue(pb::Queue { name: "b".into(), max_retries: 7, ..Default::default() }, &["max_retries"])
        .await;
    assert_eq!((written.max_retries, written.order()), (7, pb::Order::Fifo));
    assert_eq!((written.backoff, written.backoff_max), (Some(seconds(1)), Some(seconds(3_600))));
    assert_eq!(written.retention, Some(seconds(7 * 24 * 3_600)));
    let all = pb::Queue {
        name: "b".into(),
        order: pb::Order::Lifo.into(),
        max_retries: 1,
        backoff: Some(seconds(2)),
        backoff_max: Some(seconds(3)),
        timeout: Some(seconds(4)),
        retention: Some(seconds(5)),
        failed_retention: Some(seconds(6)),
        key_limits: Some(pb::KeyLimits { held_max: 7, claims_max: 8, claims_period: Some(seconds(9)) }),
        ageing: Some(seconds(10)),
        durability: Durability::Relaxed.into(),
        ..Default::default()
    };
    let request = pb::UpdateQueueRequest { queue: Some(all.clone()), ..Default::default() };
    let answer = pannier.queue().update_queue(request).await.unwrap().into_inner();
    assert!(!answer.created);
    let pannier = pannier.restart().await;
    let read = pannier.queue().get_queue(pb::GetQueueRequest { name: "b".into() }).await.unwrap();
    let read = read.into_inner().queue.unwrap();
    assert_eq!(Some(&read), answer.queue.as_ref());
    assert_eq!(pb::Queue { create_time: None, update_time: None, ..read }, all);
    for name in ["c", "a"] {
        pannier.try_enqueue(name, item("t")).await.unwrap();
    }
    let request = |page_token| pb::ListQueuesRequest { page_size: 2, page_token };
    let first = pannier.queue().list_queues(request(String::new())).await.unwrap().into_inner();
    let second = pannier.queue().list_queues(request(first.next_page_token)).await.unwrap().into_inner();
    let names: Vec<String> = first.queues.into_iter().chain(second.queues).map(|queue| queue.name).collect();
    assert_eq!((names.join(""), second.next_page_token.as_str()), ("abc".into(), ""));
}

#[tokio::test]
async fn the_rules_of_a_queue_are_followed_at_once() {
    let pannier = pannier().await;
    let rules =
        pb::Queue { backoff: Some(seconds(100)), backoff_max: Some(seconds(150)), ..Default::default() };
    pannier.enqueue(item("a")).await;
    pannier.update_queue(rules, &["backoff", "backoff_max"]).await;
    for (least_s, most_s) in [(80, 120), (120, 180), (120, 180)] {
        let task = pannier.claim_one().await;
        let retried = pannier.tell(&task, super::calls::failed("e")).await;
        let delay_us = super::calls::us(retried.run_time.as_ref()).unwrap() - pannier.now_us();
        assert!((least_s * 1_000_000..=most_s * 1_000_000).contains(&delay_us), "{delay_us}");
        pannier.advance_s(180);
    }
}

#[tokio::test]
async fn what_is_over_its_retention_is_removed_and_nothing_else() {
    let pannier = pannier_with(|settings| {
        settings.queue.retention_ms = 60_000;
        settings.queue.failed_retention_ms = 3_600_000;
        settings.queue.worker_retention_ms = 60_000;
    })
    .await;
    let keep = pb::Queue { name: "keep".into(), retention: Some(seconds(0)), ..Default::default() };
    pannier.update_queue(keep, &["retention"]).await;
    pannier.enqueue_all((0..600).map(|number| numbered("a", number)).collect()).await;
    let failed = pannier.enqueue(item("f")).await;
    let queued = pannier.enqueue(item("q")).await;
    let cancelled = pannier.enqueue(item("c")).await;
    pannier.cancel(cancelled).await;
    let kept = pannier.try_enqueue("keep", item("a")).await.unwrap().task_id;
    let mut tasks = pannier.claim(&["a"], 600).await;
    let again = pannier.tell(&tasks[0], released()).await;
    tasks[0] = pannier.claim(&["a"], 1).await.remove(0);
    assert_eq!(again.task_id, tasks[0].id);
    let keeping = pb::Claiming { queue: "keep".into(), ..claiming(&[], 1) };
    tasks.extend(pannier.try_claim(keeping).await.unwrap());
    pannier.settle_all(tasks.iter().map(|task| outcome(task, completed())).collect()).await;
    let broken = pannier.claim(&["f"], 1).await.remove(0);
    let fail = pb::FailOutcome { r#final: true, ..Default::default() };
    pannier.tell(&broken, pb::outcome::What::Fail(fail)).await;
    let worker = pannier.worker("w").await;
    let leave = pb::UnregisterWorkerRequest { worker_id: worker, ..Default::default() };
    pannier.queue().unregister_worker(leave).await.unwrap();

    pannier.sweep_until(|pannier| async move { pannier.row_count("queue_tasks").await == 3 }).await;
    for (id, state) in
        [(failed, TaskState::Failed), (queued, TaskState::Queued), (kept, TaskState::Completed)]
    {
        assert_eq!(pannier.state_of(id).await, state);
    }
    assert_eq!(pannier.row_count("queue_task_logs").await, 0);
    assert_eq!(pannier.row_count("queue_workers").await, 0);
    pannier.advance_s(3_600);
    pannier.sweep_until(|pannier| async move { pannier.row_count("queue_tasks").await == 2 }).await;
    let counts = pannier.queue_stats().await;
    assert!(counts.iter().all(|stats| stats.r#type == "q" || stats.counts.is_empty()), "{counts:?}");
}
