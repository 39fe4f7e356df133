//! Bad input of Put and BatchPut: all violations at once, nothing stored. A wrong item of a batch is refused alone.

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::put_item::{Condition, Expiry};
use pannier_proto::errors::v1::ErrorReason;
use prost_types::Duration;
use tonic::{Code, Status};

use super::items::{negative_item, seconds, tagged, value_item, wrong_fields};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

/// Puts one item that is wrong and answers with the fields that are named.
async fn refused(pannier: &Pannier, item: pb::PutItem) -> Vec<String> {
    let status = pannier.try_put("n", item).await.expect_err("a bad item was stored");
    assert_nothing_stored(pannier).await;
    violated_fields(&status)
}

async fn assert_nothing_stored(pannier: &Pannier) {
    assert!(pannier.keys("n").await.is_empty());
    assert!(pannier.try_get_namespace("n").await.is_err(), "a refused call makes no namespace");
}

fn with_ttl(seconds: i64, nanos: i32) -> pb::PutItem {
    pb::PutItem { expiry: Some(Expiry::Ttl(Duration { seconds, nanos })), ..value_item("a", "v") }
}

fn with_window(seconds: i64, nanos: i32) -> pb::PutItem {
    pb::PutItem { stale_window: Some(Duration { seconds, nanos }), ..value_item("a", "v") }
}

/// Durations that are none, or too long.
const BAD_DURATIONS: [(i64, i32); 14] = [
    (-1, 0),
    (0, -1),
    (-1, -500_000_000),
    (1, -1),
    (-1, 1),
    (0, 1_000_000_000),
    (1, i32::MAX),
    (1, i32::MIN),
    (11 * 366 * 86_400, 0),
    (i64::MAX, 0),
    (i64::MAX, 999_999_999),
    (i64::MIN, 0),
    (i64::MAX / 1_000_000, 0),
    (i64::MAX / 1_000, 0),
];

#[tokio::test]
async fn a_ttl_that_is_zero_negative_too_long_or_no_duration_is_refused() {
    let pannier = pannier().await;
    for (seconds, nanos) in BAD_DURATIONS.into_iter().chain([(0, 0)]) {
        assert_eq!(refused(&pannier, with_ttl(seconds, nanos)).await, ["item.ttl"], "{seconds} s {nanos} ns");
    }
}

#[tokio::test]
async fn a_stale_window_that_is_negative_too_long_or_no_duration_is_refused() {
    let pannier = pannier().await;
    for (seconds, nanos) in BAD_DURATIONS {
        let fields = refused(&pannier, with_window(seconds, nanos)).await;
        assert_eq!(fields, ["item.stale_window"], "{seconds} s {nanos} ns");
    }
}

#[tokio::test]
async fn the_longest_ttl_with_the_longest_stale_window_is_accepted() {
    let pannier = pannier().await;
    let ten_years = 3_650 * 86_400;
    let item = pb::PutItem { stale_window: Some(seconds(ten_years)), ..with_ttl(ten_years, 999_999_999) };
    pannier.put("n", item).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert!(entry.stale_until_time.unwrap().seconds > entry.expire_time.unwrap().seconds);
}

#[tokio::test]
async fn never_expires_said_false_is_refused() {
    let pannier = pannier().await;
    let item = pb::PutItem { expiry: Some(Expiry::NeverExpires(false)), ..value_item("a", "v") };
    assert_eq!(refused(&pannier, item).await, ["item.never_expires"]);
}

#[tokio::test]
async fn a_condition_that_says_nothing_is_refused() {
    let pannier = pannier().await;
    let cases = [
        (Condition::IfAbsent(false), "item.if_absent"),
        (Condition::IfPresent(false), "item.if_present"),
        (Condition::IfEtag(String::new()), "item.if_etag"),
    ];
    for (condition, field) in cases {
        let item = pb::PutItem { condition: Some(condition), ..value_item("a", "v") };
        assert_eq!(refused(&pannier, item).await, [field]);
    }
}

#[tokio::test]
async fn empty_and_oversized_keys_are_refused() {
    let pannier = pannier().await;
    for key in ["", &"k".repeat(1_025), &"é".repeat(513), &"k".repeat(1_000_000)] {
        assert_eq!(refused(&pannier, value_item(key, "v")).await, ["item.key"], "{} bytes", key.len());
    }
}

#[tokio::test]
async fn the_character_zero_is_refused_in_every_text() {
    let pannier = pannier().await;
    let item = || value_item("a", "v");
    assert_eq!(refused(&pannier, value_item("a\0b", "v")).await, ["item.key"]);
    assert_eq!(
        refused(&pannier, pb::PutItem { content_type: "text\0".into(), ..item() }).await,
        ["item.content_type"]
    );
    assert_eq!(
        refused(&pannier, negative_item("a", "\0", "\0")).await,
        ["item.negative.error_code", "item.negative.error_message"]
    );
    let request = pb::BatchGetRequest {
        namespace: "n".into(),
        keys: vec!["a".into(), "\0".into()],
        ..Default::default()
    };
    let results = pannier.cache.clone().batch_get(request).await.unwrap().into_inner().results;
    assert!(results[0].error.is_none());
    assert_eq!(wrong_fields(results[1].error.as_ref()), [""]);
}

#[tokio::test]
async fn oversized_values_and_missing_content_are_refused() {
    let pannier = pannier_with(|settings| settings.cache.value_bytes_max = 1_000).await;
    assert_eq!(refused(&pannier, value_item("a", vec![0; 1_001])).await, ["item.value"]);
    let fields = refused(&pannier, pb::PutItem { key: "a".into(), ..Default::default() }).await;
    assert!(fields == ["item.content"] || fields == ["item.value"], "{fields:?}");
    let request = pb::PutRequest { namespace: "n".into(), ..Default::default() };
    let fields = violated_fields(&pannier.cache.clone().put(request).await.unwrap_err());
    assert!(!fields.is_empty() && fields.iter().all(|field| field.starts_with("item")), "{fields:?}");
    pannier.put("n", value_item("a", vec![0; 1_000])).await;
}

#[tokio::test]
async fn failures_without_a_code_or_too_long_are_refused() {
    let pannier = pannier().await;
    let long = |count| "x".repeat(count);
    assert_eq!(refused(&pannier, negative_item("a", "", "m")).await, ["item.negative.error_code"]);
    assert_eq!(refused(&pannier, negative_item("a", &long(257), "")).await, ["item.negative.error_code"]);
    assert_eq!(
        refused(&pannier, negative_item("a", "E", &long(4_097))).await,
        ["item.negative.error_message"]
    );
    pannier.put("n", negative_item("a", &long(256), &long(4_096))).await;
}

#[tokio::test]
async fn oversized_content_types_are_refused() {
    let pannier = pannier().await;
    let item = |count| pb::PutItem { content_type: "x".repeat(count), ..value_item("a", "v") };
    assert_eq!(refused(&pannier, item(257)).await, ["item.content_type"]);
    pannier.put("n", item(256)).await;
}

#[tokio::test]
async fn metadata_that_is_no_json_object_or_too_large_is_refused() {
    let pannier = pannier_with(|settings| settings.cache.metadata_bytes_max = 1_000).await;
    let item = |metadata: &str| pb::PutItem { metadata_json: metadata.into(), ..value_item("a", "v") };
    let large = format!("{{\"a\":\"{}\"}}", "m".repeat(1_000));
    for metadata in [
        "[]",
        "1",
        "null",
        "\"a\"",
        "{",
        "{}{}",
        "{} x",
        "{'a':1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":NaN}",
        "nonsense",
        " ",
        "\0",
        "{\"a\":\"\u{1}\"}",
        "\u{feff}{}",
        "{\"a\":01}",
        &large,
    ] {
        assert_eq!(refused(&pannier, item(metadata)).await, ["item.metadata_json"], "{metadata:?}");
    }
    let largest = format!("{{\"a\":\"{}\"}}", "m".repeat(992));
    pannier.put("n", item(&largest)).await;
}

#[tokio::test]
async fn deeply_nested_metadata_harms_nobody() {
    let pannier = pannier().await;
    for depth in [100, 1_000, 30_000] {
        let metadata_json = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let item = pb::PutItem { metadata_json: metadata_json.clone(), ..value_item("a", "v") };
        match pannier.try_put("n", item).await {
            Ok(_) => assert_eq!(pannier.get("n", "a").await.unwrap().metadata_json, metadata_json),
            Err(status) => assert_eq!(violated_fields(&status), ["item.metadata_json"]),
        }
    }
}

#[tokio::test]
async fn tags_too_many_too_long_empty_or_with_control_characters_are_refused() {
    let pannier = pannier().await;
    let many: Vec<String> = (0..33).map(|i| format!("t{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused(&pannier, tagged("a", &many)).await, ["item.tags"]);
    for bad in ["", "a\nb", "\0", "\u{7f}", "\u{85}", &"t".repeat(257), &"é".repeat(129)] {
        let fields = refused(&pannier, tagged("a", &["good", bad])).await;
        assert_eq!(fields, ["item.tags[1]"], "{bad:?}");
    }
    pannier.put("n", tagged("a", &many[..32])).await;
}

#[tokio::test]
async fn bad_namespace_names_are_refused() {
    let pannier = pannier().await;
    for name in ["", "A", "a b", "a/b", "é", "a\0", "a\n", "%", "*", &"n".repeat(129), &"n".repeat(100_000)]
    {
        let status = pannier.try_put(name, value_item("a", "v")).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["namespace"], "{name:?}");
    }
    for name in ["a", "0", ".", "..", "-", "_", "a.b_c-9", &"n".repeat(128)] {
        pannier.put(name, value_item("a", "v")).await;
    }
}

#[tokio::test]
async fn unknown_durabilities_are_refused() {
    let pannier = pannier().await;
    for durability in [3, 99, -1, i32::MAX, i32::MIN] {
        let item = Some(value_item("a", "v"));
        let request = pb::PutRequest { namespace: "n".into(), item, durability, ..Default::default() };
        let fields = violated_fields(&pannier.cache.clone().put(request).await.unwrap_err());
        assert_eq!(fields, ["durability"], "{durability}");
    }
    assert_nothing_stored(&pannier).await;
}

#[tokio::test]
async fn empty_and_oversized_batches_are_refused() {
    let pannier = pannier_with(|settings| settings.cache.batch_items_max = 10).await;
    let items = |count: usize| (0..count).map(|i| value_item(format!("k{i}"), "v")).collect();
    for count in [0, 11] {
        let status = pannier.try_batch_put("n", items(count)).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["items"], "{count} items");
    }
    assert_nothing_stored(&pannier).await;
    pannier.put_all("n", items(10)).await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_put_is_told_at_once() {
    let pannier = pannier().await;
    let item = pb::PutItem {
        key: String::new(),
        content_type: "x".repeat(257),
        metadata_json: "[]".into(),
        tags: vec!["good".into(), String::new(), "\0".into()],
        stale_window: Some(seconds(-1)),
        ..with_ttl(-1, 0)
    };
    let request = pb::PutRequest {
        namespace: "Bad".into(),
        item: Some(item),
        durability: 7,
        request_id: "no uuid".into(),
    };
    let fields = violated_fields(&pannier.cache.clone().put(request).await.unwrap_err());
    let expected = [
        "durability",
        "item.content_type",
        "item.key",
        "item.metadata_json",
        "item.stale_window",
        "item.tags[1]",
        "item.tags[2]",
        "item.ttl",
        "namespace",
        "request_id",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn a_bad_item_of_a_batch_fails_alone_or_all_of_them() {
    let pannier = pannier().await;
    let items = vec![
        value_item("good", "v"),
        value_item("", "v"),
        value_item("good too", "v"),
        with_ttl(0, 0),
        pb::PutItem { key: "no content".into(), tags: vec![String::new()], ..Default::default() },
    ];
    let request = pb::BatchPutRequest { namespace: "n".into(), items, atomic: true, ..Default::default() };
    let status: Status = pannier.cache.clone().batch_put(request.clone()).await.unwrap_err();
    assert_eq!(
        violated_fields(&status),
        ["items[1].key", "items[3].ttl", "items[4].content", "items[4].tags[0]"]
    );
    assert_nothing_stored(&pannier).await;
    let results = pannier.try_batch_put("n", request.items).await.unwrap();
    assert_eq!(pannier.keys("n").await, ["good", "good too"]);
    for (place, fields) in [(1, vec!["key"]), (3, vec!["ttl"]), (4, vec!["content", "tags[0]"])] {
        let Some(pb::batch_put_result::Outcome::Error(error)) = &results[place].outcome else {
            panic!("item {place} was stored")
        };
        assert_eq!(wrong_fields(Some(error)), fields, "{place}");
    }
}

#[tokio::test]
async fn a_batch_of_nothing_but_wrong_items_makes_no_namespace() {
    let pannier = pannier().await;
    let results = pannier.try_batch_put("n", vec![value_item("", "v"), with_ttl(0, 0)]).await.unwrap();
    assert_eq!(results.len(), 2);
    assert_nothing_stored(&pannier).await;
}

#[tokio::test]
async fn a_batch_that_is_all_or_none_fails_with_the_condition_of_its_first_item() {
    let pannier = pannier().await;
    pannier.put("n", value_item("taken", "v")).await;
    let absent = pb::PutItem { condition: Some(Condition::IfAbsent(true)), ..value_item("taken", "w") };
    let items = vec![value_item("a", "v"), absent];
    let request = pb::BatchPutRequest { namespace: "n".into(), items, atomic: true, ..Default::default() };
    let status = pannier.cache.clone().batch_put(request).await.unwrap_err();
    assert_status(&status, Code::AlreadyExists, ErrorReason::EntryExists);
    assert!(status.message().starts_with("items[1]: "), "{status:?}");
    assert_eq!(pannier.keys("n").await, ["taken"]);
}

#[tokio::test]
async fn a_message_larger_than_the_setting_is_refused_as_such() {
    let pannier = pannier_with(|settings| settings.server.message_bytes_max = 100_000).await;
    let status = pannier.try_put("n", value_item("a", vec![0; 100_000])).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::MessageTooLarge);
    assert_nothing_stored(&pannier).await;
    pannier.put("n", value_item("a", vec![0; 99_000])).await;
}
