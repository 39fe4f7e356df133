//! Scores and tags.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::calls::{boolean, category, new_prompt, number, us};
use crate::harness::{assert_status, pannier, pannier_with};

/// Scores without their times.
fn plain(scores: Vec<pb::PromptScore>) -> Vec<pb::PromptScore> {
    scores.into_iter().map(|score| pb::PromptScore { update_time: None, ..score }).collect()
}

#[tokio::test]
async fn scores_are_set_replaced_and_removed() {
    let pannier = pannier().await;
    let id = pannier.save(pb::NewPrompt { scores: vec![number("b", 1.5)], ..new_prompt("a") }).await;
    let scores = pannier.try_score(id, vec![boolean("a", false), category("c", "x")], &[]).await.unwrap();
    assert_eq!(plain(scores), [boolean("a", false), number("b", 1.5), category("c", "x")]);
    pannier.advance_s(10);
    // Of another kind, and one that is not there.
    let scores = pannier.try_score(id, vec![category("b", "good")], &["a", "nothing"]).await.unwrap();
    assert_eq!(plain(scores.clone()), [category("b", "good"), category("c", "x")]);
    assert_eq!(us(scores[0].update_time.as_ref()), Some(pannier.now_us()));
    assert_eq!(us(scores[1].update_time.as_ref()), Some(pannier.now_us() - 10_000_000));
    assert_eq!(pannier.prompt(id).await.scores, scores);
    let listed = pannier.list_prompts(pb::ListRequest::default()).await;
    assert_eq!(listed[0].scores, scores);
}

#[tokio::test]
async fn tags_are_added_and_removed_and_found() {
    let pannier = pannier().await;
    let id = pannier.save(pb::NewPrompt { tags: vec!["b".into()], ..new_prompt("a") }).await;
    let other = pannier.save(pb::NewPrompt { tags: vec!["c".into()], ..new_prompt("b") }).await;
    assert_eq!(pannier.try_tag(id, &["c", "a", "b"], &[]).await.unwrap(), ["a", "b", "c"]);
    let tagged = |tag: &str| pb::PromptFilter { tags: vec![tag.into()], ..Default::default() };
    assert_eq!(pannier.filtered(tagged("c")).await, [id, other]);
    assert_eq!(pannier.try_tag(id, &[], &["c", "nothing"]).await.unwrap(), ["a", "b"]);
    assert_eq!(pannier.filtered(tagged("c")).await, [other]);
    assert_eq!(pannier.prompt(id).await.tags, ["a", "b"]);
    assert_eq!(pannier.list_prompts(pb::ListRequest::default()).await[1].tags, ["a", "b"]);
}

#[tokio::test]
async fn a_prompt_that_is_not_there_takes_no_marks() {
    let pannier = pannier().await;
    let refused = [
        pannier.try_tag(7, &["a"], &[]).await.unwrap_err(),
        pannier.try_score(7, vec![number("a", 1.0)], &[]).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::NotFound, ErrorReason::PromptNotFound);
    }
    assert_eq!(pannier.prompt_rows().await, 0);
}

#[tokio::test]
async fn a_prompt_has_no_more_marks_than_the_settings_allow() {
    let pannier = pannier_with(|settings| {
        settings.prompts.tags_max = 2;
        settings.prompts.scores_max = 2;
    })
    .await;
    let id = pannier.save(new_prompt("a")).await;
    pannier.try_tag(id, &["a", "b"], &[]).await.unwrap();
    let refused = pannier.try_tag(id, &["c"], &[]).await.unwrap_err();
    assert_status(&refused, Code::FailedPrecondition, ErrorReason::TooManyPromptMarks);
    assert!(refused.message().contains("prompts.tags_max"), "{}", refused.message());
    assert_eq!(pannier.try_tag(id, &["c"], &["a"]).await.unwrap(), ["b", "c"]);
    pannier.try_score(id, vec![number("a", 1.0), number("b", 1.0)], &[]).await.unwrap();
    let refused = pannier.try_score(id, vec![number("c", 1.0)], &[]).await.unwrap_err();
    assert_status(&refused, Code::FailedPrecondition, ErrorReason::TooManyPromptMarks);
    pannier.try_score(id, vec![number("b", 2.0)], &[]).await.unwrap();
    // A limit that was lowered takes nothing away, and lets go.
    let pannier = pannier.restart_with(|settings| settings.prompts.tags_max = 1).await;
    assert_eq!(pannier.prompt(id).await.tags, ["b", "c"]);
    assert_eq!(pannier.try_tag(id, &[], &["b"]).await.unwrap(), ["c"]);
}
