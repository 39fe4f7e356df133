//! Which calls make a namespace, and which namespaces give their place to others.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{assert_about, seconds, short_lived, value_item, value_of};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with};

async fn names(pannier: &Pannier) -> Vec<String> {
    let request = pb::ListNamespacesRequest::default();
    let page = pannier.cache.clone().list_namespaces(request).await.unwrap().into_inner();
    page.namespaces.into_iter().map(|namespace| namespace.name).collect()
}

async fn try_lease(pannier: &Pannier, namespace: &str) -> Result<String, tonic::Status> {
    let request = pb::GetOrLeaseRequest {
        namespace: namespace.into(),
        key: "k".into(),
        lease_ttl: Some(seconds(60)),
        wait_max: Some(seconds(0)),
    };
    let answer = pannier.cache.clone().get_or_lease(request).await?.into_inner();
    Ok(answer.lease.expect("a lease").token)
}

async fn assert_unknown(pannier: &Pannier, namespace: &str) {
    let status = pannier.try_get_namespace(namespace).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
    let request = pb::StatsRequest { namespace: namespace.into() };
    let status = pannier.cache.clone().stats(request).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
    assert!(!names(pannier).await.contains(&namespace.to_owned()));
}

#[tokio::test]
async fn a_lease_makes_no_namespace_and_its_fill_makes_one() {
    let pannier = pannier().await;
    let token = try_lease(&pannier, "typo").await.unwrap();
    assert_unknown(&pannier, "typo").await;
    assert_eq!(pannier.get("typo", "k").await, None);
    assert_eq!(pannier.get_or_lease("typo", "k", 0).await.lease, None, "the lease is held all the same");
    assert_unknown(&pannier, "typo").await;
    pannier.advance_s(5);
    pannier.put("typo", pb::PutItem { lease_token: token, ..value_item("k", "v") }).await;
    let namespace = pannier.try_get_namespace("typo").await.unwrap();
    assert_about(namespace.create_time.as_ref(), START_US + 5_000_000);
    assert_eq!(value_of(&pannier.get("typo", "k").await.unwrap()), b"v");
    assert_eq!(names(&pannier).await, ["typo"]);
}

#[tokio::test]
async fn a_namespace_that_only_had_leases_is_gone_with_the_last_of_them() {
    let pannier = pannier_with(|settings| settings.cache.sweep_ms = 10).await;
    let token = try_lease(&pannier, "released").await.unwrap();
    try_lease(&pannier, "run-out").await.unwrap();
    assert!(pannier.release("released", "k", &token).await);
    pannier.advance_s(61);
    while pannier.row_count("cache_namespaces").await > 0 {
        pannier.advance_s(1);
        tokio::task::yield_now().await;
    }
    assert_eq!(pannier.row_count("cache_entries").await, 0);
}

#[tokio::test]
async fn leases_take_no_namespace_from_writes() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 2).await;
    for name in ["x", "y"] {
        try_lease(&pannier, name).await.unwrap();
    }
    let status = try_lease(&pannier, "z").await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyNamespaces);
    for name in ["a", "b"] {
        pannier.put(name, value_item("k", "v")).await;
    }
    let status = pannier.try_put("x", value_item("k", "v")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyNamespaces);
    assert_eq!(names(&pannier).await, ["a", "b"]);
}

#[tokio::test]
async fn an_empty_namespace_that_a_put_made_gives_its_place_to_another() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 2).await;
    let configured = pb::Namespace { name: "kept".into(), entries_max: 9, ..Default::default() };
    pannier.update_namespace(configured, &["entries_max"]).await;
    pannier.put("a", short_lived("k", "v", 10)).await;
    let status = pannier.try_put("b", value_item("k", "v")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyNamespaces);
    pannier.delete("a", &["k"]).await;
    pannier.put("b", value_item("k", "v")).await;
    assert_eq!(names(&pannier).await, ["b", "kept"], "one that was configured stays, though it is empty");
    assert_unknown(&pannier, "a").await;
    assert_eq!(pannier.get("a", "k").await, None);
}

#[tokio::test]
async fn an_update_and_a_deletion_see_no_namespace_that_only_has_leases() {
    let pannier = pannier().await;
    let token = try_lease(&pannier, "n").await.unwrap();
    assert!(!pannier.delete_namespace("n").await);
    let fill = |token: &str| pb::PutItem { lease_token: token.into(), ..value_item("k", "v") };
    let status = pannier.try_put("n", fill(&token)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::LeaseLost);
    assert_unknown(&pannier, "n").await;
    let token = try_lease(&pannier, "n").await.unwrap();
    let configured = pb::Namespace { name: "n".into(), entries_max: 9, ..Default::default() };
    assert!(pannier.update_namespace(configured, &["entries_max"]).await.created);
    pannier.put("n", fill(&token)).await;
    assert_eq!(pannier.try_get_namespace("n").await.unwrap().entries_max, 9);
}
