//! ListFiles: by session, source and service, a page at a time.

use pannier_proto::uploads::v1 as pb;

use super::calls::{file, files, hash};
use crate::harness::pannier;

#[tokio::test]
async fn every_combination_of_filters_gives_its_files_once_and_in_order() {
    let pannier = pannier().await;
    let sessions = [pannier.session_of("chat-1").await, pannier.session_of("chat-2").await, String::new()];
    let mut made = Vec::new();
    for number in 0..60_u64 {
        let session = usize::try_from(number % 3).unwrap();
        let service = if number % 4 == 0 { "drive" } else { "photos" };
        // Some of a session's files belong to another source.
        let source = if number % 5 == 0 { "chat-9" } else { "" };
        let new = pb::NewFile { service: service.into(), source_id: source.into(), ..file(number) };
        pannier.register(&sessions[session], new).await;
        let source = match (source, session) {
            ("", 0) => "chat-1",
            ("", 1) => "chat-2",
            (source, _) => source,
        };
        made.push((number, session, service, source));
    }
    for (session, session_id) in sessions.iter().enumerate() {
        for source in ["", "chat-1", "chat-9", "never"] {
            for service in ["", "drive", "photos"] {
                for oldest_first in [false, true] {
                    let mut expected: Vec<String> = made
                        .iter()
                        .filter(|(_, s, _, _)| session_id.is_empty() || *s == session)
                        .filter(|(_, _, s, _)| service.is_empty() || *s == service)
                        .filter(|(_, _, _, s)| source.is_empty() || *s == source)
                        .map(|(number, _, _, _)| hash(*number))
                        .collect();
                    if !oldest_first {
                        expected.reverse();
                    }
                    let request = pb::ListFilesRequest {
                        session_id: session_id.clone(),
                        source_id: source.into(),
                        service: service.into(),
                        oldest_first,
                        page_size: 7,
                        ..Default::default()
                    };
                    let pages = pannier.file_pages(request.clone()).await;
                    assert!(pages.iter().all(|page| page.len() <= 7));
                    assert_eq!(pages.concat(), expected, "{request:?}");
                    let whole = pb::ListFilesRequest { page_size: 0, ..request };
                    assert_eq!(pannier.file_pages(whole).await.concat(), expected);
                }
            }
        }
    }
}

#[tokio::test]
async fn files_of_one_batch_are_in_the_order_of_their_hashes() {
    let pannier = pannier().await;
    pannier.register_all("", files(0..20)).await;
    let mut expected = super::calls::hashes(0..20);
    expected.sort();
    let request = pb::ListFilesRequest { oldest_first: true, ..Default::default() };
    assert_eq!(pannier.file_pages(request).await.concat(), expected);
}

#[tokio::test]
async fn a_page_that_finds_little_ends_and_says_where_to_go_on() {
    let pannier = pannier().await;
    let old = pb::NewFile { service: "drive".into(), ..file(99_999) };
    pannier.register("", old).await;
    for begin in [0, 4_000, 8_000] {
        pannier.register_all("", files(begin..begin + 4_000)).await;
    }
    let request = pb::ListFilesRequest { service: "drive".into(), ..Default::default() };
    let pages = pannier.file_pages(request).await;
    assert_eq!(pages.len(), 2, "the first has looked at as many as it may");
    assert_eq!(pages, [vec![], vec![hash(99_999)]]);
}

#[tokio::test]
async fn files_that_come_while_a_list_is_read_do_not_disturb_it() {
    let pannier = pannier().await;
    for number in 0..10 {
        pannier.register("", file(number)).await;
    }
    let mut request = pb::ListFilesRequest { page_size: 4, ..Default::default() };
    let first = pannier.uploads().list_files(request.clone()).await.unwrap().into_inner();
    pannier.register_all("", files(10..20)).await;
    pannier.forget(vec![hash(5), hash(9)]).await;
    request.page_token = first.next_page_token;
    let rest = pannier.file_pages(request).await.concat();
    assert_eq!(
        first.files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>(),
        [9, 8, 7, 6].map(hash)
    );
    assert_eq!(rest, [4, 3, 2, 1, 0].map(hash));
}
