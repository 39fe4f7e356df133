//! The engine, through the API: each type of column with and without a value, durable over restarts.

use pannier_proto::cache::v1 as pb;
use pannier_proto::cache::v1::namespace::DefaultExpiry::{DefaultTtl, NeverExpires};
use pannier_proto::durability::v1::Durability;

use crate::cache::items::{negative_item, seconds, value_item};
use crate::exceptions::sqlite_only;
use crate::harness::{Pannier, pannier, pannier_with};

/// One entry for each way in which a nullable column can be empty or not.
fn every_kind_of_entry() -> Vec<pb::PutItem> {
    use pb::put_item::Expiry::{NeverExpires, Ttl};
    let full = pb::PutItem {
        content_type: "text/plain; charset=\"ü\"".into(),
        metadata_json: "{\"n\": null, \"x\": \"\\u0000\"}".into(),
        tags: vec!["a".into(), "é".into()],
        expiry: Some(Ttl(prost_types::Duration { seconds: 1_000, nanos: 123_456_000 })),
        stale_window: Some(seconds(77)),
        ..value_item("full", (0..=255).collect::<Vec<u8>>())
    };
    vec![
        full.clone(),
        value_item("bare", "v"),
        value_item("empty", ""),
        value_item("compressed", vec![9; 50_000]),
        negative_item("failure", "CODE", "message"),
        negative_item("failure without a message", "CODE", ""),
        pb::PutItem {
            content: negative_item("", "C", "m").content,
            key: "full failure".into(),
            ..full.clone()
        },
        pb::PutItem { expiry: Some(NeverExpires(true)), stale_window: None, ..value_item("never", "v") },
        pb::PutItem { stale_window: None, key: "without a window".into(), ..full.clone() },
        pb::PutItem { metadata_json: String::new(), key: "without metadata".into(), ..full.clone() },
        pb::PutItem { tags: Vec::new(), key: "without tags".into(), ..full.clone() },
        pb::PutItem { content_type: String::new(), key: "without a type".into(), ..full },
    ]
}

/// What Get gives of `item`, apart from what the sidecar makes up.
fn assert_same(entry: &pb::Entry, item: &pb::PutItem) {
    use pb::entry::Content as Got;
    use pb::put_item::Content as Put;
    match (entry.content.as_ref(), item.content.as_ref()) {
        (Some(Got::Value(got)), Some(Put::Value(put))) => assert!(got == put, "{}", item.key),
        (Some(Got::Negative(got)), Some(Put::Negative(put))) => assert_eq!(got, put, "{}", item.key),
        other => panic!("{}: {other:?}", item.key),
    }
    assert_eq!(
        (&entry.content_type, &entry.metadata_json, &entry.tags),
        (&item.content_type, &item.metadata_json, &item.tags),
        "{}",
        item.key
    );
    let never = matches!(item.expiry, Some(pb::put_item::Expiry::NeverExpires(_)));
    assert_eq!(entry.expire_time.is_none(), never, "{}", item.key);
    assert_eq!(entry.stale_until_time.is_some(), item.stale_window.is_some(), "{}", item.key);
}

#[tokio::test]
async fn every_column_comes_back_with_and_without_a_value() {
    for memory_bytes_max in [0, 64 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        let items = every_kind_of_entry();
        pannier.put_all("n", items.clone()).await;
        let mut before = Vec::new();
        for item in &items {
            let entry = pannier.get("n", &item.key).await.unwrap();
            assert_same(&entry, item);
            before.push(entry);
        }
        let pannier = pannier.restart().await;
        for (item, before) in items.iter().zip(before) {
            let entry = pannier.get("n", &item.key).await.unwrap();
            assert_same(&entry, item);
            let as_before = pb::Entry { access_time: before.access_time, access_count: 2, ..entry };
            assert_eq!(as_before, before);
        }
    }
}

#[tokio::test]
async fn every_column_is_overwritten_with_and_without_a_value() {
    let pannier = pannier().await;
    let items = every_kind_of_entry();
    for first in &items {
        for second in &items {
            pannier.put("n", pb::PutItem { key: "k".into(), ..first.clone() }).await;
            pannier.put("n", pb::PutItem { key: "k".into(), ..second.clone() }).await;
            assert_same(&pannier.peek("n", "k").await.unwrap(), second);
        }
    }
}

#[tokio::test]
async fn the_times_of_an_entry_keep_their_microseconds() {
    let pannier = pannier().await;
    pannier.advance(std::time::Duration::from_micros(123_457));
    let ttl = prost_types::Duration { seconds: 5, nanos: 7_000 };
    let expiry = Some(pb::put_item::Expiry::Ttl(ttl));
    pannier.put("n", pb::PutItem { expiry, ..value_item("a", "v") }).await;
    let pannier = pannier.restart_at(crate::harness::START_US + 1_000_000).await;
    let entry = pannier.peek("n", "a").await.unwrap();
    let us = |time: Option<prost_types::Timestamp>| time.unwrap().nanos;
    assert_eq!(us(entry.create_time), 123_457_000);
    assert_eq!(us(entry.update_time), 123_457_000);
    assert_eq!(us(entry.expire_time), 123_464_000);
}

#[tokio::test]
async fn every_column_of_a_namespace_comes_back_after_a_restart() {
    let pannier = pannier().await;
    let namespaces = [
        pb::Namespace {
            name: "full".into(),
            entries_max: i64::MAX,
            bytes_max: i64::MAX - 1,
            default_expiry: Some(DefaultTtl(seconds(3_650 * 86_400))),
            default_stale_window: Some(seconds(3_650 * 86_400)),
            eviction: pb::EvictionPolicy::Ttl.into(),
            durability: Durability::Relaxed.into(),
            ..Default::default()
        },
        pb::Namespace {
            name: "bare".into(),
            default_expiry: Some(NeverExpires(true)),
            eviction: pb::EvictionPolicy::Lru.into(),
            durability: Durability::Full.into(),
            ..Default::default()
        },
    ];
    let mut before = Vec::new();
    for namespace in &namespaces {
        let answer = pannier.update_namespace(namespace.clone(), &[]).await.namespace.unwrap();
        assert_eq!((answer.entries_max, answer.bytes_max), (namespace.entries_max, namespace.bytes_max));
        assert_eq!((answer.eviction, answer.durability), (namespace.eviction, namespace.durability));
        assert_eq!(answer.default_expiry, namespace.default_expiry);
        before.push(answer);
    }
    pannier.put("full", value_item("a", "v")).await;
    let pannier = pannier.restart().await;
    for before in before {
        assert_eq!(pannier.try_get_namespace(&before.name).await.unwrap(), before);
    }
    assert_eq!(pannier.keys("full").await, ["a"]);
}

#[tokio::test]
async fn what_was_written_stays_written_over_many_restarts() {
    let mut pannier: Pannier = pannier().await;
    for round in 0..5 {
        pannier.put_all("n", (0..100).map(|i| value_item(format!("{round}-{i}"), "v")).collect()).await;
        pannier.delete("n", &[&format!("{round}-0")]).await;
        pannier = pannier.restart().await;
        assert_eq!(pannier.keys("n").await.len(), 99 * (round + 1));
        assert_eq!(pannier.stats("n").await.entry_count, 99 * (i64::try_from(round).unwrap() + 1));
    }
}

#[tokio::test]
async fn the_file_of_a_stopped_sidecar_is_whole() {
    sqlite_only();
    let pannier = pannier().await;
    pannier.put_all("n", every_kind_of_entry()).await;
    pannier.delete_namespace("n").await;
    pannier.put_all("n", every_kind_of_entry()).await;
    let pannier = pannier.restart().await;
    let file = rusqlite::Connection::open(pannier.database()).unwrap();
    let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mode: String = file.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let mut broken = file.prepare("PRAGMA foreign_key_check").unwrap();
    assert!(!broken.exists([]).unwrap());
}

#[tokio::test]
async fn a_second_sidecar_on_the_same_data_is_refused_and_the_first_goes_on() {
    sqlite_only();
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let mut settings = pannier::settings::Settings::default();
    settings.server.listen = "127.0.0.1:0".into();
    settings.server.http_listen = String::new();
    settings.storage.directory = pannier.database().parent().unwrap().display().to_string();
    let error = pannier::server::start(&settings, pannier::clock::Clock::system()).await.err();
    let error = error.expect("a second one started").to_string();
    assert!(error.contains("another pannier"), "{error}");
    assert_eq!(pannier.keys("n").await, ["a"]);
    pannier.put("n", value_item("b", "v")).await;
}
