//! Exists, Delete, DeleteByPrefix and DeleteByTag.

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::DeleteOutcome::{Deleted, EtagMismatch, NotFound};
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{short_lived, tagged, value_item};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

fn if_etag(key: &str, etag: &str) -> pb::DeleteItem {
    pb::DeleteItem { key: key.into(), if_etag: Some(etag.into()) }
}

async fn put_keys(pannier: &Pannier, keys: &[&str]) {
    pannier.put_all("n", keys.iter().map(|key| value_item(*key, "v")).collect()).await;
}

#[tokio::test]
async fn exists_answers_for_each_key_in_order_and_counts_no_read() {
    let pannier = pannier().await;
    put_keys(&pannier, &["a", "c"]).await;
    assert_eq!(pannier.exists("n", &["a", "b", "c", "a"]).await, [true, false, true, true]);
    assert_eq!(pannier.exists("unknown", &["a"]).await, [false]);
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count), (0, 0));
}

#[tokio::test]
async fn exists_sees_what_the_database_holds_after_a_restart() {
    let pannier = pannier().await;
    put_keys(&pannier, &["a"]).await;
    pannier.put("n", short_lived("b", "v", 10)).await;
    let pannier = pannier.restart().await;
    assert_eq!(pannier.exists("n", &["a", "b", "c"]).await, [true, true, false]);
    pannier.advance_s(10);
    assert_eq!(pannier.exists("n", &["a", "b", "c"]).await, [true, false, false]);
}

#[tokio::test]
async fn a_deleted_entry_is_gone_for_every_call_and_after_a_restart() {
    let pannier = pannier().await;
    put_keys(&pannier, &["a", "b"]).await;
    pannier.get("n", "a").await;
    assert_eq!(pannier.delete("n", &["a"]).await, [Deleted]);
    assert_eq!(pannier.get("n", "a").await, None);
    assert_eq!(pannier.exists("n", &["a"]).await, [false]);
    assert_eq!(pannier.keys("n").await, ["b"]);
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (1, 2));
    let pannier = pannier.restart().await;
    assert_eq!(pannier.exists("n", &["a", "b"]).await, [false, true]);
}

#[tokio::test]
async fn delete_tells_an_outcome_per_item_in_order() {
    let pannier = pannier().await;
    put_keys(&pannier, &["a", "b", "c"]).await;
    pannier.put("n", short_lived("expired", "v", 1)).await;
    pannier.advance_s(2);
    let outcomes = pannier.delete("n", &["none", "b", "expired", "a", "a"]).await;
    assert_eq!(outcomes, [NotFound, Deleted, NotFound, Deleted, NotFound]);
    assert_eq!(pannier.keys("n").await, ["c"]);
    assert_eq!(pannier.delete("unknown", &["a"]).await, [NotFound]);
}

#[tokio::test]
async fn delete_if_etag_deletes_only_what_was_read() {
    let pannier = pannier().await;
    let first = pannier.put("n", value_item("a", "one")).await.etag;
    let second = pannier.put("n", value_item("a", "two")).await.etag;
    let items = vec![
        if_etag("a", &first),
        if_etag("none", &first),
        if_etag("a", "nonsense"),
        if_etag("a", ""),
        if_etag("a", &second),
        if_etag("a", &second),
    ];
    let outcomes = pannier.delete_items("n", items).await;
    assert_eq!(outcomes, [EtagMismatch, NotFound, EtagMismatch, EtagMismatch, Deleted, NotFound]);
    assert_eq!(pannier.get("n", "a").await, None);
}

#[tokio::test]
async fn deleting_makes_no_namespace() {
    let pannier = pannier().await;
    pannier.delete("n", &["a"]).await;
    assert_eq!(pannier.delete_by_prefix("n", "a").await, (0, false));
    assert_eq!(pannier.delete_by_tag("n", "a").await, (0, false));
    let status = pannier.try_get_namespace("n").await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::NamespaceNotFound);
}

#[tokio::test]
async fn a_prefix_deletes_exactly_the_keys_that_begin_with_its_bytes() {
    let pannier = pannier().await;
    let keys = [
        "a",
        "ab",
        "aB",
        "A",
        "a%",
        "a%b",
        "a_",
        "axb",
        "é",
        "éa",
        "e\u{301}",
        "日本",
        "日本語",
        "日",
        "\u{10ffff}",
        "\u{10ffff}\u{10ffff}",
        "\u{10ffff}a",
        "\u{1}",
        "\u{1}a",
        "\u{7f}",
        "\u{7f}x",
        "\u{d7ff}",
        "\u{d7ff}x",
        "*",
        "[a]",
        "\\",
    ];
    let prefixes = [
        "a",
        "a%",
        "%",
        "_",
        "a_",
        "é",
        "e",
        "日本",
        "\u{10ffff}",
        "\u{1}",
        "\u{7f}",
        "\u{d7ff}",
        "\u{10ffff}\u{10ffff}",
        "*",
        "[",
        "\\",
        "none",
    ];
    for prefix in prefixes {
        put_keys(&pannier, &keys).await;
        let mut left: Vec<&str> = keys.iter().copied().filter(|key| !key.starts_with(prefix)).collect();
        left.sort_unstable();
        let deleted = i64::try_from(keys.len() - left.len()).unwrap();
        assert_eq!(pannier.delete_by_prefix("n", prefix).await, (deleted, false), "{prefix:?}");
        assert_eq!(pannier.keys("n").await, left, "{prefix:?}");
        let stats = pannier.stats("n").await;
        assert_eq!(stats.entry_count, i64::try_from(left.len()).unwrap());
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            assert_eq!(pannier.get("n", key).await, None, "{key:?} is still in memory");
        }
    }
}

#[tokio::test]
async fn a_prefix_leaves_other_namespaces_alone() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a1", "v")).await;
    pannier.put("m", value_item("a1", "v")).await;
    assert_eq!(pannier.delete_by_prefix("n", "a").await, (1, false));
    assert!(pannier.get("m", "a1").await.is_some());
    assert!(pannier.peek("m", "a1").await.is_some());
}

#[tokio::test]
async fn a_deleting_call_takes_at_most_the_settings_rows_and_tells_whether_more_remain() {
    let pannier = pannier_with(|settings| settings.cache.delete_rows_max = 10).await;
    let fill = async |count: u32| {
        pannier.put_all("n", (0..count).map(|i| tagged(&format!("k{i:02}"), &["t"])).collect()).await;
        pannier.put("n", tagged("z", &["other"])).await;
    };
    for (rows, answers) in [
        (25, vec![(10, true), (10, true), (5, false), (0, false)]),
        (20, vec![(10, true), (10, false)]),
        (10, vec![(10, false)]),
    ] {
        fill(rows).await;
        for answer in &answers {
            assert_eq!(pannier.delete_by_prefix("n", "k").await, *answer);
        }
        fill(rows).await;
        for answer in &answers {
            assert_eq!(pannier.delete_by_tag("n", "t").await, *answer);
        }
        assert_eq!(pannier.keys("n").await, ["z"]);
    }
}

#[tokio::test]
async fn a_tag_deletes_exactly_the_entries_that_carry_it() {
    let pannier = pannier().await;
    let items = vec![
        tagged("a", &["x"]),
        tagged("b", &["X"]),
        tagged("c", &["xy", "z"]),
        tagged("d", &["z", "x"]),
        tagged("e", &[]),
    ];
    pannier.put_all("n", items).await;
    pannier.put("m", tagged("a", &["x"])).await;
    assert_eq!(pannier.delete_by_tag("n", "x").await, (2, false));
    assert_eq!(pannier.keys("n").await, ["b", "c", "e"]);
    assert_eq!(pannier.get("n", "d").await, None, "still in memory");
    assert_eq!(pannier.keys("m").await, ["a"]);
    assert_eq!(pannier.delete_by_tag("n", "x").await, (0, false));
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (3, 3 + 5 + 2));
}

#[tokio::test]
async fn a_tag_that_a_put_took_away_or_a_delete_removed_finds_nothing() {
    let pannier = pannier().await;
    pannier.put("n", tagged("a", &["x", "y"])).await;
    pannier.put("n", tagged("a", &["y"])).await;
    assert_eq!(pannier.delete_by_tag("n", "x").await, (0, false));
    pannier.delete("n", &["a"]).await;
    pannier.put("n", value_item("a", "v")).await;
    assert_eq!(pannier.delete_by_tag("n", "y").await, (0, false));
    assert_eq!(pannier.keys("n").await, ["a"]);
    pannier.put("n", pb::PutItem { tags: vec!["y".into()], ..short_lived("b", "v", 5) }).await;
    pannier.advance_s(6);
    pannier.put("n", value_item("b", "v")).await;
    assert_eq!(pannier.delete_by_tag("n", "y").await, (0, false), "the expired entry's tag is gone too");
    assert!(pannier.get("n", "b").await.is_some());
}
