//! Deletion, pruning by hand, and retention by itself.

use pannier_proto::prompts::v1 as pb;
use prost_types::Duration;

use super::calls::{ids, ms, number, prompt_at};
use crate::harness::{Pannier, START_US, pannier, pannier_with};

/// A prompt with something in each table.
fn marked(i: i64) -> pb::NewPrompt {
    pb::NewPrompt {
        tags: vec!["t".into()],
        scores: vec![number("s", 1.0)],
        conversation_id: format!("c{}", i % 3),
        ..prompt_at(&format!("p{i}"), i)
    }
}

async fn all_ids(pannier: &Pannier) -> Vec<i64> {
    pannier.filtered(pb::PromptFilter::default()).await
}

fn days(days: i64) -> Option<Duration> {
    Some(Duration { seconds: days * 86_400, nanos: 0 })
}

#[tokio::test]
async fn a_deleted_prompt_leaves_nothing() {
    let pannier = pannier().await;
    let saved = pannier.save_all((0..10).map(marked).collect()).await;
    assert!(pannier.delete_prompt(saved[0]).await);
    let request = pb::BatchDeleteRequest {
        prompt_ids: [&saved[..], &saved[..1], &[1 << 60]].concat(),
        ..Default::default()
    };
    let answer = pannier.prompts().batch_delete(request).await.unwrap().into_inner();
    assert_eq!(answer.deleted_count, 9);
    assert_eq!(pannier.prompt_rows().await, 0);
    let next = pannier.save(marked(1)).await;
    assert!(next > saved[9], "a number is not given again");
}

#[tokio::test]
async fn pruning_by_age_takes_what_is_older_in_small_steps() {
    let pannier = pannier_with(|settings| settings.prompts.retention_batch_rows = 7).await;
    let saved = pannier.save_all((0..100).map(marked).collect()).await;
    pannier.advance_s(100);
    // Made at 0 to 59 s: more than 40 s ago.
    let request =
        pb::PruneRequest { older_than: Some(Duration { seconds: 40, nanos: 0 }), ..Default::default() };
    assert_eq!(pannier.prune(request).await, 60);
    assert_eq!(pannier.prune(request).await, 0);
    assert_eq!(all_ids(&pannier).await, saved[60..]);
    assert_eq!(pannier.row_count("prompt_bodies").await, 40);
    let counts: i64 = pannier.conversations(0).await.iter().map(|conversation| conversation.1).sum();
    assert_eq!(counts, 40);
}

#[tokio::test]
async fn pruning_by_count_keeps_the_newest() {
    let pannier = pannier_with(|settings| settings.prompts.retention_batch_rows = 16).await;
    // The last one that is saved is the oldest, and some are of one moment.
    let moment = |i: i64| (99 - i) / 3;
    let saved = pannier.save_all((0..100).map(|i| marked(moment(i))).collect()).await;
    // The newest moments are those saved first; of one moment the greater numbers are newer.
    let mut by_time: Vec<(i64, i64)> = (0..).zip(saved).map(|(i, id)| (moment(i), id)).collect();
    by_time.sort_unstable();
    let newest: Vec<i64> = by_time[90..].iter().map(|(_, id)| *id).collect();
    let keep = |count: i64| pb::PruneRequest { keep_newest: Some(count), ..Default::default() };
    assert_eq!(pannier.prune(keep(100)).await, 0);
    assert_eq!(pannier.prune(keep(1_000)).await, 0);
    assert_eq!(pannier.prune(keep(10)).await, 90);
    assert_eq!(all_ids(&pannier).await, newest);
    assert_eq!(pannier.prune(keep(0)).await, 10);
    assert_eq!(pannier.prompt_rows().await, 0);
}

#[tokio::test]
async fn both_bounds_take_what_either_takes() {
    let pannier = pannier().await;
    let saved = pannier.save_all((0..100).map(marked).collect()).await;
    pannier.advance_s(100);
    let request = |seconds, keep| pb::PruneRequest {
        older_than: Some(Duration { seconds, nanos: 0 }),
        keep_newest: Some(keep),
        ..Default::default()
    };
    assert_eq!(pannier.prune(request(90, 95)).await, 10);
    assert_eq!(pannier.prune(request(90, 50)).await, 40);
    assert_eq!(all_ids(&pannier).await, saved[50..]);
}

#[tokio::test]
async fn bodies_go_alone_and_the_entries_stay() {
    let pannier = pannier_with(|settings| settings.prompts.retention_batch_rows = 10).await;
    let mut new: Vec<pb::NewPrompt> = (0..50).map(marked).collect();
    new[0].body.as_mut().unwrap().metadata_json = r#"{"a": 1}"#.into();
    new[0].error = Some(pb::PromptError { code: "timeout".into(), message: "late".into() });
    new[0].latency = ms(10);
    let saved = pannier.save_all(new).await;
    let before = pannier.prompt(saved[0]).await;
    let request = pb::PruneRequest { keep_newest: Some(20), bodies_only: true, ..Default::default() };
    assert_eq!(pannier.prune(request).await, 30);
    assert_eq!(pannier.prune(request).await, 0);
    assert_eq!(all_ids(&pannier).await, saved);
    let after = pannier.prompt(saved[0]).await;
    let error = before.error.clone().map(|error| pb::PromptError { message: String::new(), ..error });
    assert_eq!(after, pb::Prompt { body: None, has_body: false, error, ..before });
    let with_body = pannier.prompt(saved[30]).await;
    assert!(with_body.has_body && with_body.body.is_some());
    let condition = pb::MetadataCondition { path: "a".into(), value_json: "1".into() };
    let filter = pb::PromptFilter { metadata: vec![condition], ..Default::default() };
    assert!(pannier.filtered(filter).await.is_empty(), "metadata has gone");
    let list = pb::ListRequest { with_bodies: true, ..Default::default() };
    let bodies = pannier.list_prompts(list).await;
    assert_eq!(bodies.iter().filter(|prompt| prompt.body.is_some()).count(), 20);
    assert_eq!(pannier.row_count("prompt_bodies").await, 20);
    pannier.try_tag(saved[0], &["later"], &["t"]).await.unwrap();
    assert!(pannier.delete_prompt(saved[0]).await);
}

/// Has retention look again and again, until so many prompts and bodies are left.
async fn settled(pannier: &Pannier, prompts: i64, bodies: i64) {
    for _ in 0..5_000 {
        let left = (pannier.row_count("prompts").await, pannier.row_count("prompt_bodies").await);
        if left == (prompts, bodies) {
            return;
        }
        assert!(left.0 >= prompts && left.1 >= bodies, "too many have gone: {left:?}");
        pannier.advance(std::time::Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    panic!("retention does not come to an end");
}

#[tokio::test]
async fn nothing_goes_by_itself_unless_the_settings_say_so() {
    let pannier = pannier().await;
    let saved = pannier.save_all((0..10).map(marked).collect()).await;
    let later_us = START_US + 3_650 * 86_400_000_000;
    let pannier = pannier.restart_at(later_us).await;
    // A pass of the upkeep with settings that take one is over when that one has gone.
    let pannier = pannier.restart_with(|settings| settings.prompts.retention_count_max = 9).await;
    settled(&pannier, 9, 9).await;
    assert_eq!(all_ids(&pannier).await, saved[1..]);
}

#[tokio::test]
async fn what_is_over_goes_at_the_start() {
    let pannier = pannier().await;
    let saved = pannier.save_all((0..600).map(marked).collect()).await;
    let pannier = pannier
        .restart_with(|settings| {
            settings.prompts.retention_count_max = 500;
            settings.prompts.retention_batch_rows = 10;
        })
        .await;
    settled(&pannier, 500, 500).await;
    assert_eq!(all_ids(&pannier).await, saved[100..]);
}

#[tokio::test]
async fn bodies_go_first_and_prompts_later_as_time_goes_by() {
    let pannier = pannier_with(|settings| {
        settings.prompts.retention_age_ms = 30 * 86_400_000;
        settings.prompts.retention_bodies_age_ms = 7 * 86_400_000;
        settings.prompts.retention_interval_ms = 10;
    })
    .await;
    let old = |i: i64| pb::NewPrompt {
        prompt_time: Some(super::calls::time(START_US - i * 86_400_000_000)),
        ..marked(i)
    };
    // Made 0 to 39 days ago.
    pannier.save_all((0..40).map(old).collect()).await;
    pannier.advance_s(60);
    settled(&pannier, 30, 7).await;
    pannier.advance_s(86_400);
    settled(&pannier, 29, 6).await;
    let request = pb::PruneRequest { older_than: days(10), ..Default::default() };
    assert_eq!(pannier.prune(request).await, 20);
    assert_eq!(ids(&pannier.list_prompts(pb::ListRequest::default()).await).len(), 9);
}
