//! Every mutation takes a request_id: repeated, it gives its first answer and has no second effect.

use pannier_proto::cache::v1 as pb;

use super::items::{seconds, tagged, value_item};
use crate::harness::pannier;

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";

fn id() -> String {
    ID.into()
}

#[tokio::test]
async fn a_repeated_batch_put_tells_its_failures_again() {
    let pannier = pannier().await;
    pannier.put("n", value_item("here", "v")).await;
    let refused =
        pb::PutItem { condition: Some(pb::put_item::Condition::IfAbsent(true)), ..value_item("here", "w") };
    let items = vec![value_item("a", "v"), refused];
    let request =
        pb::BatchPutRequest { namespace: "n".into(), items, request_id: id(), ..Default::default() };
    let first = pannier.cache.clone().batch_put(request.clone()).await.unwrap().into_inner();
    pannier.delete("n", &["a", "here"]).await;
    assert_eq!(pannier.cache.clone().batch_put(request).await.unwrap().into_inner(), first);
    assert!(pannier.keys("n").await.is_empty());
}

#[tokio::test]
async fn a_repeated_delete_deletes_nothing() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "one")).await;
    let items = vec![pb::DeleteItem { key: "a".into(), if_etag: None }];
    let request = pb::DeleteRequest { namespace: "n".into(), items, request_id: id(), ..Default::default() };
    let first = pannier.cache.clone().delete(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        first.results.iter().map(pb::DeleteResult::outcome).collect::<Vec<_>>(),
        [pb::DeleteOutcome::Deleted]
    );
    pannier.put("n", value_item("a", "two")).await;
    assert_eq!(pannier.cache.clone().delete(request).await.unwrap().into_inner(), first);
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn a_repeated_delete_by_prefix_or_tag_deletes_nothing() {
    let pannier = pannier().await;
    pannier.put("n", tagged("a", &["t"])).await;
    let prefix = pb::DeleteByPrefixRequest { namespace: "n".into(), prefix: "a".into(), request_id: id() };
    let first = pannier.cache.clone().delete_by_prefix(prefix.clone()).await.unwrap().into_inner();
    assert_eq!(first.deleted_count, 1);
    pannier.put("n", tagged("a", &["t"])).await;
    assert_eq!(pannier.cache.clone().delete_by_prefix(prefix).await.unwrap().into_inner(), first);
    let request_id = ID.replace('6', "7");
    let tag = pb::DeleteByTagRequest { namespace: "n".into(), tag: "t".into(), request_id };
    let first = pannier.cache.clone().delete_by_tag(tag.clone()).await.unwrap().into_inner();
    assert_eq!(first.deleted_count, 1);
    pannier.put("n", tagged("a", &["t"])).await;
    assert_eq!(pannier.cache.clone().delete_by_tag(tag).await.unwrap().into_inner(), first);
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn a_repeated_touch_moves_no_expiry() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let expiry = Some(pb::touch_item::Expiry::Ttl(seconds(60)));
    let items = vec![pb::TouchItem { key: "a".into(), expiry }];
    let request = pb::TouchRequest { namespace: "n".into(), items, request_id: id(), ..Default::default() };
    let first = pannier.cache.clone().touch(request.clone()).await.unwrap().into_inner();
    pannier.advance_s(30);
    assert_eq!(pannier.cache.clone().touch(request).await.unwrap().into_inner(), first);
    assert_eq!(pannier.get("n", "a").await.unwrap().expire_time, first.results[0].expire_time);
}

#[tokio::test]
async fn a_repeated_eviction_evicts_nothing() {
    let pannier = pannier().await;
    pannier.put_all("n", (0..10).map(|i| value_item(format!("k{i}"), "v")).collect()).await;
    let request = pb::EvictRequest { namespace: "n".into(), count: 3, request_id: id() };
    let first = pannier.cache.clone().evict(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.cache.clone().evict(request).await.unwrap().into_inner(), first);
    assert_eq!(pannier.keys("n").await.len(), 7);
}

#[tokio::test]
async fn a_repeated_namespace_update_or_deletion_changes_nothing() {
    let pannier = pannier().await;
    let update = pb::UpdateNamespaceRequest {
        namespace: Some(pb::Namespace { name: "n".into(), entries_max: 5, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["entries_max".into()] }),
        request_id: id(),
    };
    let first = pannier.cache.clone().update_namespace(update.clone()).await.unwrap().into_inner();
    assert!(first.created);
    pannier.limit_entries("n", 6).await;
    assert_eq!(pannier.cache.clone().update_namespace(update).await.unwrap().into_inner(), first);
    assert_eq!(pannier.try_get_namespace("n").await.unwrap().entries_max, 6);

    let delete = pb::DeleteNamespaceRequest { name: "n".into(), request_id: ID.replace('6', "7") };
    assert!(pannier.cache.clone().delete_namespace(delete.clone()).await.unwrap().into_inner().deleted);
    pannier.put("n", value_item("a", "v")).await;
    assert!(pannier.cache.clone().delete_namespace(delete).await.unwrap().into_inner().deleted);
    assert_eq!(pannier.keys("n").await, ["a"]);
}

#[tokio::test]
async fn a_repeated_release_tells_that_it_was_released() {
    let pannier = pannier().await;
    let request = pb::ReleaseLeaseRequest {
        namespace: "n".into(),
        key: "a".into(),
        lease_token: pannier.lease("n", "a").await,
        request_id: id(),
    };
    assert!(pannier.cache.clone().release_lease(request.clone()).await.unwrap().into_inner().released);
    let next = pannier.lease("n", "a").await;
    assert!(pannier.cache.clone().release_lease(request).await.unwrap().into_inner().released);
    assert!(pannier.release("n", "a", &next).await, "the next lease is untouched");
}

#[tokio::test]
async fn a_repeated_fill_gets_its_answer_though_the_lease_is_spent() {
    let pannier = pannier().await;
    let lease_token = pannier.lease("n", "a").await;
    let request = pb::PutRequest {
        namespace: "n".into(),
        item: Some(pb::PutItem { lease_token, ..value_item("a", "v") }),
        request_id: id(),
        ..Default::default()
    };
    let first = pannier.cache.clone().put(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.cache.clone().put(request).await.unwrap().into_inner(), first);
}
