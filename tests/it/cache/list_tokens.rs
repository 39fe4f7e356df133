//! Page tokens: good for their own query only.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::ErrorReason;
use tonic::{Code, Status};

use super::items::tagged;
use crate::harness::{Pannier, assert_status, pannier};

fn list(page_token: &str) -> pb::ListRequest {
    pb::ListRequest {
        namespace: "n".into(),
        page_size: 2,
        page_token: page_token.into(),
        ..Default::default()
    }
}

async fn five_entries_and_a_token() -> (Pannier, String) {
    let pannier = pannier().await;
    for namespace in ["n", "m"] {
        pannier.put_all(namespace, (0..5).map(|i| tagged(&format!("k{i}"), &["t", "u"])).collect()).await;
    }
    let token = pannier.try_list(list("")).await.unwrap().next_page_token;
    assert!(!token.is_empty());
    (pannier, token)
}

#[track_caller]
fn assert_token_refused(answer: Result<pb::ListResponse, Status>) {
    assert_status(&answer.unwrap_err(), Code::InvalidArgument, ErrorReason::PageTokenInvalid);
}

#[tokio::test]
async fn a_damaged_token_is_refused() {
    let (pannier, token) = five_entries_and_a_token().await;
    for cut in 1..token.len() {
        assert_token_refused(pannier.try_list(list(&token[..cut])).await);
    }
    for place in 0..token.len() {
        let mut damaged = token.clone().into_bytes();
        damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
        assert_token_refused(pannier.try_list(list(std::str::from_utf8(&damaged).unwrap())).await);
    }
    for nonsense in
        ["k1", "é", "\0", "AAAA", "====", &"x".repeat(10_000), &format!("{token}A"), &token.repeat(2)]
    {
        assert_token_refused(pannier.try_list(list(nonsense)).await);
    }
}

#[tokio::test]
async fn a_token_of_another_query_is_refused() {
    let (pannier, token) = five_entries_and_a_token().await;
    let others = [
        pb::ListRequest { namespace: "m".into(), ..list(&token) },
        pb::ListRequest { prefix: "k".into(), ..list(&token) },
        pb::ListRequest { tag: "t".into(), ..list(&token) },
    ];
    for other in others {
        assert_token_refused(pannier.try_list(other).await);
    }
    let tagged = pb::ListRequest { tag: "t".into(), ..list("") };
    let token = pannier.try_list(tagged.clone()).await.unwrap().next_page_token;
    assert_token_refused(pannier.try_list(list(&token)).await);
    assert_token_refused(pannier.try_list(pb::ListRequest { tag: "u".into(), ..list(&token) }).await);
    assert_token_refused(pannier.try_list(pb::ListRequest { prefix: "t".into(), ..list(&token) }).await);
    pannier.try_list(pb::ListRequest { page_token: token, ..tagged }).await.unwrap();
}

#[tokio::test]
async fn a_token_of_list_namespaces_is_refused_by_list_and_the_other_way_round() {
    let (pannier, token) = five_entries_and_a_token().await;
    let namespaces =
        |page_token: &str| pb::ListNamespacesRequest { page_size: 1, page_token: page_token.into() };
    let mut cache = pannier.cache.clone();
    let other = cache.list_namespaces(namespaces("")).await.unwrap().into_inner().next_page_token;
    assert!(!other.is_empty());
    assert_token_refused(pannier.try_list(list(&other)).await);
    let status = cache.list_namespaces(namespaces(&token)).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    let status = cache.list_namespaces(namespaces("nonsense")).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
}

#[tokio::test]
async fn a_token_may_be_used_twice_and_after_a_restart() {
    let (pannier, token) = five_entries_and_a_token().await;
    let first = pannier.try_list(list(&token)).await.unwrap();
    assert_eq!(first.entries[0].key, "k2");
    assert_eq!(pannier.try_list(list(&token)).await.unwrap(), first);
    let pannier = pannier.restart().await;
    assert_eq!(pannier.try_list(list(&token)).await.unwrap().entries[0].key, "k2");
}
