//! Repeated requests: the same id and body give the first answer again and have no second effect.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::{Code, Status};

use super::items::{lasting, value_item, value_of};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
const OTHER_ID: &str = "0198c0de-0000-7000-8000-000000000001";

async fn put(pannier: &Pannier, item: pb::PutItem, request_id: &str) -> Result<pb::PutResult, Status> {
    let request = pb::PutRequest {
        namespace: "n".into(),
        item: Some(item),
        request_id: request_id.into(),
        ..Default::default()
    };
    pannier.cache.clone().put(request).await.map(|answer| answer.into_inner().result.unwrap())
}

#[tokio::test]
async fn a_repeated_put_gets_the_first_answer_and_puts_nothing() {
    let pannier = pannier().await;
    let first = put(&pannier, value_item("a", "one"), ID).await.unwrap();
    assert!(first.created);
    assert_eq!(put(&pannier, value_item("a", "one"), ID).await.unwrap(), first);
    let newer = pannier.put("n", value_item("a", "two")).await;
    pannier.advance_s(100);
    assert_eq!(put(&pannier, value_item("a", "one"), ID).await.unwrap(), first, "to the microsecond");
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!((value_of(&entry), &entry.etag), (b"two".as_slice(), &newer.etag));
    pannier.delete("n", &["a"]).await;
    assert_eq!(put(&pannier, value_item("a", "one"), ID).await.unwrap(), first);
    assert_eq!(pannier.get("n", "a").await, None, "a repeated put brings nothing back");
}

#[tokio::test]
async fn the_first_answer_survives_a_restart() {
    let pannier = pannier().await;
    let first = put(&pannier, value_item("a", "one"), ID).await.unwrap();
    let pannier = pannier.restart().await;
    pannier.delete("n", &["a"]).await;
    assert_eq!(put(&pannier, value_item("a", "one"), ID).await.unwrap(), first);
    assert_eq!(pannier.get("n", "a").await, None);
}

#[tokio::test]
async fn another_body_is_refused() {
    let pannier = pannier().await;
    put(&pannier, value_item("a", "one"), ID).await.unwrap();
    for item in [value_item("a", "two"), value_item("b", "one"), lasting("a", "one")] {
        let status = put(&pannier, item, ID).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    }
    let elsewhere = pb::PutRequest {
        namespace: "m".into(),
        item: Some(value_item("a", "one")),
        request_id: ID.into(),
        ..Default::default()
    };
    let status = pannier.cache.clone().put(elsewhere).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    assert_eq!(pannier.keys("n").await, ["a"]);
    assert!(pannier.try_get_namespace("m").await.is_err());
}

#[tokio::test]
async fn the_same_id_in_another_method_is_refused() {
    let pannier = pannier().await;
    put(&pannier, value_item("a", "one"), ID).await.unwrap();
    let request = pb::DeleteNamespaceRequest { name: "n".into(), request_id: ID.into() };
    let status = pannier.cache.clone().delete_namespace(request).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    let request = pb::EvictRequest { namespace: "n".into(), count: 1, request_id: ID.into() };
    let status = pannier.cache.clone().evict(request).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn other_ids_and_no_id_are_new_requests() {
    let pannier = pannier().await;
    let first = put(&pannier, value_item("a", "one"), ID).await.unwrap();
    let second = put(&pannier, value_item("a", "one"), OTHER_ID).await.unwrap();
    let third = put(&pannier, value_item("a", "one"), "").await.unwrap();
    let fourth = put(&pannier, value_item("a", "one"), "").await.unwrap();
    let etags: std::collections::HashSet<_> =
        [first, second, third, fourth].into_iter().map(|put| put.etag).collect();
    assert_eq!(etags.len(), 4);
}

#[tokio::test]
async fn after_its_retention_an_id_is_new() {
    let pannier = pannier_with(|settings| settings.idempotency.retention_ms = 60_000).await;
    let first = put(&pannier, lasting("a", "one"), ID).await.unwrap();
    pannier.advance_s(59);
    assert_eq!(put(&pannier, lasting("a", "one"), ID).await.unwrap(), first);
    pannier.advance_s(2);
    let second = put(&pannier, lasting("a", "one"), ID).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert!(!second.created);
    pannier.advance_s(61);
    let third = put(&pannier, lasting("b", "another body"), ID).await.unwrap();
    assert!(third.created);
    assert_eq!(put(&pannier, lasting("b", "another body"), ID).await.unwrap(), third);
}

#[tokio::test]
async fn a_failed_call_is_not_recorded() {
    let pannier = pannier().await;
    let item = || pb::PutItem {
        condition: Some(pb::put_item::Condition::IfPresent(true)),
        ..value_item("a", "two")
    };
    for _ in 0..2 {
        let status = put(&pannier, item(), ID).await.unwrap_err();
        assert_status(&status, Code::NotFound, ErrorReason::EntryNotFound);
    }
    pannier.put("n", value_item("a", "one")).await;
    let stored = put(&pannier, item(), ID).await.unwrap();
    assert_eq!(put(&pannier, item(), ID).await.unwrap(), stored);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"two");
    let status = put(&pannier, value_item("", "bad"), OTHER_ID).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["item.key"]);
    put(&pannier, value_item("good", "after bad"), OTHER_ID).await.unwrap();
}

#[tokio::test]
async fn what_is_no_uuid_is_refused() {
    let pannier = pannier().await;
    let longer = format!("{ID}0");
    for bad in ["x", "6f1b3c52", &longer, &ID[1..], "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0g", " ", "\0", "é"] {
        let status = put(&pannier, value_item("a", "v"), bad).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["request_id"], "{bad:?}");
    }
    assert_eq!(pannier.get("n", "a").await, None);
}

#[tokio::test]
async fn a_uuid_in_capitals_is_the_same_uuid() {
    let pannier = pannier().await;
    let first = put(&pannier, value_item("a", "v"), ID).await.unwrap();
    assert_eq!(put(&pannier, value_item("a", "v"), &ID.to_uppercase()).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_repeated_at_once_one_has_an_effect() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..50).map(|i| value_item(format!("k{i}"), "v")).collect()).await;
    for round in 0..5 {
        let request = pb::EvictRequest {
            namespace: "n".into(),
            count: 2,
            request_id: format!("00000000-0000-4000-8000-00000000000{round}"),
        };
        let calls = (0..16).map(|_| {
            let (mut cache, request) = (pannier.cache.clone(), request.clone());
            tokio::spawn(async move { cache.evict(request).await.unwrap().into_inner() })
        });
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap().evicted_count, 2);
        }
        assert_eq!(pannier.keys("n").await.len(), 50 - 2 * (round + 1));
    }
}

#[tokio::test]
async fn a_large_answer_is_repeated_whole() {
    let pannier = pannier().await;
    let items: Vec<_> = (0..5_000).map(|i| value_item(format!("k{i}"), "v")).collect();
    let request =
        pb::BatchPutRequest { namespace: "n".into(), items, request_id: ID.into(), ..Default::default() };
    let first = pannier.cache.clone().batch_put(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.results.len(), 5_000);
    pannier.delete_by_prefix("n", "k").await;
    let again = pannier.cache.clone().batch_put(request).await.unwrap().into_inner();
    assert!(again == first);
    assert!(pannier.keys("n").await.is_empty());
}
