//! Conversations: counts and times follow the prompts.

use pannier_proto::prompts::v1 as pb;

use super::calls::prompt_at;
use crate::harness::{START_US, pannier};

fn of(conversation: &str, seconds: i64) -> pb::NewPrompt {
    pb::NewPrompt { conversation_id: conversation.into(), ..prompt_at("a", seconds) }
}

fn at(seconds: i64) -> i64 {
    START_US + seconds * 1_000_000
}

#[tokio::test]
async fn counts_and_times_follow_what_is_saved_and_deleted() {
    let pannier = pannier().await;
    let ids = pannier.save_all(vec![of("x", 10), of("y", 5), of("x", 30), of("x", 20), of("", 99)]).await;
    let conversation = |id: &str, count, first, last| (id.to_owned(), count, at(first), at(last));
    let all = pannier.conversations(0).await;
    assert_eq!(all, [conversation("x", 3, 10, 30), conversation("y", 1, 5, 5)]);
    // An older one and a newer one, one call each.
    pannier.save(of("y", 1)).await;
    pannier.save(of("y", 40)).await;
    let all = pannier.conversations(0).await;
    assert_eq!(all, [conversation("y", 3, 1, 40), conversation("x", 3, 10, 30)]);

    assert!(pannier.delete_prompt(ids[2]).await);
    assert!(!pannier.delete_prompt(ids[2]).await);
    assert!(pannier.delete_prompt(ids[0]).await);
    assert_eq!(pannier.conversations(0).await[1], conversation("x", 1, 20, 20));
    assert!(pannier.delete_prompt(ids[3]).await);
    assert_eq!(pannier.conversations(0).await, [conversation("y", 3, 1, 40)]);
    let filter = pb::PromptFilter { conversation_id: "x".into(), ..Default::default() };
    assert!(pannier.filtered(filter.clone()).await.is_empty());
    // It may come again.
    let again = pannier.save(of("x", 50)).await;
    assert_eq!(pannier.conversations(0).await[0], conversation("x", 1, 50, 50));
    assert_eq!(pannier.filtered(filter).await, [again]);
}

#[tokio::test]
async fn pages_of_conversations_are_pieces_of_the_list_also_of_one_moment() {
    let pannier = pannier().await;
    pannier.save_all((0..250).map(|i| of(&format!("c{i:03}"), i / 100)).collect()).await;
    let expected: Vec<String> = (0..250).rev().map(|i| format!("c{i:03}")).collect();
    for page_size in [0, 1, 7, 250, 1_000] {
        let found: Vec<String> =
            pannier.conversations(page_size).await.into_iter().map(|found| found.0).collect();
        assert_eq!(found, expected, "{page_size}");
    }
}
