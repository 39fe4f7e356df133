//! Those who wait are woken by a commit, and by none that failed.

use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::queue::v1 as queue;

use super::calls::{create, enqueue, job_id, put, set, unset, update};
use crate::cache::items::value_of;
use crate::harness::pannier;
use crate::jobs::watch::Watcher;
use crate::queue::calls::{claiming, seconds};
use crate::settings::calls::{next, told};

/// A claim of one task that waits.
pub fn waiting(types: &[&str]) -> queue::Claiming {
    queue::Claiming { wait: Some(seconds(60)), ..claiming(types, 1) }
}

#[tokio::test]
async fn a_claim_that_waits_is_woken_by_a_commit() {
    let pannier = pannier().await;
    let waiter = pannier.waiter(waiting(&["a"])).await;
    pannier.try_commit(vec![enqueue("a"), unset("z", 1)]).await.unwrap_err();
    pannier.let_arrive().await;
    assert!(!waiter.is_finished(), "there is no task");
    pannier.commit(vec![set("s", "1"), enqueue("a")]).await;
    assert_eq!(waiter.await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_of_several_tasks_wakes_one() {
    let pannier = pannier().await;
    let mut waiters = Vec::new();
    for _ in 0..3 {
        waiters.push(pannier.waiter(waiting(&[])).await);
    }
    pannier.commit(vec![enqueue("a"), set("s", "1"), enqueue("b")]).await;
    for _ in 0..2 {
        let (first, _, rest) = futures_util::future::select_all(waiters).await;
        assert_eq!(first.unwrap().len(), 1);
        waiters = rest;
    }
    pannier.let_arrive().await;
    assert!(!waiters[0].is_finished());
}

#[tokio::test]
async fn watches_of_settings_and_jobs_see_a_commit() {
    let pannier = pannier().await;
    pannier.commit(vec![create(1)]).await;
    let watcher = Watcher::new(&pannier, &job_id(1), 0).await;
    watcher.settled(&pannier).await;
    let mut watch = pannier.watch_settings("", "").await;
    next(&mut watch).await;
    pannier.commit(vec![update(1, JobStatus::Completed), set("s", "1"), set("t", "1"), set("s", "2")]).await;
    assert_eq!(told(&next(&mut watch).await), [("t", Some("1")), ("s", Some("2"))], "in one message");
    // The shortest time between two messages, and less than after which it looks by itself.
    pannier.advance_s(1);
    let (seen, end) = watcher.ended().await;
    assert_eq!(seen.last().unwrap().status(), JobStatus::Completed);
    end.unwrap();
}

#[tokio::test]
async fn those_who_wait_for_a_key_to_be_filled_are_woken() {
    let pannier = pannier().await;
    pannier.lease("n", "k").await;
    let waiter = async { pannier.get_or_lease("n", "k", 20).await };
    let commit = async {
        pannier.let_arrive().await;
        pannier.commit(vec![put("k", "v")]).await
    };
    let (waited, _) = tokio::join!(waiter, commit);
    assert_eq!(value_of(&waited.entry.unwrap()), b"v");
}
