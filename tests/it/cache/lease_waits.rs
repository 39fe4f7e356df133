//! Waiting for another caller's fill.

use std::time::Duration;

use pannier_proto::cache::v1 as pb;
use tokio::task::JoinHandle;

use super::items::{negative_item, seconds, value_item, value_of};
use crate::harness::{Pannier, pannier};

/// A caller that waits for at most `wait_s`.
pub(super) fn waiter(pannier: &Pannier, key: &str, wait_s: i64) -> JoinHandle<pb::GetOrLeaseResponse> {
    let mut cache = pannier.cache.clone();
    let request = pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: key.into(),
        wait_max: Some(seconds(wait_s)),
        ..Default::default()
    };
    tokio::spawn(async move { cache.get_or_lease(request).await.unwrap().into_inner() })
}

/// Gives the spawned callers time to arrive and to begin to wait.
pub(super) async fn let_arrive(pannier: &Pannier) {
    for _ in 0..30 {
        pannier.exists("unrelated", &["a"]).await;
    }
}

/// Moves the clock in small steps until `caller` has its answer; answers with that and with the seconds it took.
async fn advance_until<T>(pannier: &Pannier, caller: JoinHandle<T>, step_s: u64) -> (T, u64) {
    for turn in 0..200 {
        let_arrive(pannier).await;
        if caller.is_finished() {
            return (caller.await.unwrap(), turn * step_s);
        }
        pannier.advance_s(step_s);
    }
    panic!("the caller still waits");
}

fn fill(key: &str, value: &str, token: &str) -> pb::PutItem {
    pb::PutItem { lease_token: token.into(), ..value_item(key, value) }
}

#[tokio::test]
async fn of_twenty_callers_one_gets_the_lease_and_the_others_what_it_fills_in() {
    let pannier = pannier().await;
    let mut callers: Vec<_> = (0..20).map(|_| waiter(&pannier, "a", 30)).collect();
    let_arrive(&pannier).await;
    let finished: Vec<bool> = callers.iter().map(JoinHandle::is_finished).collect();
    let first = finished.iter().position(|finished| *finished).expect("one has the lease");
    assert_eq!(finished.iter().filter(|finished| **finished).count(), 1, "only one");
    let lease = callers.remove(first).await.unwrap().lease.unwrap();
    let put = pannier.put("n", fill("a", "filled", &lease.token)).await;
    for caller in callers {
        let answer = caller.await.unwrap();
        assert_eq!((answer.lease, answer.held_until_time), (None, None));
        let entry = answer.entry.expect("the filled entry");
        assert_eq!((value_of(&entry), &entry.etag, entry.stale), (b"filled".as_slice(), &put.etag, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_in_parallel_fill_each_key_once() {
    let pannier = pannier().await;
    let caller = |key: String| {
        let mut cache = pannier.cache.clone();
        async move {
            let request = pb::GetOrLeaseRequest {
                namespace: "n".into(),
                key: key.clone(),
                wait_max: Some(seconds(30)),
                ..Default::default()
            };
            let answer = cache.get_or_lease(request).await.unwrap().into_inner();
            let Some(lease) = answer.lease else {
                assert_eq!(value_of(&answer.entry.unwrap()), b"v");
                return 0;
            };
            let item = Some(fill(&key, "v", &lease.token));
            cache.put(pb::PutRequest { namespace: "n".into(), item, ..Default::default() }).await.unwrap();
            1
        }
    };
    // Fewer than `server.streams_max` on one connection, so that the fills find room beside those who wait.
    let callers: Vec<_> = (0..100).map(|i| tokio::spawn(caller(format!("k{}", i % 10)))).collect();
    let mut filled = 0;
    for caller in callers {
        filled += tokio::time::timeout(Duration::from_secs(20), caller).await.expect("woken").unwrap();
    }
    assert_eq!(filled, 10);
}

#[tokio::test]
async fn a_wait_ends_after_its_time_with_nothing() {
    let pannier = pannier().await;
    let request = pb::GetOrLeaseRequest {
        namespace: "n".into(),
        key: "a".into(),
        lease_ttl: Some(seconds(300)),
        wait_max: Some(seconds(0)),
    };
    let lease = pannier.cache.clone().get_or_lease(request).await.unwrap().into_inner().lease.unwrap();
    let caller = waiter(&pannier, "a", 10);
    let (answer, after_s) = advance_until(&pannier, caller, 1).await;
    assert!((10..=12).contains(&after_s), "after {after_s} s");
    assert_eq!((answer.entry, answer.lease), (None, None));
    assert_eq!(answer.held_until_time, lease.expire_time);
    pannier.put("n", fill("a", "v", &lease.token)).await;
}

#[tokio::test]
async fn without_a_wait_given_the_setting_applies() {
    let pannier = pannier().await;
    pannier.lease("n", "a").await;
    let mut cache = pannier.cache.clone();
    let request = pb::GetOrLeaseRequest { namespace: "n".into(), key: "a".into(), ..Default::default() };
    let caller = tokio::spawn(async move { cache.get_or_lease(request).await.unwrap().into_inner() });
    let (answer, after_s) = advance_until(&pannier, caller, 1).await;
    assert!((5..=7).contains(&after_s), "cache.lease_wait_ms is 5,000, took {after_s} s");
    assert_eq!((answer.entry, answer.lease), (None, None));
}

#[tokio::test]
async fn a_lease_that_runs_out_goes_to_one_who_waits() {
    let pannier = pannier().await;
    let lost = pannier.lease("n", "a").await;
    let mut callers: Vec<_> = (0..3).map(|_| waiter(&pannier, "a", 30)).collect();
    let_arrive(&pannier).await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    let mut waited_s = 0;
    while callers.iter().all(|caller| !caller.is_finished()) {
        assert!(waited_s < 30, "nobody gets the lease");
        pannier.advance_s(1);
        waited_s += 1;
        let_arrive(&pannier).await;
    }
    assert!(waited_s >= 10, "after {waited_s} s");
    let next = callers.iter().position(JoinHandle::is_finished).unwrap();
    let lease = callers.remove(next).await.unwrap().lease.expect("it has the lease");
    assert_ne!(lease.token, lost);
    assert!(callers.iter().all(|caller| !caller.is_finished()), "only one has it");
    pannier.put("n", fill("a", "v", &lease.token)).await;
    for caller in callers {
        assert_eq!(value_of(&caller.await.unwrap().entry.unwrap()), b"v");
    }
}

#[tokio::test]
async fn a_released_lease_goes_to_one_who_waits_at_once() {
    let pannier = pannier().await;
    let mut token = pannier.lease("n", "a").await;
    let mut callers: Vec<_> = (0..3).map(|_| waiter(&pannier, "a", 30)).collect();
    let_arrive(&pannier).await;
    while !callers.is_empty() {
        assert!(pannier.release("n", "a", &token).await);
        let_arrive(&pannier).await;
        let finished = callers.iter().filter(|caller| caller.is_finished()).count();
        assert_eq!(finished, 1, "one, without the clock's moving");
        let next = callers.iter().position(JoinHandle::is_finished).unwrap();
        token = callers.remove(next).await.unwrap().lease.unwrap().token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_released_while_another_begins_to_wait_is_not_waited_for() {
    let pannier = pannier().await;
    // Time stands still: who misses the release waits for ever.
    for number in 0..300 {
        let key = format!("k{number}");
        let first = waiter(&pannier, &key, 0).await.unwrap().lease.expect("it is free");
        let second = waiter(&pannier, &key, 30);
        // Sooner or later after the second's claim, and before it.
        for _ in 0..number % 4 {
            tokio::task::yield_now().await;
        }
        assert!(pannier.release("n", &key, &first.token).await);
        let second = tokio::time::timeout(Duration::from_secs(20), second).await;
        assert!(second.expect("it was missed").unwrap().lease.is_some(), "{key}");
    }
}

#[tokio::test]
async fn those_who_wait_get_an_ordinary_put_as_well() {
    let pannier = pannier().await;
    pannier.lease("n", "a").await;
    let (one, two) = (waiter(&pannier, "a", 30), waiter(&pannier, "a", 30));
    let_arrive(&pannier).await;
    pannier.put("n", value_item("a", "another's")).await;
    for caller in [one, two] {
        let answer = caller.await.unwrap();
        assert_eq!((value_of(&answer.entry.unwrap()), answer.lease), (b"another's".as_slice(), None));
    }
}

#[tokio::test]
async fn those_who_wait_get_a_failure_that_was_filled_in() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    let caller = waiter(&pannier, "a", 30);
    let_arrive(&pannier).await;
    pannier.put("n", pb::PutItem { lease_token: token, ..negative_item("a", "E", "m") }).await;
    let content = caller.await.unwrap().entry.unwrap().content;
    assert!(matches!(content, Some(pb::entry::Content::Negative(_))), "{content:?}");
}

#[tokio::test]
async fn a_batch_put_wakes_those_who_wait_for_its_keys() {
    let pannier = pannier().await;
    let (a, b) = (pannier.lease("n", "a").await, pannier.lease("n", "b").await);
    let callers = [waiter(&pannier, "a", 30), waiter(&pannier, "b", 30)];
    let_arrive(&pannier).await;
    pannier.put_all("n", vec![fill("a", "1", &a), fill("b", "2", &b)]).await;
    for (caller, value) in callers.into_iter().zip(["1", "2"]) {
        assert_eq!(value_of(&caller.await.unwrap().entry.unwrap()), value.as_bytes());
    }
}

#[tokio::test]
async fn a_delete_ends_the_lease_and_gives_it_to_one_who_waits() {
    let pannier = pannier().await;
    let lost = pannier.lease("n", "a").await;
    let caller = waiter(&pannier, "a", 9);
    let_arrive(&pannier).await;
    pannier.delete("n", &["a"]).await;
    let (answer, after_s) = advance_until(&pannier, caller, 1).await;
    let lease = answer.lease.expect("the lease is free again");
    assert!(lease.token != lost && after_s < 9);
}

#[tokio::test]
async fn a_wait_for_one_key_does_not_end_with_another() {
    let pannier = pannier().await;
    pannier.lease("n", "a").await;
    let caller = waiter(&pannier, "a", 30);
    let_arrive(&pannier).await;
    pannier.put_all("n", vec![value_item("b", "v"), value_item("aa", "v")]).await;
    pannier.put("m", value_item("a", "v")).await;
    let_arrive(&pannier).await;
    assert!(!caller.is_finished());
    pannier.put("n", value_item("a", "v")).await;
    assert!(caller.await.unwrap().entry.is_some());
}

#[tokio::test]
async fn a_caller_that_gave_up_does_not_take_the_lease_with_it() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    let gone = waiter(&pannier, "a", 30);
    let_arrive(&pannier).await;
    gone.abort();
    let_arrive(&pannier).await;
    assert!(pannier.release("n", "a", &token).await);
    let_arrive(&pannier).await;
    pannier.lease("n", "a").await;
}

#[tokio::test]
async fn a_wait_in_a_namespace_that_is_deleted_ends_in_an_answer() {
    let pannier = pannier().await;
    pannier.put("n", value_item("k", "v")).await;
    pannier.lease("n", "a").await;
    let caller = waiter(&pannier, "a", 20);
    let_arrive(&pannier).await;
    pannier.delete_namespace("n").await;
    let (answer, after_s) = advance_until(&pannier, caller, 1).await;
    assert!(answer.entry.is_none() && after_s <= 22, "after {after_s} s");
    pannier.put("n", value_item("a", "v")).await;
    assert_eq!(pannier.keys("n").await, ["a"]);
}
