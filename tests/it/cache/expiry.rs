//! Time to live: given, the namespace's, or none; never by accident.

use pannier_proto::cache::v1 as pb;

use super::items::{assert_about, lasting, seconds, short_lived, ttl, value_item};
use crate::harness::{START_US, pannier, pannier_with};

const DAY_S: i64 = 86_400;

#[tokio::test]
async fn an_entry_expires_when_its_ttl_is_over() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        let put = pannier.put("n", short_lived("a", "v", 10)).await;
        assert_about(put.expire_time.as_ref(), START_US + 10_000_000);
        pannier.advance_s(9);
        let entry = pannier.get("n", "a").await.unwrap();
        assert_eq!(entry.expire_time, put.expire_time);
        pannier.advance_s(2);
        assert_eq!(pannier.get("n", "a").await, None);
        assert_eq!(pannier.batch_get("n", ["a"]).await[0].entry, None);
        assert_eq!(pannier.exists("n", &["a"]).await, [false]);
        assert!(pannier.keys("n").await.is_empty());
    }
}

#[tokio::test]
async fn a_ttl_keeps_its_fraction_of_a_second() {
    let pannier = pannier().await;
    let half = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    let item = pb::PutItem { expiry: Some(pb::put_item::Expiry::Ttl(half)), ..value_item("a", "v") };
    let put = pannier.put("n", item).await;
    assert_about(put.expire_time.as_ref(), START_US + 1_500_000);
}

#[tokio::test]
async fn ten_years_are_a_ttl() {
    let pannier = pannier().await;
    let put = pannier.put("n", short_lived("a", "v", 3_650 * DAY_S)).await;
    assert_about(put.expire_time.as_ref(), START_US + 3_650 * DAY_S * 1_000_000);
}

#[tokio::test]
async fn without_an_expiry_the_settings_default_applies() {
    let pannier = pannier().await;
    let put = pannier.put("n", value_item("a", "v")).await;
    assert_about(put.expire_time.as_ref(), START_US + 30 * DAY_S * 1_000_000);
    let lasting = pannier.put("n", lasting("b", "v")).await;
    assert_eq!(lasting.expire_time, None);
    pannier.advance_s(31 * 86_400);
    assert_eq!(pannier.exists("n", &["a", "b"]).await, [false, true]);
    assert_eq!(pannier.get("n", "b").await.unwrap().expire_time, None);
}

#[tokio::test]
async fn a_ttl_setting_of_zero_means_never() {
    let pannier = pannier_with(|settings| settings.cache.ttl_ms = 0).await;
    assert_eq!(pannier.put("n", value_item("a", "v")).await.expire_time, None);
    let namespace = pannier.try_get_namespace("n").await.unwrap();
    assert_eq!(namespace.default_expiry, Some(pb::namespace::DefaultExpiry::NeverExpires(true)));
    pannier.advance_s(86_400 * 3_000);
    assert!(pannier.get("n", "a").await.is_some());
}

#[tokio::test]
async fn without_an_expiry_the_namespaces_default_applies() {
    let pannier = pannier().await;
    let namespace = pb::Namespace {
        name: "n".into(),
        default_expiry: Some(pb::namespace::DefaultExpiry::DefaultTtl(seconds(60))),
        ..Default::default()
    };
    pannier.update_namespace(namespace, &["default_expiry"]).await;
    let put = pannier.put("n", value_item("a", "v")).await;
    assert_about(put.expire_time.as_ref(), START_US + 60_000_000);
    let put = pannier.put("n", short_lived("b", "v", 5)).await;
    assert_about(put.expire_time.as_ref(), START_US + 5_000_000);
    assert_eq!(pannier.put("n", lasting("c", "v")).await.expire_time, None);

    let never = pb::Namespace {
        name: "n".into(),
        default_expiry: Some(pb::namespace::DefaultExpiry::NeverExpires(true)),
        ..Default::default()
    };
    pannier.update_namespace(never, &["default_expiry"]).await;
    assert_eq!(pannier.put("n", value_item("d", "v")).await.expire_time, None);
}

#[tokio::test]
async fn a_replacing_put_without_an_expiry_takes_the_default_and_not_the_former_expiry() {
    let pannier = pannier_with(|settings| settings.cache.ttl_ms = 60_000).await;
    pannier.put("n", lasting("a", "v")).await;
    let put = pannier.put("n", value_item("a", "w")).await;
    assert_about(put.expire_time.as_ref(), START_US + 60_000_000);
    pannier.put("n", short_lived("a", "x", 1)).await;
    let put = pannier.put("n", lasting("a", "y")).await;
    assert_eq!(put.expire_time, None);
    pannier.advance_s(100);
    assert!(pannier.get("n", "a").await.is_some());
}

#[tokio::test]
async fn an_expiry_stands_after_a_restart() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    pannier.put("n", lasting("b", "v")).await;
    let pannier = pannier.restart().await;
    assert_about(pannier.get("n", "a").await.unwrap().expire_time.as_ref(), START_US + 10_000_000);
    assert_eq!(pannier.get("n", "b").await.unwrap().expire_time, None);
    pannier.advance_s(10);
    assert_eq!(pannier.exists("n", &["a", "b"]).await, [false, true]);
}

#[tokio::test]
async fn the_stale_window_is_the_items_or_the_namespaces_or_none() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    assert_eq!(pannier.get("n", "a").await.unwrap().stale_until_time, None);
    let window = |window_s| pb::PutItem {
        stale_window: Some(seconds(window_s)),
        expiry: ttl(10),
        ..value_item("a", "v")
    };
    pannier.put("n", window(30)).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_about(entry.stale_until_time.as_ref(), START_US + 40_000_000);

    let namespace =
        pb::Namespace { name: "n".into(), default_stale_window: Some(seconds(5)), ..Default::default() };
    pannier.update_namespace(namespace, &["default_stale_window"]).await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_about(entry.stale_until_time.as_ref(), START_US + 15_000_000);
    pannier.put("n", window(0)).await;
    assert_eq!(pannier.get("n", "a").await.unwrap().stale_until_time, None, "zero: not at all");
}

#[tokio::test]
async fn a_stale_entry_is_no_live_entry() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(60)), ..short_lived("a", "v", 10) };
    pannier.put("n", item).await;
    pannier.advance_s(20);
    assert_eq!(pannier.get("n", "a").await, None);
    assert_eq!(pannier.batch_get("n", ["a"]).await[0].entry, None);
    assert_eq!(pannier.exists("n", &["a"]).await, [false]);
    assert!(pannier.keys("n").await.is_empty());
    assert!(!pannier.touch("n", "a", None).await.found);
    let outcome = pannier.delete("n", &["a"]).await;
    assert_eq!(outcome, [pb::DeleteOutcome::NotFound]);
}

#[tokio::test]
async fn what_never_expires_is_never_stale() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(60)), ..lasting("a", "v") };
    pannier.put("n", item).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!((entry.expire_time, entry.stale_until_time), (None, None));
    pannier.touch("n", "a", Some(pb::touch_item::Expiry::Ttl(seconds(10)))).await;
    assert_about(pannier.get("n", "a").await.unwrap().expire_time.as_ref(), START_US + 10_000_000);
}
