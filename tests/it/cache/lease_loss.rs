//! A late fill with a lost lease is refused and stores nothing.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::calls::{error_of, put_of};
use super::items::{seconds, short_lived, tagged, value_item, value_of};
use crate::harness::{Pannier, assert_status, pannier};

fn fill(key: &str, token: &str) -> pb::PutItem {
    pb::PutItem { lease_token: token.into(), ..value_item(key, "late") }
}

async fn assert_lost(pannier: &Pannier, token: &str) {
    let before = pannier.peek("n", "a").await;
    let status = pannier.try_put("n", fill("a", token)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::LeaseLost);
    assert_eq!(pannier.peek("n", "a").await, before, "a refused fill changes nothing");
}

#[tokio::test]
async fn a_fill_after_the_lease_ran_out_is_refused() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.advance_s(11);
    assert_lost(&pannier, &token).await;
    let next = pannier.lease("n", "a").await;
    assert_lost(&pannier, &token).await;
    pannier.put("n", fill("a", &next)).await;
}

#[tokio::test]
async fn a_fill_after_a_delete_is_refused() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.delete("n", &["a"]).await;
    assert_lost(&pannier, &token).await;
    assert_eq!(pannier.get("n", "a").await, None);
}

#[tokio::test]
async fn a_fill_after_the_delete_of_the_stale_entry_is_refused() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(seconds(60)), ..short_lived("a", "stale", 10) };
    pannier.put("n", item).await;
    pannier.advance_s(20);
    let token = pannier.lease("n", "a").await;
    pannier.delete("n", &["a"]).await;
    assert_lost(&pannier, &token).await;
    assert_eq!(pannier.get_or_lease("n", "a", 0).await.entry, None, "the stale value is deleted too");
}

#[tokio::test]
async fn a_fill_after_a_delete_by_prefix_is_refused() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.delete_by_prefix("n", "a").await;
    assert_lost(&pannier, &token).await;
}

#[tokio::test]
async fn a_fill_after_a_delete_by_the_stale_entrys_tag_is_refused() {
    let pannier = pannier().await;
    let item =
        pb::PutItem { tags: vec!["t".into()], stale_window: Some(seconds(60)), ..short_lived("a", "v", 10) };
    pannier.put("n", item).await;
    pannier.advance_s(20);
    let token = pannier.lease("n", "a").await;
    pannier.delete_by_tag("n", "t").await;
    assert_lost(&pannier, &token).await;
}

#[tokio::test]
async fn a_fill_after_the_namespace_was_deleted_is_refused() {
    let pannier = pannier().await;
    pannier.put("n", value_item("b", "v")).await;
    let token = pannier.lease("n", "a").await;
    pannier.delete_namespace("n").await;
    assert_lost(&pannier, &token).await;
    pannier.put("n", value_item("b", "v")).await;
    assert_lost(&pannier, &token).await;
}

#[tokio::test]
async fn a_fill_after_another_put_is_refused_and_the_other_value_stays() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.put("n", value_item("a", "another's")).await;
    assert_lost(&pannier, &token).await;
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"another's");
    let token = pannier.lease("n", "b").await;
    pannier.put_all("n", vec![value_item("b", "another's")]).await;
    let status = pannier.try_put("n", fill("b", &token)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
async fn a_lease_is_filled_once() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.put("n", fill("a", &token)).await;
    assert_lost(&pannier, &token).await;
}

#[tokio::test]
async fn a_released_lease_fills_nothing_and_is_released_once() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    assert!(pannier.release("n", "a", &token).await);
    assert_lost(&pannier, &token).await;
    assert!(!pannier.release("n", "a", &token).await);
}

#[tokio::test]
async fn only_its_holder_releases_a_lease() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    for (namespace, key, other) in [
        ("n", "a", "00000000-0000-4000-8000-000000000000"),
        ("n", "b", token.as_str()),
        ("m", "a", token.as_str()),
    ] {
        assert!(!pannier.release(namespace, key, other).await, "{namespace} {key} {other}");
    }
    pannier.put("n", fill("a", &token)).await;
}

#[tokio::test]
async fn a_lease_that_ran_out_is_not_released() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.advance_s(11);
    assert!(!pannier.release("n", "a", &token).await);
}

#[tokio::test]
async fn a_token_fills_its_own_key_only() {
    let pannier = pannier().await;
    let (a, b) = (pannier.lease("n", "a").await, pannier.lease("n", "b").await);
    assert_lost(&pannier, &b).await;
    assert_lost(&pannier, "nonsense").await;
    assert_lost(&pannier, "00000000-0000-4000-8000-000000000000").await;
    let status = pannier.try_put("m", fill("a", &a)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::LeaseLost);
    pannier.put("n", fill("a", &a)).await;
}

#[tokio::test]
async fn a_put_that_is_refused_takes_no_lease_away() {
    use pb::put_item::Condition::{IfEtag, IfPresent};
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    for condition in [IfPresent(true), IfEtag("other".into())] {
        let item = pb::PutItem { condition: Some(condition), ..value_item("a", "v") };
        let status = pannier.try_put("n", item).await.unwrap_err();
        assert_status(&status, Code::NotFound, ErrorReason::EntryNotFound);
    }
    pannier.put("n", fill("a", &token)).await;
}

#[tokio::test]
async fn a_delete_by_an_etag_that_no_entry_has_takes_no_lease_away() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    for etag in ["0", "1", "nonsense", ""] {
        let item = pb::DeleteItem { key: "a".into(), if_etag: Some(etag.into()) };
        assert_eq!(pannier.delete_items("n", vec![item]).await, [pb::DeleteOutcome::NotFound], "{etag:?}");
    }
    pannier.put("n", fill("a", &token)).await;
}

#[tokio::test]
async fn writes_to_other_keys_take_no_lease_away() {
    let pannier = pannier().await;
    let token = pannier.lease("n", "a").await;
    pannier.put_all("n", vec![value_item("b", "v"), tagged("aa", &["t"])]).await;
    pannier.delete("n", &["b"]).await;
    pannier.delete_by_prefix("n", "aa").await;
    pannier.put("m", value_item("a", "v")).await;
    pannier.get("n", "a").await;
    pannier.touch("n", "a", None).await;
    pannier.put("n", fill("a", &token)).await;
}

#[tokio::test]
async fn a_lost_lease_fails_its_own_item_of_a_batch() {
    let pannier = pannier().await;
    let (a, b) = (pannier.lease("n", "a").await, pannier.lease("n", "b").await);
    pannier.put("n", value_item("a", "another's")).await;
    let results = pannier.try_batch_put("n", vec![fill("a", &a), fill("b", &b)]).await.unwrap();
    assert_eq!(error_of(&results[0]), (Code::Aborted, ErrorReason::LeaseLost));
    assert!(put_of(results[1].clone()).created);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"another's");
}
