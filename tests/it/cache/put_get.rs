//! Putting and getting: what comes back is what was given.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{negative_item, short_lived, tagged, value_item, value_of};
use crate::harness::{assert_status, pannier};

#[tokio::test]
async fn what_was_put_is_got_and_each_get_counts() {
    let pannier = pannier().await;
    let put = pannier.put("n", value_item("a", "one")).await;
    assert!(put.created);
    for count in 2..5 {
        let entry = pannier.get("n", "a").await.unwrap();
        assert_eq!(entry.content, Some(pb::entry::Content::Value("one".into())));
        assert_eq!((entry.access_count, entry.etag.as_str()), (count, put.etag.as_str()));
        assert!(!entry.stale);
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_is_a_miss_and_makes_no_namespace() {
    let pannier = pannier().await;
    assert_eq!(pannier.get("n", "a").await, None);
    let status = pannier.try_get_namespace("n").await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
    pannier.put("n", value_item("a", "one")).await;
    assert_eq!(pannier.get("n", "b").await, None);
}

#[tokio::test]
async fn an_empty_value_is_a_value() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "")).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!(entry.content, Some(pb::entry::Content::Value("".into())));
    assert_eq!(entry.size_bytes, 0);
}

#[tokio::test]
async fn a_value_of_every_byte_comes_back_unchanged() {
    let pannier = pannier().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    pannier.put("n", value_item("a", every_byte.clone())).await;
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), every_byte);
}

#[tokio::test]
async fn a_put_keeps_nothing_of_the_former_entry() {
    let pannier = pannier().await;
    let full = pb::PutItem {
        content_type: "text/plain".into(),
        metadata_json: r#"{"a":1}"#.into(),
        tags: vec!["t".into()],
        stale_window: Some(super::items::seconds(60)),
        ..short_lived("a", "one", 10)
    };
    pannier.put("n", full).await;
    let full = pannier.get("n", "a").await.unwrap();
    assert_eq!(full.content_type, "text/plain");
    assert!(full.stale_until_time.is_some());
    pannier.put("n", value_item("a", "two")).await;
    let bare = pannier.get("n", "a").await.unwrap();
    assert_eq!(value_of(&bare), b"two");
    assert_eq!((bare.content_type.as_str(), bare.metadata_json.as_str()), ("", ""));
    assert!(bare.tags.is_empty());
    assert_eq!(bare.stale_until_time, None);
    pannier.advance_s(100);
    assert!(pannier.get("n", "a").await.is_some(), "the former entry's ttl must not remain");
}

#[tokio::test]
async fn a_put_tells_whether_a_live_entry_was_there() {
    let pannier = pannier().await;
    assert!(pannier.put("n", short_lived("a", "one", 10)).await.created);
    assert!(!pannier.put("n", short_lived("a", "two", 10)).await.created);
    pannier.advance_s(11);
    assert!(pannier.put("n", value_item("a", "three")).await.created, "expired counts as absent");
    pannier.delete("n", &["a"]).await;
    assert!(pannier.put("n", value_item("a", "four")).await.created);
}

#[tokio::test]
async fn a_negative_entry_comes_back_as_a_failure() {
    let pannier = pannier().await;
    pannier.put("n", negative_item("a", "NO_CAPTIONS", "the video has none")).await;
    let entry = pannier.get("n", "a").await.unwrap();
    let negative =
        pb::NegativeEntry { error_code: "NO_CAPTIONS".into(), error_message: "the video has none".into() };
    assert_eq!(entry.content, Some(pb::entry::Content::Negative(negative)));
    assert_eq!(entry.size_bytes, 11 + 18);

    pannier.put("n", negative_item("a", "X", "")).await;
    let negative = pb::NegativeEntry { error_code: "X".into(), error_message: String::new() };
    assert_eq!(pannier.get("n", "a").await.unwrap().content, Some(pb::entry::Content::Negative(negative)));
}

#[tokio::test]
async fn a_value_takes_the_place_of_a_failure_and_the_other_way_round() {
    let pannier = pannier().await;
    pannier.put("n", negative_item("a", "E", "m")).await;
    assert!(!pannier.put("n", value_item("a", "one")).await.created);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"one");
    pannier.put("n", negative_item("a", "E", "m")).await;
    let content = pannier.get("n", "a").await.unwrap().content;
    assert!(matches!(content, Some(pb::entry::Content::Negative(_))), "{content:?}");
}

#[tokio::test]
async fn metadata_is_kept_byte_for_byte() {
    let pannier = pannier().await;
    let documents = [
        "{}",
        "{ \"b\" : 1,\n\t\"a\": [1.0, 1e5, -0.0] }",
        r#"{"a":1,"a":2}"#,
        r#"{"ü":"\u00e9\ud83d\ude00","nul":"\u0000","n":null}"#,
        r#"{"large":123456789012345678901234567890123456789.10000000000000000000001}"#,
        "  {\"spaces\":\"around\"}  ",
    ];
    for document in documents {
        pannier.put("n", pb::PutItem { metadata_json: document.into(), ..value_item("a", "v") }).await;
        assert_eq!(pannier.get("n", "a").await.unwrap().metadata_json, document);
    }
}

#[tokio::test]
async fn metadata_may_hold_numbers_beyond_the_range_of_a_double() {
    let pannier = pannier().await;
    let metadata_json = r#"{"a":1e400}"#.to_owned();
    pannier.put("n", pb::PutItem { metadata_json: metadata_json.clone(), ..value_item("a", "v") }).await;
    assert_eq!(pannier.get("n", "a").await.unwrap().metadata_json, metadata_json);
}

#[tokio::test]
async fn tags_come_back_sorted_and_each_once() {
    let pannier = pannier().await;
    pannier.put("n", tagged("a", &["b", "a", "ü", "b", "Z", "a b", "a"])).await;
    assert_eq!(pannier.get("n", "a").await.unwrap().tags, ["Z", "a", "a b", "b", "ü"]);
}

#[tokio::test]
async fn tags_of_any_printable_characters_come_back_and_are_found() {
    let pannier = pannier().await;
    for tag in ["a,b", "[\"x\"]", "\\", "'; --", " ", "%", "_", "🚲\u{202e}", "\u{10ffff}", &"t".repeat(256)]
    {
        pannier.put("n", tagged("a", &[tag, "other"])).await;
        let entry = pannier.get("n", "a").await.unwrap();
        assert_eq!(entry.tags.len(), 2);
        assert!(entry.tags.iter().any(|it| it == tag), "{tag:?} in {:?}", entry.tags);
        assert_eq!(pannier.delete_by_tag("n", tag).await, (1, false), "{tag:?}");
    }
}

#[tokio::test]
async fn keys_of_any_characters_are_told_apart() {
    let pannier = pannier().await;
    let longest = "é".repeat(512);
    let keys = [
        "a",
        "A",
        "a ",
        " a",
        "a\u{1}",
        "a\u{1}b",
        "\u{1}",
        "a\n",
        "🚲",
        "🚲\u{fe0f}",
        "שלום",
        "\u{202e}abc",
        "é",
        "e\u{301}",
        "%",
        "_",
        "'",
        "\"; --",
        "\u{10ffff}",
        "a/b",
        "日本語",
        &longest,
    ];
    let items = keys.iter().enumerate().map(|(i, key)| value_item(*key, format!("{i}"))).collect();
    assert!(pannier.put_all("n", items).await.iter().all(|put| put.created));
    let pannier = pannier.restart().await;
    for (i, key) in keys.iter().enumerate() {
        let entry = pannier.get("n", key).await.unwrap_or_else(|| panic!("{key:?} is lost"));
        assert_eq!((entry.key.as_str(), value_of(&entry)), (*key, format!("{i}").as_bytes()));
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(pannier.keys("n").await, sorted, "in byte order");
}

#[tokio::test]
async fn the_same_key_in_two_namespaces_is_two_entries() {
    let pannier = pannier().await;
    pannier.put("one", value_item("a", "1")).await;
    pannier.put("two", value_item("a", "2")).await;
    assert_eq!(value_of(&pannier.get("one", "a").await.unwrap()), b"1");
    assert_eq!(value_of(&pannier.get("two", "a").await.unwrap()), b"2");
    pannier.delete("one", &["a"]).await;
    assert_eq!(pannier.get("one", "a").await, None);
    assert!(pannier.get("two", "a").await.is_some());
}

#[tokio::test]
async fn the_etag_changes_with_every_put_even_of_the_same_content() {
    let pannier = pannier().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let put = pannier.put("n", value_item("a", "same")).await;
        assert!(!put.etag.is_empty());
        assert!(seen.insert(put.etag.clone()), "etag {} came twice", put.etag);
        assert_eq!(pannier.get("n", "a").await.unwrap().etag, put.etag);
    }
}

#[tokio::test]
async fn an_etag_does_not_come_again_after_a_restart_at_the_same_time() {
    let pannier = pannier().await;
    let first = pannier.put("n", value_item("a", "one")).await.etag;
    let now_us = pannier.now_us();
    let pannier = pannier.restart_at(now_us).await;
    let second = pannier.put("n", value_item("a", "two")).await.etag;
    assert_ne!(first, second);
    let pannier = pannier.restart_at(now_us - 1_000_000).await;
    let third = pannier.put("n", value_item("a", "three")).await.etag;
    assert!(third != first && third != second);
}

#[tokio::test]
async fn stored_bytes_are_key_value_metadata_and_tags() {
    let pannier = pannier().await;
    let item = pb::PutItem {
        metadata_json: "{\"é\":1}".into(),
        tags: vec!["four".into(), "to".into()],
        ..value_item("ключ", "0123456789")
    };
    pannier.put("n", item).await;
    let entry = pannier.get("n", "ключ").await.unwrap();
    assert_eq!((entry.size_bytes, entry.stored_bytes), (10, 8 + 10 + 8 + 6));
}

#[tokio::test]
async fn a_put_of_either_durability_is_stored() {
    let pannier = pannier().await;
    for durability in [Durability::Full, Durability::Relaxed] {
        let request = pb::PutRequest {
            namespace: "n".into(),
            item: Some(value_item(durability.as_str_name(), "v")),
            durability: durability.into(),
            ..Default::default()
        };
        pannier.cache.clone().put(request).await.unwrap();
    }
    let pannier = pannier.restart().await;
    assert_eq!(pannier.exists("n", &["DURABILITY_FULL", "DURABILITY_RELAXED"]).await, [true, true]);
}
