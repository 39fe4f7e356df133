//! BatchPut and BatchGet: one result per item, in the order given.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::calls::{error_of, put_of};
use super::items::{negative_item, noise, short_lived, value_item, value_of};
use crate::harness::{pannier, pannier_with};

fn conditional(key: &str, value: &str, condition: pb::put_item::Condition) -> pb::PutItem {
    pb::PutItem { condition: Some(condition), ..value_item(key, value) }
}

#[tokio::test]
async fn a_batch_get_answers_in_the_order_asked() {
    let pannier = pannier().await;
    let items = vec![value_item("a", "1"), negative_item("b", "E", "m"), value_item("c", "3")];
    pannier.put_all("n", items).await;
    let results = pannier.batch_get("n", ["c", "none", "a", "b", "c"]).await;
    let keys: Vec<&str> = results.iter().map(|result| result.key.as_str()).collect();
    assert_eq!(keys, ["c", "none", "a", "b", "c"]);
    assert!(results.iter().all(|result| !result.deferred));
    assert_eq!(value_of(results[0].entry.as_ref().unwrap()), b"3");
    assert_eq!(results[1].entry, None);
    assert_eq!(value_of(results[2].entry.as_ref().unwrap()), b"1");
    let negative = &results[3].entry.as_ref().unwrap().content;
    assert!(matches!(negative, Some(pb::entry::Content::Negative(_))), "{negative:?}");
    assert_eq!(results[4].entry.as_ref().unwrap().key, "c");
}

#[tokio::test]
async fn a_batch_get_in_an_unknown_namespace_misses() {
    let pannier = pannier().await;
    let results = pannier.batch_get("n", ["a", "b"]).await;
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result.entry.is_none() && !result.deferred));
}

#[tokio::test]
async fn a_batch_gives_what_the_single_calls_give() {
    let pannier = pannier().await;
    let item = pb::PutItem {
        content_type: "t".into(),
        metadata_json: "{\"a\":1}".into(),
        tags: vec!["x".into()],
        ..short_lived("a", "v", 10)
    };
    pannier.put("single", item.clone()).await;
    pannier.put_all("batch", vec![item]).await;
    let single = pannier.get("single", "a").await.unwrap();
    let batch = pannier.batch_get("batch", ["a"]).await.remove(0).entry.unwrap();
    let plain = |entry: &pb::Entry| pb::Entry {
        etag: String::new(),
        create_time: None,
        update_time: None,
        access_time: None,
        expire_time: None,
        ..entry.clone()
    };
    assert_eq!(plain(&single), plain(&batch));
    assert_eq!(batch.access_count, 2);
}

#[tokio::test]
async fn of_two_items_with_one_key_the_later_wins() {
    let pannier = pannier().await;
    let items = vec![value_item("a", "1"), value_item("b", "2"), value_item("a", "3")];
    let puts = pannier.put_all("n", items).await;
    let created: Vec<bool> = puts.iter().map(|put| put.created).collect();
    assert_eq!(created, [true, true, false]);
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!((value_of(&entry), &entry.etag), (b"3".as_slice(), &puts[2].etag));
    assert_ne!(puts[0].etag, puts[2].etag);
    let stats = pannier.stats("n").await;
    assert_eq!((stats.entry_count, stats.stored_bytes), (2, 4));
}

#[tokio::test]
async fn a_condition_that_fails_fails_its_own_item_only() {
    use pb::put_item::Condition::{IfAbsent, IfEtag, IfPresent};
    let pannier = pannier().await;
    pannier.put("n", value_item("here", "old")).await;
    let items = vec![
        value_item("x", "1"),
        conditional("here", "new", IfAbsent(true)),
        conditional("gone", "new", IfPresent(true)),
        conditional("here", "new", IfEtag("other".into())),
        conditional("gone", "new", IfEtag("other".into())),
        pb::PutItem { lease_token: "never given".into(), ..value_item("gone", "new") },
        value_item("y", "2"),
    ];
    let mut results = pannier.try_batch_put("n", items).await.unwrap();
    assert_eq!(results.len(), 7);
    assert_eq!(error_of(&results[1]), (Code::AlreadyExists, ErrorReason::EntryExists));
    assert_eq!(error_of(&results[2]), (Code::NotFound, ErrorReason::EntryNotFound));
    assert_eq!(error_of(&results[3]), (Code::Aborted, ErrorReason::EtagMismatch));
    assert_eq!(error_of(&results[4]), (Code::NotFound, ErrorReason::EntryNotFound));
    assert_eq!(error_of(&results[5]), (Code::Aborted, ErrorReason::LeaseLost));
    assert!(put_of(results.remove(6)).created && put_of(results.remove(0)).created);
    assert_eq!(pannier.keys("n").await, ["here", "x", "y"]);
    assert_eq!(value_of(&pannier.get("n", "here").await.unwrap()), b"old");
}

#[tokio::test]
async fn conditions_see_the_earlier_items_of_their_batch() {
    use pb::put_item::Condition::{IfAbsent, IfPresent};
    let pannier = pannier().await;
    let items = vec![
        conditional("a", "0", IfPresent(true)),
        conditional("a", "1", IfAbsent(true)),
        conditional("a", "2", IfAbsent(true)),
        conditional("a", "3", IfPresent(true)),
    ];
    let results = pannier.try_batch_put("n", items).await.unwrap();
    assert_eq!(error_of(&results[0]).1, ErrorReason::EntryNotFound);
    assert!(put_of(results[1].clone()).created);
    assert_eq!(error_of(&results[2]).1, ErrorReason::EntryExists);
    assert!(!put_of(results[3].clone()).created);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"3");
}

#[tokio::test]
async fn an_item_too_large_for_its_namespace_fails_alone() {
    let pannier = pannier().await;
    pannier.limit_bytes("n", 1_000).await;
    let items = vec![value_item("a", "v"), value_item("b", noise(2_000, 1)), value_item("c", "v")];
    let results = pannier.try_batch_put("n", items).await.unwrap();
    assert_eq!(error_of(&results[1]), (Code::ResourceExhausted, ErrorReason::EntryTooLarge));
    assert_eq!(pannier.keys("n").await, ["a", "c"]);
}

#[tokio::test]
async fn a_batch_of_the_largest_size_is_put_and_got() {
    let pannier = pannier().await;
    let items = (0..5_000).map(|i| value_item(format!("k{i:04}"), format!("{i}"))).collect();
    assert_eq!(pannier.put_all("n", items).await.len(), 5_000);
    let results = pannier.batch_get("n", (0..5_000).rev().map(|i| format!("k{i:04}"))).await;
    for (i, result) in (0..5_000).rev().zip(&results) {
        assert_eq!(value_of(result.entry.as_ref().unwrap()), format!("{i}").as_bytes());
    }
    assert_eq!(pannier.stats("n").await.entry_count, 5_000);
}

#[tokio::test]
async fn what_does_not_fit_into_the_answer_is_deferred_and_got_when_asked_again() {
    let pannier = pannier_with(|settings| {
        settings.cache.value_bytes_max = 4_000;
        settings.server.response_bytes_max = 11_000;
    })
    .await;
    let keys: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
    let items = (0..10).map(|i| value_item(format!("k{i}"), noise(3_000, i))).collect();
    pannier.put_all("n", items).await;
    let mut waiting = keys.clone();
    let mut answers = 0;
    while !waiting.is_empty() {
        let results = pannier.batch_get("n", waiting.clone()).await;
        assert_eq!(results.len(), waiting.len());
        let bytes: usize = results.iter().flat_map(|result| &result.entry).map(|it| value_of(it).len()).sum();
        assert!((3_000..=10_000).contains(&bytes), "{bytes} bytes in one answer");
        for result in results.iter().filter(|result| !result.deferred) {
            let entry = result.entry.as_ref().expect("neither missing nor deferred");
            let i: u64 = entry.key[1..].parse().unwrap();
            assert_eq!(value_of(entry), noise(3_000, i));
            assert_eq!(entry.access_count, 2, "a deferred read is not counted");
        }
        assert!(results.iter().all(|result| result.entry.is_some() != result.deferred));
        waiting = results.into_iter().filter(|result| result.deferred).map(|result| result.key).collect();
        answers += 1;
    }
    assert_eq!(answers, 4);
}

#[tokio::test]
async fn repeated_keys_and_metadata_do_not_make_an_answer_larger_than_the_setting() {
    let pannier = pannier_with(|settings| {
        settings.cache.value_bytes_max = 4_000;
        settings.cache.metadata_bytes_max = 4_000;
        settings.server.response_bytes_max = 11_000;
    })
    .await;
    let metadata_json = format!("{{\"a\":\"{}\"}}", "m".repeat(3_000));
    pannier.put("n", pb::PutItem { metadata_json, ..value_item("m", "v") }).await;
    pannier.put("n", value_item("v", noise(3_000, 1))).await;
    for key in ["m", "v"] {
        let results = pannier.batch_get("n", [key; 100]).await;
        let given = results.iter().filter(|result| result.entry.is_some()).count();
        assert!((1..=3).contains(&given), "{given} times {key}");
        assert!(results.iter().all(|result| result.entry.is_some() != result.deferred));
    }
}
