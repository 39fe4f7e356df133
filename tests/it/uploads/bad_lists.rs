//! Bad input of lists: filters, and page tokens that are not theirs.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use tonic::Code;

use super::calls::files;
use crate::harness::{assert_status, pannier, violated_fields};

#[tokio::test]
async fn lists_with_bad_filters_are_refused() {
    let pannier = pannier().await;
    let request = pb::ListSessionsRequest {
        status: 9,
        source_id: "s".repeat(257),
        page_size: 1_001,
        ..Default::default()
    };
    let status = pannier.uploads().list_sessions(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["page_size", "source_id", "status"]);
    let request = pb::ListFilesRequest {
        session_id: "\0".into(),
        source_id: "\0".into(),
        service: "none".into(),
        page_size: -1,
        ..Default::default()
    };
    let status = pannier.uploads().list_files(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["page_size", "service", "session_id", "source_id"]);
}

#[tokio::test]
async fn page_tokens_of_other_queries_and_damaged_ones_are_refused() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.session().await;
    pannier.register_all(&id, files(0..3)).await;
    for path in ["a", "b", "c"] {
        pannier.record_error(&id, path, "quota").await;
    }
    let mut uploads = pannier.uploads();
    let sessions = pb::ListSessionsRequest { page_size: 1, ..Default::default() };
    let list = pb::ListFilesRequest { page_size: 1, ..Default::default() };
    let errors = pb::ListErrorsRequest { session_id: id.clone(), page_size: 1, ..Default::default() };
    let tokens = [
        uploads.list_sessions(sessions.clone()).await.unwrap().into_inner().next_page_token,
        uploads.list_files(list.clone()).await.unwrap().into_inner().next_page_token,
        uploads.list_errors(errors.clone()).await.unwrap().into_inner().next_page_token,
    ];
    assert!(tokens.iter().all(|token| !token.is_empty()));
    let [of_sessions, of_files, of_errors] = tokens;
    let mut refused = Vec::new();
    for page_token in [of_files.clone(), of_errors.clone(), "x".into()] {
        let request = pb::ListSessionsRequest { page_token, ..sessions.clone() };
        refused.push(uploads.list_sessions(request).await.unwrap_err());
    }
    let paused = pb::ListSessionsRequest { page_token: of_sessions.clone(), status: 2, ..sessions };
    refused.push(uploads.list_sessions(paused).await.unwrap_err());
    for page_token in [of_sessions.clone(), of_errors.clone(), of_files[1..].to_owned()] {
        refused
            .push(uploads.list_files(pb::ListFilesRequest { page_token, ..list.clone() }).await.unwrap_err());
    }
    let oldest = pb::ListFilesRequest { page_token: of_files.clone(), oldest_first: true, ..list.clone() };
    refused.push(uploads.list_files(oldest).await.unwrap_err());
    let session = pb::ListFilesRequest { page_token: of_files.clone(), session_id: id.clone(), ..list };
    refused.push(uploads.list_files(session).await.unwrap_err());
    let all =
        pb::ListErrorsRequest { page_token: of_errors.clone(), include_resolved: true, ..errors.clone() };
    refused.push(uploads.list_errors(all).await.unwrap_err());
    let retryable = pb::ListRetryableRequest { session_id: id, page_token: of_errors, ..Default::default() };
    refused.push(uploads.list_retryable(retryable).await.unwrap_err());
    let errors = pb::ListErrorsRequest { page_token: of_files, ..errors };
    refused.push(uploads.list_errors(errors).await.unwrap_err());
    for status in refused {
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}
