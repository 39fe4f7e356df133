//! Batch calls of many callers that name the same things in other orders: none waits for another in a circle.
//!
//! PostgreSQL finds a deadlock after a second (`deadlock_timeout`) and ends one of the transactions, which is then run again. So a call
//! that takes less was in none.

use std::time::Duration;

use pannier::clock;
use pannier_proto::cache::v1 as cache;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::queue::v1 as queue;
use pannier_proto::transaction::v1 as transaction;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::uploads::v1 as uploads;

use crate::cache::items::{Random, tagged, value_item};
use crate::harness::{Pannier, pannier};
use crate::jobs::calls::success;
use crate::queue::calls::item;
use crate::uploads::calls::{file, hash};

const CALLERS: u64 = 8;

/// Things that each call names.
const ITEMS: u64 = 40;

/// PostgreSQL's deadlock_timeout.
const LONGEST: Duration = Duration::from_secs(1);

/// The numbers of all things in an order of chance.
fn shuffled(random: &mut Random) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..ITEMS).collect();
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, usize::try_from(random.below(last as u64 + 1)).unwrap());
    }
    numbers
}

/// Has all callers make a call at once, each with an order of its own.
async fn at_once<C: Future<Output = ()>>(what: &str, round: u64, call: impl Fn(Vec<u64>) -> C) {
    let calls = (0..CALLERS).map(|caller| {
        let call = call(shuffled(&mut Random::new(1 + round * CALLERS + caller)));
        async move {
            let began = clock::instant();
            call.await;
            began.elapsed()
        }
    });
    for took in futures_util::future::join_all(calls).await {
        assert!(took < LONGEST, "{what}, round {round}: a call took {took:?}");
    }
}

#[tokio::test]
async fn batches_of_the_cache() {
    let pannier = pannier().await;
    let namespace = || "n".to_owned();
    for round in 0..4 {
        at_once("BatchPut", round, |numbers| {
            let items =
                numbers.iter().map(|number| tagged(&format!("k{number}"), &[&format!("t{}", number % 7)]));
            let request = cache::BatchPutRequest {
                namespace: namespace(),
                items: items.collect(),
                ..Default::default()
            };
            let mut client = pannier.cache.clone();
            async move { drop(client.batch_put(request).await.unwrap()) }
        })
        .await;
        at_once("Touch", round, |numbers| {
            let touch = |number| cache::TouchItem { key: format!("k{number}"), ..Default::default() };
            let items = numbers.into_iter().map(touch).collect();
            let request = cache::TouchRequest { namespace: namespace(), items, ..Default::default() };
            let mut client = pannier.cache.clone();
            async move { drop(client.touch(request).await.unwrap()) }
        })
        .await;
        at_once("Delete", round, |numbers| {
            let delete = |number| cache::DeleteItem { key: format!("k{number}"), ..Default::default() };
            let items = numbers.into_iter().map(delete).collect();
            let request = cache::DeleteRequest { namespace: namespace(), items, ..Default::default() };
            let mut client = pannier.cache.clone();
            async move { drop(client.delete(request).await.unwrap()) }
        })
        .await;
        at_once("Commit into new namespaces", round, |numbers| {
            let put = |number| {
                let namespace = format!("round{round}-{number}");
                let put =
                    cache::PutRequest { namespace, item: Some(value_item("k", "v")), ..Default::default() };
                transaction::Mutation { what: Some(What::CachePut(put)) }
            };
            let mutations = numbers.into_iter().map(put).collect();
            let request = transaction::CommitRequest { mutations, ..Default::default() };
            let mut client = pannier.transaction.clone();
            async move { drop(client.commit(request).await.unwrap()) }
        })
        .await;
    }
}

/// A file whose names nobody has registered before this round.
fn new_file(round: u64, number: u64) -> uploads::NewFile {
    uploads::NewFile {
        mime_type: format!("type/{round}-{}", number % 11),
        source_id: format!("chat-{round}-{}", number % 13),
        ..file(number)
    }
}

#[tokio::test]
async fn batches_of_uploads() {
    let pannier = pannier().await;
    let service = || "photos".to_owned();
    let hashes = |numbers: Vec<u64>| numbers.into_iter().map(hash).collect::<Vec<_>>();
    for round in 0..4 {
        at_once("BatchReserveFiles", round, |numbers| {
            let sha256 = hashes(numbers);
            let request =
                uploads::BatchReserveFilesRequest { service: service(), sha256, ..Default::default() };
            let mut client = pannier.uploads();
            async move { drop(client.batch_reserve_files(request).await.unwrap()) }
        })
        .await;
        // The reservations run out.
        pannier.advance_s(301);
        at_once("BatchRegisterFiles", round, |numbers| {
            let files = numbers.into_iter().map(|number| new_file(round, number)).collect();
            let request = uploads::BatchRegisterFilesRequest { files, ..Default::default() };
            let mut client = pannier.uploads();
            async move {
                let results = client.batch_register_files(request).await.unwrap().into_inner().results;
                assert!(results.iter().all(|result| result.error.is_none()));
            }
        })
        .await;
        at_once("Forget", round, |numbers| {
            let request =
                uploads::ForgetRequest { service: service(), sha256: hashes(numbers), ..Default::default() };
            let mut client = pannier.uploads();
            async move { drop(client.forget(request).await.unwrap()) }
        })
        .await;
        reservations(&pannier, round).await;
    }
}

/// Extending and releasing the same reservations in other orders.
async fn reservations(pannier: &Pannier, round: u64) {
    let sha256: Vec<String> = (0..ITEMS).map(hash).collect();
    let results = pannier.reserve_all(sha256.clone()).await;
    let held: Vec<uploads::HeldReservation> = sha256
        .into_iter()
        .zip(&results)
        .map(|(sha256, result)| uploads::HeldReservation {
            sha256,
            token: crate::uploads::calls::token(result),
        })
        .collect();
    let named = |numbers: Vec<u64>| {
        numbers.into_iter().map(|number| held[number as usize].clone()).collect::<Vec<_>>()
    };
    let service = || "photos".to_owned();
    at_once("ExtendReservations", round, |numbers| {
        let reservations = named(numbers);
        let request =
            uploads::ExtendReservationsRequest { service: service(), reservations, ..Default::default() };
        let mut client = pannier.uploads();
        async move { drop(client.extend_reservations(request).await.unwrap()) }
    })
    .await;
    at_once("ReleaseReservations", round, |numbers| {
        let reservations = named(numbers);
        let request =
            uploads::ReleaseReservationsRequest { service: service(), reservations, ..Default::default() };
        let mut client = pannier.uploads();
        async move { drop(client.release_reservations(request).await.unwrap()) }
    })
    .await;
}

#[tokio::test]
async fn batches_of_jobs() {
    let pannier = pannier().await;
    for round in 0..4 {
        let job_id = pannier.job_in(jobs::JobStatus::Processing).await;
        at_once("AddResults", round, |numbers| {
            let results = numbers.into_iter().map(|number| success(format!("item-{number}"))).collect();
            let request = jobs::AddResultsRequest { job_id: job_id.clone(), results, ..Default::default() };
            let mut client = pannier.jobs.clone();
            async move { drop(client.add_results(request).await.unwrap()) }
        })
        .await;
    }
}

#[tokio::test]
async fn batches_of_the_queue() {
    let pannier = pannier().await;
    for round in 0..4 {
        at_once("BatchEnqueue", round, |numbers| {
            let new = |number: u64| queue::EnqueueItem {
                limit_key: format!("key-{round}-{}", number % 9),
                unique: Some(queue::Unique { key: format!("unique-{round}-{number}"), ..Default::default() }),
                ..item(&format!("type-{round}-{}", number % 5))
            };
            let items = numbers.into_iter().map(new).collect();
            let request = queue::BatchEnqueueRequest { items, ..Default::default() };
            let mut client = pannier.queue.clone();
            async move { drop(client.batch_enqueue(request).await.unwrap()) }
        })
        .await;
        let list = queue::ListRequest { page_size: 1_000, ..Default::default() };
        let listed = pannier.queue.clone().list(list).await.unwrap().into_inner().tasks;
        let ids: Vec<i64> = listed.iter().rev().take(ITEMS as usize).map(|task| task.id).collect();
        let named = |numbers: Vec<u64>| {
            numbers.into_iter().filter_map(|number| ids.get(number as usize).copied()).collect::<Vec<_>>()
        };
        at_once("Cancel", round, |numbers| {
            let request = queue::CancelRequest { task_ids: named(numbers), ..Default::default() };
            let mut client = pannier.queue.clone();
            async move { drop(client.cancel(request).await.unwrap()) }
        })
        .await;
        at_once("Retry", round, |numbers| {
            let request = queue::RetryRequest { task_ids: named(numbers), ..Default::default() };
            let mut client = pannier.queue.clone();
            async move { drop(client.retry(request).await.unwrap()) }
        })
        .await;
    }
}
