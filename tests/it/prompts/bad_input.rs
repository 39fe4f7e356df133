//! Bad input of every call: refused whole, all violations at once, nothing stored.

use bytes::{BufMut as _, Bytes, BytesMut};
use pannier_proto::codec::Codec;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use prost_types::{Duration, Timestamp};
use tonic::client::Grpc;
use tonic::{Code, Request, Status};

use super::calls::{boolean, ms, new_prompt, number};
use crate::harness::{Pannier, assert_status, pannier, violated_fields};

/// Asserts that a prompt is refused for these fields, alone, in a batch that is all or none, and in an import, where it fails alone.
async fn refused(pannier: &Pannier, new: pb::NewPrompt, fields: &[&str]) {
    let status = pannier.try_save(new.clone()).await.expect_err("a bad prompt was saved");
    let expected: Vec<String> = fields.iter().map(|field| format!("prompt.{field}")).collect();
    assert_eq!(violated_fields(&status), expected, "{status:?}");
    let prompts = vec![new_prompt("good"), new.clone()];
    let request = pb::BatchSaveRequest { prompts, atomic: true, ..Default::default() };
    let status = pannier.prompts().batch_save(request).await.unwrap_err();
    let expected: Vec<String> = fields.iter().map(|field| format!("prompts[1].{field}")).collect();
    assert_eq!(violated_fields(&status), expected);
    let mut answers = pannier.import(vec![vec![new]]).await.unwrap();
    let results = answers.message().await.unwrap().unwrap().results;
    let error = results[0].error.as_ref().unwrap();
    assert_eq!(error.reason(), ErrorReason::InvalidArgument);
    let first = fields.iter().any(|field| error.message.contains(field));
    assert!(first && !error.details.is_empty(), "{error:?}");
    assert_eq!(pannier.prompt_rows().await, 0);
}

fn with_body(change: impl FnOnce(&mut pb::PromptBody)) -> pb::NewPrompt {
    let mut new = new_prompt("a");
    change(new.body.as_mut().unwrap());
    new
}

#[tokio::test]
async fn fields_that_are_missing_are_all_told() {
    let pannier = pannier().await;
    refused(&pannier, pb::NewPrompt::default(), &["backend", "body"]).await;
    let empty = pb::NewPrompt { body: Some(pb::PromptBody::default()), ..Default::default() };
    refused(&pannier, empty.clone(), &["backend", "body.idea", "body.improved_prompt"]).await;
    let failed = pb::NewPrompt { error: Some(pb::PromptError::default()), ..empty };
    refused(&pannier, failed, &["backend", "body.idea", "error"]).await;
    let request = pb::SaveRequest::default();
    let status = pannier.prompts().save(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["prompt.backend", "prompt.body"]);
}

#[tokio::test]
async fn numbers_beyond_their_bounds_are_refused() {
    let pannier = pannier().await;
    for confidence in [1.1, -0.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let new = pb::NewPrompt { confidence: Some(confidence), ..new_prompt("a") };
        refused(&pannier, new, &["confidence"]).await;
    }
    for latency in [
        Duration { seconds: -1, nanos: 0 },
        Duration { seconds: 0, nanos: -1 },
        Duration { seconds: 0, nanos: 1_000_000_000 },
        Duration { seconds: i64::MAX, nanos: 0 },
        Duration { seconds: 3_660 * 86_400 + 1, nanos: 0 },
    ] {
        let new = pb::NewPrompt { latency: Some(latency), ..new_prompt("a") };
        refused(&pannier, new, &["latency"]).await;
    }
    for amount in [-1, i64::MIN, i64::MAX] {
        let new = pb::NewPrompt {
            prompt_tokens: Some(amount),
            completion_tokens: Some(amount),
            cost_micros: Some(amount),
            ..new_prompt("a")
        };
        refused(&pannier, new, &["completion_tokens", "cost_micros", "prompt_tokens"]).await;
    }
    for time in [Timestamp { seconds: i64::MAX, nanos: 0 }, Timestamp { seconds: 0, nanos: -1 }] {
        refused(&pannier, pb::NewPrompt { prompt_time: Some(time), ..new_prompt("a") }, &["prompt_time"])
            .await;
    }
}

#[tokio::test]
async fn texts_that_are_too_long_or_cannot_be_stored_are_refused() {
    let pannier = pannier().await;
    for bad in ["x".repeat(4_097), "a\0b".into()] {
        let new = pb::NewPrompt {
            backend: bad.clone(),
            model: bad.clone(),
            framework: bad.clone(),
            provider: bad.clone(),
            ..new_prompt("a")
        };
        refused(&pannier, new, &["backend", "framework", "model", "provider"]).await;
    }
    for bad in ["x".repeat(129), "a\0b".into()] {
        let new = pb::NewPrompt {
            tags: vec!["good".into(), bad.clone()],
            error: Some(pb::PromptError { code: bad.clone(), message: String::new() }),
            ..new_prompt("a")
        };
        refused(&pannier, new, &["error.code", "tags[1]"]).await;
    }
    for bad in ["x".repeat(257), "\0".into()] {
        let new = pb::NewPrompt { conversation_id: bad.clone(), import_key: bad, ..new_prompt("a") };
        refused(&pannier, new, &["conversation_id", "import_key"]).await;
    }
    for bad in ["x".repeat(256 * 1024 + 1), "\0".into()] {
        for field in ["idea", "context", "improved_prompt", "directive", "reasoning", "role"] {
            let new = with_body(|body| {
                let text = match field {
                    "idea" => &mut body.idea,
                    "context" => &mut body.context,
                    "improved_prompt" => &mut body.improved_prompt,
                    "directive" => &mut body.directive,
                    "role" => &mut body.role,
                    _ => &mut body.reasoning,
                };
                text.clone_from(&bad);
            });
            refused(&pannier, new, &[&format!("body.{field}")]).await;
        }
    }
    refused(&pannier, pb::NewPrompt { tags: vec![String::new()], ..new_prompt("a") }, &["tags[0]"]).await;
    let many = (0..51).map(|i| i.to_string()).collect();
    refused(&pannier, pb::NewPrompt { tags: many, ..new_prompt("a") }, &["tags"]).await;
    let large = with_body(|body| {
        body.context = "x".repeat(256 * 1024);
        body.directive = body.context.clone();
        body.reasoning = body.context.clone();
        body.improved_prompt = body.context.clone();
    });
    refused(&pannier, large, &["body"]).await;
}

#[tokio::test]
async fn guardrails_scores_and_metadata_are_checked() {
    let pannier = pannier().await;
    let many = with_body(|body| body.guardrails = vec!["x".into(); 101]);
    refused(&pannier, many, &["body.guardrails"]).await;
    let bad = with_body(|body| body.guardrails = vec!["x".into(), String::new(), "x".repeat(4_097)]);
    refused(&pannier, bad, &["body.guardrails[1]", "body.guardrails[2]"]).await;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(33), "}".repeat(33));
    for bad in
        ["[]", "1", "{", "{\"a\":}", "null", deep.as_str(), &format!("{{\"a\": \"{}\"}}", "x".repeat(65_536))]
    {
        refused(&pannier, with_body(|body| body.metadata_json = bad.into()), &["body.metadata_json"]).await;
    }
    let nothing = pb::PromptScore { name: "n".into(), ..Default::default() };
    let timed = pb::PromptScore { update_time: Some(Timestamp::default()), ..boolean("t", true) };
    let scores =
        vec![number("", f64::NAN), nothing, timed, boolean("n", true), super::calls::category("c", "")];
    let new = pb::NewPrompt { scores, ..new_prompt("a") };
    let fields = [
        "scores[0].name",
        "scores[0].number",
        "scores[1].value",
        "scores[2].update_time",
        "scores[3].name",
        "scores[4].category",
    ];
    refused(&pannier, new, &fields).await;
}

#[tokio::test]
async fn batches_have_at_least_one_and_at_most_so_many() {
    let pannier = pannier().await;
    for count in [0, 1_001] {
        let status = pannier.try_save_all(vec![new_prompt("a"); count]).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["prompts"]);
        let get = pb::BatchGetRequest { prompt_ids: vec![1; count], ..Default::default() };
        assert_eq!(violated_fields(&pannier.prompts().batch_get(get).await.unwrap_err()), ["prompt_ids"]);
        let delete = pb::BatchDeleteRequest { prompt_ids: vec![1; count], ..Default::default() };
        assert_eq!(
            violated_fields(&pannier.prompts().batch_delete(delete).await.unwrap_err()),
            ["prompt_ids"]
        );
    }
}

#[tokio::test]
async fn numbers_of_prompts_are_positive() {
    let pannier = pannier().await;
    for bad in [0, -1, i64::MIN] {
        let mut prompts = pannier.prompts();
        let tag = vec!["a".to_owned()];
        let refused: [Status; 4] = [
            pannier.try_prompt(bad).await.unwrap_err(),
            prompts.delete(pb::DeleteRequest { prompt_id: bad, ..Default::default() }).await.unwrap_err(),
            prompts.tag(pb::TagRequest { prompt_id: bad, add: tag, ..Default::default() }).await.unwrap_err(),
            pannier.try_score(bad, vec![number("a", 1.0)], &[]).await.unwrap_err(),
        ];
        for status in refused {
            assert_eq!(violated_fields(&status), ["prompt_id"]);
        }
        let get = pb::BatchGetRequest { prompt_ids: vec![1, bad], ..Default::default() };
        // In a batch it is a prompt that is not there: it fails no other.
        assert_eq!(prompts.batch_get(get).await.unwrap().into_inner().prompts, []);
        let delete = pb::BatchDeleteRequest { prompt_ids: vec![bad, 1], ..Default::default() };
        assert_eq!(prompts.batch_delete(delete).await.unwrap().into_inner().deleted_count, 0);
    }
}

#[tokio::test]
async fn marks_that_contradict_each_other_or_say_nothing_are_refused() {
    let pannier = pannier().await;
    let id = pannier.save(new_prompt("a")).await;
    let refused = pannier.try_tag(id, &["a"], &["b", "a", ""]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["remove[1]", "remove[2]"]);
    assert_eq!(violated_fields(&pannier.try_tag(id, &[], &[]).await.unwrap_err()), ["add"]);
    let refused = pannier.try_score(id, vec![number("a", 1.0)], &["", "a"]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["remove[0]", "remove[1]"]);
    assert_eq!(violated_fields(&pannier.try_score(id, Vec::new(), &[]).await.unwrap_err()), ["set"]);
    let refused = pannier.try_score(id, vec![number("a", 1.0), boolean("a", true)], &[]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["set[1].name"]);
    assert_eq!(pannier.prompt(id).await.scores, []);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_filter_is_told() {
    let pannier = pannier().await;
    let long = "x".repeat(300);
    let condition = |path: &str, value_json: &str| pb::MetadataCondition {
        path: path.into(),
        value_json: value_json.into(),
    };
    let filter = pb::PromptFilter {
        backend: "x".repeat(4_097),
        conversation_id: long,
        tags: vec![String::new()],
        status: 9,
        start_time: Some(Timestamp { seconds: 2, nanos: 0 }),
        end_time: Some(Timestamp { seconds: 1, nanos: 0 }),
        confidence_min: Some(1.1),
        confidence_max: Some(f64::NAN),
        latency_min: ms(2),
        latency_max: ms(1),
        metadata: vec![
            condition("", "1"),
            condition("a..b", "1"),
            condition("a", "x"),
            condition("$.a", "1"),
            condition("a", "[1]"),
        ],
        ..Default::default()
    };
    let fields = [
        "filter.backend",
        "filter.confidence_max",
        "filter.confidence_min",
        "filter.conversation_id",
        "filter.end_time",
        "filter.latency_max",
        "filter.metadata[0].path",
        "filter.metadata[1].path",
        "filter.metadata[2].value_json",
        "filter.metadata[4].value_json",
        "filter.status",
        "filter.tags[0]",
    ];
    let list =
        pb::ListRequest { filter: Some(filter.clone()), order: 9, page_size: -1, ..Default::default() };
    let status = pannier.prompts().list(list).await.unwrap_err();
    assert_eq!(violated_fields(&status), [&fields[..], &["order", "page_size"]].concat());
    let export = pb::ExportRequest { filter: Some(filter), ..Default::default() };
    assert_eq!(violated_fields(&pannier.prompts().export(export).await.unwrap_err()), fields);
    let many = pb::PromptFilter {
        tags: (0..11).map(|i| i.to_string()).collect(),
        metadata: vec![condition("a", "1"); 11],
        ..Default::default()
    };
    let list = pb::ListRequest { filter: Some(many), page_size: 1_001, ..Default::default() };
    let status = pannier.prompts().list(list).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["filter.metadata", "filter.tags", "page_size"]);
}

#[tokio::test]
async fn pruning_needs_a_bound() {
    let pannier = pannier().await;
    pannier.save(new_prompt("a")).await;
    let refused = pannier.prompts().prune(pb::PruneRequest::default()).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["older_than"]);
    let request = pb::PruneRequest {
        older_than: Some(Duration { seconds: -1, nanos: 0 }),
        keep_newest: Some(-1),
        durability: 9,
        ..Default::default()
    };
    let refused = pannier.prompts().prune(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["durability", "keep_newest", "older_than"]);
    assert_eq!(pannier.row_count("prompts").await, 1);
}

#[tokio::test]
async fn what_is_no_utf_8_is_refused() {
    let pannier = pannier().await;
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98"] {
        // A NewPrompt whose field 3, `backend`, has these bytes, as field 1 of the request.
        let mut inner = BytesMut::new();
        inner.put_u8(3 << 3 | 2);
        inner.put_u8(u8::try_from(bad.len()).unwrap());
        inner.put_slice(bad);
        let mut grpc = Grpc::new(pannier.another_connection().await);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/pannier.prompts.v1.PromptsService/Save");
        let codec = Codec::<Bytes, pb::SaveResponse>::default();
        let status = grpc.unary(Request::new(inner.freeze()), path, codec).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::MalformedRequest);
    }
    assert_eq!(pannier.prompt_rows().await, 0);
}
