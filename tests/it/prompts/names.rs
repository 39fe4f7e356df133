//! Names that group prompts: as many as callers like, as long as they like.

use std::collections::BTreeSet;
use std::time::Duration;

use pannier_proto::prompts::v1 as pb;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use tokio::task::JoinSet;

use super::calls::{ids, new_prompt};
use crate::harness::{Pannier, pannier, pannier_with};

fn of(backend: &str) -> pb::NewPrompt {
    pb::NewPrompt { backend: backend.into(), ..new_prompt(backend) }
}

/// The backends that statistics count, with their numbers of prompts.
async fn counted(pannier: &Pannier) -> Vec<(String, i64)> {
    let request = pb::StatsRequest { group_by: vec![pb::StatsGroup::Backend.into()], ..Default::default() };
    let groups = pannier.prompts().stats(request).await.unwrap().into_inner().groups;
    groups.into_iter().map(|group| (group.backend, group.prompt_count)).collect()
}

async fn of_backend(pannier: &Pannier, backend: &str) -> Vec<i64> {
    let mut found =
        pannier.filtered(pb::PromptFilter { backend: backend.into(), ..Default::default() }).await;
    found.sort_unstable();
    found
}

/// Lets maintenance run until there are so many names.
async fn names_left(pannier: &Pannier, count: i64) {
    for _ in 0..5_000 {
        if pannier.row_count("prompt_names").await == count {
            return;
        }
        pannier.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    panic!("there are still {} names", pannier.row_count("prompt_names").await);
}

fn pairs(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn names_beyond_the_limit_are_saved_shown_found_and_counted_together() {
    let pannier = pannier_with(|settings| settings.prompts.names_max = 2).await;
    let mut saved = pannier.save_all(["x", "y"].map(of).into()).await;
    saved.extend(pannier.save_all(["z", "w", "x", "z"].map(of).into()).await);
    for (id, backend) in saved.iter().zip(["x", "y", "z", "w", "x", "z"]) {
        assert_eq!(pannier.prompt(*id).await.backend, backend);
    }
    assert_eq!(counted(&pannier).await, pairs(&[("(other)", 3), ("x", 2), ("y", 1)]));
    assert_eq!(of_backend(&pannier, "x").await, [saved[0], saved[4]]);
    assert_eq!(of_backend(&pannier, "z").await, [saved[2], saved[5]]);
    assert_eq!(of_backend(&pannier, "(other)").await, [saved[2], saved[3], saved[5]]);
    assert_eq!(of_backend(&pannier, "unknown").await, [0_i64; 0]);
    // Each kind has its own limit.
    let other = pb::NewPrompt { model: "m".into(), framework: "f".into(), provider: "p".into(), ..of("x") };
    let id = pannier.save(other).await;
    let prompt = pannier.prompt(id).await;
    assert_eq!((prompt.model.as_str(), prompt.framework.as_str(), prompt.provider.as_str()), ("m", "f", "p"));
    assert_eq!(pannier.row_count("prompt_names").await, 5);
}

#[tokio::test]
async fn a_name_without_prompts_makes_place_for_another() {
    let pannier = pannier_with(|settings| {
        settings.prompts.names_max = 2;
        settings.prompts.retention_interval_ms = 10;
    })
    .await;
    let saved = pannier.save_all(["x", "y", "z"].map(of).into()).await;
    assert!(pannier.delete_prompt(saved[0]).await);
    names_left(&pannier, 1).await;
    let id = loop {
        // The limit is looked at again when maintenance has ended.
        let id = pannier.save(of("z")).await;
        if pannier.row_count("prompt_names").await == 2 {
            break id;
        }
        assert!(pannier.delete_prompt(id).await);
        pannier.advance(Duration::from_millis(10));
    };
    // Found are those that were saved before it had a number as well; they stay counted as they were.
    assert_eq!(of_backend(&pannier, "z").await, [saved[2], id]);
    assert_eq!(counted(&pannier).await, pairs(&[("(other)", 1), ("y", 1), ("z", 1)]));
    let pannier = pannier.restart().await;
    assert_eq!(of_backend(&pannier, "z").await, [saved[2], id]);
    assert_eq!(of_backend(&pannier, "x").await, [0_i64; 0]);
}

#[tokio::test]
async fn long_names_and_roles_written_by_a_model_are_kept() {
    let pannier = pannier().await;
    // 4,096 bytes that no index of PostgreSQL takes: they cannot be compressed below a third of a page.
    let long = |seed: u64| {
        let mut state = seed;
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from((state >> 33) % 94).unwrap())
        };
        (0..4_096).map(letter).collect::<String>()
    };
    let mut saved = Vec::new();
    for row in 0..27 {
        let mut new = new_prompt("a");
        new.framework = long(4 * row);
        (new.backend, new.model, new.provider) = (long(4 * row + 1), long(4 * row + 2), long(4 * row + 3));
        new.body.as_mut().unwrap().role = "a role that a model has written ".repeat(100);
        saved.push((pannier.save(new.clone()).await, new));
    }
    for (id, new) in saved {
        let prompt = pannier.prompt(id).await;
        assert_eq!(prompt.body, new.body);
        let names = (prompt.backend, prompt.model, prompt.framework, prompt.provider);
        assert_eq!(names, (new.backend, new.model, new.framework.clone(), new.provider));
        let filter = pb::PromptFilter { framework: new.framework, ..Default::default() };
        assert_eq!(pannier.filtered(filter).await, [id]);
    }
}

#[tokio::test]
async fn names_that_are_freed_while_others_save_them_are_never_missing() {
    let pannier = pannier_with(|settings| settings.prompts.retention_interval_ms = 10).await;
    let mut callers = JoinSet::new();
    for caller in 0..8_i64 {
        let mut client = PromptsServiceClient::new(pannier.another_connection().await);
        callers.spawn(async move {
            let mut kept = Vec::new();
            for round in 0..20 {
                let prompt = Some(of(&format!("b{}", (caller + round) % 3)));
                let saved = client.save(pb::SaveRequest { prompt, ..Default::default() }).await.unwrap();
                let prompt_id = saved.into_inner().prompt_id;
                if round == 19 {
                    kept.push(prompt_id);
                } else {
                    client.delete(pb::DeleteRequest { prompt_id, ..Default::default() }).await.unwrap();
                }
            }
            kept
        });
    }
    let mut kept = BTreeSet::new();
    while !callers.is_empty() {
        pannier.advance(Duration::from_millis(10));
        while let Some(done) = callers.try_join_next() {
            kept.extend(done.unwrap());
        }
        // Every read names what it finds.
        let listed = pannier.list_prompts(pb::ListRequest::default()).await;
        assert!(listed.iter().all(|prompt| prompt.backend.starts_with('b')), "{listed:?}");
    }
    let listed = pannier.list_prompts(pb::ListRequest::default()).await;
    assert_eq!(ids(&listed).into_iter().collect::<BTreeSet<_>>(), kept);
}
