//! Bad input: refused whole, all violations at once, nothing stored.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::settings::v1 as pb;
use pannier_proto::settings::v1::set_request::Condition;
use tonic::Code;

use super::calls::set_request;
use crate::harness::{assert_status, pannier, violated_fields};

#[tokio::test]
async fn all_that_is_wrong_with_a_set_is_told_at_once_and_nothing_is_stored() {
    let pannier = pannier().await;
    let request = pb::SetRequest {
        key: String::new(),
        value_json: "{".into(),
        condition: Some(Condition::IfAbsent(false)),
        durability: 77,
        request_id: "x".into(),
    };
    let status = pannier.try_set(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["durability", "if_absent", "key", "request_id", "value_json"]);
    assert!(pannier.setting_keys("").await.is_empty());
}

#[tokio::test]
async fn bad_keys_are_refused_wherever_they_stand() {
    let pannier = pannier().await;
    for key in ["", "a\0b", &"k".repeat(513), &"é".repeat(257)] {
        assert_eq!(violated_fields(&pannier.try_set(set_request(key, "1")).await.unwrap_err()), ["key"]);
        assert_eq!(violated_fields(&pannier.try_setting(key).await.unwrap_err()), ["key"]);
        assert_eq!(violated_fields(&pannier.try_unset(key, 0).await.unwrap_err()), ["key"]);
    }
    pannier.set(&"é".repeat(256), "1").await;
}

#[tokio::test]
async fn what_is_no_json_or_too_large_is_refused() {
    let pannier = pannier().await;
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    for value in [
        "",
        " ",
        "{",
        "nonsense",
        "{}{}",
        "{'a':1}",
        "[1,]",
        "NaN",
        "01",
        "\"\u{1}\"",
        "\0",
        "\u{feff}1",
        &large,
    ] {
        let status = pannier.try_set(set_request("a", value)).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["value_json"], "{value:.20?}");
    }
    let deep = "[".repeat(10_000);
    let status = pannier.try_set(set_request("a", &deep)).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["value_json"]);
}

#[tokio::test]
async fn bad_revisions_prefixes_and_pages_are_refused() {
    let pannier = pannier().await;
    for revision in [0, -1, i64::MIN] {
        let status = pannier.set_if("a", "1", Condition::IfRevision(revision)).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["if_revision"]);
    }
    assert_eq!(violated_fields(&pannier.try_unset("a", -1).await.unwrap_err()), ["if_revision"]);
    let request = pb::WatchRequest { prefix: "\0".into(), cursor: "x".into() };
    let status = pannier.settings.clone().watch(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["cursor", "prefix"]);
    let request = pb::ListRequest { prefix: "k".repeat(513), page_size: -1, ..Default::default() };
    let status = pannier.settings.clone().list(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["page_size", "prefix"]);
}

#[tokio::test]
async fn a_token_from_elsewhere_is_refused() {
    let pannier = pannier().await;
    for key in ["a", "ab", "b"] {
        pannier.set(key, "1").await;
    }
    let request = pb::ListRequest { prefix: "a".into(), page_size: 1, ..Default::default() };
    let token = pannier.settings.clone().list(request).await.unwrap().into_inner().next_page_token;
    for page_token in [token.as_str(), "nonsense", "\0"] {
        let request = pb::ListRequest { page_token: page_token.into(), ..Default::default() };
        let status = pannier.settings.clone().list(request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}
