//! Saving and reading: every field comes back as it went in.

use pannier_proto::durability::v1::Durability;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::calls::{boolean, category, ideas, ms, new_prompt, number, prompt_at, time, us};
use crate::harness::{START_US, assert_status, pannier, pannier_with};

/// A prompt that has everything.
pub fn full_prompt() -> pb::NewPrompt {
    pb::NewPrompt {
        body: Some(pb::PromptBody {
            idea: "an idea, ein Einfall, 想法".into(),
            context: "some context".into(),
            improved_prompt: "You are…".into(),
            directive: "Write.".into(),
            guardrails: vec!["Be short.".into(), "Quote \"so\".".into()],
            reasoning: "because".into(),
            metadata_json: r#" {"n": 1.50, "user": {"plan": "pro"}}"#.into(),
            role: "a poet who has read everything, ".repeat(40),
        }),
        prompt_time: Some(time(START_US - 5_000_001)),
        backend: "anthropic".into(),
        model: "sonnet-9".into(),
        framework: "chain_of_thought".into(),
        provider: "bedrock".into(),
        error: None,
        confidence: Some(0.87),
        latency: ms(1_234),
        prompt_tokens: Some(120),
        completion_tokens: Some(0),
        cost_micros: Some(1 << 50),
        conversation_id: "chat 7".into(),
        tags: vec!["b".into(), "a".into(), "b".into()],
        scores: vec![number("helpful", -0.5), boolean("safe", true), category("tone", "dry")],
        import_key: "row 1".into(),
    }
}

#[tokio::test]
async fn every_field_comes_back_as_it_was_saved() {
    let pannier = pannier().await;
    pannier.advance_s(3);
    let new = full_prompt();
    let id = pannier.save(new.clone()).await;
    let prompt = pannier.prompt(id).await;
    let now = Some(time(pannier.now_us()));
    let scored = |score: pb::PromptScore| pb::PromptScore { update_time: now, ..score };
    let body = new.body.clone().unwrap();
    let guardrails: usize = body.guardrails.iter().map(String::len).sum();
    let bytes = body.idea.len()
        + body.context.len()
        + body.improved_prompt.len()
        + body.directive.len()
        + guardrails
        + body.reasoning.len()
        + body.metadata_json.len()
        + body.role.len();
    let expected = pb::Prompt {
        id,
        body: new.body,
        has_body: true,
        body_bytes: i64::try_from(bytes).unwrap(),
        prompt_time: new.prompt_time,
        create_time: now,
        backend: new.backend,
        model: new.model,
        framework: new.framework,
        provider: new.provider,
        status: pb::PromptStatus::Ok.into(),
        error: None,
        confidence: new.confidence,
        latency: new.latency,
        prompt_tokens: new.prompt_tokens,
        completion_tokens: new.completion_tokens,
        cost_micros: new.cost_micros,
        conversation_id: new.conversation_id,
        tags: vec!["a".into(), "b".into()],
        scores: new.scores.into_iter().map(scored).collect(),
        import_key: new.import_key,
        search_truncated: false,
    };
    assert_eq!(prompt, expected);
    let list = pb::ListRequest { with_bodies: true, ..Default::default() };
    assert_eq!(pannier.list_prompts(list).await, std::slice::from_ref(&expected));
    let pannier = pannier.restart().await;
    assert_eq!(pannier.prompt(id).await, expected);
}

#[tokio::test]
async fn what_is_not_known_stays_unknown_and_the_time_is_now() {
    let pannier = pannier().await;
    pannier.advance_s(5);
    let id = pannier.save(new_prompt("a")).await;
    let prompt = pannier.prompt(id).await;
    assert_eq!(us(prompt.prompt_time.as_ref()), Some(pannier.now_us()));
    assert_eq!((prompt.confidence, prompt.latency, prompt.cost_micros), (None, None, None));
    assert_eq!((prompt.prompt_tokens, prompt.completion_tokens), (None, None));
    assert_eq!((prompt.model.as_str(), prompt.conversation_id.as_str()), ("", ""));
    let zero = pb::NewPrompt { confidence: Some(0.0), latency: ms(0), ..new_prompt("b") };
    let id = pannier.save(zero).await;
    let prompt = pannier.prompt(id).await;
    assert_eq!((prompt.confidence, prompt.latency), (Some(0.0), ms(0)));
}

#[tokio::test]
async fn a_failed_prompt_needs_no_answer_and_tells_why() {
    let pannier = pannier().await;
    let body = pb::PromptBody { idea: "a".into(), ..Default::default() };
    let error = pb::PromptError { code: "timeout".into(), message: "after 30 s".into() };
    let failed = pb::NewPrompt { body: Some(body), error: Some(error.clone()), ..new_prompt("") };
    let id = pannier.save(failed).await;
    let prompt = pannier.prompt(id).await;
    assert_eq!((prompt.status(), prompt.error), (pb::PromptStatus::Failed, Some(error.clone())));
    let listed = pannier.list_prompts(pb::ListRequest::default()).await;
    assert_eq!(listed[0].error, Some(pb::PromptError { message: String::new(), ..error }));
}

#[tokio::test]
async fn a_prompt_with_a_known_import_key_is_not_saved_again() {
    let pannier = pannier().await;
    let keyed = |idea: &str, key: &str| pb::NewPrompt { import_key: key.into(), ..new_prompt(idea) };
    let first = pannier.save(keyed("a", "k1")).await;
    let again = pannier.try_save(keyed("other", "k1")).await.unwrap();
    assert_eq!((again.prompt_id, again.existed), (first, true));
    assert_eq!(pannier.prompt(first).await.body.unwrap().idea, "a");

    let batch = vec![keyed("b", "k2"), keyed("c", "k1"), keyed("d", "k2"), new_prompt("e"), new_prompt("f")];
    let results = pannier.try_save_all(batch).await.unwrap();
    let existed: Vec<bool> = results.iter().map(|result| result.existed).collect();
    assert_eq!(existed, [false, true, true, false, false]);
    assert_eq!(results[1].prompt_id, first);
    assert_eq!(results[2].prompt_id, results[0].prompt_id);
    assert!(results[3].prompt_id > results[0].prompt_id && results[4].prompt_id > results[3].prompt_id);
    assert_eq!(pannier.row_count("prompts").await, 4);
    assert!(pannier.delete_prompt(first).await);
    pannier.save(keyed("a", "k1")).await;
}

#[tokio::test]
async fn an_item_that_is_wrong_fails_alone() {
    let pannier = pannier().await;
    let wrong = pb::NewPrompt { backend: "a\0b".into(), ..new_prompt("b") };
    let results = pannier.try_save_all(vec![new_prompt("a"), wrong, new_prompt("c")]).await.unwrap();
    let saved: Vec<bool> = results.iter().map(|result| result.prompt_id > 0).collect();
    assert_eq!(saved, [true, false, true]);
    let error = results[1].error.clone().unwrap();
    assert_eq!((error.code, error.reason()), (3, ErrorReason::InvalidArgument));
    assert!(!error.details.is_empty());
    assert_eq!(pannier.row_count("prompts").await, 2);
}

#[tokio::test]
async fn many_are_read_in_the_order_asked_for_and_those_that_are_gone_are_left_out() {
    let pannier = pannier().await;
    let ids = pannier.save_all((0..300).map(|i| prompt_at(&format!("p{i}"), i)).collect()).await;
    pannier.delete_prompt(ids[1]).await;
    let asked = vec![ids[299], ids[1], ids[0], ids[0], 1 << 60];
    let request = pb::BatchGetRequest { prompt_ids: asked, without_bodies: false };
    let answer = pannier.prompts().batch_get(request).await.unwrap().into_inner();
    assert_eq!(ideas(&answer.prompts), ["p299", "p0"]);
    assert_eq!(answer.remaining_prompt_ids, [0_i64; 0]);
    let request = pb::BatchGetRequest { prompt_ids: ids.clone(), without_bodies: true };
    let answer = pannier.prompts().batch_get(request).await.unwrap().into_inner();
    assert_eq!(answer.prompts.len(), 299);
    assert!(answer.prompts.iter().all(|prompt| prompt.body.is_none() && prompt.has_body));
    let refused = pannier.try_prompt(ids[1]).await.unwrap_err();
    assert_status(&refused, Code::NotFound, ErrorReason::PromptNotFound);
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_says_which_are_missing() {
    let pannier = pannier_with(|settings| {
        settings.prompts.body_bytes_max = settings.server.message_bytes_max / 4;
        settings.prompts.text_bytes_max = settings.prompts.body_bytes_max;
        settings.server.response_bytes_max = 18 << 20;
    })
    .await;
    let large = "x".repeat(7 << 20);
    let mut saved = Vec::new();
    for _ in 0..4 {
        let body = pb::PromptBody { idea: "a".into(), improved_prompt: large.clone(), ..Default::default() };
        saved.push(pannier.save(pb::NewPrompt { body: Some(body), ..new_prompt("") }).await);
    }
    let request = pb::BatchGetRequest { prompt_ids: saved.clone(), without_bodies: false };
    let answer = pannier.prompts().batch_get(request).await.unwrap().into_inner();
    assert_eq!(answer.prompts.len(), 2);
    assert_eq!(answer.remaining_prompt_ids, saved[2..]);
    let list = pb::ListRequest {
        with_bodies: true,
        order: pb::PromptOrder::OldestFirst.into(),
        ..Default::default()
    };
    let pages = pannier.prompt_pages(list).await;
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2]);
}

#[tokio::test]
async fn saving_may_be_relaxed() {
    let pannier = pannier().await;
    let request = pb::SaveRequest {
        prompt: Some(new_prompt("a")),
        durability: Durability::Relaxed.into(),
        ..Default::default()
    };
    let saved = pannier.prompts().save(request).await.unwrap().into_inner();
    assert_eq!(pannier.prompt(saved.prompt_id).await.body.unwrap().idea, "a");
}
