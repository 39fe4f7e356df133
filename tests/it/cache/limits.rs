//! Limits of a namespace: never exceeded after a put, reached after they were lowered.

use pannier::settings::Eviction;
use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{lasting, noise, short_lived, value_item, value_of};
use crate::harness::{assert_status, pannier, pannier_with, pannier_without_upkeep};

#[tokio::test]
async fn entries_max_is_never_exceeded_and_the_new_entry_stays() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 10).await;
    for i in 0..40 {
        let key = format!("k{i:02}");
        pannier.put("n", value_item(key.as_str(), "v")).await;
        pannier.advance_s(1);
        assert_eq!(pannier.stats("n").await.entry_count, (i + 1).min(10));
        assert_eq!(pannier.exists("n", &[&key]).await, [true]);
    }
    let newest: Vec<String> = (30..40).map(|i| format!("k{i:02}")).collect();
    assert_eq!(pannier.keys("n").await, newest);
    assert_eq!(pannier.stats("n").await.evicted_count, 30);
    assert_eq!(pannier.get("n", "k00").await, None, "still in memory");
}

#[tokio::test]
async fn replacing_at_the_limit_evicts_nothing() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 3).await;
    for key in ["a", "b", "c", "a", "b", "c", "c"] {
        pannier.put("n", value_item(key, "v")).await;
    }
    assert_eq!(pannier.keys("n").await, ["a", "b", "c"]);
    assert_eq!(pannier.stats("n").await.evicted_count, 0);
}

#[tokio::test]
async fn a_batch_does_not_exceed_the_limit_either() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 10).await;
    pannier.put("n", value_item("old", "v")).await;
    pannier.advance_s(1);
    let items = (0..100).map(|i| value_item(format!("k{i:02}"), "v")).collect();
    assert_eq!(pannier.put_all("n", items).await.len(), 100);
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.evicted_count), (10, 91));
    let keys = pannier.keys("n").await;
    assert_eq!(keys.len(), 10);
    assert!(!keys.contains(&"old".to_owned()));
}

#[tokio::test]
async fn bytes_max_is_never_exceeded_and_the_new_entry_stays() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 10_000).await;
    for i in 0..60_u64 {
        let key = format!("k{i:02}");
        let size = 100 + usize::try_from(i * 37 % 1_900).unwrap();
        pannier.put("n", value_item(key.as_str(), noise(size, i))).await;
        pannier.advance_s(1);
        let stats = pannier.stats("n").await;
        assert!(stats.stored_bytes <= 10_000, "{} bytes after {key}", stats.stored_bytes);
        assert_eq!(pannier.exists("n", &[&key]).await, [true]);
        let listed: i64 = pannier.entries("n").await.iter().map(|entry| entry.stored_bytes).sum();
        assert_eq!(stats.stored_bytes, listed);
    }
    assert!(pannier.stats("n").await.stored_bytes > 7_000, "more is evicted than the limit asks for");
}

#[tokio::test]
async fn a_replacement_that_grows_makes_room_among_the_others() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 1_000).await;
    for key in ["a", "b", "c"] {
        pannier.put("n", value_item(key, noise(299, 1))).await;
        pannier.advance_s(1);
    }
    assert_eq!(pannier.stats("n").await.stored_bytes, 900);
    pannier.put("n", value_item("a", noise(699, 2))).await;
    assert_eq!(pannier.keys("n").await, ["a", "c"]);
    assert_eq!(pannier.stats("n").await.stored_bytes, 1_000);
}

#[tokio::test]
async fn what_was_read_recently_stays() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        pannier.limit_entries("n", 5).await;
        for i in 0..5 {
            pannier.put("n", value_item(format!("k{i}"), "v")).await;
            pannier.advance_s(1);
        }
        for i in 0..20 {
            for key in ["k0", "k3"] {
                assert!(pannier.get("n", key).await.is_some(), "{key} went after {i} puts");
            }
            pannier.advance_s(1);
            pannier.put("n", value_item(format!("new{i}"), "v")).await;
            pannier.advance_s(1);
        }
        assert_eq!(pannier.keys("n").await, ["k0", "k3", "new17", "new18", "new19"]);
    }
}

#[tokio::test]
async fn a_new_entry_gets_in_though_all_others_were_read_a_moment_ago() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 3).await;
    for key in ["a", "b", "c"] {
        pannier.put("n", value_item(key, "v")).await;
    }
    pannier.advance(std::time::Duration::from_millis(100));
    for key in ["a", "b", "c"] {
        pannier.get("n", key).await;
        pannier.advance(std::time::Duration::from_millis(10));
    }
    pannier.put("n", value_item("d", "v")).await;
    assert_eq!(pannier.keys("n").await, ["b", "c", "d"]);
}

#[tokio::test]
async fn a_new_entry_gets_in_though_the_clock_was_set_back() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 2).await;
    pannier.put_all("n", vec![value_item("a", "v"), value_item("b", "v")]).await;
    pannier.clock.set(crate::harness::START_US - 60_000_000);
    pannier.put("n", value_item("c", "v")).await;
    assert_eq!(pannier.exists("n", &["c"]).await, [true]);
}

#[tokio::test]
async fn the_last_put_stays_when_all_was_put_at_the_same_time() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 100).await;
    pannier.put_all("n", vec![value_item("a", "v"), value_item("b", "v")]).await;
    pannier.put("n", value_item("a", noise(99, 1))).await;
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn one_put_makes_room_however_many_entries_that_takes() {
    let pannier = pannier_with(|settings| settings.cache.delete_rows_max = 10).await;
    pannier.limit_bytes("n", 1_000).await;
    pannier.put_all("n", (0..200).map(|i| value_item(format!("k{i:03}"), "v")).collect()).await;
    pannier.advance_s(1);
    pannier.put("n", value_item("large", noise(900, 1))).await;
    let stats = pannier.stats("n").await;
    assert!(stats.stored_bytes <= 1_000, "{} bytes", stats.stored_bytes);
    assert_eq!(pannier.exists("n", &["large"]).await, [true]);
}

#[tokio::test]
async fn the_expired_make_room_before_the_living() {
    let pannier = pannier_without_upkeep().await;
    pannier.limit_entries("n", 2).await;
    pannier.put("n", lasting("b", "v")).await;
    pannier.advance_s(1);
    pannier.put("n", short_lived("a", "v", 10)).await;
    pannier.get("n", "a").await;
    pannier.advance_s(20);
    pannier.put("n", value_item("c", "v")).await;
    assert_eq!(pannier.keys("n").await, ["b", "c"]);
}

#[tokio::test]
async fn by_ttl_the_soonest_to_expire_makes_room() {
    let pannier = pannier_with(|settings| settings.cache.eviction = Eviction::Ttl).await;
    pannier.limit_entries("n", 3).await;
    pannier.put("n", lasting("lasting", "v")).await;
    pannier.put("n", short_lived("in-100", "v", 100)).await;
    pannier.put("n", short_lived("in-200", "v", 200)).await;
    pannier.get("n", "in-100").await;
    pannier.put("n", short_lived("in-300", "v", 300)).await;
    assert_eq!(pannier.keys("n").await, ["in-200", "in-300", "lasting"]);
}

#[tokio::test]
async fn an_entry_larger_than_its_namespace_is_refused_and_the_former_stays() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 1_000).await;
    pannier.put("n", value_item("a", "former")).await;
    pannier.put("n", value_item("b", "other")).await;
    pannier.advance_s(1);
    let status = pannier.try_put("n", value_item("a", noise(1_000, 1))).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::EntryTooLarge);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"former");
    assert_eq!(pannier.keys("n").await, ["a", "b"]);
    pannier.put("n", value_item("a", noise(999, 1))).await;
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn a_large_value_that_is_small_when_compressed_fits() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 10_000).await;
    pannier.put("n", value_item("a", vec![7; 100_000])).await;
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn the_settings_limits_hold_in_a_namespace_made_by_a_put() {
    let pannier = pannier_with(|settings| {
        settings.cache.entries_max = 2;
        settings.cache.bytes_max = 100;
    })
    .await;
    for key in ["a", "b", "c"] {
        pannier.put("n", value_item(key, "v")).await;
        pannier.advance_s(1);
    }
    assert_eq!(pannier.keys("n").await, ["b", "c"]);
    pannier.put("n", value_item("d", noise(99, 1))).await;
    assert_eq!(pannier.keys("n").await, ["d"]);
}

#[tokio::test]
async fn a_lowered_entries_max_is_reached_and_the_most_recently_used_stay() {
    let pannier = pannier().await;
    for i in 0..30 {
        pannier.put("n", value_item(format!("k{i:02}"), "v")).await;
        pannier.advance(std::time::Duration::from_millis(10));
    }
    pannier.get("n", "k00").await;
    pannier.limit_entries("n", 5).await;
    pannier.settle("n", |stats| stats.entry_count <= 5).await;
    assert_eq!(pannier.keys("n").await, ["k00", "k26", "k27", "k28", "k29"]);
    assert_eq!(pannier.stats("n").await.evicted_count, 25);
    assert_eq!(pannier.get("n", "k01").await, None, "still in memory");
}

#[tokio::test]
async fn a_lowered_bytes_max_is_reached() {
    let pannier = pannier().await;
    let items = (0..3_000).map(|i| value_item(format!("k{i:04}"), "0123456789")).collect();
    pannier.put_all("n", items).await;
    assert_eq!(pannier.stats("n").await.stored_bytes, 3_000 * 15);
    pannier.limit_bytes("n", 1_500).await;
    pannier.settle("n", |stats| stats.stored_bytes <= 1_500).await;
    assert_eq!(pannier.stats("n").await.entry_count, 100);
    assert_eq!(pannier.keys("n").await.len(), 100);
}

#[tokio::test]
async fn a_lowered_limit_is_reached_after_a_restart_too() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..3_000).map(|i| value_item(format!("k{i:04}"), "v")).collect()).await;
    pannier.limit_entries("n", 7).await;
    let pannier = pannier.restart().await;
    pannier.settle("n", |stats| stats.entry_count <= 7).await;
    assert_eq!(pannier.keys("n").await.len(), 7);
}

#[tokio::test]
async fn a_limit_of_zero_is_none() {
    let pannier = pannier_with(|settings| settings.cache.entries_max = 2).await;
    let namespace = pb::Namespace { name: "n".into(), ..Default::default() };
    pannier.update_namespace(namespace, &["entries_max", "bytes_max"]).await;
    pannier.put_all("n", (0..50).map(|i| value_item(format!("k{i}"), "v")).collect()).await;
    assert_eq!(pannier.stats("n").await.entry_count, 50);
}
