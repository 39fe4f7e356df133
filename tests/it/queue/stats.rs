//! Counts, ages and rates by type; and the views for a person with a database shell.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{completed, failed, item, outcome, seconds, us};
use crate::harness::{Pannier, assert_status, pannier};

fn counts(stats: &pb::TypeStats) -> Vec<(TaskState, i64)> {
    stats.counts.iter().map(|count| (count.state(), count.count)).collect()
}

/// One of type b in each state, and two queued of type a.
async fn one_of_each(pannier: &Pannier) -> i64 {
    let queue = pb::Queue {
        key_limits: Some(pb::KeyLimits { held_max: 1, ..Default::default() }),
        ..Default::default()
    };
    pannier.update_queue(queue, &["key_limits"]).await;
    pannier.enqueue_all(vec![item("b"); 6]).await;
    let worker = pannier.worker("w").await;
    let claim =
        pb::Claiming { worker_id: worker, types: vec!["b".into()], max_tasks: 6, ..Default::default() };
    let tasks = pannier.try_claim(claim).await.unwrap();
    let start = pb::outcome::What::Start(pb::StartOutcome {});
    let broken = pb::FailOutcome { r#final: true, ..Default::default() };
    let later = pb::FailOutcome { retry_delay: Some(seconds(500)), ..Default::default() };
    pannier
        .settle_all(vec![
            outcome(&tasks[0], start),
            outcome(&tasks[1], completed()),
            outcome(&tasks[2], pb::outcome::What::Fail(broken)),
            outcome(&tasks[3], pb::outcome::What::Fail(later)),
        ])
        .await;
    pannier.cancel(tasks[5].id).await;
    let release = pb::outcome::What::Release(pb::ReleaseOutcome {});
    pannier.tell(&tasks[5], release).await;
    let keyed = pb::EnqueueItem { limit_key: "k".into(), ..item("b") };
    pannier.enqueue_all(vec![keyed.clone(), keyed]).await;
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    worker
}

#[tokio::test]
async fn tasks_are_counted_by_type_and_state() {
    let pannier = pannier().await;
    one_of_each(&pannier).await;
    let stats = pannier.queue_stats().await;
    assert_eq!(stats.iter().map(|stats| stats.r#type.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(counts(&stats[0]), [(TaskState::Queued, 2)]);
    let all = [
        (TaskState::Queued, 1),
        (TaskState::Scheduled, 1),
        (TaskState::Claimed, 1),
        (TaskState::Running, 1),
        (TaskState::Completed, 1),
        (TaskState::Failed, 1),
        (TaskState::Cancelled, 1),
        (TaskState::Blocked, 1),
    ];
    assert_eq!(counts(&stats[1]), all);
    // Written, and read again.
    let pannier = pannier.restart().await;
    assert_eq!(counts(&pannier.queue_stats().await[1]), all);
    let only = pb::StatsRequest { types: vec!["a".into()], ..Default::default() };
    let stats = pannier.queue().stats(only).await.unwrap().into_inner().types;
    assert_eq!(stats.len(), 1);
}

async fn recount(pannier: &Pannier) -> Vec<(String, String, TaskState, i64)> {
    let answer = pannier.queue().recount(pb::RecountRequest {}).await.unwrap().into_inner();
    let of = |wrong: pb::CountCorrection| {
        let state = wrong.state();
        (wrong.queue, wrong.r#type, state, wrong.difference)
    };
    answer.corrections.into_iter().map(of).collect()
}

#[tokio::test]
async fn a_recount_corrects_counts_that_were_changed_by_hand() {
    let pannier = pannier().await;
    one_of_each(&pannier).await;
    let before = pannier.queue_stats().await;
    assert_eq!(recount(&pannier).await, [], "nothing is wrong");
    let fold = async |pannier: &Pannier| {
        while pannier.row_count("queue_deltas").await > 0 {
            pannier.advance_s(2);
            pannier.let_arrive().await;
        }
    };
    fold(&pannier).await;
    let changed = "UPDATE queue_counts SET queued = queued + 5, running = running - 1 WHERE completed = 1";
    pannier.execute(changed).await;
    assert_ne!(
        pannier.queue_stats().await.iter().map(counts).collect::<Vec<_>>(),
        before.iter().map(counts).collect::<Vec<_>>()
    );
    let (queue, kind) = ("default".to_owned(), "b".to_owned());
    let expected =
        [(queue.clone(), kind.clone(), TaskState::Queued, -5), (queue, kind, TaskState::Running, 1)];
    assert_eq!(recount(&pannier).await, expected);
    let same = |now: &[pb::TypeStats]| now.iter().map(counts).eq(before.iter().map(counts));
    assert!(same(&pannier.queue_stats().await));
    assert_eq!(recount(&pannier).await, []);
    fold(&pannier).await;
    assert!(same(&pannier.queue_stats().await), "folded");
}

/// What Stats reports and what is there, by state.
async fn counted_and_found(pannier: &Pannier) -> (Vec<(TaskState, i64)>, Vec<(TaskState, i64)>) {
    let stats = pannier.queue_stats().await;
    let mut found = Vec::new();
    for (state, _) in counts(&stats[0]) {
        let tasks = pannier.list(state).await;
        found.push((state, i64::try_from(tasks.len()).unwrap()));
    }
    (counts(&stats[0]), found)
}

#[tokio::test]
async fn a_stop_without_a_word_and_a_second_sidecar_leave_the_counts_right() {
    let pannier = pannier().await;
    for round in 0..4 {
        pannier.enqueue_all(vec![item("a"); 10]).await;
        let tasks = pannier.claim(&[], 5).await;
        pannier.settle_all(tasks[..2].iter().map(|task| outcome(task, completed())).collect()).await;
        // The counts are as durable as the tasks: nothing is written later.
        if crate::harness::is_postgres() {
            let other = pannier.beside().await;
            let (counted, found) = counted_and_found(&other).await;
            assert_eq!(counted, found, "round {round}, beside");
            other.enqueue(item("a")).await;
            drop(other);
        }
        let (counted, found) = counted_and_found(&pannier).await;
        assert_eq!(counted, found, "round {round}");
        pannier.advance_s(1);
    }
    assert_eq!(recount(&pannier).await, []);
    let pannier = pannier.restart_after("UPDATE queue_types SET paused = 0").await;
    let (counted, found) = counted_and_found(&pannier).await;
    assert_eq!(counted, found);
}

#[tokio::test]
async fn ages_tell_how_long_tasks_wait_and_are_held() {
    let pannier = pannier().await;
    let later = pb::enqueue_item::When::Delay(seconds(500));
    pannier.enqueue(pb::EnqueueItem { when: Some(later), ..item("a") }).await;
    let idle = pannier.queue_stats().await.remove(0);
    assert_eq!((idle.next_task_wait, idle.oldest_claim_age), (None, None));
    assert_eq!(us(idle.next_run_time.as_ref()), Some(pannier.now_us() + 500_000_000));
    pannier.enqueue_all(vec![item("a"), item("a")]).await;
    pannier.advance_s(30);
    pannier.claim_one().await;
    pannier.advance_s(20);
    let stats = pannier.queue_stats().await.remove(0);
    assert_eq!(stats.next_task_wait.unwrap().seconds, 49);
    assert_eq!(stats.oldest_claim_age.unwrap().seconds, 20);
    assert!(!stats.paused);
    pannier.queue().pause(pb::PauseRequest::default()).await.unwrap();
    assert!(pannier.queue_stats().await[0].paused);
}

#[tokio::test]
async fn rates_are_averages_over_the_last_full_minutes() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![item("a"); 20]).await;
    pannier.advance_s(10);
    for task in pannier.claim(&[], 10).await {
        pannier.advance_s(1);
        pannier.tell(&task, completed()).await;
    }
    for task in pannier.claim(&[], 5).await {
        pannier.tell(&task, failed("e")).await;
    }
    let stats = |minutes| {
        let mut queue = pannier.queue();
        let request = pb::StatsRequest { rate_minutes: minutes, ..Default::default() };
        async move { queue.stats(request).await.unwrap().into_inner().types.remove(0) }
    };
    assert!(stats(5).await.enqueued_per_minute.abs() < 1e-9, "the minute is not over");
    pannier.advance_s(60);
    let five = stats(0).await;
    let near = |actual: f64, expected: f64| assert!((actual - expected).abs() < 1e-9, "{actual}");
    near(five.enqueued_per_minute, 4.0);
    near(five.claimed_per_minute, 3.0);
    near(five.completed_per_minute, 2.0);
    near(five.failed_per_minute, 1.0);
    near(five.lost_per_minute, 0.0);
    // Ten waited 10 s, five 20 s; the ten took 1 to 10 s.
    let wait_s = five.wait_average.unwrap();
    assert_eq!((wait_s.seconds, wait_s.nanos / 10_000_000), (13, 33));
    assert_eq!(five.run_average.unwrap(), prost_types::Duration { seconds: 5, nanos: 500_000_000 });
    near(stats(1).await.enqueued_per_minute, 20.0);
    pannier.advance_s(600);
    near(stats(5).await.enqueued_per_minute, 0.0);
    near(stats(60).await.completed_per_minute, 10.0 / 60.0);
}

#[tokio::test]
async fn statistics_of_nothing_are_refused() {
    let pannier = pannier().await;
    let error = pannier.queue().stats(pb::StatsRequest::default()).await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::QueueNotFound);
}

#[tokio::test]
async fn the_views_tell_a_person_what_goes_on() {
    let pannier = pannier().await;
    pannier.enqueue_all(vec![pb::EnqueueItem { priority: 7, ..item("scrape") }, item("scrape")]).await;
    let worker = pannier.worker("host-1").await;
    pannier.advance_s(10);
    pannier.beat(worker).await;
    pannier.claim_for(worker).await.unwrap();
    let columns =
        "queue, type, state, CAST(priority AS text), coalesce(worker, ''), created, coalesce(claimed, '')";
    let active = format!("SELECT {columns} FROM v_active_tasks ORDER BY state");
    let active = pannier.rows_as_text(&active).await;
    let claimed = [
        "default",
        "scrape",
        "claimed",
        "7",
        "host-1",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:10.000Z",
    ];
    let queued = ["default", "scrape", "queued", "5", "", "2026-01-01T00:00:00.000Z", ""];
    assert_eq!(active, [claimed, queued]);
    let columns = "name, status, registered, last_beat, CAST(tasks_held AS text)";
    let workers = pannier.rows_as_text(&format!("SELECT {columns} FROM v_worker_status")).await;
    let expected = ["host-1", "alive", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:10.000Z", "1"];
    assert_eq!(workers, [expected]);
    let columns = "queue, type, state, CAST(tasks AS text)";
    let stats = pannier.rows_as_text(&format!("SELECT {columns} FROM v_task_stats ORDER BY state")).await;
    let row = |state: &str| ["default", "scrape", state, "1"].map(str::to_owned);
    assert_eq!(stats, [row("claimed").to_vec(), row("queued").to_vec()]);
}
