//! Expired entries are removed in the background.

use pannier_proto::cache::v1 as pb;

use super::items::{seconds, short_lived, value_item};
use crate::harness::pannier;

#[tokio::test]
async fn expired_entries_are_removed_and_counted() {
    let pannier = pannier().await;
    let mut items: Vec<_> = (0..700).map(|i| short_lived(&format!("x{i}"), "v", 10)).collect();
    items.extend((0..10).map(|i| value_item(format!("k{i}"), "v")));
    pannier.put_all("n", items).await;
    pannier.advance_s(11);
    pannier.settle("n", |stats| stats.entry_count <= 10).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.expired_count, stats.evicted_count), (10, 700, 0));
    assert_eq!(stats.stored_bytes, 10 * 3);
}

#[tokio::test]
async fn entries_in_their_stale_window_stay_until_it_is_over() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(3_600)), ..short_lived("stale", "v", 10) };
    pannier.put("n", item).await;
    pannier.put("n", short_lived("gone", "v", 10)).await;
    pannier.advance_s(11);
    pannier.settle("n", |stats| stats.expired_count == 1).await;
    assert!(pannier.get_or_lease("n", "stale", 0).await.entry.expect("stale").stale);
    pannier.advance_s(3_600);
    pannier.settle("n", |stats| stats.expired_count == 2).await;
    assert_eq!(pannier.get_or_lease("n", "stale", 0).await.entry, None);
}

#[tokio::test]
async fn entries_that_expired_while_the_sidecar_was_down_are_removed_after_its_start() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..50).map(|i| short_lived(&format!("x{i}"), "v", 10)).collect()).await;
    pannier.put("n", value_item("k", "v")).await;
    let later_us = pannier.now_us() + 60_000_000;
    let pannier = pannier.restart_at(later_us).await;
    assert_eq!(pannier.keys("n").await, ["k"]);
    pannier.settle("n", |stats| stats.entry_count == 1).await;
    assert_eq!(pannier.stats("n").await.expired_count, 50);
}

#[tokio::test]
async fn an_entry_whose_life_was_prolonged_is_not_removed() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("touched", "v", 10)).await;
    pannier.put("n", short_lived("put", "v", 10)).await;
    pannier.put("n", short_lived("left", "v", 10)).await;
    pannier.touch("n", "touched", Some(pb::touch_item::Expiry::Ttl(seconds(10_000)))).await;
    pannier.put("n", short_lived("put", "v", 10_000)).await;
    pannier.advance_s(11);
    pannier.settle("n", |stats| stats.expired_count == 1).await;
    assert_eq!(pannier.keys("n").await, ["put", "touched"]);
}

#[tokio::test]
async fn a_put_over_an_expired_entry_leaves_one_entry() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    pannier.advance_s(11);
    pannier.put("n", value_item("a", "w")).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (1, 2));
}
