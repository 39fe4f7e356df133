//! Stats: counts, sizes and rates of a namespace.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{assert_about, negative_item, noise, seconds, short_lived, tagged, value_item};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with, pannier_without_upkeep};

/// Stats must equal what List tells, where nothing has expired.
async fn assert_recount(pannier: &Pannier) {
    let stats = pannier.stats("n").await;
    let entries = pannier.entries("n").await;
    assert_eq!(stats.entry_count, i64::try_from(entries.len()).unwrap());
    assert_eq!(stats.stored_bytes, entries.iter().map(|entry| entry.stored_bytes).sum::<i64>());
    let created = |entry: &pb::Entry| entry.create_time.map(|time| (time.seconds, time.nanos));
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
    assert_eq!(time(stats.oldest_entry_time), entries.iter().filter_map(created).min());
    assert_eq!(time(stats.newest_entry_time), entries.iter().filter_map(created).max());
}

async fn ask_stats(pannier: &Pannier, namespace: &str) -> Result<pb::NamespaceStats, tonic::Status> {
    let request = pb::StatsRequest { namespace: namespace.into() };
    pannier.cache.clone().stats(request).await.map(|answer| answer.into_inner().stats.unwrap())
}

#[tokio::test]
async fn stats_of_an_unknown_namespace_are_not_found() {
    let pannier = pannier().await;
    pannier.get("n", "a").await;
    let status = ask_stats(&pannier, "n").await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
}

#[tokio::test]
async fn an_empty_namespace_has_zeros_and_no_times() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 10).await;
    assert_eq!(pannier.stats("n").await, pb::NamespaceStats::default());
    pannier.put("n", value_item("a", "v")).await;
    pannier.delete("n", &["a"]).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (0, 0));
    assert_eq!((stats.oldest_entry_time, stats.newest_entry_time), (None, None));
}

#[tokio::test]
async fn counts_bytes_and_times_equal_a_recount_after_every_kind_of_change() {
    let pannier = pannier().await;
    for i in 0..30_u64 {
        pannier.put("n", value_item(format!("k{i:02}"), noise(usize::try_from(i * 500).unwrap(), i))).await;
        pannier.advance_s(1);
    }
    assert_recount(&pannier).await;
    pannier.put("n", value_item("k03", vec![1; 50_000])).await;
    pannier.put("n", negative_item("k04", "CODE", "message")).await;
    pannier.put("n", tagged("k05", &["one", "two"])).await;
    assert_recount(&pannier).await;
    pannier.delete("n", &["k00", "k29", "none"]).await;
    assert_recount(&pannier).await;
    pannier.delete_by_prefix("n", "k1").await;
    assert_recount(&pannier).await;
    pannier.delete_by_tag("n", "two").await;
    assert_recount(&pannier).await;
    pannier.evict("n", 3).await;
    assert_recount(&pannier).await;
    pannier.limit_entries("n", 5).await;
    pannier.put("n", value_item("last", "v")).await;
    pannier.settle("n", |stats| stats.entry_count <= 5).await;
    assert_recount(&pannier).await;
    let before = pannier.stats("n").await;
    let pannier = pannier.restart().await;
    assert_recount(&pannier).await;
    assert_eq!(pannier.stats("n").await, before);
}

#[tokio::test]
async fn oldest_and_newest_are_times_of_creation() {
    let pannier = pannier().await;
    for key in ["a", "b", "c"] {
        pannier.put("n", value_item(key, "v")).await;
        pannier.advance_s(10);
    }
    pannier.put("n", value_item("a", "w")).await;
    let stats = pannier.stats("n").await;
    assert_about(stats.oldest_entry_time.as_ref(), START_US);
    assert_about(stats.newest_entry_time.as_ref(), START_US + 20_000_000);
    pannier.delete("n", &["a", "c"]).await;
    let stats = pannier.stats("n").await;
    assert_about(stats.oldest_entry_time.as_ref(), START_US + 10_000_000);
    assert_about(stats.newest_entry_time.as_ref(), START_US + 10_000_000);
}

#[tokio::test]
async fn hits_and_misses_are_counted_by_key_and_survive_a_restart() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    assert_eq!(pannier.stats("n").await.hit_rate, 0.0);
    pannier.get("n", "a").await;
    pannier.get("n", "a").await;
    pannier.get("n", "b").await;
    pannier.batch_get("n", ["a", "b", "c", "a", "d"]).await;
    let counts = |stats: &pb::NamespaceStats| (stats.hit_count, stats.miss_count, stats.stale_count);
    let stats = pannier.stats("n").await;
    assert_eq!((counts(&stats), stats.hit_rate), ((4, 4, 0), 0.5));
    let pannier = pannier.restart().await;
    assert_eq!(counts(&pannier.stats("n").await), (4, 4, 0));
    pannier.get("n", "a").await;
    pannier.get("n", "a").await;
    let stats = pannier.stats("n").await;
    assert_eq!((counts(&stats), stats.hit_rate), ((6, 4, 0), 0.6));
}

#[tokio::test]
async fn reads_through_get_or_lease_are_hits_misses_or_stale() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(60)), ..short_lived("a", "v", 10) };
    pannier.put("n", item).await;
    pannier.get_or_lease("n", "a", 0).await;
    pannier.get_or_lease("n", "b", 0).await;
    pannier.get_or_lease("n", "b", 0).await;
    pannier.advance_s(20);
    pannier.get_or_lease("n", "a", 0).await;
    pannier.get_or_lease("n", "a", 0).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count, stats.stale_count), (1, 2, 2));
}

#[tokio::test]
async fn the_read_of_an_expired_entry_is_a_miss() {
    let pannier = pannier_without_upkeep().await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    pannier.advance_s(11);
    pannier.get("n", "a").await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count), (0, 1));
    assert_eq!(stats.entry_count, 1, "expired and not removed yet");
}

#[tokio::test]
async fn namespaces_are_counted_apart() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.put("m", value_item("a", "vvv")).await;
    pannier.get("n", "a").await;
    let (n, m) = (pannier.stats("n").await, pannier.stats("m").await);
    assert_eq!((n.hit_count, n.stored_bytes), (1, 2));
    assert_eq!((m.hit_count, m.stored_bytes), (0, 4));
}

#[tokio::test]
async fn counts_of_evicted_and_expired_survive_a_restart() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..5).map(|i| short_lived(&format!("x{i}"), "v", 5)).collect()).await;
    pannier.put_all("n", (0..5).map(|i| value_item(format!("k{i}"), "v")).collect()).await;
    pannier.advance_s(6);
    pannier.settle("n", |stats| stats.expired_count == 5).await;
    pannier.evict("n", 2).await;
    let before = pannier.stats("n").await;
    assert_eq!((before.entry_count, before.expired_count, before.evicted_count), (3, 5, 2));
    let pannier = pannier.restart().await;
    assert_eq!(pannier.stats("n").await, before);
}

#[tokio::test]
async fn an_update_of_the_namespace_loses_no_count() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    for round in 1..=5 {
        pannier.get("n", "a").await;
        pannier.get("n", "b").await;
        pannier.limit_entries("n", 10 * round).await;
        pannier.get("n", "a").await;
        let stats = pannier.stats("n").await;
        assert_eq!((stats.hit_count, stats.miss_count), (2 * round, round));
        pannier.advance_s(3);
    }
    let pannier = pannier.restart().await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count), (10, 5));
}

#[tokio::test]
async fn reads_of_a_deleted_namespace_are_not_given_to_its_successor() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.get("n", "a").await;
    pannier.delete_namespace("n").await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.get("n", "a").await;
    pannier.advance_s(10);
    let pannier = pannier.restart().await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count), (1, 0));
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 2);
}

#[tokio::test]
async fn reads_whose_counts_are_just_being_written_are_counted_once() {
    let pannier = pannier_with(|settings| settings.cache.access_flush_ms = 10).await;
    pannier.put("n", value_item("a", "v")).await;
    for reads in 1..=300 {
        pannier.get("n", "a").await;
        pannier.advance(std::time::Duration::from_millis(11));
        for _ in 0..3 {
            assert_eq!(pannier.stats("n").await.hit_count, reads);
        }
    }
}
