//! Large values: stored small where that is possible, read back identical.

use super::items::{noise, value_item, value_of};
use crate::harness::{pannier, pannier_with};

fn text(count: usize) -> Vec<u8> {
    b"All work and no play. ".iter().copied().cycle().take(count).collect()
}

#[tokio::test]
async fn a_large_compressible_value_is_stored_smaller() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", text(100_000))).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!(entry.size_bytes, 100_000);
    assert!(entry.stored_bytes < 20_000, "{} bytes", entry.stored_bytes);
    assert_eq!(pannier.stats("n").await.stored_bytes, entry.stored_bytes);
}

#[tokio::test]
async fn a_value_that_compression_would_enlarge_is_kept_as_it_is() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", noise(100_000, 7))).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!((entry.size_bytes, entry.stored_bytes), (100_000, 100_001));
    assert_eq!(value_of(&entry), noise(100_000, 7));
}

#[tokio::test]
async fn a_value_below_the_setting_is_kept_as_it_is() {
    let pannier = pannier_with(|settings| settings.cache.compress_bytes_min = 1_000).await;
    pannier.put("n", value_item("a", text(999))).await;
    pannier.put("n", value_item("b", text(1_000))).await;
    assert_eq!(pannier.get("n", "a").await.unwrap().stored_bytes, 1_000);
    assert!(pannier.get("n", "b").await.unwrap().stored_bytes < 1_000);
}

#[tokio::test]
async fn values_are_identical_from_memory_from_the_database_and_after_a_restart() {
    for memory_bytes_max in [0, 10_000, 64 << 20] {
        let pannier = pannier_with(|settings| {
            settings.cache.memory_bytes_max = memory_bytes_max;
            settings.server.response_bytes_max = 16 << 20;
        })
        .await;
        let values =
            [text(100_000), noise(100_000, 3), text(8 << 20), vec![0; 4_096], text(4_095), Vec::new()];
        for (i, value) in values.iter().enumerate() {
            pannier.put("n", value_item(format!("k{i}"), value.clone())).await;
        }
        let check = async |pannier: &crate::harness::Pannier| {
            for (i, value) in values.iter().enumerate() {
                let entry = pannier.get("n", &format!("k{i}")).await.unwrap();
                assert!(value_of(&entry) == value, "k{i} differs with {memory_bytes_max} bytes of memory");
                assert_eq!(entry.size_bytes, i64::try_from(value.len()).unwrap());
            }
        };
        check(&pannier).await;
        check(&pannier).await;
        let pannier = pannier.restart().await;
        check(&pannier).await;
        let listed = pannier.entries("n").await;
        for (entry, value) in listed.iter().zip(&values) {
            assert!(value_of(entry) == value, "{} differs in List", entry.key);
        }
        assert_eq!(listed.len(), values.len());
    }
}

#[tokio::test]
async fn a_small_value_that_replaces_a_large_one_is_read_and_charged_as_small() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", text(100_000))).await;
    pannier.put("n", value_item("a", "small")).await;
    let pannier = pannier.restart().await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_eq!((value_of(&entry), entry.stored_bytes), (b"small".as_slice(), 6));
    assert_eq!(pannier.stats("n").await.stored_bytes, 6);
}

#[tokio::test]
async fn compressed_values_outlive_a_changed_setting() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", text(100_000))).await;
    let pannier = pannier.restart_with(|settings| settings.cache.compress_bytes_min = 1 << 40).await;
    assert!(value_of(&pannier.get("n", "a").await.unwrap()) == text(100_000));
}
