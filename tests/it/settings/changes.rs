//! Get, Set, Delete and List.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::settings::v1 as pb;
use pannier_proto::settings::v1::set_request::Condition;
use tonic::Code;

use super::calls::{next, set_request};
use crate::cache::items::us;
use crate::harness::{START_US, assert_status, pannier, pannier_with, violated_fields};

#[tokio::test]
async fn a_setting_is_kept_as_it_was_given_and_survives_a_restart() {
    let pannier = pannier().await;
    let values = [
        "null",
        "0.10",
        "1e400",
        " {\"b\": 1, \"a\": [2,  3]} ",
        "\"é\\u0000\"",
        "[]",
        "18446744073709551616",
    ];
    for (index, value) in values.iter().enumerate() {
        let set = pannier.try_set(set_request(&format!("k{index}"), value)).await.unwrap();
        assert!(set.created);
    }
    let pannier = pannier.restart().await;
    for (index, value) in values.iter().enumerate() {
        assert_eq!(pannier.setting(&format!("k{index}")).await, *value);
    }
}

#[tokio::test]
async fn every_change_takes_the_next_revision() {
    let pannier = pannier().await;
    let first = pannier.set("a", "1").await;
    assert_eq!(pannier.set("b", "1").await, first + 1);
    assert_eq!(pannier.set("a", "1").await, first + 2, "also one that changes nothing");
    assert_eq!(pannier.unset("b").await, first + 3);
    assert_eq!(pannier.unset("b").await, 0, "there is nothing to delete");
    let pannier = pannier.restart().await;
    assert_eq!(pannier.set("b", "2").await, first + 4);
    assert_eq!(pannier.set("last", "1").await, first + 5);
}

#[tokio::test]
async fn times_tell_when_a_setting_was_first_and_last_set() {
    let pannier = pannier().await;
    pannier.set("a", "1").await;
    pannier.advance_s(10);
    pannier.set("a", "2").await;
    let setting = pannier.try_setting("a").await.unwrap();
    assert_eq!(us(setting.create_time.as_ref()), Some(START_US));
    assert_eq!(us(setting.update_time.as_ref()), Some(START_US + 10_000_000));
    pannier.unset("a").await;
    pannier.advance_s(10);
    let set = pannier.try_set(set_request("a", "3")).await.unwrap();
    assert!(set.created);
    assert_eq!(us(set.setting.unwrap().create_time.as_ref()), Some(START_US + 20_000_000));
}

#[tokio::test]
async fn conditions_are_checked_against_the_setting_as_it_is() {
    let pannier = pannier().await;
    let status = pannier.set_if("a", "1", Condition::IfRevision(1)).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::SettingNotFound);
    let set = pannier.set_if("a", "1", Condition::IfAbsent(true)).await.unwrap();
    let revision = set.setting.unwrap().revision;
    let status = pannier.set_if("a", "2", Condition::IfAbsent(true)).await.unwrap_err();
    assert_status(&status, Code::AlreadyExists, ErrorReason::SettingExists);
    let status = pannier.set_if("a", "2", Condition::IfRevision(revision + 1)).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::SettingChanged);
    assert_eq!(pannier.setting("a").await, "1");
    pannier.set_if("a", "2", Condition::IfRevision(revision)).await.unwrap();
    let status = pannier.try_unset("a", revision).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::SettingChanged);
    assert!(pannier.try_unset("a", revision + 1).await.unwrap().deleted);
    let status = pannier.try_unset("a", revision + 1).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::SettingNotFound);
    assert_eq!(pannier.set("b", "1").await, revision + 3, "what was refused took no revision");
}

#[tokio::test]
async fn what_is_not_there_or_was_deleted_is_not_found() {
    let pannier = pannier().await;
    pannier.set("a", "1").await;
    pannier.unset("a").await;
    for key in ["a", "b"] {
        let status = pannier.try_setting(key).await.unwrap_err();
        assert_status(&status, Code::NotFound, ErrorReason::SettingNotFound);
    }
    assert!(pannier.setting_keys("").await.is_empty());
}

#[tokio::test]
async fn a_prefix_lists_its_keys_in_the_order_of_their_bytes_page_by_page() {
    let pannier = pannier().await;
    let keys = ["A", "a", "a.b", "a.b.c", "a/", "aB", "b", "é", "日本", "\u{10ffff}"];
    for key in keys {
        pannier.set(key, "1").await;
    }
    for prefix in ["", "a", "a.", "A", "é", "\u{10ffff}", "none"] {
        let mut expected: Vec<&str> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        for page_size in [0, 1, 3] {
            let (found, _) = pannier.all_settings(prefix, page_size).await;
            let found: Vec<&str> = found.iter().map(|setting| setting.key.as_str()).collect();
            assert_eq!(found, expected, "{prefix:?} {page_size}");
        }
    }
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_and_has_at_least_one_setting() {
    let pannier = pannier_with(|settings| {
        settings.settings.value_bytes_max = 4 << 20;
        settings.cache.value_bytes_max = 1 << 20;
        settings.server.response_bytes_max = 5 << 20;
        settings.server.message_bytes_max = 16 << 20;
    })
    .await;
    let large = format!("\"{}\"", "x".repeat((4 << 20) - 2));
    for index in 0..5 {
        pannier.set(&format!("k{index}"), &large).await;
    }
    let request = pb::ListRequest::default();
    let page = pannier.settings.clone().list(request).await.unwrap().into_inner();
    assert!((1..5).contains(&page.settings.len()), "{}", page.settings.len());
    assert_eq!(pannier.setting_keys("").await, ["k0", "k1", "k2", "k3", "k4"]);
}

#[tokio::test]
async fn there_are_no_more_settings_than_the_limit() {
    let pannier = pannier_with(|settings| settings.settings.settings_max = 2).await;
    pannier.set("a", "1").await;
    pannier.set("b", "1").await;
    let status = pannier.try_set(set_request("c", "1")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManySettings);
    pannier.set("a", "2").await;
    pannier.unset("a").await;
    pannier.set("c", "1").await;
    assert_eq!(pannier.setting_keys("").await, ["b", "c"]);
}

#[tokio::test]
async fn a_repeated_request_is_done_once() {
    let pannier = pannier().await;
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d01";
    let request = pb::SetRequest { request_id: id.into(), ..set_request("a", "1") };
    let first = pannier.try_set(request.clone()).await.unwrap();
    pannier.set("a", "2").await;
    assert_eq!(pannier.try_set(request.clone()).await.unwrap(), first);
    assert_eq!(pannier.setting("a").await, "2");
    let other = pb::SetRequest { value_json: "3".into(), ..request };
    let status = pannier.try_set(other).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d02";
    let delete = pb::DeleteRequest { key: "a".into(), request_id: id.into(), ..Default::default() };
    let first = pannier.settings.clone().delete(delete.clone()).await.unwrap().into_inner();
    pannier.set("a", "4").await;
    assert_eq!(pannier.settings.clone().delete(delete).await.unwrap().into_inner(), first);
    assert_eq!(pannier.setting("a").await, "4");
}

#[tokio::test]
async fn counters_kept_by_revision_lose_no_step() {
    let pannier = pannier().await;
    pannier.set("counter", "0").await;
    let steps = async || {
        for _ in 0..20 {
            loop {
                let setting = pannier.try_setting("counter").await.unwrap();
                let next = setting.value_json.parse::<u32>().unwrap() + 1;
                let condition = Condition::IfRevision(setting.revision);
                match pannier.set_if("counter", &next.to_string(), condition).await {
                    Ok(_) => break,
                    Err(status) => assert_status(&status, Code::Aborted, ErrorReason::SettingChanged),
                }
            }
        }
    };
    tokio::join!(steps(), steps(), steps(), steps());
    assert_eq!(pannier.setting("counter").await, "80");
}

#[tokio::test]
async fn items_of_a_batch_are_set_in_their_order_and_a_wrong_one_fails_alone() {
    use pb::batch_set_result::Outcome;
    use pb::set_item::Condition as Of;
    let pannier = pannier().await;
    let first = pannier.set("a", "1").await;
    let item = |key: &str, value: &str, condition| pb::SetItem {
        key: key.into(),
        value_json: value.into(),
        condition,
    };
    let items = vec![
        item("a", "2", Some(Of::IfRevision(first))),
        item("a", "3", Some(Of::IfRevision(first))),
        item("b", "{", None),
        item("c", "1", Some(Of::IfAbsent(true))),
        item("a", "4", Some(Of::IfAbsent(true))),
        item("c", "2", None),
    ];
    let request = pb::BatchSetRequest { items, ..Default::default() };
    let mut watch = pannier.watch_settings("", "").await;
    next(&mut watch).await;
    let results = pannier.settings.clone().batch_set(request.clone()).await.unwrap().into_inner().results;
    let told: Vec<_> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            Outcome::Set(set) => Ok((set.key, set.revision - first, set.created)),
            Outcome::Error(error) => Err(error.reason()),
        })
        .collect();
    let expected = [
        Ok(("a".to_owned(), 1, false)),
        Err(ErrorReason::SettingChanged),
        Err(ErrorReason::InvalidArgument),
        Ok(("c".to_owned(), 2, true)),
        Err(ErrorReason::SettingExists),
        Ok(("c".to_owned(), 3, false)),
    ];
    assert_eq!(told, expected);
    assert_eq!(next(&mut watch).await.changes.len(), 2);
    let refused = pannier
        .settings
        .clone()
        .batch_set(pb::BatchSetRequest { atomic: true, ..request })
        .await
        .unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[2].value_json"]);
    let items = vec![item("d", "1", None), item("a", "5", Some(Of::IfRevision(first)))];
    let request = pb::BatchSetRequest { items, atomic: true, ..Default::default() };
    let refused = pannier.settings.clone().batch_set(request).await.unwrap_err();
    assert_status(&refused, Code::Aborted, ErrorReason::SettingChanged);
    assert_eq!(pannier.setting_keys("").await, ["a", "c"], "all or none");
    let empty = pannier.settings.clone().batch_set(pb::BatchSetRequest::default()).await.unwrap_err();
    assert_eq!(violated_fields(&empty), ["items"]);
}
