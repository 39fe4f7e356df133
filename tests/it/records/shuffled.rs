//! Batches of the same keys in different orders, by many callers at once: none waits for another in a circle.

use std::time::Duration;

use pannier_proto::records::v1 as pb;
use pannier_proto::settings::v1 as settings;
use pannier_proto::transaction::v1::mutation::What;

use super::calls::item;
use super::documents::with_collection;
use crate::harness::{Pannier, is_postgres};

const CALLERS: u64 = 8;
const ROUNDS: u64 = 6;
const KEYS: u64 = 40;

/// The keys in an order of the caller's own.
fn keys(caller: u64, round: u64) -> Vec<String> {
    let mut keys: Vec<u64> = (0..KEYS).collect();
    let mut state = caller * 1_000 + round + 1;
    for last in (1..keys.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        keys.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
    }
    keys.into_iter().map(|key| format!("k{key}")).collect()
}

async fn call(pannier: &Pannier, caller: u64, round: u64) {
    let (keys, document) = (keys(caller, round), format!(r#"{{"by":{caller},"round":{round}}}"#));
    let collection = || if caller.is_multiple_of(2) { "c".to_owned() } else { "d".to_owned() };
    let puts = |collection: &str| pb::BatchPutRequest {
        collection: collection.into(),
        items: keys.iter().map(|key| item(key, &document)).collect(),
        ..Default::default()
    };
    let sets = settings::BatchSetRequest {
        items: keys
            .iter()
            .map(|key| settings::SetItem { key: key.clone(), value_json: round.to_string(), condition: None })
            .collect(),
        ..Default::default()
    };
    let mut records = pannier.records.clone();
    match (caller + round) % 5 {
        0 => _ = records.batch_put(puts(&collection())).await.unwrap(),
        1 => {
            let patch_json = format!(r#"{{"patched":{round}}}"#);
            let patch = |key: &String| pb::PatchItem {
                key: key.clone(),
                patch_json: patch_json.clone(),
                ..Default::default()
            };
            let items = keys.iter().map(patch).collect();
            let request = pb::BatchPatchRequest { collection: collection(), items, ..Default::default() };
            _ = records.batch_patch(request).await.unwrap();
        }
        2 => {
            let items = keys.iter().map(|key| pb::DeleteItem { key: key.clone(), if_revision: 0 }).collect();
            let request = pb::BatchDeleteRequest { collection: collection(), items, ..Default::default() };
            _ = records.batch_delete(request).await.unwrap();
        }
        3 => _ = pannier.settings.clone().batch_set(sets).await.unwrap(),
        _ => {
            let mut mutations = vec![
                What::RecordsBatchPut(puts("c")),
                What::SettingsBatchSet(sets),
                What::RecordsBatchPut(puts("d")),
            ];
            mutations.rotate_left(usize::try_from(caller % 3).unwrap());
            _ = pannier.commit(mutations).await;
        }
    }
}

#[tokio::test]
async fn batches_of_the_same_keys_in_any_order_do_not_wait_in_circles() {
    let first = with_collection().await;
    first.make_collection("d").await;
    let second = if is_postgres() { Some(first.beside().await) } else { None };
    let work = async |caller: u64| {
        let pannier = second.as_ref().filter(|_| caller.is_multiple_of(2)).unwrap_or(&first);
        let mut longest = Duration::ZERO;
        for round in 0..ROUNDS {
            let begun = ::pannier::clock::instant();
            call(pannier, caller, round).await;
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let longest = futures_util::future::join_all((0..CALLERS).map(work)).await;
    // PostgreSQL looks for deadlocks after a second.
    assert!(longest.iter().all(|longest| *longest < Duration::from_secs(1)), "{longest:?}");
}
