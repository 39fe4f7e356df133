//! The history as a person sees it with the database's own shell.

use pannier_proto::prompts::v1 as pb;

use super::calls::{new_prompt, time};
use super::save::full_prompt;
use crate::harness::{START_US, pannier, pannier_with};

#[tokio::test]
async fn people_read_the_history_with_a_shell() {
    let pannier = pannier().await;
    // A whole millisecond: what is behind it, the databases round in different ways.
    let prompt_time = Some(time(START_US - 5_001_000));
    pannier.save(pb::NewPrompt { prompt_time, ..full_prompt() }).await;
    pannier.save(new_prompt("second")).await;
    let columns = r#""time", "provider", "backend", "model", "framework", "status", "idea", "improved_prompt", "guardrails", "conversation", "tags",
        CAST("latency_ms" AS integer) || '', "saved""#;
    let rows = pannier.rows_as_text(&format!("SELECT {columns} FROM v_prompts ORDER BY id LIMIT 1")).await;
    let expected = [
        "2025-12-31T23:59:54.999Z",
        "bedrock",
        "anthropic",
        "sonnet-9",
        "chain_of_thought",
        "ok",
        "an idea, ein Einfall, 想法",
        "You are…",
        r#"["Be short.","Quote \"so\"."]"#,
        "chat 7",
        "a, b",
        "1234",
        "2026-01-01T00:00:00.000Z",
    ];
    assert_eq!(rows, [expected]);
    let ideas = pannier.rows_as_text("SELECT idea FROM v_prompts ORDER BY prompt_time DESC LIMIT 10").await;
    assert_eq!(ideas, [["second"], ["an idea, ein Einfall, 想法"]]);
}

#[tokio::test]
async fn a_name_beyond_the_limit_is_shown_as_it_is() {
    let pannier = pannier_with(|settings| settings.prompts.names_max = 1).await;
    pannier.save(new_prompt("a")).await;
    pannier.save(pb::NewPrompt { backend: "other".into(), ..new_prompt("b") }).await;
    let backends = pannier.rows_as_text("SELECT backend FROM v_prompts ORDER BY id").await;
    assert_eq!(backends, [["anthropic"], ["other"]]);
}
