//! Import and Export.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::calls::{ids, new_prompt, prompt_at};
use super::save::full_prompt;
use crate::harness::{assert_status, pannier, pannier_with, violated_fields};

fn keyed(i: i64) -> pb::NewPrompt {
    pb::NewPrompt { import_key: format!("row {i}"), ..prompt_at(&format!("p{i}"), i) }
}

/// The prompt that was exported, as it would be saved.
fn again(prompt: pb::Prompt) -> pb::NewPrompt {
    let scores = prompt.scores.into_iter().map(|score| pb::PromptScore { update_time: None, ..score });
    pb::NewPrompt {
        body: prompt.body,
        prompt_time: prompt.prompt_time,
        backend: prompt.backend,
        model: prompt.model,
        framework: prompt.framework,
        provider: prompt.provider,
        error: prompt.error,
        confidence: prompt.confidence,
        latency: prompt.latency,
        prompt_tokens: prompt.prompt_tokens,
        completion_tokens: prompt.completion_tokens,
        cost_micros: prompt.cost_micros,
        conversation_id: prompt.conversation_id,
        tags: prompt.tags,
        scores: scores.collect(),
        import_key: prompt.import_key,
    }
}

#[tokio::test]
async fn each_batch_of_an_import_is_answered_after_it_is_saved_and_can_be_repeated() {
    let pannier = pannier().await;
    let batches = || (0..5).map(|batch| (batch * 10..batch * 10 + 10).map(keyed).collect()).collect();
    let mut answers = pannier.import(batches()).await.unwrap();
    let mut saved = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        for result in answer.results {
            assert_eq!((result.existed, result.error), (false, None));
            // What is answered is there.
            saved.push(pannier.prompt(result.prompt_id).await.import_key);
        }
    }
    let expected: Vec<String> = (0..50).map(|i| format!("row {i}")).collect();
    assert_eq!(saved, expected);
    let mut answers = pannier.import(batches()).await.unwrap();
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(answer.results.iter().all(|result| result.existed));
    }
    assert_eq!(pannier.row_count("prompts").await, 50);
}

#[tokio::test]
async fn a_row_that_is_wrong_does_not_end_an_import() {
    let pannier = pannier().await;
    let sure = pb::NewPrompt { confidence: Some(2.0), ..keyed(11) };
    let mut cut = keyed(12);
    cut.body.as_mut().unwrap().idea = "a\0b".into();
    let batches = vec![
        (0..10).map(keyed).collect(),
        vec![keyed(10), sure, cut],
        vec![keyed(13)],
        Vec::new(),
        vec![keyed(14)],
    ];
    let mut answers = pannier.import(batches).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 10);
    let results = answers.message().await.unwrap().unwrap().results;
    let saved: Vec<bool> = results.iter().map(|result| result.prompt_id > 0).collect();
    assert_eq!(saved, [true, false, false]);
    for (at, field) in [(1, "confidence"), (2, "body.idea")] {
        let error = results[at].error.as_ref().unwrap();
        assert_eq!(error.reason(), ErrorReason::InvalidArgument);
        assert!(error.message.contains(field), "{}", error.message);
    }
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 1);
    // A message without prompts ends it.
    assert_eq!(violated_fields(&answers.message().await.unwrap_err()), ["prompts"]);
    assert_eq!(pannier.row_count("prompts").await, 12);
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let pannier = pannier().await;
    let mut new: Vec<pb::NewPrompt> = (0..20).map(keyed).collect();
    new.push(pb::NewPrompt {
        prompt_time: Some(super::calls::time(0)),
        import_key: "first".into(),
        ..full_prompt()
    });
    pannier.save_all(new).await;
    let exported = pannier.export_prompts(pb::ExportRequest::default()).await;
    let prompts: Vec<pb::Prompt> = exported.into_iter().flat_map(|message| message.prompts).collect();
    assert_eq!(prompts.len(), 21);
    assert_eq!(prompts[0].import_key, "first", "the oldest first");
    let other = crate::harness::pannier().await;
    let batch: Vec<pb::NewPrompt> = prompts.iter().cloned().map(again).collect();
    let mut answers = other.import(vec![batch.clone()]).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 21);
    let there = other.export_prompts(pb::ExportRequest::default()).await;
    let there: Vec<pb::NewPrompt> =
        there.into_iter().flat_map(|message| message.prompts).map(again).collect();
    assert_eq!(there, batch);
}

#[tokio::test]
async fn an_export_goes_by_its_filter_and_goes_on_where_it_was_cut_off() {
    let pannier = pannier().await;
    let of = |i: i64| pb::NewPrompt { backend: format!("b{}", i % 2), ..prompt_at("a", i) };
    let saved = pannier.save_all((0..3_000).map(of).collect()).await;
    let odd: Vec<i64> = (0..3_000).filter(|i| i % 2 == 1).map(|i| saved[i]).collect();
    let filter = Some(pb::PromptFilter { backend: "b1".into(), ..Default::default() });
    let request = pb::ExportRequest { filter, without_bodies: true, ..Default::default() };
    let messages = pannier.export_prompts(request.clone()).await;
    let all: Vec<i64> = messages.iter().flat_map(|message| ids(&message.prompts)).collect();
    assert_eq!(all, odd);
    assert!(
        messages.len() > 1 && messages.iter().flat_map(|m| &m.prompts).all(|prompt| prompt.body.is_none())
    );
    assert_eq!(messages.last().unwrap().next_page_token, "");
    let first = ids(&messages[0].prompts).len();
    let rest = pb::ExportRequest { page_token: messages[0].next_page_token.clone(), ..request.clone() };
    let rest = pannier.export_prompts(rest).await;
    assert_eq!(rest.iter().flat_map(|message| ids(&message.prompts)).collect::<Vec<_>>(), odd[first..]);
    let newest = pb::ExportRequest { order: pb::PromptOrder::NewestFirst.into(), ..request };
    let newest = pannier.export_prompts(newest).await;
    assert_eq!(newest[0].prompts[0].id, odd[1_499]);
}

#[tokio::test]
async fn exports_and_imports_are_bounded() {
    let pannier = pannier_with(|settings| {
        settings.prompts.exports_max = 0;
        settings.prompts.imports_max = 0;
    })
    .await;
    pannier.save(new_prompt("a")).await;
    let refused = [
        pannier.prompts().export(pb::ExportRequest::default()).await.unwrap_err(),
        pannier.import(vec![vec![new_prompt("b")]]).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
    }
}
