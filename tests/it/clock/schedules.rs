//! Schedules follow the wall clock: their next runs are computed again when it steps.

use pannier_proto::queue::v1 as pb;

use super::{When, step};
use crate::harness::{Pannier, pannier};
use crate::queue::calls::item;

async fn put(pannier: &Pannier, name: &str, cron: &str, missed_runs: pb::MissedRuns) {
    let schedule = pb::Schedule {
        name: name.into(),
        item: Some(item(name)),
        cron: cron.into(),
        missed_runs: missed_runs.into(),
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    pannier.queue().put_schedule(request).await.unwrap();
}

#[tokio::test]
async fn a_schedule_that_was_put_while_the_clock_was_a_year_ahead_runs_when_it_is_right_again() {
    for when in [When::Running, When::Stopped] {
        let mut pannier = pannier().await;
        pannier.clock.set(pannier.now_us() + 365 * 86_400 * 1_000_000);
        put(&pannier, "s", "0 * * * *", pb::MissedRuns::Skip).await;
        pannier = step(pannier, (when, 0)).await;
        pannier.let_arrive().await;
        pannier.advance_s(3_600);
        assert_eq!(pannier.claim(&[], 5).await.len(), 1, "{when:?}");
    }
}

#[tokio::test]
async fn a_schedule_for_every_second_goes_on_when_the_clock_goes_back() {
    for when in [When::Running, When::Stopped] {
        for by_s in [-30, -3_600, -7_200, 365 * 86_400] {
            let mut pannier = pannier().await;
            put(&pannier, "s", "* * * * * *", pb::MissedRuns::Skip).await;
            for _ in 0..5 {
                pannier.advance_s(1);
                pannier.claim(&[], 1_000).await;
            }
            pannier = step(pannier, (when, by_s)).await;
            pannier.claim(&[], 1_000).await;
            for second in 1..=3 {
                pannier.advance_s(1);
                assert_eq!(
                    pannier.claim(&[], 1_000).await.len(),
                    1,
                    "second {second} after {by_s} s, {when:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_hour_that_was_missed_comes_once_over_the_end_of_summer_time() {
    // 2026-10-24T20:00:30Z to 2026-10-25T06:00:30Z; New York's summer time ends a week later.
    for (zone, from_us) in
        [("Europe/Berlin", 1_792_872_030_000_000), ("America/New_York", 1_793_491_230_000_000)]
    {
        let mut pannier = pannier().await.restart_at(from_us).await;
        let schedule = pb::Schedule {
            name: "s".into(),
            item: Some(item("s")),
            cron: "0 * * * *".into(),
            time_zone: zone.into(),
            missed_runs: pb::MissedRuns::All.into(),
            ..Default::default()
        };
        let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
        pannier.queue().put_schedule(request).await.unwrap();
        pannier = pannier.restart_at(from_us + 10 * 3_600_000_000).await;
        assert_eq!(pannier.claim(&[], 100).await.len(), 10, "{zone}");
    }
}
