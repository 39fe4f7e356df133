//! Bad input: told whole, nothing stored.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::records::v1 as pb;
use tonic::Code;

use super::calls::item;
use super::documents::with_collection;
use crate::harness::{assert_status, violated_fields};

#[tokio::test]
async fn documents_that_cannot_be_are_refused() {
    let pannier = with_collection().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    let very_deep = "[".repeat(200_000);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    for document in ["", "{", "1", "[]", "{} {}", r#"{"a":1,"a":2}"#, "{'a':1}", &deep, &very_deep, &long] {
        let refused = pannier.try_put_record("c", item("k", document)).await.unwrap_err();
        assert_eq!(
            violated_fields(&refused),
            ["item.document_json"],
            "{}",
            &document[..document.len().min(20)]
        );
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
    pannier.put_record("k", &deep).await;
    let patch = pb::PatchRequest {
        collection: "c".into(),
        item: Some(pb::PatchItem {
            key: "other".into(),
            patch_json: "[]".into(),
            if_revision: -1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = pannier.records.clone().patch(patch).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["item.if_revision", "item.patch_json"]);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_batch_is_told_at_once() {
    let pannier = with_collection().await;
    let request = pb::BatchPutRequest {
        collection: "No".into(),
        items: vec![
            item("k\0", "{}"),
            item(&"k".repeat(513), "nothing"),
            pb::PutItem { mode: 9, if_revision: -1, ..item("k", "{}") },
            pb::PutItem { mode: pb::PutMode::Insert.into(), if_revision: 1, ..item("k", "{}") },
            pb::PutItem { if_revision: 1, ..item("", "{}") },
        ],
        mode: 7,
        durability: 9,
        request_id: "x".into(),
        atomic: true,
    };
    let expected = [
        "collection",
        "durability",
        "items[0].key",
        "items[1].document_json",
        "items[1].key",
        "items[2].if_revision",
        "items[2].mode",
        "items[3].if_revision",
        "items[4].key",
        "mode",
        "request_id",
    ];
    let refused = pannier.records.clone().batch_put(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), expected);
    let empty = pb::BatchPutRequest { collection: "c".into(), ..Default::default() };
    assert_eq!(violated_fields(&pannier.records.clone().batch_put(empty).await.unwrap_err()), ["items"]);
    let request = pb::BatchDeleteRequest {
        collection: "c".into(),
        items: vec![pb::DeleteItem { key: String::new(), if_revision: -1 }],
        atomic: true,
        ..Default::default()
    };
    let refused = pannier.records.clone().batch_delete(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[0].if_revision", "items[0].key"]);
    let request = pb::BatchGetRequest { collection: "c".into(), keys: vec!["a".into(), String::new()] };
    let refused = pannier.records.clone().batch_get(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["keys[1]"]);
    assert_eq!(pannier.collection("c").await.unwrap().record_count, 0);
}

#[tokio::test]
async fn collections_that_cannot_be_are_refused() {
    let pannier = with_collection().await;
    let path = |path: &str| pb::Index { path: path.into(), ..Default::default() };
    let request = pb::CreateCollectionRequest {
        name: "No".into(),
        limits: Some(pb::CollectionLimits {
            records_max: Some(0),
            bytes_max: Some(-1),
            document_bytes_max: Some(1 << 40),
            tombstone_retention: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
        }),
        schema_json: r#"{"$ref":"https://example.com/s.json"}"#.into(),
        indexes: vec![path("a"), path("a..b"), path("a")],
        ..Default::default()
    };
    let expected = [
        "indexes[1].path",
        "indexes[2].path",
        "limits.bytes_max",
        "limits.document_bytes_max",
        "limits.records_max",
        "limits.tombstone_retention",
        "name",
        "schema_json",
    ];
    assert_eq!(violated_fields(&pannier.try_make_collection(request).await.unwrap_err()), expected);
    let request = pb::UpdateCollectionRequest {
        name: "c".into(),
        schema_json: Some("{".into()),
        if_revision: -1,
        ..Default::default()
    };
    let refused = pannier.records.clone().update_collection(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["if_revision", "schema_json"]);
}

#[tokio::test]
async fn unknown_collections_are_told_by_every_call() {
    let pannier = with_collection().await;
    let collection = || "unknown".to_owned();
    let mut records = pannier.records.clone();
    let put = pannier.try_put_record("unknown", item("k", "{}")).await.unwrap_err();
    let get = pannier.try_record("unknown", "k").await.unwrap_err();
    let list =
        records.list(pb::ListRequest { collection: collection(), ..Default::default() }).await.unwrap_err();
    let newest = pb::ListRequest {
        collection: collection(),
        order: pb::ListOrder::Newest.into(),
        ..Default::default()
    };
    let newest = records.list(newest).await.unwrap_err();
    let keys = vec!["k".to_owned()];
    let batch = records.batch_get(pb::BatchGetRequest { collection: collection(), keys }).await.unwrap_err();
    let changes = pannier.try_changes("unknown", "", 0).await.unwrap_err();
    let watch = pb::WatchRequest { collection: collection(), start: None };
    let watch = records.watch(watch).await.unwrap().into_inner().message().await.unwrap_err();
    let query = records.query(pb::QueryRequest { collection: collection(), ..Default::default() });
    let query = query.await.unwrap_err();
    for refused in [put, get, list, newest, batch, changes, watch, query] {
        assert_status(&refused, Code::NotFound, ErrorReason::CollectionNotFound);
    }
}

#[tokio::test]
async fn cursors_and_tokens_from_elsewhere_are_refused() {
    let pannier = with_collection().await;
    pannier.make_collection("d").await;
    for key in ["a", "b"] {
        pannier.put_record(key, "{}").await;
    }
    let (_, cursor) = pannier.all_changes("", 0).await;
    for foreign in ["x", &cursor[1..], &format!("{cursor}A")] {
        let refused = pannier.try_changes("c", foreign, 0).await.unwrap_err();
        assert_status(&refused, Code::InvalidArgument, ErrorReason::CursorInvalid);
    }
    let refused = pannier.try_changes("d", &cursor, 0).await.unwrap_err();
    assert_status(&refused, Code::InvalidArgument, ErrorReason::CursorInvalid);
    let list = |collection: &str, page_token: &str, order: pb::ListOrder| {
        let order = order.into();
        let request = pb::ListRequest {
            collection: collection.into(),
            page_token: page_token.into(),
            page_size: 1,
            order,
            ..Default::default()
        };
        let mut records = pannier.records.clone();
        async move { records.list(request).await }
    };
    let by_key = list("c", "", pb::ListOrder::Key).await.unwrap().into_inner().next_page_token;
    for (collection, order) in [("d", pb::ListOrder::Key), ("c", pb::ListOrder::Newest)] {
        let refused = list(collection, &by_key, order).await.unwrap_err();
        assert_status(&refused, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
    let request = pb::ListRequest {
        collection: "c".into(),
        prefix: "a".into(),
        order: pb::ListOrder::Newest.into(),
        page_size: -1,
        ..Default::default()
    };
    let refused = pannier.records.clone().list(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["page_size", "prefix"]);
}
