//! What ends a lease, what does not, and who learns of it.

use std::time::Duration;

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::touch_item::Expiry;
use tokio::task::JoinHandle;

use super::items::{assert_about, lasting, seconds, short_lived, tagged, value_item, value_of};
use super::lease_waits::{let_arrive, waiter};
use crate::harness::{Pannier, START_US, pannier, pannier_with, pannier_without_upkeep};

/// The lease on a key, for 300 seconds.
async fn long_lease(pannier: &Pannier, key: &str) -> String {
    let request = pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: key.into(),
        lease_ttl: Some(seconds(300)),
        wait_max: Some(seconds(0)),
    };
    pannier.cache.clone().get_or_lease(request).await.unwrap().into_inner().lease.expect("a lease").token
}

fn fill(item: pb::PutItem, token: &str) -> pb::PutItem {
    pb::PutItem { lease_token: token.into(), ..item }
}

/// The clock stands still: only a wake-up ends the wait.
async fn assert_gets_the_lease(caller: JoinHandle<pb::GetOrLeaseResponse>, what: &str) {
    let answer = tokio::time::timeout(Duration::from_secs(20), caller).await;
    let answer = answer.unwrap_or_else(|_| panic!("{what} wakes nobody")).unwrap();
    assert!(answer.lease.is_some() && answer.entry.is_none(), "{what}: {answer:?}");
}

#[tokio::test]
async fn whatever_deletes_a_key_wakes_the_callers_that_wait_for_it() {
    let pannier = pannier_without_upkeep().await;
    for (what, key) in
        [("DeleteByPrefix", "a1"), ("Delete", "b1"), ("DeleteByTag", "c1"), ("DeleteNamespace", "d1")]
    {
        // An expired entry without a stale window: its row carries the lease.
        pannier.put("n", pb::PutItem { tags: vec!["t".into()], ..short_lived("c1", "v", 1) }).await;
        pannier.advance_s(2);
        let token = long_lease(&pannier, key).await;
        let caller = waiter(&pannier, key, 30);
        let_arrive(&pannier).await;
        assert!(!caller.is_finished(), "{what}: the lease is held");
        match what {
            "DeleteByPrefix" => drop(pannier.delete_by_prefix("n", "a").await),
            "Delete" => drop(pannier.delete("n", &[key]).await),
            "DeleteByTag" => assert_eq!(pannier.delete_by_tag("n", "t").await, (1, false)),
            _ => assert!(pannier.delete_namespace("n").await),
        }
        assert_gets_the_lease(caller, what).await;
        assert!(pannier.try_put("n", fill(value_item(key, "v"), &token)).await.is_err(), "{what} ends it");
    }
}

#[tokio::test]
async fn a_deletion_by_prefix_ends_at_most_as_many_leases_as_it_may_delete_rows() {
    let pannier = pannier_with(|settings| settings.cache.delete_rows_max = 2).await;
    pannier.put_all("n", vec![value_item("a/1", "v"), value_item("a/2", "v")]).await;
    for key in ["a/3", "a/4", "a/5", "b"] {
        long_lease(&pannier, key).await;
    }
    assert_eq!(pannier.delete_by_prefix("n", "a/").await, (2, true), "the entries and two leases");
    assert_eq!(pannier.delete_by_prefix("n", "a/").await, (0, false));
    for key in ["a/3", "a/4", "a/5"] {
        long_lease(&pannier, key).await;
    }
    assert!(pannier.get_or_lease("n", "b", 0).await.lease.is_none(), "another prefix");
}

#[tokio::test]
async fn an_entry_whose_lease_is_held_is_not_evicted() {
    for eviction in [pb::EvictionPolicy::Lru, pb::EvictionPolicy::Ttl] {
        let pannier = pannier().await;
        let namespace = pb::Namespace {
            name: "n".into(),
            eviction: eviction.into(),
            entries_max: 2,
            ..Default::default()
        };
        pannier.update_namespace(namespace, &["eviction", "entries_max"]).await;
        let item = pb::PutItem { stale_window: Some(seconds(600)), ..short_lived("a", "old", 10) };
        pannier.put("n", item).await;
        pannier.advance_s(20);
        let token = long_lease(&pannier, "a").await;
        for key in ["b", "c", "d"] {
            pannier.advance_s(1);
            pannier.put("n", short_lived(key, "v", 1_000)).await;
        }
        assert_eq!(pannier.evict("n", 5).await.evicted_count, 1, "{eviction:?}: all but the leased one");
        pannier.put("n", fill(value_item("a", "filled"), &token)).await;
        assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"filled");
        assert_eq!(pannier.evict("n", 5).await.evicted_count, 1, "{eviction:?}: the lease is over");
    }
}

#[tokio::test]
async fn a_fill_that_a_deletion_by_its_tag_has_overtaken_stores_nothing() {
    let pannier = pannier().await;
    let token = long_lease(&pannier, "a").await;
    let caller = waiter(&pannier, "a", 30);
    let_arrive(&pannier).await;
    pannier.delete_by_tag("n", "other").await;
    pannier.delete_by_tag("n", "t").await;
    let put = pannier.put("n", fill(tagged("a", &["s", "t"]), &token)).await;
    assert!(put.invalidated && put.created, "{put:?}");
    assert_eq!(pannier.get("n", "a").await, None, "the value may be older than the deletion");
    assert_gets_the_lease(caller, "the overtaken fill").await;
}

#[tokio::test]
async fn a_fill_of_a_batch_that_was_overtaken_is_told_and_takes_the_old_entry_along() {
    let pannier = pannier().await;
    for key in ["a", "b"] {
        let item = pb::PutItem { stale_window: Some(seconds(600)), ..short_lived(key, "old", 10) };
        pannier.put("n", item).await;
    }
    pannier.advance_s(20);
    let tokens = [long_lease(&pannier, "a").await, long_lease(&pannier, "b").await];
    pannier.delete_by_tag("n", "t").await;
    let items = vec![fill(tagged("a", &["t"]), &tokens[0]), fill(tagged("b", &["s"]), &tokens[1])];
    let results = pannier.put_all("n", items).await;
    assert_eq!(results.iter().map(|put| put.invalidated).collect::<Vec<_>>(), [true, false]);
    assert_eq!(pannier.keys("n").await, ["b"]);
    assert_eq!(pannier.stats("n").await.entry_count, 1);
}

#[tokio::test]
async fn a_deletion_by_tag_before_the_lease_and_puts_without_one_are_as_ever() {
    let pannier = pannier().await;
    pannier.put("n", tagged("b", &["t"])).await;
    assert_eq!(pannier.delete_by_tag("n", "t").await, (1, false));
    let token = long_lease(&pannier, "a").await;
    assert!(!pannier.put("n", fill(tagged("a", &["t"]), &token)).await.invalidated);
    long_lease(&pannier, "b").await;
    assert_eq!(pannier.delete_by_tag("n", "t").await, (1, false));
    assert!(!pannier.put("n", tagged("b", &["t"])).await.invalidated, "a put without a lease is no fill");
    assert_eq!(pannier.keys("n").await, ["b"]);
}

#[tokio::test]
async fn the_stale_window_outlives_an_expiry_that_was_taken_away() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(30)), ..short_lived("a", "v", 10) };
    let never = pb::PutItem { stale_window: Some(seconds(30)), ..lasting("b", "v") };
    pannier.put_all("n", vec![item, never]).await;
    for key in ["a", "b"] {
        pannier.touch("n", key, Some(Expiry::NeverExpires(true))).await;
        assert_eq!(pannier.peek("n", key).await.unwrap().stale_until_time, None);
        pannier.touch("n", key, Some(Expiry::Ttl(seconds(100)))).await;
        let entry = pannier.peek("n", key).await.unwrap();
        assert_about(entry.expire_time.as_ref(), START_US + 100_000_000);
        assert_about(entry.stale_until_time.as_ref(), START_US + 130_000_000);
    }
}

#[tokio::test]
async fn a_read_returns_a_stale_entry_where_it_allows_that() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        let item = pb::PutItem { stale_window: Some(seconds(60)), ..short_lived("a", "old", 10) };
        pannier.put("n", item).await;
        pannier.advance_s(20);
        let get = |allow_stale| pb::GetRequest { namespace: "n".into(), key: "a".into(), allow_stale };
        let mut cache = pannier.cache.clone();
        assert_eq!(cache.get(get(false)).await.unwrap().into_inner().entry, None);
        let entry = cache.get(get(true)).await.unwrap().into_inner().entry.expect("the stale entry");
        assert_eq!((value_of(&entry), entry.stale, entry.access_count), (b"old".as_slice(), true, 2));
        let keys = vec!["a".into(), "b".into()];
        let request = pb::BatchGetRequest { namespace: "n".into(), keys, allow_stale: true };
        let results = cache.batch_get(request).await.unwrap().into_inner().results;
        assert!(results[0].entry.as_ref().is_some_and(|entry| entry.stale) && results[1].entry.is_none());
        let stats = pannier.stats("n").await;
        assert_eq!((stats.hit_count, stats.miss_count, stats.stale_count), (0, 2, 2));
        pannier.advance_s(60);
        assert_eq!(cache.get(get(true)).await.unwrap().into_inner().entry, None, "its window is over");
    }
}
