//! Cron schedules: persisted, in time zones, each run enqueued once.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use tonic::{Code, Status};

use super::calls::{claiming, item, numbered, seconds, us};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with};

const HOUR_US: i64 = 3_600_000_000;

fn hourly(name: &str) -> pb::Schedule {
    pb::Schedule {
        name: name.into(),
        item: Some(numbered("a", 7)),
        cron: "0 * * * *".into(),
        ..Default::default()
    }
}

async fn try_put(pannier: &Pannier, schedule: pb::Schedule) -> Result<pb::PutScheduleResponse, Status> {
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    Ok(pannier.queue().put_schedule(request).await?.into_inner())
}

async fn put(pannier: &Pannier, schedule: pb::Schedule) -> pb::Schedule {
    try_put(pannier, schedule).await.unwrap().schedule.unwrap()
}

async fn get(pannier: &Pannier, name: &str) -> Result<pb::Schedule, Status> {
    let request = pb::GetScheduleRequest { name: name.into() };
    Ok(pannier.queue().get_schedule(request).await?.into_inner().schedule.unwrap())
}

/// The run times of the tasks that are there, in hours since the test began.
async fn hours(pannier: &Pannier) -> Vec<i64> {
    let tasks = pannier.claim(&[], 1_000).await;
    let mut hours = Vec::new();
    for task in tasks {
        hours.push((us(task.run_time.as_ref()).unwrap() - START_US) / HOUR_US);
        pannier.try_complete(&task).await.unwrap();
    }
    hours
}

#[tokio::test]
async fn a_schedule_enqueues_its_task_at_each_of_its_times() {
    let pannier = pannier().await;
    let answer = try_put(&pannier, hourly("s")).await.unwrap();
    assert!(answer.created);
    let schedule = answer.schedule.unwrap();
    assert_eq!(us(schedule.next_run_time.as_ref()), Some(START_US + HOUR_US));
    assert_eq!((schedule.last_run_time, schedule.last_task_id), (None, 0));
    assert_eq!(schedule.queue, "default");
    for hour in 1..4 {
        pannier.advance_s(3_599);
        assert!(pannier.claim(&[], 5).await.is_empty());
        pannier.advance_s(1);
        let task = pannier.claim_one().await;
        assert_eq!((task.schedule.as_str(), task.parameters_json.as_str()), ("s", r#"{"n":7}"#));
        assert_eq!(us(task.run_time.as_ref()), Some(START_US + hour * HOUR_US));
        pannier.try_complete(&task).await.unwrap();
        let schedule = get(&pannier, "s").await.unwrap();
        assert_eq!((schedule.last_task_id, schedule.last_run_time), (task.id, task.run_time));
        assert_eq!(us(schedule.next_run_time.as_ref()), Some(START_US + (hour + 1) * HOUR_US));
    }
}

#[tokio::test]
async fn one_who_waits_is_woken_by_a_run() {
    let pannier = pannier().await;
    put(&pannier, hourly("s")).await;
    pannier.advance_s(3_590);
    let waiter = pannier.waiter(pb::Claiming { wait: Some(seconds(60)), ..claiming(&["a"], 1) }).await;
    pannier.advance_s(10);
    assert_eq!(waiter.await.unwrap()[0].schedule, "s");
}

#[tokio::test]
async fn missed_runs_are_made_up_for_as_the_schedule_says() {
    let cases = [
        (pb::MissedRuns::Unspecified, vec![]),
        (pb::MissedRuns::Skip, vec![]),
        (pb::MissedRuns::One, vec![5]),
        (pb::MissedRuns::All, vec![3, 4, 5]),
    ];
    for (missed_runs, expected) in cases {
        let mut pannier = pannier_with(|settings| settings.queue.missed_runs_max = 3).await;
        put(&pannier, pb::Schedule { missed_runs: missed_runs.into(), ..hourly("s") }).await;
        // Down from before the first run until half an hour after the fifth.
        pannier = pannier.restart_at(START_US + 5 * HOUR_US + HOUR_US / 2).await;
        assert_eq!(hours(&pannier).await, expected, "{missed_runs:?}");
        pannier.advance_s(1_800);
        assert_eq!(hours(&pannier).await, [6], "{missed_runs:?}");
    }
}

#[tokio::test]
async fn a_schedule_survives_a_restart_and_runs_once() {
    let mut pannier = pannier().await;
    put(&pannier, hourly("s")).await;
    pannier.advance_s(3_600);
    assert_eq!(hours(&pannier).await, [1]);
    pannier = pannier.restart().await;
    assert_eq!(hours(&pannier).await, [0; 0]);
    pannier.advance_s(3_599);
    assert_eq!(hours(&pannier).await, [2]);
}

#[tokio::test]
async fn a_time_zone_is_followed_through_the_change_of_the_clock() {
    let pannier = pannier().await;
    let daily = pb::Schedule { cron: "30 2 * * *".into(), time_zone: "Europe/Berlin".into(), ..hourly("s") };
    // 28 March 2026, 12:00 UTC: the night after it the clocks go forward.
    let noon_us = 1_774_699_200_000_000;
    let mut pannier = pannier.restart_at(noon_us).await;
    let schedule = put(&pannier, daily).await;
    assert_eq!(us(schedule.next_run_time.as_ref()), Some(noon_us + 13 * HOUR_US), "03:00 CEST");
    pannier = pannier.restart_at(noon_us + 13 * HOUR_US).await;
    assert_eq!(pannier.claim(&[], 5).await.len(), 1);
    let next = get(&pannier, "s").await.unwrap().next_run_time;
    assert_eq!(us(next.as_ref()), Some(noon_us + 36 * HOUR_US + HOUR_US / 2), "02:30 CEST");
}

#[tokio::test]
async fn a_schedule_is_replaced_paused_and_deleted() {
    let pannier = pannier().await;
    put(&pannier, hourly("s")).await;
    let other = pb::Schedule {
        item: Some(pb::EnqueueItem { priority: 9, max_retries: Some(1), ..item("b") }),
        ..hourly("s")
    };
    let answer = try_put(&pannier, other).await.unwrap();
    assert!(!answer.created);
    pannier.advance_s(3_600);
    let task = pannier.claim_one().await;
    assert_eq!((task.r#type.as_str(), task.priority, task.max_retries), ("b", 9, 1));

    let paused = put(&pannier, pb::Schedule { paused: true, ..hourly("s") }).await;
    assert_eq!(paused.next_run_time, None);
    pannier.advance_s(7_200);
    assert!(pannier.claim(&["a"], 5).await.is_empty());
    let going_on = put(&pannier, hourly("s")).await;
    assert_eq!(us(going_on.next_run_time.as_ref()), Some(START_US + 4 * HOUR_US));
    pannier.advance_s(3_600);
    assert_eq!(pannier.claim(&["a"], 5).await.len(), 1);

    let delete = || pb::DeleteScheduleRequest { name: "s".into(), ..Default::default() };
    assert!(pannier.queue().delete_schedule(delete()).await.unwrap().into_inner().deleted);
    assert!(!pannier.queue().delete_schedule(delete()).await.unwrap().into_inner().deleted);
    let error = get(&pannier, "s").await.unwrap_err();
    assert_status(&error, Code::NotFound, ErrorReason::ScheduleNotFound);
    pannier.advance_s(7_200);
    assert!(pannier.claim(&["a"], 5).await.iter().all(|task| task.token > 1), "no new ones");
}

#[tokio::test]
async fn with_a_unique_key_a_run_is_left_out_while_the_last_one_is_unfinished() {
    let pannier = pannier().await;
    let unique = Some(pb::Unique { key: "one".into(), ..Default::default() });
    let schedule = pb::Schedule { item: Some(pb::EnqueueItem { unique, ..item("a") }), ..hourly("s") };
    let stored = put(&pannier, schedule).await;
    assert_eq!(stored.item.unwrap().unique.unwrap().states.len(), 5, "all unfinished states");
    for _ in 0..3 {
        pannier.advance_s(3_600);
    }
    let tasks = pannier.claim(&[], 5).await;
    assert_eq!(tasks.len(), 1);
    pannier.try_complete(&tasks[0]).await.unwrap();
    pannier.advance_s(3_600);
    assert_eq!(pannier.claim(&[], 5).await.len(), 1);
}

#[tokio::test]
async fn setting_the_clock_neither_repeats_runs_nor_stops_them() {
    let pannier = pannier().await;
    put(&pannier, hourly("s")).await;
    pannier.advance_s(3_600);
    assert_eq!(hours(&pannier).await, [1]);
    // Back by an hour: the run that was is not repeated.
    pannier.clock.set(START_US + 60_000_000);
    assert_eq!(hours(&pannier).await, [0; 0]);
    pannier.clock.set(START_US + HOUR_US);
    assert_eq!(hours(&pannier).await, [0; 0]);
    pannier.clock.set(START_US + 2 * HOUR_US);
    assert_eq!(hours(&pannier).await, [2]);
    // A year ahead by mistake, and back: it goes on.
    let year = 365 * 24;
    pannier.clock.set(START_US + year * HOUR_US);
    assert_eq!(hours(&pannier).await, [year]);
    pannier.clock.set(START_US + 2 * HOUR_US + 1);
    pannier.advance_s(5);
    pannier.let_arrive().await;
    pannier.clock.set(START_US + 3 * HOUR_US);
    assert_eq!(hours(&pannier).await, [3]);
}

#[tokio::test]
async fn schedules_are_listed_by_name_and_no_more_are_made_than_may() {
    let pannier = pannier_with(|settings| settings.queue.schedules_max = 3).await;
    for name in ["c", "a", "b"] {
        put(&pannier, hourly(name)).await;
    }
    let error = try_put(&pannier, hourly("d")).await.unwrap_err();
    assert_status(&error, Code::ResourceExhausted, ErrorReason::TooManySchedules);
    let request = |page_token| pb::ListSchedulesRequest { page_size: 2, page_token };
    let first = pannier.queue().list_schedules(request(String::new())).await.unwrap().into_inner();
    let second = pannier.queue().list_schedules(request(first.next_page_token)).await.unwrap().into_inner();
    let names: Vec<String> =
        first.schedules.into_iter().chain(second.schedules).map(|schedule| schedule.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(second.next_page_token.is_empty());
}
