//! The cache: order comes from a sequence, expiry from the serving clock.

use super::{When, step, steps, until};
use crate::cache::items::{assert_about, lasting, short_lived};
use crate::harness::{Pannier, pannier};

async fn has(pannier: &Pannier, key: &str) -> bool {
    pannier.get("n", key).await.is_some()
}

#[tokio::test]
async fn the_least_recently_used_go_first_whatever_the_clock_says() {
    for at in steps() {
        let mut pannier = pannier().await;
        pannier.limit_entries("n", 10).await;
        for number in 0..10 {
            pannier.put("n", lasting(&format!("old{number}"), "v")).await;
            pannier.advance_s(1);
        }
        pannier = step(pannier, at).await;
        for number in 0..5 {
            pannier.put("n", lasting(&format!("new{number}"), "v")).await;
            assert!(has(&pannier, &format!("new{number}")).await, "what was put is there: {at:?}");
        }
        for number in 0..10 {
            let is_there = has(&pannier, &format!("old{number}")).await;
            assert_eq!(is_there, number >= 5, "old{number} after {at:?}");
        }
    }
}

#[tokio::test]
async fn a_put_to_a_full_namespace_is_found_though_the_clock_is_behind_at_the_start() {
    for by_s in [-30, -3_600] {
        let mut pannier = pannier().await;
        pannier.limit_entries("n", 10).await;
        for number in 0..10 {
            pannier.put("n", lasting(&format!("old{number}"), "v")).await;
        }
        pannier = step(pannier, (When::Stopped, by_s)).await;
        let mut last = String::new();
        for number in 0..10 {
            let put = pannier.put("n", lasting(&format!("new{number}"), "v")).await;
            assert!(has(&pannier, &format!("new{number}")).await, "new{number} after {by_s} s");
            assert!(put.etag > last, "revisions grow");
            last = put.etag;
        }
    }
}

#[tokio::test]
async fn entries_live_for_their_time_to_live() {
    for at in steps() {
        let mut pannier = pannier().await;
        pannier.put("n", short_lived("before", "v", 600)).await;
        pannier = step(pannier, at).await;
        let is_jump = at.1 > 86_400;
        assert_eq!(has(&pannier, "before").await, !is_jump, "by one of the clocks it has expired: {at:?}");
        pannier.put("n", short_lived("after", "v", 60)).await;
        pannier.advance_s(59);
        assert!(has(&pannier, "after").await, "{at:?}");
        pannier.advance_s(1);
        assert!(!has(&pannier, "after").await, "{at:?}");
        pannier.advance_s(541);
        assert!(!has(&pannier, "before").await, "{at:?}");
    }
}

#[tokio::test]
async fn what_has_expired_is_removed() {
    for at in steps() {
        let mut pannier = pannier().await;
        pannier.put("n", short_lived("before", "v", 600)).await;
        pannier = step(pannier, at).await;
        pannier.put("n", short_lived("after", "v", 600)).await;
        until(&pannier, "both are removed", async || pannier.row_count("cache_entries").await == 0).await;
    }
}

#[tokio::test]
async fn a_lease_ends_after_its_time() {
    for at in steps().filter(|at| at.1 < 0) {
        let mut pannier = pannier().await;
        pannier.put("n", lasting("other", "v")).await;
        pannier.lease("n", "key").await;
        pannier = step(pannier, at).await;
        assert!(pannier.get_or_lease("n", "key", 0).await.lease.is_none(), "{at:?}");
        pannier.advance_s(601);
        pannier.lease("n", "key").await;
    }
}

#[tokio::test]
async fn times_are_shown_as_the_wall_clock_has_them() {
    for at in steps() {
        let mut pannier = pannier().await;
        pannier.put("n", lasting("before", "v")).await;
        let made = pannier.get("n", "before").await.unwrap().create_time;
        pannier.advance_s(1);
        pannier = step(pannier, at).await;
        let wall_us = match at.0 {
            When::Running => pannier.now_us() + at.1 * 1_000_000,
            When::Stopped => pannier.now_us(),
        };
        let put = pannier.put("n", short_lived("after", "v", 60)).await;
        assert_about(put.expire_time.as_ref(), wall_us + 60_000_000);
        assert_about(pannier.get("n", "after").await.unwrap().create_time.as_ref(), wall_us);
        assert_eq!(pannier.get("n", "before").await.unwrap().create_time, made, "{at:?}");
    }
}
