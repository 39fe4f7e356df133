//! Search of a text as it is written, and lists and searches that begin later.

use pannier_proto::prompts::v1 as pb;

use super::calls::{ids as ids_of, prompt_at};
use super::found::{ids, texts};
use crate::harness::{Pannier, pannier, pannier_with, violated_fields};

fn typed(query: &str) -> pb::SearchRequest {
    pb::SearchRequest {
        query: query.into(),
        r#match: pb::PromptMatch::Substring.into(),
        page_size: 1_000,
        ..Default::default()
    }
}

/// Everything that a search finds, page by page, and how many pages that were.
async fn all(pannier: &Pannier, mut request: pb::SearchRequest) -> (Vec<i64>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let answer = pannier.try_search(request.clone()).await.unwrap();
        found.extend(ids(&answer));
        pages += 1;
        request.page_token = answer.next_page_token;
        request.offset = 0;
        if request.page_token.is_empty() {
            return (found, pages);
        }
    }
}

#[tokio::test]
async fn a_text_is_found_as_one_types_the_newest_first() {
    let pannier = pannier().await;
    let saved = pannier
        .saved(vec![
            texts("The Blue whale", "-", ""),
            texts("-", "100% of sys.path_hooks", ""),
            texts("-", "-", "Straße, 日本語"),
            texts("a blue sky", "BLUE", ""),
        ])
        .await;
    for (query, expected) in [
        ("B", vec![3, 0]),
        ("Bl", vec![3, 0]),
        ("blue w", vec![0]),
        ("lue", vec![3, 0]),
        ("0% of SYS.", vec![1]),
        ("path_h", vec![1]),
        ("STRAßE", vec![2]),
        ("本", vec![2]),
        ("\"", vec![]),
        ("", vec![3, 2, 1, 0]),
    ] {
        let expected: Vec<i64> = expected.into_iter().map(|number: usize| saved[number]).collect();
        assert_eq!(all(&pannier, typed(query)).await.0, expected, "{query}");
    }
    let filter = Some(pb::PromptFilter { backend: "unknown".into(), ..Default::default() });
    assert_eq!(all(&pannier, pb::SearchRequest { filter, ..typed("blue") }).await.0, [0_i64; 0]);
    let marked = pb::SearchRequest { highlight_start: "[".into(), highlight_end: "]".into(), ..typed("LUE") };
    let answer = pannier.try_search(marked).await.unwrap();
    let snippets: Vec<&str> =
        answer.hits[0].snippets.iter().map(|snippet| snippet.marked_text.as_str()).collect();
    assert_eq!(snippets, ["a b[lue] sky", "B[LUE]"]);
    assert!(answer.hits[0].prompt.as_ref().unwrap().body.is_none());
    // Without a body there is nothing to find.
    let prune = pb::PruneRequest { keep_newest: Some(1), bodies_only: true, ..Default::default() };
    pannier.prompts().prune(prune).await.unwrap();
    assert_eq!(all(&pannier, typed("blue")).await.0, [saved[3]]);
}

#[tokio::test]
async fn a_scan_is_bounded_and_goes_on_by_its_token() {
    let pannier = pannier_with(|settings| settings.prompts.scan_rows_max = 100).await;
    let mut all_prompts: Vec<pb::NewPrompt> = (0..600).map(|i| prompt_at("haystack", i)).collect();
    all_prompts[3].body.as_mut().unwrap().context = "a needle".into();
    let saved = pannier.save_all(all_prompts).await;
    let first = pannier.try_search(typed("needle")).await.unwrap();
    assert!(first.hits.is_empty() && !first.next_page_token.is_empty());
    let (found, pages) = all(&pannier, typed("needle")).await;
    assert!(found == [saved[3]] && pages >= 4, "{found:?} on {pages} pages");
    // The token of one search is none of another.
    let other = pb::SearchRequest {
        r#match: pb::PromptMatch::Words.into(),
        page_token: first.next_page_token,
        ..typed("needle")
    };
    pannier.try_search(other).await.unwrap_err();
}

#[tokio::test]
async fn lists_and_searches_begin_at_an_offset() {
    // Less is looked at for a page than is left out.
    let pannier = pannier_with(|settings| settings.prompts.scan_rows_max = 100).await;
    let of = |i: i64| pb::NewPrompt {
        confidence: (i % 2 == 0).then_some(0.5),
        ..prompt_at(&format!("whale {i}"), i)
    };
    let saved = pannier.save_all((0..400).map(of).collect()).await;
    let newest: Vec<i64> = saved.iter().rev().copied().collect();
    for offset in [0_i32, 1, 127, 128, 129, 250, 399, 400, 500] {
        let at = usize::try_from(offset).unwrap();
        let expected = &newest[at.min(400)..];
        let request = pb::ListRequest { offset, page_size: 10, ..Default::default() };
        let page = pannier.prompts().list(request.clone()).await.unwrap().into_inner();
        assert_eq!(ids_of(&page.prompts), expected[..expected.len().min(10)], "{offset}");
        let sure = |id: &&i64| (**id - saved[0]) % 2 == 0;
        let filter = Some(pb::PromptFilter { confidence_min: Some(0.1), ..Default::default() });
        let request = pb::ListRequest { filter: filter.clone(), ..request };
        let listed: Vec<i64> =
            pannier.prompt_pages(request).await.concat().iter().map(|prompt| prompt.id).collect();
        let expected: Vec<i64> = newest.iter().filter(sure).skip(at).copied().collect();
        assert_eq!(listed, expected, "{offset} of a filter");
        for by in [pb::PromptMatch::Words, pb::PromptMatch::Substring] {
            let request = pb::SearchRequest { offset, page_size: 70, r#match: by.into(), ..typed("whale") };
            let found = all(&pannier, request.clone()).await.0;
            // Of words the ranks say which come first.
            assert_eq!(found.len(), newest.len().saturating_sub(at), "{offset} {by:?}");
            let filtered = pb::SearchRequest { filter: filter.clone(), ..request };
            let found = all(&pannier, filtered).await.0;
            assert_eq!(found.len(), expected.len(), "{offset} {by:?} of a filter");
            if by == pb::PromptMatch::Substring {
                assert_eq!(found, expected);
            }
        }
    }
}

#[tokio::test]
async fn an_offset_that_is_wrong_is_refused() {
    let pannier = pannier().await;
    pannier.save_all((0..3).map(|i| prompt_at("a", i)).collect()).await;
    for offset in [-1, 10_001] {
        let list = pb::ListRequest { offset, ..Default::default() };
        assert_eq!(violated_fields(&pannier.prompts().list(list).await.unwrap_err()), ["offset"]);
        let search = pb::SearchRequest { offset, ..typed("a") };
        assert_eq!(violated_fields(&pannier.try_search(search).await.unwrap_err()), ["offset"]);
    }
    let first = pb::ListRequest { page_size: 1, ..Default::default() };
    let page_token = pannier.prompts().list(first.clone()).await.unwrap().into_inner().next_page_token;
    let both = pb::ListRequest { offset: 1, page_token, ..first };
    assert_eq!(violated_fields(&pannier.prompts().list(both).await.unwrap_err()), ["offset"]);
    let search = pb::SearchRequest { r#match: 7, ..typed("a") };
    assert_eq!(violated_fields(&pannier.try_search(search).await.unwrap_err()), ["match"]);
    let search = typed(&"x".repeat(4_097));
    assert_eq!(violated_fields(&pannier.try_search(search).await.unwrap_err()), ["query"]);
}
