//! Every service while the wall clock steps by −30 s, −1 h and +1 year, while the sidecar runs and between two runs.

mod cache;
mod queue;
mod schedules;
mod services;
mod shared;

use crate::harness::{Pannier, pannier};

/// Steps of the wall clock, in seconds.
pub const STEPS_S: [i64; 3] = [-30, -3_600, 365 * 86_400];

/// When the wall clock steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Running,
    Stopped,
}

/// All steps at all times.
pub fn steps() -> impl Iterator<Item = (When, i64)> {
    [When::Running, When::Stopped].into_iter().flat_map(|when| STEPS_S.map(|by_s| (when, by_s)))
}

/// Has the wall clock step.
pub async fn step(pannier: Pannier, (when, by_s): (When, i64)) -> Pannier {
    let to_us = pannier.now_us() + by_s * 1_000_000;
    if when == When::Stopped {
        return pannier.restart_at(to_us).await;
    }
    pannier.clock.set(to_us);
    pannier
}

/// Lets background work run, and time pass with it.
pub async fn until(pannier: &Pannier, what: &str, is_done: impl AsyncFn() -> bool) {
    for turn in 1..=400 {
        if is_done().await {
            return;
        }
        pannier.exists("unrelated", &["a"]).await;
        if turn % 10 == 0 {
            pannier.advance_s(300);
        }
    }
    panic!("it does not come to pass: {what}");
}

#[tokio::test]
async fn a_sidecar_that_was_stopped_for_long_loses_nothing_and_a_bad_clock_neither() {
    // Off for 40 days, and started with a clock that is 40 days ahead: the sidecar cannot tell one from the other.
    let mut pannier = pannier().await;
    let id = pannier.job().await;
    pannier.complete(&id).await.unwrap();
    let to_us = pannier.now_us() + 40 * 86_400 * 1_000_000;
    pannier = pannier.restart_at(to_us).await;
    for _ in 0..20 {
        pannier.advance_s(3_600);
        pannier.exists("unrelated", &["a"]).await;
    }
    assert_eq!(pannier.get_job(&id).await.id, id);
}
