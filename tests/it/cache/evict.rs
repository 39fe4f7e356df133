//! Evict: the entries that the namespace's policy would take next.

use pannier_proto::cache::v1 as pb;

use super::items::{lasting, short_lived, value_item};
use crate::harness::{Pannier, pannier, pannier_with, pannier_without_upkeep};

/// Puts the keys, one a second.
async fn put_in_turn(pannier: &Pannier, keys: &[&str]) {
    for key in keys {
        pannier.put("n", value_item(*key, "v")).await;
        pannier.advance_s(1);
    }
}

async fn evict_by_ttl(pannier: &Pannier) {
    let eviction = pb::EvictionPolicy::Ttl.into();
    let namespace = pb::Namespace { name: "n".into(), eviction, ..Default::default() };
    pannier.update_namespace(namespace, &["eviction"]).await;
}

#[tokio::test]
async fn the_least_recently_used_go_first() {
    let pannier = pannier().await;
    put_in_turn(&pannier, &["d", "b", "a", "c"]).await;
    for left in [vec!["a", "b", "c"], vec!["a", "c"], vec!["c"], vec![]] {
        assert_eq!(pannier.evict("n", 1).await.evicted_count, 1);
        assert_eq!(pannier.keys("n").await, left);
    }
    assert_eq!(pannier.evict("n", 1).await, pb::EvictResponse::default());
}

#[tokio::test]
async fn accesses_of_a_moment_ago_count_as_use() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| {
            settings.cache.memory_bytes_max = memory_bytes_max;
            settings.cache.access_flush_ms = 600_000;
        })
        .await;
        put_in_turn(&pannier, &["a", "b", "c", "d", "e"]).await;
        pannier.get("n", "a").await;
        pannier.advance_s(1);
        pannier.batch_get("n", ["c"]).await;
        pannier.advance_s(1);
        pannier.touch("n", "b", None).await;
        pannier.advance_s(1);
        pannier.put("n", value_item("d", "w")).await;
        assert_eq!(pannier.evict("n", 1).await.evicted_count, 1);
        assert_eq!(pannier.keys("n").await, ["a", "b", "c", "d"], "e was used least recently");
    }
}

#[tokio::test]
async fn reads_and_writes_of_a_moment_ago_go_in_the_order_in_which_they_happened() {
    let pannier = pannier_without_upkeep().await;
    put_in_turn(&pannier, &["a", "b", "c", "d"]).await;
    pannier.get("n", "a").await;
    pannier.advance_s(1);
    pannier.batch_get("n", ["c"]).await;
    pannier.advance_s(1);
    pannier.touch("n", "b", None).await;
    pannier.advance_s(1);
    pannier.put("n", value_item("d", "w")).await;
    assert_eq!(pannier.evict("n", 2).await.evicted_count, 2);
    assert_eq!(pannier.keys("n").await, ["b", "d"], "a and c were used before b and d");
}

#[tokio::test]
async fn uses_before_a_restart_count() {
    let pannier = pannier().await;
    put_in_turn(&pannier, &["a", "b", "c"]).await;
    pannier.get("n", "a").await;
    let pannier = pannier.restart().await;
    pannier.evict("n", 2).await;
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn a_lease_readers_hit_counts_as_use_and_a_list_does_not() {
    let pannier = pannier().await;
    put_in_turn(&pannier, &["a", "b", "c"]).await;
    assert!(pannier.get_or_lease("n", "a", 0).await.entry.is_some());
    pannier.advance_s(1);
    pannier.keys("n").await;
    pannier.exists("n", &["b"]).await;
    pannier.evict("n", 1).await;
    assert_eq!(pannier.keys("n").await, ["a", "c"]);
}

#[tokio::test]
async fn the_expired_go_before_the_least_recently_used() {
    let pannier = pannier_without_upkeep().await;
    put_in_turn(&pannier, &["a"]).await;
    pannier.put("n", short_lived("x", "v", 60)).await;
    pannier.put("n", short_lived("y", "v", 60)).await;
    pannier.advance_s(50);
    pannier.get("n", "x").await;
    pannier.advance_s(20);
    let evicted = pannier.evict("n", 2).await;
    assert_eq!((evicted.evicted_count, evicted.freed_bytes), (2, 4));
    assert_eq!(pannier.keys("n").await, ["a"]);
    assert_eq!(pannier.stats("n").await.entry_count, 1);
}

#[tokio::test]
async fn by_ttl_the_soonest_to_expire_go_first_and_the_lasting_last() {
    let pannier = pannier().await;
    evict_by_ttl(&pannier).await;
    pannier.put("n", lasting("lasting-1", "v")).await;
    pannier.advance_s(1);
    pannier.put("n", lasting("lasting-2", "v")).await;
    pannier.advance_s(1);
    pannier.put("n", short_lived("in-300", "v", 300)).await;
    pannier.put("n", short_lived("in-100", "v", 100)).await;
    pannier.put("n", short_lived("in-200", "v", 200)).await;
    pannier.advance_s(1);
    for key in ["in-100", "lasting-1"] {
        pannier.get("n", key).await;
        pannier.advance_s(1);
    }
    for gone in ["in-100", "in-200", "in-300", "lasting-2", "lasting-1"] {
        assert_eq!(pannier.evict("n", 1).await.evicted_count, 1);
        assert_eq!(pannier.exists("n", &[gone]).await, [false], "{gone} should have gone");
    }
    assert!(pannier.keys("n").await.is_empty());
}

#[tokio::test]
async fn an_evicted_entry_is_gone_from_memory_too() {
    let pannier = pannier().await;
    put_in_turn(&pannier, &["a"]).await;
    pannier.get("n", "a").await;
    pannier.evict("n", 1).await;
    assert_eq!(pannier.get("n", "a").await, None);
    assert_eq!(pannier.batch_get("n", ["a"]).await[0].entry, None);
}

#[tokio::test]
async fn eviction_tells_how_many_and_how_many_bytes() {
    let pannier = pannier().await;
    for i in 0..10 {
        pannier.put("n", value_item(format!("k{i}"), "x".repeat(i))).await;
        pannier.advance_s(1);
    }
    let before = pannier.stats("n").await;
    assert_eq!((before.entry_count, before.stored_bytes, before.evicted_count), (10, 65, 0));
    let evicted = pannier.evict("n", 4).await;
    assert_eq!((evicted.evicted_count, evicted.freed_bytes), (4, 4 * 2 + 6));
    let after = pannier.stats("n").await;
    assert_eq!((after.entry_count, after.stored_bytes, after.evicted_count), (6, 51, 4));
    let evicted = pannier.evict("n", 10_000).await;
    assert_eq!((evicted.evicted_count, evicted.freed_bytes), (6, 51));
    let after = pannier.stats("n").await;
    assert_eq!((after.entry_count, after.stored_bytes, after.evicted_count), (0, 0, 10));
}

#[tokio::test]
async fn eviction_in_an_unknown_namespace_evicts_nothing() {
    let pannier = pannier().await;
    pannier.put("other", value_item("a", "v")).await;
    assert_eq!(pannier.evict("n", 5).await, pb::EvictResponse::default());
    assert_eq!(pannier.keys("other").await, ["a"]);
}
