//! Bad input of the calls other than Put: all violations at once; a wrong item of a batch is refused alone.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::{Code, Status};

use super::items::{seconds, value_item, wrong_fields};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

/// Calls a method with a request and answers with the fields that are named.
macro_rules! refused {
    ($pannier:expr, $method:ident, $request:expr) => {
        violated_fields(&$pannier.cache.clone().$method($request).await.expect_err("a bad call was answered"))
    };
}

fn batch_get(keys: Vec<String>) -> pb::BatchGetRequest {
    pb::BatchGetRequest { namespace: "n".into(), keys, ..Default::default() }
}

fn deletes(items: Vec<pb::DeleteItem>) -> pb::DeleteRequest {
    pb::DeleteRequest { namespace: "n".into(), items, ..Default::default() }
}

fn touches(items: Vec<pb::TouchItem>) -> pb::TouchRequest {
    pb::TouchRequest { namespace: "n".into(), items, ..Default::default() }
}

fn touch_with(expiry: pb::touch_item::Expiry) -> pb::TouchItem {
    pb::TouchItem { key: "a".into(), expiry: Some(expiry) }
}

fn delete_of(key: &str) -> pb::DeleteItem {
    pb::DeleteItem { key: key.into(), if_etag: None }
}

#[tokio::test]
async fn a_bad_namespace_and_a_bad_key_are_told_together() {
    let pannier = pannier().await;
    for key in [String::new(), "k".repeat(1_025)] {
        let namespace = String::from("Bad");
        let get = pb::GetRequest { namespace: namespace.clone(), key: key.clone(), ..Default::default() };
        assert_eq!(refused!(pannier, get, get), ["key", "namespace"]);
        let lease =
            pb::GetOrLeaseRequest { namespace: namespace.clone(), key: key.clone(), ..Default::default() };
        assert_eq!(refused!(pannier, get_or_lease, lease), ["key", "namespace"]);
        let items = vec![delete_of("good"), delete_of(&key)];
        let delete = pb::DeleteRequest { namespace: namespace.clone(), atomic: true, ..deletes(items) };
        assert_eq!(refused!(pannier, delete, delete), ["items[1].key", "namespace"]);
        let items = vec![pb::TouchItem { key, ..Default::default() }];
        let touch = pb::TouchRequest { namespace, atomic: true, ..touches(items) };
        assert_eq!(refused!(pannier, touch, touch), ["items[0].key", "namespace"]);
    }
}

#[tokio::test]
async fn a_bad_key_of_a_batch_is_refused_alone() {
    let pannier = pannier().await;
    pannier.put("n", value_item("good", "v")).await;
    for key in [String::new(), "k".repeat(1_025), "a\0".into()] {
        let mut cache = pannier.cache.clone();
        let keys = vec![key.clone(), "good".into(), key.clone()];
        let results = cache.batch_get(batch_get(keys.clone())).await.unwrap().into_inner().results;
        assert!(results[1].entry.is_some() && results[1].error.is_none());
        assert_eq!(wrong_fields(results[2].error.as_ref()), [""]);
        assert_eq!((results[0].key.as_str(), results[0].entry.is_some()), ("", false));
        let exists = pb::ExistsRequest { namespace: "n".into(), keys };
        let results = cache.exists(exists).await.unwrap().into_inner().results;
        assert_eq!(results.iter().map(|result| result.exists).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(wrong_fields(results[0].error.as_ref()), [""]);
        let touch = |key: &str| pb::TouchItem { key: key.into(), ..Default::default() };
        let items = vec![touch(&key), touch("good")];
        let results = cache.touch(touches(items)).await.unwrap().into_inner().results;
        assert_eq!(wrong_fields(results[0].error.as_ref()), ["key"]);
        assert!(results[1].found && results[1].error.is_none());
    }
}

#[tokio::test]
async fn empty_and_oversized_batches_are_refused() {
    let pannier = pannier_with(|settings| settings.cache.batch_items_max = 10).await;
    for count in [0, 11] {
        let keys = vec![String::from("a"); count];
        assert_eq!(refused!(pannier, batch_get, batch_get(keys.clone())), ["keys"]);
        let exists = pb::ExistsRequest { namespace: "n".into(), keys };
        assert_eq!(refused!(pannier, exists, exists), ["keys"]);
        assert_eq!(refused!(pannier, delete, deletes(vec![delete_of("a"); count])), ["items"]);
        let item = pb::TouchItem { key: "a".into(), ..Default::default() };
        assert_eq!(refused!(pannier, touch, touches(vec![item; count])), ["items"]);
    }
}

#[tokio::test]
async fn a_bad_item_of_a_delete_fails_alone_or_all_of_them() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let items = vec![delete_of("a"), delete_of(""), delete_of("b")];
    let atomic = pb::DeleteRequest { atomic: true, ..deletes(items.clone()) };
    assert_eq!(refused!(pannier, delete, atomic), ["items[1].key"]);
    let request =
        pb::DeleteRequest { durability: 9, request_id: "x".into(), ..deletes(vec![delete_of("a")]) };
    assert_eq!(refused!(pannier, delete, request), ["durability", "request_id"]);
    let other = pb::DeleteItem { key: "a".into(), if_etag: Some("1".into()) };
    let atomic = pb::DeleteRequest { atomic: true, ..deletes(vec![delete_of("b"), other]) };
    let status = pannier.cache.clone().delete(atomic).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::EtagMismatch);
    assert_eq!(pannier.keys("n").await, ["a"]);
    let results = pannier.cache.clone().delete(deletes(items)).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.iter().map(pb::DeleteResult::outcome).collect();
    use pb::DeleteOutcome::{Deleted, NotFound, Unspecified};
    assert_eq!(outcomes, [Deleted, Unspecified, NotFound]);
    assert_eq!(wrong_fields(results[1].error.as_ref()), ["key"]);
    assert!(pannier.keys("n").await.is_empty());
}

#[tokio::test]
async fn a_bad_expiry_of_a_touch_is_refused_by_its_place() {
    use pb::touch_item::Expiry::{NeverExpires, Ttl};
    let pannier = pannier().await;
    let before = pannier.put("n", value_item("a", "v")).await.expire_time;
    let items = vec![
        touch_with(Ttl(seconds(5))),
        touch_with(Ttl(seconds(0))),
        touch_with(Ttl(seconds(-5))),
        touch_with(Ttl(seconds(i64::MAX))),
        touch_with(Ttl(prost_types::Duration { seconds: 1, nanos: -1 })),
        touch_with(Ttl(seconds(11 * 366 * 86_400))),
        touch_with(NeverExpires(false)),
    ];
    let expected = [
        "items[1].ttl",
        "items[2].ttl",
        "items[3].ttl",
        "items[4].ttl",
        "items[5].ttl",
        "items[6].never_expires",
    ];
    let atomic = pb::TouchRequest { atomic: true, ..touches(items) };
    assert_eq!(refused!(pannier, touch, atomic), expected);
    assert_eq!(pannier.peek("n", "a").await.unwrap().expire_time, before);
}

#[tokio::test]
async fn an_empty_or_oversized_prefix_or_tag_deletes_nothing() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    for prefix in [String::new(), "p".repeat(1_025)] {
        let request = pb::DeleteByPrefixRequest { namespace: "n".into(), prefix, ..Default::default() };
        assert_eq!(refused!(pannier, delete_by_prefix, request), ["prefix"]);
    }
    for tag in [String::new(), "t".repeat(257), "\0".into()] {
        let request = pb::DeleteByTagRequest { namespace: "n".into(), tag, ..Default::default() };
        assert_eq!(refused!(pannier, delete_by_tag, request), ["tag"]);
    }
    let request =
        pb::DeleteByPrefixRequest { namespace: "É".into(), request_id: "1".into(), ..Default::default() };
    assert_eq!(refused!(pannier, delete_by_prefix, request), ["namespace", "prefix", "request_id"]);
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn evictions_of_none_fewer_or_too_many_are_refused() {
    let pannier = pannier_with(|settings| settings.cache.delete_rows_max = 100).await;
    pannier.put("n", value_item("a", "v")).await;
    for count in [0, -1, i32::MIN, 101, i32::MAX] {
        let request = pb::EvictRequest { namespace: "n".into(), count, ..Default::default() };
        assert_eq!(refused!(pannier, evict, request), ["count"], "{count}");
    }
    assert_eq!(pannier.keys("n").await, ["a"]);
    pannier.evict("n", 100).await;
}

#[tokio::test]
async fn bad_pages_are_refused() {
    let pannier = pannier().await;
    for page_size in [-1, i32::MIN, 1_001, i32::MAX] {
        let request = pb::ListRequest { namespace: "n".into(), page_size, ..Default::default() };
        assert_eq!(refused!(pannier, list, request), ["page_size"], "{page_size}");
        let request = pb::ListNamespacesRequest { page_size, ..Default::default() };
        assert_eq!(refused!(pannier, list_namespaces, request), ["page_size"], "{page_size}");
    }
    let request = pb::ListRequest {
        namespace: "Bad".into(),
        prefix: "p".repeat(1_025),
        tag: "t".repeat(257),
        page_size: -1,
        ..Default::default()
    };
    assert_eq!(refused!(pannier, list, request), ["namespace", "page_size", "prefix", "tag"]);
}

#[tokio::test]
async fn bad_leases_and_waits_are_refused() {
    let pannier = pannier().await;
    let request = |lease_ttl: Option<i64>, wait_max: Option<i64>| pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: "a".into(),
        lease_ttl: lease_ttl.map(seconds),
        wait_max: wait_max.map(seconds),
    };
    for bad in [0, -1, 301, i64::MAX, i64::MIN] {
        assert_eq!(refused!(pannier, get_or_lease, request(Some(bad), None)), ["lease_ttl"], "{bad}");
    }
    for bad in [-1, 31, i64::MAX, i64::MIN] {
        assert_eq!(refused!(pannier, get_or_lease, request(None, Some(bad))), ["wait_max"], "{bad}");
    }
    assert_eq!(refused!(pannier, get_or_lease, request(Some(0), Some(-1))), ["lease_ttl", "wait_max"]);
    let release = pb::ReleaseLeaseRequest { request_id: "x".into(), ..Default::default() };
    let fields = refused!(pannier, release_lease, release);
    assert_eq!(fields, ["key", "lease_token", "namespace", "request_id"]);
    let longest = pannier.cache.clone().get_or_lease(request(Some(300), Some(30))).await.unwrap();
    assert!(longest.into_inner().lease.is_some(), "a refused call has taken no lease");
}

#[tokio::test]
async fn bad_names_are_refused_where_namespaces_are_named() {
    let pannier = pannier().await;
    for name in ["", "Bad", "é", &"n".repeat(129)] {
        let name = String::from(name);
        assert_eq!(
            refused!(pannier, get_namespace, pb::GetNamespaceRequest { name: name.clone() }),
            ["name"]
        );
        let stats = pb::StatsRequest { namespace: name.clone() };
        assert_eq!(refused!(pannier, stats, stats), ["namespace"]);
        let delete = pb::DeleteNamespaceRequest { name, request_id: "x".into() };
        assert_eq!(refused!(pannier, delete_namespace, delete), ["name", "request_id"]);
    }
}

async fn update_refused(pannier: &Pannier, namespace: pb::Namespace, paths: &[&str]) -> Vec<String> {
    let status: Status = pannier.try_update_namespace(namespace, paths).await.expect_err("written");
    assert!(pannier.try_get_namespace("n").await.is_err(), "a refused update makes no namespace");
    violated_fields(&status)
}

#[tokio::test]
async fn all_that_is_wrong_with_a_namespace_is_told_at_once() {
    use pb::namespace::DefaultExpiry::{DefaultTtl, NeverExpires};
    let pannier = pannier().await;
    let bad = pb::Namespace {
        name: "n".into(),
        entries_max: -1,
        bytes_max: i64::MIN,
        default_expiry: Some(DefaultTtl(seconds(0))),
        default_stale_window: Some(seconds(-1)),
        eviction: 9,
        durability: -4,
        ..Default::default()
    };
    let expected = [
        "namespace.bytes_max",
        "namespace.default_stale_window",
        "namespace.default_ttl",
        "namespace.durability",
        "namespace.entries_max",
        "namespace.eviction",
    ];
    assert_eq!(update_refused(&pannier, bad.clone(), &[]).await, expected);
    let never = pb::Namespace { default_expiry: Some(NeverExpires(false)), ..bad.clone() };
    assert_eq!(update_refused(&pannier, never, &["default_expiry"]).await, ["namespace.never_expires"]);
    let fields =
        update_refused(&pannier, pb::Namespace { name: "N".into(), ..bad.clone() }, &["eviction"]).await;
    assert_eq!(fields, ["namespace.eviction", "namespace.name"]);
    for ttl in [i64::MAX, i64::MIN, 11 * 366 * 86_400] {
        let long = pb::Namespace { default_expiry: Some(DefaultTtl(seconds(ttl))), ..bad.clone() };
        assert_eq!(update_refused(&pannier, long, &["default_expiry"]).await, ["namespace.default_ttl"]);
    }
    let request = pb::UpdateNamespaceRequest::default();
    let fields = refused!(pannier, update_namespace, request);
    assert!(fields[0].starts_with("namespace"), "{fields:?}");
}

#[tokio::test]
async fn fields_outside_the_mask_are_not_looked_at() {
    let pannier = pannier().await;
    let namespace =
        pb::Namespace { name: "n".into(), entries_max: 5, bytes_max: -1, eviction: 9, ..Default::default() };
    pannier.update_namespace(namespace, &["entries_max"]).await;
    assert_eq!(pannier.try_get_namespace("n").await.unwrap().entries_max, 5);
}
