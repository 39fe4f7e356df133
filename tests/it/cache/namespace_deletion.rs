//! DeleteNamespace: gone at once, and for good.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{tagged, value_item};
use crate::harness::{Pannier, assert_status, pannier};

async fn filled(count: usize) -> Pannier {
    let pannier = pannier().await;
    pannier.limit_entries("n", 1_000_000).await;
    for chunk in (0..count).collect::<Vec<_>>().chunks(2_000) {
        pannier.put_all("n", chunk.iter().map(|i| tagged(&format!("k{i:05}"), &["t"])).collect()).await;
    }
    pannier.put("other", value_item("k", "v")).await;
    pannier.get("n", "k00000").await;
    pannier
}

async fn assert_gone(pannier: &Pannier) {
    assert_eq!(pannier.get("n", "k00000").await, None);
    assert_eq!(pannier.batch_get("n", ["k00001"]).await[0].entry, None);
    assert_eq!(pannier.exists("n", &["k00000"]).await, [false]);
    assert!(pannier.keys("n").await.is_empty());
    assert_eq!(pannier.delete("n", &["k00001"]).await, [pb::DeleteOutcome::NotFound]);
    assert_eq!(pannier.delete_by_tag("n", "t").await, (0, false));
    assert_eq!(pannier.delete_by_prefix("n", "k").await, (0, false));
    assert_eq!(pannier.evict("n", 10).await, pb::EvictResponse::default());
    let not_found = pannier.try_get_namespace("n").await.unwrap_err();
    assert_status(&not_found, Code::NotFound, ErrorReason::NamespaceNotFound);
    let request = pb::StatsRequest { namespace: "n".into() };
    let not_found = pannier.cache.clone().stats(request).await.unwrap_err();
    assert_status(&not_found, Code::NotFound, ErrorReason::NamespaceNotFound);
    let list = pannier.cache.clone().list_namespaces(pb::ListNamespacesRequest::default()).await.unwrap();
    let names: Vec<String> = list.into_inner().namespaces.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["other"]);
}

#[tokio::test]
async fn a_deleted_namespace_is_gone_at_once_and_after_a_restart() {
    let pannier = filled(3_000).await;
    assert!(pannier.delete_namespace("n").await);
    assert_gone(&pannier).await;
    assert!(!pannier.delete_namespace("n").await, "there is none any more");
    let pannier = pannier.restart().await;
    assert_gone(&pannier).await;
    assert_eq!(pannier.keys("other").await, ["k"]);
}

#[tokio::test]
async fn deleting_what_was_never_there_says_so() {
    let pannier = pannier().await;
    assert!(!pannier.delete_namespace("n").await);
}

#[tokio::test]
async fn a_namespace_made_again_is_empty_and_stays_so() {
    let pannier = filled(3_000).await;
    pannier.delete_namespace("n").await;
    pannier.put("n", value_item("k00002", "new")).await;
    let check = async |pannier: &Pannier| {
        assert_eq!(pannier.keys("n").await, ["k00002"]);
        assert_eq!(pannier.exists("n", &["k00000", "k00002"]).await, [false, true]);
        let stats = pannier.stats("n").await;
        assert_eq!((stats.entry_count, stats.stored_bytes), (1, 9));
        assert_eq!(pannier.try_get_namespace("n").await.unwrap().entries_max, 0, "with default limits");
    };
    check(&pannier).await;
    assert_eq!(pannier.stats("n").await.hit_count, 0);
    assert_eq!(pannier.get("n", "k00000").await, None, "still in memory");
    assert_eq!(pannier.delete_by_tag("n", "t").await, (0, false));
    for _ in 0..20 {
        pannier.advance_s(5);
        check(&pannier).await;
    }
    let pannier = pannier.restart().await;
    check(&pannier).await;
}

#[tokio::test]
async fn a_namespace_can_be_deleted_and_made_again_many_times() {
    let pannier = pannier().await;
    for round in 0..30 {
        let key = format!("k{round}");
        assert!(pannier.put("n", value_item("same", "v")).await.created);
        pannier.put("n", value_item(key.as_str(), "v")).await;
        assert_eq!(pannier.keys("n").await, [key.as_str(), "same"]);
        assert!(pannier.delete_namespace("n").await);
        assert_eq!(pannier.get("n", "same").await, None);
    }
}

#[tokio::test]
async fn the_rows_of_a_deleted_namespace_are_removed_from_the_tables() {
    let pannier = filled(3_000).await;
    pannier.delete_namespace("n").await;
    let rows = async || {
        let mut rows = 0;
        for table in ["cache_namespaces", "cache_entries", "cache_tags"] {
            rows += pannier.row_count(table).await;
        }
        rows
    };
    assert!(rows().await > 3_000);
    let mut turns = 0;
    while rows().await > 10 {
        assert!(turns < 100, "{} rows remain", rows().await);
        pannier.advance_s(5);
        for _ in 0..10 {
            pannier.keys("other").await;
        }
        turns += 1;
    }
    assert_eq!(pannier.keys("other").await, ["k"]);
}
