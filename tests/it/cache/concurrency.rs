//! Many callers at once.

use pannier_proto::cache::v1 as pb;

use super::items::{Random, noise, value_item, value_of};
use crate::harness::{Pannier, pannier, pannier_with};

/// A value that tells who wrote it, followed by bytes that depend on that alone.
fn signed(task: u64, round: u64) -> Vec<u8> {
    let seed = task * 1_000 + round;
    let mut value = seed.to_be_bytes().to_vec();
    value.extend(noise(usize::try_from(seed % 3_000).unwrap(), seed));
    value
}

#[track_caller]
fn assert_whole(value: &[u8]) {
    let seed = u64::from_be_bytes(value[..8].try_into().unwrap());
    assert!(value == signed(seed / 1_000, seed % 1_000), "a value is torn");
}

async fn put_and_get(pannier: &Pannier, task: u64, rounds: u64) {
    let mut random = Random::new(task);
    for round in 0..rounds {
        let keys: Vec<String> = (0..20).map(|_| format!("k{:02}", random.below(40))).collect();
        let items = keys.iter().map(|key| value_item(key.as_str(), signed(task, round))).collect();
        assert_eq!(pannier.put_all("n", items).await.len(), 20);
        for result in pannier.batch_get("n", keys).await {
            assert_whole(value_of(&result.entry.expect("nothing is deleted here")));
        }
        let key = format!("k{:02}", random.below(40));
        if let Some(entry) = pannier.get("n", &key).await {
            assert_whole(value_of(&entry));
        }
    }
}

async fn assert_recount(pannier: &Pannier) {
    let entries = pannier.entries("n").await;
    let stats = pannier.stats("n").await;
    assert_eq!(stats.entry_count, i64::try_from(entries.len()).unwrap());
    assert_eq!(stats.stored_bytes, entries.iter().map(|entry| entry.stored_bytes).sum::<i64>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_batches_leave_one_of_the_written_values_under_each_key() {
    for memory_bytes_max in [0, 30_000, 64 << 20] {
        let pannier = pannier_with(|settings| settings.cache.memory_bytes_max = memory_bytes_max).await;
        let pannier = std::sync::Arc::new(pannier);
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let pannier = pannier.clone();
                tokio::spawn(async move { put_and_get(&pannier, task, 40).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let pannier = std::sync::Arc::into_inner(pannier).unwrap();
        assert_recount(&pannier).await;
        let listed = pannier.entries("n").await;
        assert_eq!(listed.len(), 40);
        for entry in &listed {
            assert_whole(value_of(entry));
            let got = pannier.get("n", &entry.key).await.unwrap();
            assert_eq!(
                (&got.etag, &got.content),
                (&entry.etag, &entry.content),
                "memory and database differ"
            );
        }
        let pannier = pannier.restart().await;
        assert_recount(&pannier).await;
        for entry in &listed {
            assert_eq!(pannier.get("n", &entry.key).await.unwrap().etag, entry.etag);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_gets_an_older_value_than_before() {
    let pannier = std::sync::Arc::new(pannier().await);
    pannier.put("n", value_item("a", "0")).await;
    let writer = tokio::spawn({
        let pannier = pannier.clone();
        async move {
            for count in 1..=300 {
                pannier.put("n", value_item("a", count.to_string())).await;
                let entry = pannier.get("n", "a").await.unwrap();
                assert_eq!(value_of(&entry), count.to_string().as_bytes(), "reads its own writes");
            }
        }
    });
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let pannier = pannier.clone();
            tokio::spawn(async move {
                let mut last = 0;
                while last < 300 {
                    let entry = pannier.get("n", "a").await.unwrap();
                    let count: u32 = std::str::from_utf8(value_of(&entry)).unwrap().parse().unwrap();
                    assert!(count >= last, "{count} after {last}");
                    last = count;
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deleted_entry_does_not_come_back_from_memory() {
    let pannier = std::sync::Arc::new(pannier().await);
    let reader = |pannier: std::sync::Arc<Pannier>| async move {
        for _ in 0..600 {
            pannier.get("n", "a").await;
        }
    };
    let readers: Vec<_> = (0..4).map(|_| tokio::spawn(reader(pannier.clone()))).collect();
    for _ in 0..150 {
        pannier.put("n", value_item("a", "v")).await;
        assert!(pannier.get("n", "a").await.is_some());
        assert_eq!(pannier.delete("n", &["a"]).await, [pb::DeleteOutcome::Deleted]);
        assert_eq!(pannier.get("n", "a").await, None);
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(pannier.get("n", "a").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_hold_while_many_put() {
    let pannier = std::sync::Arc::new(pannier().await);
    pannier.limit_entries("n", 30).await;
    pannier.limit_bytes("n", 20_000).await;
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let pannier = pannier.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    pannier.put("n", value_item(format!("{task}-{round}"), signed(task, round))).await;
                    let stats = pannier.stats("n").await;
                    assert!(stats.entry_count <= 30 && stats.stored_bytes <= 20_000, "{stats:?}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_recount(&pannier).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hits_and_misses_of_many_callers_are_all_counted() {
    let pannier = std::sync::Arc::new(pannier().await);
    pannier.put("n", value_item("a", "v")).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pannier = pannier.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    pannier.get("n", "a").await;
                    pannier.get("n", "b").await;
                    pannier.advance(std::time::Duration::from_millis(100));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let pannier = std::sync::Arc::into_inner(pannier).unwrap().restart().await;
    assert_eq!(pannier.peek("n", "a").await.unwrap().access_count, 401);
    let stats = pannier.stats("n").await;
    assert_eq!((stats.hit_count, stats.miss_count, stats.hit_rate), (400, 400, 0.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_first_puts_make_one_namespace() {
    let pannier = pannier_with(|settings| settings.cache.namespaces_max = 1).await;
    let puts = (0..32).map(|i| pannier.try_put("n", value_item(format!("k{i:02}"), "v")));
    for put in futures_util::future::join_all(puts).await {
        assert!(put.unwrap().created);
    }
    assert_eq!(pannier.keys("n").await.len(), 32);
    assert_recount(&pannier).await;
}
