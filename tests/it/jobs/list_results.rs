//! ListResults: a job's results in the order in which they were recorded.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use tonic::Code;

use super::calls::{failure, success};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

fn list(id: &str) -> pb::ListResultsRequest {
    pb::ListResultsRequest { job_id: id.into(), ..Default::default() }
}

fn keys(pages: &[Vec<pb::JobResult>]) -> Vec<String> {
    pages.concat().into_iter().map(|result| result.item_key).collect()
}

/// A job with so many results, every tenth a failure.
async fn job_with(pannier: &Pannier, count: usize) -> String {
    let id = pannier.job().await;
    let result = |i: usize| match i % 10 {
        9 => failure(format!("{i}"), "E"),
        _ => success(format!("{i}")),
    };
    pannier.add_results(&id, (0..count).map(result).collect()).await;
    id
}

#[tokio::test]
async fn pages_hold_each_result_once_in_order() {
    let pannier = pannier().await;
    let id = job_with(&pannier, 250).await;
    let expected: Vec<String> = (0..250).map(|i| i.to_string()).collect();
    for (page_size, pages_expected) in [(0, 3), (1, 250), (64, 4), (249, 2), (250, 1), (1_000, 1)] {
        let pages = pannier.result_pages(pb::ListResultsRequest { page_size, ..list(&id) }).await;
        assert_eq!((keys(&pages), pages.len()), (expected.clone(), pages_expected), "page_size {page_size}");
    }
}

#[tokio::test]
async fn failures_are_listed_alone_where_that_is_asked() {
    let pannier = pannier().await;
    let id = job_with(&pannier, 250).await;
    let expected: Vec<String> = (0..25).map(|i| (10 * i + 9).to_string()).collect();
    for page_size in [0, 1, 10, 25] {
        let request = pb::ListResultsRequest { failed_only: true, page_size, ..list(&id) };
        let pages = pannier.result_pages(request).await;
        assert_eq!(keys(&pages), expected, "page_size {page_size}");
        assert!(pages.concat().iter().all(|result| !result.success));
    }
}

#[tokio::test]
async fn a_job_without_results_has_one_empty_page() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let page = pannier.try_list_results(list(&id)).await.unwrap();
    assert_eq!(page, pb::ListResultsResponse::default());
}

#[tokio::test]
async fn results_recorded_between_pages_come_at_the_end() {
    let pannier = pannier().await;
    let id = job_with(&pannier, 20).await;
    let mut request = pb::ListResultsRequest { page_size: 7, ..list(&id) };
    let mut listed = Vec::new();
    let mut round = 20;
    loop {
        let page = pannier.try_list_results(request.clone()).await.unwrap();
        listed.extend(page.results.into_iter().map(|result| result.item_key));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        if round < 40 {
            pannier.add_results(&id, (round..round + 5).map(|i| success(i.to_string())).collect()).await;
            round += 5;
        }
    }
    assert_eq!(listed, (0..40).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_token_belongs_to_its_job_and_filter() {
    let pannier = pannier().await;
    let (one, two) = (job_with(&pannier, 20).await, job_with(&pannier, 20).await);
    let request = pb::ListResultsRequest { page_size: 5, ..list(&one) };
    let page_token = pannier.try_list_results(request).await.unwrap().next_page_token;
    let upper = pb::ListResultsRequest { page_token: page_token.clone(), ..list(&one.to_uppercase()) };
    assert_eq!(pannier.try_list_results(upper).await.unwrap().results.len(), 15, "the same job");
    let others = [
        pb::ListResultsRequest { page_token: page_token.clone(), ..list(&two) },
        pb::ListResultsRequest { page_token: page_token.clone(), failed_only: true, ..list(&one) },
        pb::ListResultsRequest { page_token: page_token[1..].into(), ..list(&one) },
    ];
    for request in others {
        let status = pannier.try_list_results(request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn pages_of_large_results_end_early_and_lose_none() {
    let pannier = pannier_with(|settings| settings.server.message_bytes_max = 400_000).await;
    let id = pannier.job().await;
    let data_json = format!("{{\"a\":\"{}\"}}", "d".repeat(60_000));
    for item in 0..20 {
        let large = pb::NewResult { data_json: data_json.clone(), ..success(item.to_string()) };
        pannier.add_results(&id, vec![large]).await;
    }
    let pages = pannier.result_pages(list(&id)).await;
    assert_eq!(keys(&pages), (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(pages.iter().all(|page| page.len() <= 6));
}
