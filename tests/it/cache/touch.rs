//! Touch: marks entries as used and gives them a new expiry where asked.

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::touch_item::Expiry;

use super::items::{assert_about, lasting, seconds, short_lived, value_item};
use crate::harness::{START_US, pannier, pannier_with};

#[tokio::test]
async fn a_touch_without_an_expiry_keeps_it_and_counts_as_a_use() {
    let pannier = pannier().await;
    let put = pannier.put("n", short_lived("a", "v", 60)).await;
    pannier.put("n", lasting("b", "v")).await;
    pannier.advance_s(10);
    let touched = pannier.touch("n", "a", None).await;
    assert!(touched.found);
    assert_eq!(touched.expire_time, put.expire_time);
    let entry = pannier.peek("n", "a").await.unwrap();
    assert_about(entry.access_time.as_ref(), START_US + 10_000_000);
    assert_about(entry.update_time.as_ref(), START_US);
    assert_eq!((entry.etag, entry.expire_time), (put.etag, put.expire_time));
    let touched = pannier.touch("n", "b", None).await;
    assert_eq!((touched.found, touched.expire_time), (true, None));
    assert_eq!(pannier.get("n", "b").await.unwrap().expire_time, None);
}

#[tokio::test]
async fn a_touch_gives_a_new_ttl_from_now_or_takes_it_away() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        pannier.put("n", short_lived("a", "v", 60)).await;
        pannier.get("n", "a").await;
        pannier.advance_s(50);
        let touched = pannier.touch("n", "a", Some(Expiry::Ttl(seconds(60)))).await;
        assert_about(touched.expire_time.as_ref(), START_US + 110_000_000);
        assert_eq!(pannier.get("n", "a").await.unwrap().expire_time, touched.expire_time);
        pannier.advance_s(50);
        assert!(pannier.get("n", "a").await.is_some());
        let touched = pannier.touch("n", "a", Some(Expiry::NeverExpires(true))).await;
        assert_eq!((touched.found, touched.expire_time), (true, None));
        pannier.advance_s(1_000);
        assert_eq!(pannier.get("n", "a").await.unwrap().expire_time, None);
        pannier.touch("n", "a", Some(Expiry::Ttl(seconds(1)))).await;
        pannier.advance_s(2);
        assert_eq!(pannier.get("n", "a").await, None, "a touch can shorten a life");
        assert_eq!(pannier.exists("n", &["a"]).await, [false]);
    }
}

#[tokio::test]
async fn a_touched_expiry_survives_a_restart() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("a", "v", 10)).await;
    pannier.put("n", short_lived("b", "v", 10)).await;
    pannier.touch("n", "a", Some(Expiry::Ttl(seconds(100)))).await;
    let pannier = pannier.restart().await;
    pannier.advance_s(20);
    assert_eq!(pannier.exists("n", &["a", "b"]).await, [true, false]);
}

#[tokio::test]
async fn a_touch_of_what_is_not_there_finds_nothing_and_makes_nothing() {
    let pannier = pannier().await;
    pannier.put("n", short_lived("expired", "v", 1)).await;
    pannier.advance_s(2);
    for (namespace, key) in [("n", "none"), ("n", "expired"), ("unknown", "a")] {
        let touched = pannier.touch(namespace, key, Some(Expiry::Ttl(seconds(60)))).await;
        assert_eq!((touched.found, touched.expire_time), (false, None), "{namespace} {key}");
    }
    assert_eq!(pannier.exists("n", &["none", "expired"]).await, [false, false]);
    assert!(pannier.try_get_namespace("unknown").await.is_err());
}

#[tokio::test]
async fn a_batch_of_touches_answers_in_order_and_the_later_of_one_key_wins() {
    let pannier = pannier().await;
    pannier.put_all("n", vec![value_item("a", "v"), value_item("b", "v")]).await;
    let item =
        |key: &str, ttl_s| pb::TouchItem { key: key.into(), expiry: Some(Expiry::Ttl(seconds(ttl_s))) };
    let items = vec![item("b", 10), item("none", 10), item("a", 20), item("b", 30)];
    let request = pb::TouchRequest { namespace: "n".into(), items, ..Default::default() };
    let results = pannier.cache.clone().touch(request).await.unwrap().into_inner().results;
    let found: Vec<bool> = results.iter().map(|result| result.found).collect();
    assert_eq!(found, [true, false, true, true]);
    assert_about(results[0].expire_time.as_ref(), START_US + 10_000_000);
    assert_about(results[3].expire_time.as_ref(), START_US + 30_000_000);
    let entry = pannier.get("n", "b").await.unwrap();
    assert_about(entry.expire_time.as_ref(), START_US + 30_000_000);
}

#[tokio::test]
async fn a_touched_entry_keeps_its_stale_window_after_the_new_expiry() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(30)), ..short_lived("a", "v", 10) };
    pannier.put("n", item).await;
    pannier.touch("n", "a", Some(Expiry::Ttl(seconds(100)))).await;
    let entry = pannier.peek("n", "a").await.unwrap();
    assert_about(entry.expire_time.as_ref(), START_US + 100_000_000);
    assert_about(entry.stale_until_time.as_ref(), START_US + 130_000_000);
    pannier.advance_s(110);
    assert!(pannier.get_or_lease("n", "a", 0).await.entry.expect("stale, not gone").stale);
}

#[tokio::test]
async fn a_touch_is_no_read() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.touch("n", "a", None).await;
    pannier.touch("n", "b", None).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count), (0, 0));
    assert_eq!(
        pannier.peek("n", "a").await.unwrap().access_count,
        1,
        "access_count counts reads and the put"
    );
}
