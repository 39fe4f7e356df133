//! Conditions of a put: if absent, if present, if this etag.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::Code;

use super::items::{short_lived, value_item, value_of};
use crate::harness::{Pannier, assert_status, pannier};

fn conditional(value: &str, condition: pb::put_item::Condition) -> pb::PutItem {
    pb::PutItem { condition: Some(condition), ..value_item("a", value) }
}

fn if_absent(value: &str) -> pb::PutItem {
    conditional(value, pb::put_item::Condition::IfAbsent(true))
}

fn if_present(value: &str) -> pb::PutItem {
    conditional(value, pb::put_item::Condition::IfPresent(true))
}

fn if_etag(value: &str, etag: &str) -> pb::PutItem {
    conditional(value, pb::put_item::Condition::IfEtag(etag.into()))
}

async fn assert_refused(pannier: &Pannier, item: pb::PutItem, code: Code, reason: ErrorReason) {
    let before = pannier.peek("n", "a").await;
    assert_status(&pannier.try_put("n", item).await.unwrap_err(), code, reason);
    assert_eq!(pannier.peek("n", "a").await, before, "a refused put changes nothing");
}

#[tokio::test]
async fn if_absent_puts_once() {
    let pannier = pannier().await;
    assert!(pannier.put("n", if_absent("one")).await.created);
    assert_refused(&pannier, if_absent("two"), Code::AlreadyExists, ErrorReason::EntryExists).await;
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"one");
    pannier.delete("n", &["a"]).await;
    assert!(pannier.put("n", if_absent("three")).await.created);
}

#[tokio::test]
async fn if_present_puts_only_over_an_entry() {
    let pannier = pannier().await;
    assert_refused(&pannier, if_present("one"), Code::NotFound, ErrorReason::EntryNotFound).await;
    pannier.put("n", value_item("a", "two")).await;
    assert!(!pannier.put("n", if_present("three")).await.created);
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"three");
}

#[tokio::test]
async fn if_etag_puts_only_over_the_entry_that_was_read() {
    let pannier = pannier().await;
    let first = pannier.put("n", value_item("a", "one")).await.etag;
    let second = pannier.put("n", if_etag("two", &first)).await;
    assert!(!second.created);
    assert_refused(&pannier, if_etag("three", &first), Code::Aborted, ErrorReason::EtagMismatch).await;
    pannier.put("n", if_etag("four", &second.etag)).await;
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"four");
}

#[tokio::test]
async fn if_etag_on_nothing_is_not_found() {
    let pannier = pannier().await;
    let etag = pannier.put("n", value_item("a", "one")).await.etag;
    pannier.delete("n", &["a"]).await;
    assert_refused(&pannier, if_etag("two", &etag), Code::NotFound, ErrorReason::EntryNotFound).await;
}

#[tokio::test]
async fn an_etag_that_no_entry_ever_had_is_another_etag() {
    let pannier = pannier().await;
    let etag = pannier.put("n", value_item("a", "one")).await.etag;
    let longer = format!("{etag}0");
    let zero = format!("0{etag}");
    for nonsense in ["nonsense", "-1", "0", "99999999999999999999999", "\0", "é", &longer, &zero] {
        assert_refused(&pannier, if_etag("two", nonsense), Code::Aborted, ErrorReason::EtagMismatch).await;
    }
}

#[tokio::test]
async fn the_etag_of_another_key_is_another_etag() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "one")).await;
    let other = pannier.put("n", value_item("b", "one")).await.etag;
    assert_refused(&pannier, if_etag("two", &other), Code::Aborted, ErrorReason::EtagMismatch).await;
}

#[tokio::test]
async fn an_etag_holds_after_reads_touches_and_a_restart() {
    let pannier = pannier().await;
    let etag = pannier.put("n", value_item("a", "one")).await.etag;
    pannier.get("n", "a").await;
    pannier.touch("n", "a", Some(pb::touch_item::Expiry::NeverExpires(true))).await;
    let pannier = pannier.restart().await;
    assert_eq!(pannier.get("n", "a").await.unwrap().etag, etag);
    pannier.put("n", if_etag("two", &etag)).await;
}

#[tokio::test]
async fn an_expired_entry_counts_as_absent() {
    let pannier = pannier().await;
    let etag = pannier.put("n", short_lived("a", "one", 10)).await.etag;
    pannier.advance_s(11);
    assert_refused(&pannier, if_present("two"), Code::NotFound, ErrorReason::EntryNotFound).await;
    assert_refused(&pannier, if_etag("two", &etag), Code::NotFound, ErrorReason::EntryNotFound).await;
    assert!(pannier.put("n", if_absent("three")).await.created);
}

#[tokio::test]
async fn an_entry_in_its_stale_window_counts_as_absent() {
    let pannier = pannier().await;
    let item = pb::PutItem { stale_window: Some(super::items::seconds(60)), ..short_lived("a", "one", 10) };
    pannier.put("n", item).await;
    pannier.advance_s(11);
    assert_refused(&pannier, if_present("two"), Code::NotFound, ErrorReason::EntryNotFound).await;
    assert!(pannier.put("n", if_absent("three")).await.created);
}

#[tokio::test]
async fn of_many_callers_with_if_absent_one_puts() {
    let pannier = pannier().await;
    let calls = (0..16).map(|i| pannier.try_put("n", if_absent(["even", "odd"][i % 2])));
    let answers = futures_util::future::join_all(calls).await;
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (1, 15));
    for status in refused {
        assert_status(&status.unwrap_err(), Code::AlreadyExists, ErrorReason::EntryExists);
    }
    assert_eq!(pannier.get("n", "a").await.unwrap().etag, stored[0].as_ref().unwrap().etag);
}

#[tokio::test]
async fn counting_with_if_etag_loses_no_step() {
    let pannier = pannier().await;
    pannier.put("n", value_item("a", "0")).await;
    let count_up = || async {
        for _ in 0..1_000 {
            let entry = pannier.get("n", "a").await.unwrap();
            let count: u32 = String::from_utf8(value_of(&entry).to_vec()).unwrap().parse().unwrap();
            if pannier.try_put("n", if_etag(&(count + 1).to_string(), &entry.etag)).await.is_ok() {
                return;
            }
        }
        panic!("no turn in 1,000 tries");
    };
    futures_util::future::join_all((0..12).map(|_| count_up())).await;
    assert_eq!(value_of(&pannier.get("n", "a").await.unwrap()), b"12");
}
