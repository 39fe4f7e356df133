//! The index of words: filled where it is not, and open about its bounds.

use pannier_proto::prompts::v1 as pb;

use super::found::{idea, texts};
use crate::harness::{Pannier, is_postgres, pannier};

/// Asks until the index is filled.
async fn filled(pannier: &Pannier) {
    for _ in 0..10_000 {
        if !pannier.search("whale").await.indexing {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the index is never filled");
}

#[tokio::test]
async fn an_empty_index_is_filled_by_itself() {
    let pannier = pannier().await;
    let saved = pannier.saved((0..100).map(|number| idea(&format!("whale {number}"))).collect()).await;
    assert!(!pannier.search("whale").await.indexing);
    // As after an import.
    let pannier = pannier.restart_after("DELETE FROM prompt_search; DELETE FROM prompt_search_state").await;
    let late = pannier.saved(vec![idea("whale of today")]).await;
    filled(&pannier).await;
    assert_eq!(pannier.found("whale").await, [saved.clone(), late].concat());
    assert_eq!(pannier.found("\"whale 17\"").await, [saved[17]]);
    let delete = "DELETE FROM prompts WHERE id > 0; DELETE FROM prompt_bodies WHERE prompt_id > 0";
    let pannier = pannier.restart_after(delete).await;
    assert_eq!(pannier.found("whale").await, [0; 0], "what is in the index alone is not found");
}

#[tokio::test]
async fn an_index_of_other_words_is_made_anew_and_answers_meanwhile() {
    let pannier = pannier().await;
    let saved = pannier.saved((0..40).map(|number| idea(&format!("whale {number}"))).collect()).await;
    let pannier = pannier.restart_after("UPDATE prompt_search_state SET version = 0").await;
    assert_eq!(pannier.found("whale").await, saved);
    filled(&pannier).await;
    assert_eq!(pannier.found("whale").await, saved);
    assert_eq!(pannier.found("\"whale 39\"").await, [saved[39]]);
}

#[tokio::test]
async fn all_words_are_found_and_what_a_vector_leaves_out_is_told() {
    let pannier = pannier().await;
    let many = format!("first {} the very last", "filling ".repeat(16_400));
    // More places of a word than a vector of PostgreSQL holds.
    let often = format!("{} behind \"the end\"", "again and ".repeat(300));
    let japanese = "日本語の長い文章を書く。".repeat(500);
    let python: String = (0..300).map(|line| format!("    self.connection_pool.execute({line})\n")).collect();
    let python = format!("{python}self.connection_pool.close()");
    let long = "x".repeat(200);
    let saved = pannier
        .saved(vec![
            texts("whale", &many, "in the context"),
            idea(&often),
            idea(&format!("{long} {long}y")),
            idea(&format!("{japanese}終わり日本語です")),
            idea(&python),
        ])
        .await;
    // On PostgreSQL the phrases of the last column are not found, and the prompt says so.
    let is_cut = is_postgres();
    for (query, found, is_lost) in [
        ("first", 0, false),
        ("last", 0, false),
        ("context", 0, false),
        ("\"very last\"", 0, is_cut),
        ("\"again and again\"", 1, false),
        ("\"and behind\"", 1, is_cut),
        ("\"behind the end\"", 1, false),
        (&long, 2, false),
        (&"x".repeat(64), 2, false),
        (&format!("{}*", "x".repeat(63)), 2, false),
        ("終わり", 3, false),
        ("り日本語で", 3, is_cut),
        ("self.connection_pool.close", 4, is_cut),
    ] {
        let expected = if is_lost { Vec::new() } else { vec![saved[found]] };
        let answer = pannier.search(query).await;
        assert_eq!(super::found::ids(&answer), expected, "{query}");
        assert_eq!(answer.search_truncated, is_cut, "{query}");
    }
    assert_eq!(pannier.found(&"x".repeat(63)).await, [0; 0]);
    for (at, id) in saved.iter().enumerate() {
        assert_eq!(pannier.prompt(*id).await.search_truncated, is_cut && at != 2, "{at}");
    }
    let words: String = (0..20_000).map(|number| format!("{number:064x} ")).collect();
    let wide = pannier
        .saved(vec![texts(&words[..250_000], &words[250_000..500_000], &words[500_000..750_000])])
        .await;
    assert_eq!(pannier.found(&format!("{:064x}", 7)).await, wide);
}

#[tokio::test]
async fn a_long_query_of_a_script_without_spaces_is_one_phrase() {
    let pannier = pannier().await;
    let text: String = (0..400).filter_map(|number| char::from_u32(0x4E00 + number * 7)).collect();
    let saved = pannier.saved(vec![idea(&text), idea("other")]).await;
    let piece: String = text.chars().skip(20).take(300).collect();
    assert_eq!(pannier.found(&piece).await, saved[..1]);
    assert_eq!(pannier.found(&format!("{piece}一")).await, [0; 0]);
}

#[tokio::test]
async fn names_of_languages_are_words_of_their_own() {
    let pannier = pannier().await;
    let saved = pannier
        .saved(
            ["Write it in C.", "Write it in C++17.", "Write it in C#!", "In F# or .NET", "the net"]
                .map(idea)
                .into(),
        )
        .await;
    for (query, expected) in [
        ("C", vec![0]),
        ("c++", vec![1]),
        ("C#", vec![2]),
        ("f#", vec![3]),
        (".net", vec![3]),
        ("net", vec![4]),
        ("\"in C++\"", vec![1]),
        ("write -C++ -C#", vec![0]),
    ] {
        let expected: Vec<i64> = expected.into_iter().map(|number: usize| saved[number]).collect();
        assert_eq!(pannier.found(query).await, expected, "{query}");
    }
    let request = pb::SearchRequest {
        query: "C++".into(),
        highlight_start: "[".into(),
        highlight_end: "]".into(),
        ..Default::default()
    };
    let answer = pannier.try_search(request).await.unwrap();
    assert_eq!(answer.hits[0].snippets[0].marked_text, "Write it in [C++]17.");
}

#[tokio::test]
async fn a_phrase_does_not_reach_from_one_text_into_another() {
    let pannier = pannier().await;
    let saved = pannier.saved(vec![texts("blue whale", "song of the sea", "at night")]).await;
    assert_eq!(pannier.found("\"whale song\"").await, [0; 0]);
    assert_eq!(pannier.found("\"sea at\"").await, [0; 0]);
    assert_eq!(pannier.found("whale song night").await, saved);
}
