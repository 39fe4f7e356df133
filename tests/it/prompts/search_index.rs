//! The index of words: filled where it is not, and bounded alike on both databases.

use super::found::{idea, texts};
use crate::harness::{Pannier, pannier};

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
async fn what_is_indexed_of_a_prompt_is_bounded_alike_on_both_databases() {
    let pannier = pannier().await;
    let many = format!("first {} last", "filling ".repeat(16_100));
    // More places of a word than PostgreSQL knows.
    let often = format!("{} behind \"the end\"", "again and ".repeat(300));
    let long = "x".repeat(200);
    let saved = pannier
        .saved(vec![texts("whale", &many, "in the context"), idea(&often), idea(&format!("{long} {long}y"))])
        .await;
    for (query, expected) in [
        ("first", vec![0]),
        ("last", vec![]),
        ("context", vec![]),
        ("\"again and again\"", vec![1]),
        ("\"and behind\"", vec![]),
        ("\"behind the end\"", vec![1]),
        (&long, vec![2]),
        (&"x".repeat(64), vec![2]),
        (&"x".repeat(63), vec![]),
        (&format!("{}*", "x".repeat(63)), vec![2]),
    ] {
        let expected: Vec<i64> = expected.into_iter().map(|number: usize| saved[number]).collect();
        assert_eq!(pannier.found(query).await, expected, "{query}");
    }
    let words: String = (0..20_000).map(|number| format!("{number:064x} ")).collect();
    let wide = pannier
        .saved(vec![texts(&words[..250_000], &words[250_000..500_000], &words[500_000..750_000])])
        .await;
    assert_eq!(pannier.found(&format!("{:064x}", 7)).await, wide, "vectors of a megabyte are avoided");
}

#[tokio::test]
async fn a_phrase_does_not_reach_from_one_text_into_another() {
    let pannier = pannier().await;
    let saved = pannier.saved(vec![texts("blue whale", "song of the sea", "at night")]).await;
    assert_eq!(pannier.found("\"whale song\"").await, [0; 0]);
    assert_eq!(pannier.found("\"sea at\"").await, [0; 0]);
    assert_eq!(pannier.found("whale song night").await, saved);
}
