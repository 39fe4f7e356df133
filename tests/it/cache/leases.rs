//! GetOrLease: each row of the table of its answer, and what a lease is not.

use pannier_proto::cache::v1 as pb;

use super::items::{assert_about, negative_item, seconds, short_lived, value_item, value_of};
use crate::harness::{Pannier, START_US, pannier, pannier_with};

/// The item that fills a lease.
fn fill(key: &str, value: &str, token: &str) -> pb::PutItem {
    pb::PutItem { lease_token: token.into(), ..value_item(key, value) }
}

async fn put_stale(pannier: &Pannier, key: &str) {
    let item = pb::PutItem { stale_window: Some(seconds(60)), ..short_lived(key, "stale", 10) };
    pannier.put("n", item).await;
    pannier.advance_s(20);
}

#[tokio::test]
async fn a_fresh_entry_is_a_hit_without_a_lease() {
    let pannier = pannier().await;
    let etag = pannier.put("n", value_item("a", "v")).await.etag;
    let answer = pannier.get_or_lease("n", "a", 0).await;
    assert_eq!((answer.lease, answer.held_until_time), (None, None));
    let entry = answer.entry.unwrap();
    assert_eq!((entry.etag.as_str(), entry.stale, entry.access_count), (etag.as_str(), false, 2));
}

#[tokio::test]
async fn a_miss_gives_a_lease_that_a_put_fills() {
    for namespace_exists in [false, true] {
        let pannier = pannier().await;
        if namespace_exists {
            pannier.put("n", value_item("other", "v")).await;
        }
        let answer = pannier.get_or_lease("n", "a", 0).await;
        assert_eq!((&answer.entry, answer.held_until_time), (&None, None));
        let lease = answer.lease.unwrap();
        assert_about(lease.expire_time.as_ref(), START_US + 10_000_000);
        let put = pannier.put("n", fill("a", "filled", &lease.token)).await;
        assert!(put.created);
        let answer = pannier.get_or_lease("n", "a", 0).await;
        assert_eq!(value_of(&answer.entry.unwrap()), b"filled");
        assert_eq!(answer.lease, None);
    }
}

#[tokio::test]
async fn the_caller_says_how_long_its_lease_holds() {
    let pannier = pannier().await;
    let request = pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: "a".into(),
        lease_ttl: Some(seconds(60)),
        wait_max: Some(seconds(0)),
    };
    let lease = pannier.cache.clone().get_or_lease(request).await.unwrap().into_inner().lease.unwrap();
    assert_about(lease.expire_time.as_ref(), START_US + 60_000_000);
    pannier.advance_s(59);
    assert_eq!(pannier.get_or_lease("n", "a", 0).await.lease, None, "still held");
    pannier.put("n", fill("a", "v", &lease.token)).await;
}

#[tokio::test]
async fn a_held_lease_gives_neither_entry_nor_lease_to_who_does_not_wait() {
    let pannier = pannier().await;
    let lease = pannier.get_or_lease("n", "a", 0).await.lease.unwrap();
    for _ in 0..3 {
        let answer = pannier.get_or_lease("n", "a", 0).await;
        assert_eq!((answer.entry, answer.lease), (None, None));
        assert_eq!(answer.held_until_time, lease.expire_time);
    }
}

#[tokio::test]
async fn a_stale_entry_comes_with_a_lease_to_one_and_without_to_the_others() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        put_stale(&pannier, "a").await;
        let first = pannier.get_or_lease("n", "a", 0).await;
        let lease = first.lease.expect("the first refreshes it");
        let entry = first.entry.unwrap();
        assert_eq!((value_of(&entry), entry.stale), (b"stale".as_slice(), true));
        assert_about(entry.expire_time.as_ref(), START_US + 10_000_000);
        assert_about(entry.stale_until_time.as_ref(), START_US + 70_000_000);
        for _ in 0..3 {
            let other = pannier.get_or_lease("n", "a", 5).await;
            assert!(other.entry.expect("the others serve it, and do not wait").stale);
            assert_eq!((other.lease, other.held_until_time), (None, lease.expire_time));
        }
        let put = pannier.put("n", fill("a", "fresh", &lease.token)).await;
        assert!(put.created, "no live entry had the key before");
        let answer = pannier.get_or_lease("n", "a", 0).await;
        let entry = answer.entry.unwrap();
        assert_eq!((value_of(&entry), entry.stale, answer.lease), (b"fresh".as_slice(), false, None));
    }
}

#[tokio::test]
async fn an_entry_past_its_stale_window_is_a_miss() {
    let pannier = pannier().await;
    put_stale(&pannier, "a").await;
    pannier.advance_s(60);
    let answer = pannier.get_or_lease("n", "a", 0).await;
    assert_eq!(answer.entry, None);
    assert!(answer.lease.is_some());
}

#[tokio::test]
async fn a_stale_entry_is_served_after_a_restart() {
    let pannier = pannier().await;
    put_stale(&pannier, "a").await;
    let pannier = pannier.restart().await;
    let answer = pannier.get_or_lease("n", "a", 0).await;
    assert!(answer.entry.unwrap().stale);
    pannier.put("n", fill("a", "fresh", &answer.lease.unwrap().token)).await;
}

#[tokio::test]
async fn a_lease_is_filled_with_a_failure_as_well() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    let item = pb::PutItem { lease_token: token, ..negative_item("a", "E", "m") };
    pannier.put("n", item).await;
    let content = pannier.get_or_lease("n", "a", 0).await.entry.unwrap().content;
    assert!(matches!(content, Some(pb::entry::Content::Negative(_))), "{content:?}");
}

#[tokio::test]
async fn leases_of_several_keys_are_filled_in_one_batch() {
    let pannier = pannier().await;
    let (a, b) = (pannier.lease("n", "a").await, pannier.lease("n", "b").await);
    assert_ne!(a, b);
    pannier.put_all("n", vec![fill("a", "1", &a), fill("b", "2", &b)]).await;
    assert_eq!(pannier.exists("n", &["a", "b"]).await, [true, true]);
}

#[tokio::test]
async fn the_same_key_in_two_namespaces_has_two_leases() {
    let pannier = pannier().await;
    let n = pannier.lease("n", "a").await;
    let m = pannier.lease("m", "a").await;
    pannier.put("n", fill("a", "1", &n)).await;
    pannier.put("m", fill("a", "2", &m)).await;
}

#[tokio::test]
async fn a_leased_place_is_no_entry() {
    let pannier = pannier().await;
    pannier.put("n", value_item("k", "v")).await;
    for i in 0..20 {
        pannier.lease("n", &format!("a{i}")).await;
    }
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (1, 2));
    assert_eq!(pannier.keys("n").await, ["k"]);
    assert_eq!(pannier.exists("n", &["a0"]).await, [false]);
    assert_eq!(pannier.get("n", "a0").await, None);
    assert_eq!(pannier.batch_get("n", ["a0"]).await[0].entry, None);
    assert!(!pannier.touch("n", "a0", None).await.found);
    assert_eq!(pannier.delete("n", &["a0"]).await, [pb::DeleteOutcome::NotFound]);
    let evicted = pannier.evict("n", 100).await;
    assert_eq!((evicted.evicted_count, evicted.freed_bytes), (1, 2));
    let stats = pannier.stats("n").await;
    assert_eq!((stats.evicted_count, stats.entry_count), (1, 0));
}

#[tokio::test]
async fn leased_places_take_no_room_and_are_not_counted_as_expired() {
    let pannier = pannier().await;
    pannier.limit_entries("n", 3).await;
    for i in 0..10 {
        pannier.lease("n", &format!("a{i}")).await;
    }
    for key in ["x", "y", "z"] {
        pannier.put("n", value_item(key, "v")).await;
    }
    assert_eq!(pannier.keys("n").await, ["x", "y", "z"]);
    for _ in 0..5 {
        pannier.advance_s(60);
        pannier.stats("n").await;
    }
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.evicted_count, stats.expired_count), (3, 0, 0));
}

#[tokio::test]
async fn deleting_by_prefix_counts_no_leased_places() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.lease("n", "a leased").await;
    assert_eq!(pannier.delete_by_prefix("n", "a").await, (1, false));
}

#[tokio::test]
async fn leases_are_ended_in_bounded_steps() {
    let pannier = pannier_with(|settings| settings.cache.delete_rows_max = 10).await;
    for i in 0..25 {
        pannier.lease("n", &format!("a{i}")).await;
    }
    pannier.put("n", value_item("a", "v")).await;
    let (mut deleted, mut calls) = (0, 0);
    loop {
        let (count, more) = pannier.delete_by_prefix("n", "a").await;
        deleted += count;
        calls += 1;
        assert!(calls < 10, "`more` does not end");
        if !more {
            break;
        }
    }
    assert_eq!(deleted, 1);
}

#[tokio::test]
async fn a_namespace_of_leased_places_has_no_oldest_entry() {
    let pannier = pannier().await;
    pannier.put("n", value_item("k", "v")).await;
    pannier.lease("n", "a").await;
    pannier.delete("n", &["k"]).await;
    let stats = pannier.stats("n").await;
    assert_eq!((stats.oldest_entry_time, stats.newest_entry_time), (None, None));
}
