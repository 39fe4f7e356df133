//! Access counts and times, and when an entry was created.

use super::items::{assert_about, short_lived, value_item};
use crate::harness::{START_US, pannier, pannier_with, pannier_without_upkeep};

#[tokio::test]
async fn the_access_count_starts_at_one_and_listing_or_asking_does_not_raise_it() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 1);
    assert_eq!(pannier.exists("n", &["a"]).await, [true]);
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 1);
    assert_eq!(pannier.get("n", "a").await.unwrap().access_count, 2);
}

#[tokio::test]
async fn list_tells_accesses_that_happened_a_moment_ago() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    pannier.advance_s(7);
    for _ in 0..3 {
        pannier.get("n", "a").await;
    }
    let entry = pannier.peek("n", "a").await.unwrap();
    assert_eq!(entry.access_count, 4);
    assert_about(entry.access_time.as_ref(), START_US + 7_000_000);
}

#[tokio::test]
async fn a_read_moves_the_access_time_and_no_other() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let put = pannier.peek("n", "a").await.unwrap();
    for time in [&put.create_time, &put.update_time, &put.access_time] {
        assert_about(time.as_ref(), START_US);
    }
    pannier.advance_s(10);
    let read = pannier.get("n", "a").await.unwrap();
    assert_about(read.access_time.as_ref(), START_US + 10_000_000);
    assert_eq!((&read.create_time, &read.update_time), (&put.create_time, &put.update_time));
    assert_eq!(read.expire_time, put.expire_time);
}

#[tokio::test]
async fn a_batch_get_counts_a_key_as_often_as_it_stands_there() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "v")).await;
    let results = pannier.batch_get("n", ["a", "b", "a"]).await;
    let found: Vec<bool> = results.iter().map(|result| result.entry.is_some()).collect();
    assert_eq!(found, [true, false, true]);
    assert_eq!(pannier.get("n", "a").await.unwrap().access_count, 4);
}

#[tokio::test]
async fn a_read_before_a_put_or_a_touch_does_not_set_the_access_time_back() {
    let pannier = pannier_without_upkeep().await;
    for key in ["put", "touched"] {
        pannier.put("n", value_item(key, "v")).await;
        pannier.get("n", key).await;
    }
    pannier.advance_s(10);
    pannier.put("n", value_item("put", "w")).await;
    pannier.touch("n", "touched", None).await;
    // The gathered reads are written at the stop.
    let pannier = pannier.restart().await;
    for entry in pannier.entries("n").await {
        assert_eq!(entry.access_count, 2, "{}", entry.key);
        assert_about(entry.access_time.as_ref(), START_US + 10_000_000);
    }
}

#[tokio::test]
async fn accesses_that_are_being_written_are_told_all_the_same() {
    let pannier = pannier().await;
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    for key in &keys {
        pannier.put("n", value_item(key, "v")).await;
    }
    for reads in 1..=8 {
        pannier.batch_get("n", keys.iter().map(String::as_str)).await;
        // They are written while they are listed.
        pannier.advance_s(3);
        for _ in 0..10 {
            for entry in pannier.entries("n").await {
                let (key, count) = (&entry.key, entry.access_count);
                assert!(count > reads, "{key} was put and read {reads} times, and {count} is told");
            }
        }
    }
}

#[tokio::test]
async fn accesses_survive_a_restart() {
    for memory_bytes_max in [0, 1 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        pannier.put("n", value_item("a", "v")).await;
        pannier.advance_s(5);
        for _ in 0..9 {
            pannier.get("n", "a").await;
        }
        let pannier = pannier.restart().await;
        let entry = pannier.peek("n", "a").await.unwrap();
        assert_eq!(entry.access_count, 10);
        assert_about(entry.access_time.as_ref(), START_US + 5_000_000);
        assert_eq!(pannier.get("n", "a").await.unwrap().access_count, 11);
    }
}

#[tokio::test]
async fn a_replacing_put_keeps_creation_and_reads_and_moves_the_update_time() {
    let pannier = pannier_without_upkeep().await;
    pannier.put("n", value_item("a", "one")).await;
    pannier.get("n", "a").await;
    pannier.get("n", "a").await;
    pannier.advance_s(10);
    pannier.put("n", value_item("a", "two")).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_about(entry.create_time.as_ref(), START_US);
    assert_about(entry.update_time.as_ref(), START_US + 10_000_000);
    assert_eq!(entry.access_count, 4, "three reads since the key was first put, and one for the put");
}

#[tokio::test]
async fn a_put_counts_as_a_use() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "one")).await;
    pannier.advance_s(10);
    pannier.put("n", value_item("a", "two")).await;
    assert_about(pannier.peek("n", "a").await.unwrap().access_time.as_ref(), START_US + 10_000_000);
}

#[tokio::test]
async fn a_put_over_an_expired_entry_begins_anew() {
    let pannier = pannier_without_upkeep().await;
    pannier.put("n", short_lived("a", "one", 10)).await;
    pannier.get("n", "a").await;
    pannier.advance_s(20);
    pannier.put("n", value_item("a", "two")).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_about(entry.create_time.as_ref(), START_US + 20_000_000);
    assert_eq!(entry.access_count, 2);
}

#[tokio::test]
async fn a_put_after_a_delete_begins_anew() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "one")).await;
    pannier.get("n", "a").await;
    pannier.advance_s(20);
    pannier.delete("n", &["a"]).await;
    pannier.put("n", value_item("a", "two")).await;
    let entry = pannier.get("n", "a").await.unwrap();
    assert_about(entry.create_time.as_ref(), START_US + 20_000_000);
    assert_eq!(entry.access_count, 2);
    let pannier = pannier.restart().await;
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 2, "old reads must not be added later");
}

#[tokio::test]
async fn reads_of_an_entry_that_was_evicted_are_not_given_to_its_successor() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "one")).await;
    for _ in 0..5 {
        pannier.get("n", "a").await;
    }
    assert_eq!(pannier.evict("n", 1).await.evicted_count, 1);
    pannier.put("n", value_item("a", "two")).await;
    let pannier = pannier.restart().await;
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 1);
}

#[tokio::test]
async fn more_waiting_accesses_than_the_setting_still_answer_and_count_as_hits() {
    let pannier = pannier_with(|settings| settings.cache.access_pending_max = 3).await;
    let items = (0..20).map(|i| value_item(format!("k{i}"), "v")).collect();
    pannier.put_all("n", items).await;
    for i in 0..20 {
        assert!(pannier.get("n", &format!("k{i}")).await.is_some());
    }
    assert_eq!(pannier.stats("n").await.hit_count, 20);
}
