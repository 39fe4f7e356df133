//! Indexes: values follow documents, indexes are built beside writers, dropped ones leave nothing.

use pannier_proto::records::v1 as pb;
use pb::Comparator as C;

use super::asking::{compare, query};
use crate::harness::{Pannier, pannier, pannier_with};

/// Indexes and keys of their values are all there is of what is live.
async fn assert_values(pannier: &Pannier, expected: i64) {
    assert_eq!(pannier.row_count("record_values").await, expected);
}

async fn keys_with(pannier: &Pannier, path: &str, value: &str) -> Vec<String> {
    let (found, plan) = pannier.ask(query("docs", compare(path, C::Equal, value))).await;
    assert_eq!(plan.index_path, path);
    found
}

#[tokio::test]
async fn values_follow_their_documents() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &["a", "b.c"]).await;
    pannier.store_one("docs", "k", r#"{"a":1,"b":{"c":"x"}}"#).await;
    assert_eq!(keys_with(&pannier, "a", "1.0").await, ["k"]);
    pannier.store_one("docs", "k", r#"{"a":2,"b":{"c":"x"}}"#).await;
    assert_eq!(
        (keys_with(&pannier, "a", "1").await.len(), keys_with(&pannier, "a", "2").await.len()),
        (0, 1)
    );
    let patch = pb::PatchRequest {
        collection: "docs".into(),
        item: Some(pb::PatchItem {
            key: "k".into(),
            patch_json: r#"{"a":null,"b":{"c":"y"}}"#.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    pannier.records.clone().patch(patch).await.unwrap();
    assert_eq!(
        (keys_with(&pannier, "a", "2").await.len(), keys_with(&pannier, "b.c", "\"y\"").await.len()),
        (0, 1)
    );
    assert_values(&pannier, 2).await;
    // The same key several times in one batch: the last one counts.
    let twice = [("k".to_owned(), r#"{"a":3}"#.to_owned()), ("k".to_owned(), r#"{"a":4}"#.to_owned())];
    pannier.store_all("docs", &twice).await;
    assert_eq!(
        (keys_with(&pannier, "a", "3").await.len(), keys_with(&pannier, "a", "4").await.len()),
        (0, 1)
    );
    let deletion = pb::DeleteRequest {
        collection: "docs".into(),
        item: Some(pb::DeleteItem { key: "k".into(), ..Default::default() }),
        ..Default::default()
    };
    pannier.records.clone().delete(deletion).await.unwrap();
    assert_values(&pannier, 0).await;
    pannier.store_one("docs", "k", r#"{"a":4}"#).await;
    assert_eq!(keys_with(&pannier, "a", "4").await, ["k"]);
    assert_values(&pannier, 2).await;
}

#[tokio::test]
async fn an_index_is_built_while_others_write() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &[]).await;
    let document = |n: usize| (format!("k{n:04}"), format!(r#"{{"n":{}}}"#, n % 10));
    pannier.store_all("docs", &(0..1_000).map(document).collect::<Vec<_>>()).await;
    let declared = pannier.declare_indexes("docs", &["n"]).await;
    assert_eq!(declared.indexes[0].state, i32::from(pb::IndexState::Building));
    let writes = (0..120).map(|n| {
        let pannier = &pannier;
        async move {
            // Replaced with another value, replaced with the same value, deleted, made anew.
            pannier.store_one("docs", &format!("k{:04}", n * 8), r#"{"n":77}"#).await;
            pannier
                .store_one(
                    "docs",
                    &format!("k{:04}", n * 8 + 1),
                    &format!(r#"{{"n": {}}}"#, (n * 8 + 1) % 10),
                )
                .await;
            pannier.store_one("docs", &format!("new{n}"), r#"{"n":88}"#).await;
            let deletion = pb::DeleteRequest {
                collection: "docs".into(),
                item: Some(pb::DeleteItem { key: format!("k{:04}", n * 8 + 2), ..Default::default() }),
                ..Default::default()
            };
            pannier.records.clone().delete(deletion).await.unwrap();
        }
    });
    futures_util::future::join_all(writes).await;
    pannier.until_ready("docs").await;
    assert_values(&pannier, 1_000).await;
    for value in ["0", "1", "5", "77", "88"] {
        let mut by_index = query("docs", compare("n", C::Equal, value));
        by_index.order = Some(super::asking::by_path("n", false));
        let mut found = pannier.ask_all(by_index).await;
        let both = vec![compare("n", C::Equal, value)];
        let mut expected = pannier.ask_all(query("docs", super::asking::any(both))).await;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{value}");
        assert!(!found.is_empty());
    }
}

#[tokio::test]
async fn building_goes_on_after_a_restart() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &["n"]).await;
    let document = |n: usize| (format!("k{n:04}"), format!(r#"{{"n":{n}}}"#));
    pannier.store_all("docs", &(1..=300).map(document).collect::<Vec<_>>()).await;
    // As if it had been stopped in the middle: the newest hundred have their values.
    let halfway = r#"UPDATE record_indexes SET state = 1, built_seq = 200;
        DELETE FROM record_values WHERE record_id IN (SELECT id FROM records WHERE seq <= 200)"#;
    let pannier = pannier.restart_after(halfway).await;
    // Meanwhile it is not used, and what is written is in it.
    let request = query("docs", compare("n", C::Equal, "150"));
    let (found, plan) = pannier.ask(request.clone()).await;
    assert_eq!((found.len(), plan.index_path.as_str()), (1, ""));
    pannier.store_one("docs", "k0150", r#"{"n":1150}"#).await;
    pannier.store_one("docs", "k0250", r#"{"n":1250}"#).await;
    pannier.advance_s(61);
    pannier.until_ready("docs").await;
    assert_values(&pannier, 300).await;
    for (value, count) in [("150", 0), ("1150", 1), ("250", 0), ("1250", 1), ("1", 1), ("300", 1)] {
        assert_eq!(keys_with(&pannier, "n", value).await.len(), count, "{value}");
    }
}

#[tokio::test]
async fn what_is_dropped_leaves_nothing() {
    let pannier = pannier_with(|settings| settings.records.sweep_ms = 1_000).await;
    pannier.collection_with_indexes("docs", &["a", "b"]).await;
    pannier.collection_with_indexes("other", &["a"]).await;
    let documents: Vec<_> = (0..1_500).map(|n| (format!("k{n}"), format!(r#"{{"a":{n},"b":1}}"#))).collect();
    pannier.store_all("docs", &documents).await;
    pannier.store_one("other", "k", r#"{"a":1}"#).await;
    assert_values(&pannier, 3_001).await;
    let declared = pannier.declare_indexes("docs", &["\"a\"", "c"]).await;
    assert_eq!(declared.indexes.iter().map(|index| index.path.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    pannier.until_ready("docs").await;
    until_values(&pannier, 3_001).await;
    let (_, plan) = pannier.ask(query("docs", compare("b", C::Equal, "1"))).await;
    assert_eq!(plan.index_path, "");
    let gone = pb::DeleteCollectionRequest { name: "docs".into(), ..Default::default() };
    pannier.records.clone().delete_collection(gone).await.unwrap();
    until_values(&pannier, 1).await;
    assert_eq!(pannier.row_count("record_indexes").await, 1);
}

/// Waits until the upkeep has left so many values.
async fn until_values(pannier: &Pannier, expected: i64) {
    for _ in 0..10_000 {
        if pannier.row_count("record_values").await == expected && pannier.row_count("records").await <= 1_501
        {
            return;
        }
        pannier.advance_s(2);
        tokio::task::yield_now().await;
    }
    assert_values(pannier, expected).await;
}

#[tokio::test]
async fn an_index_takes_a_small_part_of_the_room() {
    let pannier = pannier().await;
    pannier.collection_with_indexes("docs", &["source"]).await;
    let text = "lorem ipsum ".repeat(160);
    let documents: Vec<_> = (0..500)
        .map(|n| (format!("k{n:05}"), format!(r#"{{"source":"reddit","n":{n},"text":"{text}"}}"#)))
        .collect();
    pannier.store_all("docs", &documents).await;
    let sizes = pannier.rows_as_text("SELECT CAST(sum(length(value) + 16) AS text) FROM record_values").await;
    let index: usize = sizes[0][0].parse().unwrap();
    let given: usize = documents.iter().map(|(key, json)| key.len() + json.len()).sum();
    assert!(index * 50 < given, "{index} bytes of values for {given} bytes");
}
