//! Two sidecars on one database.

use std::sync::Arc;

use super::calls::{enqueue, put, set};
use super::concurrency::transfers;
use super::wake_ups::waiting;
use crate::cache::items::value_of;
use crate::harness::pannier;
use crate::settings::calls::{next, told};

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn those_who_wait_at_another_sidecar_are_woken_by_a_commit() {
    let first = pannier().await;
    let second = first.beside().await;
    let waiter = second.waiter(waiting(&["a"])).await;
    let mut watch = second.watch_settings("", "").await;
    next(&mut watch).await;
    first.commit(vec![enqueue("a"), set("s", "1"), put("k", "v")]).await;
    assert_eq!(waiter.await.unwrap().len(), 1);
    assert_eq!(told(&next(&mut watch).await), [("s", Some("1"))]);
    assert_eq!(value_of(&second.get("n", "k").await.unwrap()), b"v");
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn transfers_by_both_lose_and_make_nothing() {
    let first = pannier().await;
    let second = first.beside().await;
    transfers(&[Arc::new(first), Arc::new(second)]).await;
}
