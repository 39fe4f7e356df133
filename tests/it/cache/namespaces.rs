//! Namespaces: their limits, and how they are written field by field.

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::namespace::DefaultExpiry::{DefaultTtl, NeverExpires};
use pannier_proto::durability::v1::Durability;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{assert_about, seconds, value_item};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with, violated_fields};

const ALL: [&str; 6] =
    ["entries_max", "bytes_max", "default_expiry", "default_stale_window", "eviction", "durability"];

/// A namespace in which no field has its default.
fn full(name: &str) -> pb::Namespace {
    pb::Namespace {
        name: name.into(),
        entries_max: 11,
        bytes_max: 22_000,
        default_expiry: Some(DefaultTtl(seconds(33))),
        default_stale_window: Some(seconds(44)),
        eviction: pb::EvictionPolicy::Ttl.into(),
        durability: Durability::Relaxed.into(),
        ..Default::default()
    }
}

fn without_times(namespace: pb::Namespace) -> pb::Namespace {
    pb::Namespace { create_time: None, update_time: None, ..namespace }
}

/// All pages of names.
async fn names(pannier: &Pannier, page_size: i32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListNamespacesRequest { page_size, page_token };
        let page = pannier.cache.clone().list_namespaces(request).await.unwrap().into_inner();
        pages.push(page.namespaces.into_iter().map(|namespace| namespace.name).collect());
        page_token = page.next_page_token;
        assert!(pages.len() < 1_000, "the pages do not end");
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_put_makes_a_namespace_with_the_settings_limits() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let namespace = pannier.try_get_namespace("n").await.unwrap();
    assert_eq!((namespace.name.as_str(), namespace.entries_max, namespace.bytes_max), ("n", 0, 524_288_000));
    assert_eq!(namespace.default_expiry, Some(DefaultTtl(seconds(30 * 86_400))));
    assert!(namespace.default_stale_window.is_none_or(|window| window == seconds(0)));
    assert_about(namespace.create_time.as_ref(), START_US);
    assert_about(namespace.update_time.as_ref(), START_US);
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_not_found() {
    let pannier = pannier().await;
    let status = pannier.try_get_namespace("n").await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
}

#[tokio::test]
async fn an_update_creates_a_namespace_and_tells_so_once() {
    let pannier = pannier().await;
    let first = pannier.update_namespace(full("n"), &ALL).await;
    assert!(first.created);
    assert_eq!(without_times(first.namespace.clone().unwrap()), full("n"));
    assert_eq!(pannier.try_get_namespace("n").await.unwrap(), first.namespace.unwrap());
    pannier.advance_s(10);
    let second = pannier.update_namespace(full("n"), &ALL).await;
    assert!(!second.created);
    let namespace = second.namespace.unwrap();
    assert_about(namespace.create_time.as_ref(), START_US);
    assert_about(namespace.update_time.as_ref(), START_US + 10_000_000);
}

#[tokio::test]
async fn an_empty_mask_writes_all_fields_as_given() {
    let pannier = pannier().await;
    pannier.update_namespace(full("n"), &[]).await;
    assert_eq!(without_times(pannier.try_get_namespace("n").await.unwrap()), full("n"));
    let bare =
        pb::Namespace { name: "n".into(), default_expiry: Some(NeverExpires(true)), ..Default::default() };
    pannier.update_namespace(bare, &[]).await;
    let namespace = pannier.try_get_namespace("n").await.unwrap();
    assert_eq!((namespace.entries_max, namespace.bytes_max), (0, 0));
    assert_eq!(namespace.default_expiry, Some(NeverExpires(true)));
    assert!(namespace.default_stale_window.is_none_or(|window| window == seconds(0)));
    assert!(
        namespace.durability() != Durability::Relaxed && namespace.eviction() != pb::EvictionPolicy::Ttl,
        "unspecified: {namespace:?}"
    );
}

#[tokio::test]
async fn no_mask_at_all_is_an_empty_mask() {
    let pannier = pannier().await;
    let request =
        pb::UpdateNamespaceRequest { namespace: Some(full("n")), update_mask: None, ..Default::default() };
    let answer = pannier.cache.clone().update_namespace(request).await.unwrap().into_inner();
    assert_eq!(without_times(answer.namespace.unwrap()), full("n"));
}

#[tokio::test]
async fn only_the_fields_of_the_mask_change() {
    let pannier = pannier().await;
    let other = pb::Namespace {
        entries_max: 1_100,
        bytes_max: 2_200_000,
        default_expiry: Some(NeverExpires(true)),
        default_stale_window: Some(seconds(4_400)),
        eviction: pb::EvictionPolicy::Lru.into(),
        durability: Durability::Full.into(),
        ..full("n")
    };
    for path in ALL {
        pannier.update_namespace(full("n"), &ALL).await;
        pannier.update_namespace(other.clone(), &[path]).await;
        let mut expected = full("n");
        match path {
            "entries_max" => expected.entries_max = other.entries_max,
            "bytes_max" => expected.bytes_max = other.bytes_max,
            "default_expiry" => expected.default_expiry = other.default_expiry,
            "default_stale_window" => expected.default_stale_window = other.default_stale_window,
            "eviction" => expected.eviction = other.eviction,
            _ => expected.durability = other.durability,
        }
        assert_eq!(without_times(pannier.try_get_namespace("n").await.unwrap()), expected, "{path}");
    }
}

#[tokio::test]
async fn fields_outside_the_mask_take_the_settings_in_a_new_namespace() {
    let pannier = pannier_with(|settings| {
        settings.cache.entries_max = 77;
        settings.cache.ttl_ms = 5_000;
        settings.cache.stale_window_ms = 6_000;
    })
    .await;
    pannier.update_namespace(full("n"), &["bytes_max"]).await;
    let namespace = pannier.try_get_namespace("n").await.unwrap();
    assert_eq!((namespace.entries_max, namespace.bytes_max), (77, 22_000));
    assert_eq!(namespace.default_expiry, Some(DefaultTtl(seconds(5))));
    assert_eq!(namespace.default_stale_window, Some(seconds(6)));
    assert_ne!(namespace.durability(), Durability::Relaxed);
}

#[tokio::test]
async fn what_is_not_a_limit_cannot_be_written() {
    let pannier = pannier().await;
    for path in
        ["nonsense", "name", "create_time", "update_time", "", "entries_max.x", "default_ttl.seconds", "*"]
    {
        let status = pannier.try_update_namespace(full("n"), &["bytes_max", path]).await.unwrap_err();
        let fields = violated_fields(&status);
        assert!(fields.iter().all(|field| field.starts_with("update_mask")), "{fields:?} for {path:?}");
        let status = pannier.try_get_namespace("n").await.unwrap_err();
        assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
    }
}

#[tokio::test]
async fn a_default_expiry_must_be_said_where_it_is_written() {
    let pannier = pannier().await;
    let namespace = pb::Namespace { default_expiry: None, ..full("n") };
    for paths in [&[][..], &["default_expiry"]] {
        let status = pannier.try_update_namespace(namespace.clone(), paths).await.unwrap_err();
        let fields = violated_fields(&status);
        assert!(fields.len() == 1 && fields[0].starts_with("namespace.default_"), "{fields:?}");
    }
    pannier.update_namespace(namespace, &["entries_max"]).await;
}

#[tokio::test]
async fn limits_survive_a_restart_and_changed_settings() {
    let pannier = pannier().await;
    pannier.update_namespace(full("n"), &ALL).await;
    pannier.put("made", value_item("a", "v")).await;
    let made = pannier.try_get_namespace("made").await.unwrap();
    let pannier = pannier.restart_with(|settings| settings.cache.ttl_ms = 1_000).await;
    assert_eq!(without_times(pannier.try_get_namespace("n").await.unwrap()), full("n"));
    assert_eq!(pannier.try_get_namespace("made").await.unwrap().default_expiry, made.default_expiry);
}

#[tokio::test]
async fn namespaces_are_listed_by_name_in_pages() {
    let pannier = pannier().await;
    assert_eq!(names(&pannier, 0).await, [Vec::<String>::new()]);
    let mut expected: Vec<String> = (0..120).map(|i| format!("n{}", i * 7 % 200)).collect();
    expected.extend(["a.b".into(), "a-b".into(), "a_b".into(), "0".into(), "x".repeat(128)]);
    for name in &expected {
        pannier.put(name, value_item("a", "v")).await;
    }
    expected.sort();
    for page_size in [0, 1, 7, 125, 1_000] {
        assert_eq!(names(&pannier, page_size).await.concat(), expected, "page_size {page_size}");
    }
    assert_eq!(names(&pannier, 0).await.first().unwrap().len(), 100);
    assert_eq!(names(&pannier, 125).await[0].len(), 125);
}

#[tokio::test]
async fn more_namespaces_than_the_setting_are_refused() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 3).await;
    for name in ["a", "b", "c"] {
        pannier.put(name, value_item("k", "v")).await;
    }
    let refused = [
        pannier.try_put("d", value_item("k", "v")).await.unwrap_err(),
        pannier.try_batch_put("d", vec![value_item("k", "v")]).await.unwrap_err(),
        pannier.try_update_namespace(full("d"), &ALL).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyNamespaces);
    }
    assert_eq!(names(&pannier, 0).await.concat(), ["a", "b", "c"]);
    pannier.put("c", value_item("k2", "v")).await;
    pannier.update_namespace(full("c"), &ALL).await;
}

#[tokio::test]
async fn a_deleted_namespace_makes_room_for_another_at_once() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 2).await;
    for name in ["a", "b"] {
        pannier.put(name, value_item("k", "v")).await;
    }
    assert!(pannier.delete_namespace("b").await);
    pannier.put("c", value_item("k", "v")).await;
    assert_eq!(names(&pannier, 0).await.concat(), ["a", "c"]);
}

#[tokio::test]
async fn a_lease_in_a_namespace_too_many_is_refused() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 1).await;
    pannier.put("a", value_item("k", "v")).await;
    let request = pb::GetOrLeaseRequest {
        namespace: "b".into(),
        key: "k".into(),
        wait_max: Some(seconds(0)),
        ..Default::default()
    };
    match pannier.cache.clone().get_or_lease(request).await {
        Ok(_) => assert_eq!(names(&pannier, 0).await.concat(), ["a"]),
        Err(status) => assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyNamespaces),
    }
}
