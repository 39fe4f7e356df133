//! Pages of a search.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::found::{idea, ids};
use crate::harness::{assert_status, pannier, pannier_with};

fn page(query: &str, page_size: i32, page_token: &str) -> pb::SearchRequest {
    pb::SearchRequest { query: query.into(), page_size, page_token: page_token.into(), ..Default::default() }
}

#[tokio::test]
async fn pages_show_each_prompt_once_and_none_that_was_saved_meanwhile() {
    let pannier = pannier().await;
    let text = |number: usize| format!("whale {}", "song ".repeat(number % 5));
    let saved = pannier.saved((0..23).map(|number| idea(&text(number))).collect()).await;
    let whole = ids(&pannier.search("whale").await);
    assert_eq!(whole.len(), 23);
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let answer = pannier.try_search(page("whale", 5, &token)).await.unwrap();
        assert!(answer.hits.len() <= 5 && !answer.truncated);
        found.extend(ids(&answer));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        pannier.saved(vec![idea("whale whale whale")]).await;
    }
    found.sort_unstable();
    assert_eq!(found, saved);
}

#[tokio::test]
async fn a_token_of_another_search_is_refused() {
    let pannier = pannier().await;
    pannier.saved((0..3).map(|_| idea("whale song")).collect()).await;
    let token = pannier.try_search(page("whale", 1, "")).await.unwrap().next_page_token;
    assert!(!token.is_empty());
    let filter = Some(pb::PromptFilter { backend: "anthropic".into(), ..Default::default() });
    for request in [
        page("song", 1, &token),
        pb::SearchRequest { filter, ..page("whale", 1, &token) },
        page("whale", 1, "x"),
        page("whale", 1, &token[1..]),
    ] {
        let status = pannier.try_search(request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
    let next = pannier.try_search(page("whale", 2, &token)).await.unwrap();
    assert_eq!((next.hits.len(), next.next_page_token.as_str()), (2, ""));
}

#[tokio::test]
async fn of_more_matches_than_are_ranked_those_saved_last_are_found() {
    let pannier = pannier_with(|settings| settings.prompts.search_ranked_max = 10).await;
    let saved = pannier.saved((0..25).map(|_| idea("whale")).collect()).await;
    let answer = pannier.search("whale").await;
    assert!(answer.truncated);
    let mut found = ids(&answer);
    found.sort_unstable();
    assert_eq!(found, saved[15..]);
    pannier
        .prompts
        .clone()
        .batch_delete(pb::BatchDeleteRequest { prompt_ids: saved[10..].into(), ..Default::default() })
        .await
        .unwrap();
    let answer = pannier.search("whale").await;
    assert_eq!((answer.truncated, answer.hits.len()), (false, 10));
}

#[tokio::test]
async fn a_page_that_looks_at_too_many_comes_short_and_the_next_goes_on() {
    let pannier = pannier_with(|settings| settings.prompts.scan_rows_max = 100).await;
    let mut all: Vec<pb::NewPrompt> = (0..250).map(|_| idea("whale")).collect();
    all[0].tags = vec!["rare".into()];
    let saved = pannier.saved(all).await;
    let filter = Some(pb::PromptFilter { tags: vec!["rare".into()], ..Default::default() });
    let (mut found, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let request = pb::SearchRequest { filter: filter.clone(), ..page("whale", 10, &token) };
        let answer = pannier.try_search(request).await.unwrap();
        found.extend(ids(&answer));
        (pages, token) = (pages + 1, answer.next_page_token);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((found.as_slice(), pages), (&saved[..1], 3));
}

#[tokio::test]
async fn an_answer_of_large_bodies_is_cut_into_pages_that_fit() {
    let pannier = pannier_with(|settings| {
        settings.server.response_bytes_max = 640 * 1024;
        settings.prompts.body_bytes_max = 256 * 1024;
    })
    .await;
    let large = format!("whale {}", "filling ".repeat(16_000));
    let saved = pannier.saved((0..3).map(|_| idea(&large)).collect()).await;
    let more = pannier.saved((0..3).map(|_| idea(&large)).collect()).await;
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::SearchRequest { with_bodies: true, ..page("whale", 100, &token) };
        let answer = pannier.try_search(request).await.unwrap();
        assert!(!answer.hits.is_empty() && answer.hits.len() <= 4, "{}", answer.hits.len());
        found.extend(ids(&answer));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    found.sort_unstable();
    assert_eq!(found, [saved, more].concat());
}
