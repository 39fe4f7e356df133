//! Statistics are exact: before and after numbers are added up, for any range of time, after any deletion.

use std::collections::BTreeMap;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use super::found::idea;
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 86_400;

/// Some midnight.
const START_S: i64 = 20_000 * DAY_S;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// A prompt of that number: numbers tell what it has, every 47 minutes there is one.
fn prompt(number: i64) -> pb::NewPrompt {
    let text = |is: bool, text: &str| if is { text.to_owned() } else { String::new() };
    let failed = pb::PromptError { code: "timeout".into(), message: String::new() };
    pb::NewPrompt {
        prompt_time: at(START_S + number * 47 * MINUTE_S),
        backend: ["anthropic", "ollama", "openai"][usize::try_from(number % 3).unwrap()].into(),
        model: text(number % 4 != 0, "small"),
        framework: text(number % 5 < 2, "chain_of_thought"),
        error: (number % 7 == 0).then_some(failed),
        confidence: (number % 2 == 0).then_some((number % 100) as f64 / 100.0),
        latency: (number % 3 != 1).then_some(Duration { seconds: number % 11, nanos: 5_000_000 }),
        prompt_tokens: Some(number),
        completion_tokens: (number % 2 == 1).then_some(1),
        cost_micros: Some(1_000 * number),
        ..idea("whale")
    }
}

/// What the numbers of some prompts must be, percentiles left out.
fn counted<'p>(prompts: impl Iterator<Item = &'p pb::NewPrompt>) -> pb::PromptStats {
    let (mut stats, mut confidence, mut latency_us) = (pb::PromptStats::default(), 0.0, 0.0);
    for prompt in prompts {
        stats.prompt_count += 1;
        stats.failed_count += i64::from(prompt.error.is_some());
        stats.confidence_count += i64::from(prompt.confidence.is_some());
        confidence += prompt.confidence.unwrap_or(0.0);
        if let Some(latency) = &prompt.latency {
            stats.latency_count += 1;
            latency_us += latency.seconds as f64 * 1e6 + f64::from(latency.nanos) / 1e3;
        }
        stats.prompt_tokens += prompt.prompt_tokens.unwrap_or(0);
        stats.completion_tokens += prompt.completion_tokens.unwrap_or(0);
        stats.cost_micros += prompt.cost_micros.unwrap_or(0);
    }
    let average = |sum: f64, count: i64| (count > 0).then(|| sum / count as f64);
    stats.confidence_average = average(confidence, stats.confidence_count);
    stats.latency_average = average(latency_us, stats.latency_count).map(|us| {
        let us = us.round() as i64;
        Duration { seconds: us / 1_000_000, nanos: i32::try_from(us % 1_000_000).unwrap() * 1_000 }
    });
    stats
}

/// Without percentiles, and averages as they compare.
fn rounded(mut stats: pb::PromptStats) -> pb::PromptStats {
    (stats.latency_p50, stats.latency_p95, stats.latency_p99) = (None, None, None);
    stats.confidence_average = stats.confidence_average.map(|share| (share * 1e9).round() / 1e9);
    stats
}

impl Pannier {
    async fn try_stats(&self, request: pb::StatsRequest) -> Result<pb::StatsResponse, Status> {
        Ok(self.prompts.clone().stats(request).await?.into_inner())
    }

    async fn assert_stats(
        &self,
        prompts: &[pb::NewPrompt],
        range: (Option<i64>, Option<i64>),
        names: [&str; 3],
    ) {
        let (start, end) = range;
        let [backend, model, framework] = names.map(str::to_owned);
        let takes = |prompt: &&pb::NewPrompt| {
            let time = prompt.prompt_time.unwrap().seconds;
            let is = |asked: &str, has: &str| asked.is_empty() || asked == has;
            start.is_none_or(|start| time >= start)
                && end.is_none_or(|end| time < end)
                && is(&backend, &prompt.backend)
                && is(&model, &prompt.model)
                && is(&framework, &prompt.framework)
        };
        let prompts: Vec<&pb::NewPrompt> = prompts.iter().filter(takes).collect();
        let expected = rounded(counted(prompts.iter().copied()));
        for by in 0..16 {
            let by = |bit: i32| by & (1 << bit) != 0;
            let mut groups: BTreeMap<(i64, &str, &str, &str), Vec<&pb::NewPrompt>> = BTreeMap::new();
            for prompt in &prompts {
                let day = prompt.prompt_time.unwrap().seconds.div_euclid(DAY_S) * DAY_S;
                let name = |is: bool, name| if is { name } else { "" };
                let key = (
                    if by(0) { day } else { 0 },
                    name(by(1), &*prompt.backend),
                    name(by(2), &*prompt.model),
                    name(by(3), &*prompt.framework),
                );
                groups.entry(key).or_default().push(prompt);
            }
            let expected_groups: Vec<pb::PromptStats> = groups
                .into_iter()
                .map(|((day, backend, model, framework), prompts)| pb::PromptStats {
                    day: if by(0) { at(day) } else { None },
                    backend: backend.to_owned(),
                    model: model.to_owned(),
                    framework: framework.to_owned(),
                    ..rounded(counted(prompts.into_iter()))
                })
                .collect();
            let group_by =
                (0..4).filter(|bit| by(*bit)).map(|bit| [4, 1, 2, 3][usize::try_from(bit).unwrap()]);
            let group_by: Vec<i32> = group_by.collect();
            let request = pb::StatsRequest {
                start_time: start.and_then(at),
                end_time: end.and_then(at),
                backend: backend.clone(),
                model: model.clone(),
                framework: framework.clone(),
                group_by: group_by.clone(),
            };
            let answer = self.try_stats(request).await.unwrap();
            assert_eq!(rounded(answer.total.unwrap()), expected, "{range:?} {names:?}");
            let found: Vec<_> = answer.groups.into_iter().map(rounded).collect();
            let is_grouped = !group_by.is_empty();
            assert_eq!(
                found,
                if is_grouped { expected_groups } else { Vec::new() },
                "{range:?} {names:?} {group_by:?}"
            );
        }
    }

    /// Has the numbers added up, and waits until they are.
    async fn added_up(&self) {
        for _ in 0..10_000 {
            if self.row_count("prompt_stat_changes").await == 0 {
                return;
            }
            self.advance_s(2);
            tokio::task::yield_now().await;
        }
        panic!("numbers are not added up");
    }
}

const RANGES: [(Option<i64>, Option<i64>); 7] = [
    (None, None),
    (Some(START_S + DAY_S), None),
    (None, Some(START_S + DAY_S + 61 * MINUTE_S)),
    (Some(START_S + 47 * MINUTE_S), Some(START_S + 48 * MINUTE_S)),
    (Some(START_S + 47 * MINUTE_S + 1), Some(START_S + 3 * DAY_S + 7)),
    (Some(START_S + 2 * 60 * MINUTE_S), Some(START_S + 5 * 60 * MINUTE_S)),
    (Some(START_S + 9 * DAY_S), Some(START_S + 9 * DAY_S)),
];

#[tokio::test]
async fn numbers_are_exact_for_any_range_and_group_before_and_after_they_are_added_up() {
    let pannier = pannier_with(|settings| settings.prompts.stats_interval_ms = 1_000).await;
    let mut all: Vec<pb::NewPrompt> = (0..200).map(prompt).collect();
    let ids = pannier.saved(all.clone()).await;
    for range in RANGES {
        pannier.assert_stats(&all, range, ["", "", ""]).await;
    }
    pannier.added_up().await;
    for range in RANGES {
        pannier.assert_stats(&all, range, ["", "", ""]).await;
    }
    for names in
        [["ollama", "", ""], ["openai", "small", ""], ["", "", "chain_of_thought"], ["nobody", "", ""]]
    {
        pannier.assert_stats(&all, RANGES[4], names).await;
    }
    let gone: Vec<i64> = ids[50..150].to_vec();
    pannier
        .prompts
        .clone()
        .batch_delete(pb::BatchDeleteRequest { prompt_ids: gone, ..Default::default() })
        .await
        .unwrap();
    all.drain(50..150);
    pannier.assert_stats(&all, RANGES[4], ["", "", ""]).await;
    pannier.added_up().await;
    pannier.assert_stats(&all, RANGES[4], ["", "", ""]).await;
    let prune = pb::PruneRequest { keep_newest: Some(0), ..Default::default() };
    pannier.prompts.clone().prune(prune).await.unwrap();
    pannier.assert_stats(&[], RANGES[0], ["", "", ""]).await;
    pannier.added_up().await;
    assert_eq!(pannier.row_count("prompt_stats").await, 0, "nothing is left of what is gone");
}

#[tokio::test]
async fn bodies_that_go_and_prompts_that_are_scored_change_no_number() {
    let pannier = pannier().await;
    let all: Vec<pb::NewPrompt> = (0..10).map(prompt).collect();
    pannier.saved(all.clone()).await;
    let prune = pb::PruneRequest { keep_newest: Some(0), bodies_only: true, ..Default::default() };
    pannier.prompts.clone().prune(prune).await.unwrap();
    pannier.assert_stats(&all, RANGES[0], ["", "", ""]).await;
}

#[tokio::test]
async fn percentiles_are_within_one_percent() {
    let pannier = pannier().await;
    let latency_us = |number: i64| number * number * 37 % 9_000_000;
    let prompts = (1..=1_000).map(|number| pb::NewPrompt {
        latency: Some(Duration {
            seconds: latency_us(number) / 1_000_000,
            nanos: i32::try_from(latency_us(number) % 1_000_000).unwrap() * 1_000,
        }),
        ..prompt(number)
    });
    pannier.saved(prompts.collect()).await;
    let mut all: Vec<i64> = (1..=1_000).map(latency_us).collect();
    all.sort_unstable();
    for _ in 0..2 {
        let total = pannier.try_stats(pb::StatsRequest::default()).await.unwrap().total.unwrap();
        for (told, rank) in [(total.latency_p50, 500), (total.latency_p95, 950), (total.latency_p99, 990)] {
            let told = told.unwrap();
            let told = told.seconds as f64 * 1e6 + f64::from(told.nanos) / 1e3;
            let exact = all[rank - 1] as f64;
            assert!((told - exact).abs() <= exact / 100.0 + 1.0, "{told} for {exact}");
        }
        pannier.added_up().await;
    }
}

#[tokio::test]
async fn saves_deletions_and_adding_up_at_once_lose_no_number() {
    let pannier = pannier_with(|settings| settings.prompts.stats_interval_ms = 10).await;
    let savers = (0..8).map(|saver| {
        let pannier = &pannier;
        async move {
            for step in 0..10 {
                let ids = pannier.saved((0..4).map(|number| prompt(saver + step + number)).collect()).await;
                let delete = pb::DeleteRequest { prompt_id: ids[0], ..Default::default() };
                pannier.prompts.clone().delete(delete).await.unwrap();
                pannier.advance_s(1);
            }
        }
    });
    futures_util::future::join_all(savers).await;
    let left = (0..8).flat_map(|saver| {
        (0..10).flat_map(move |step| (1..4).map(move |number| prompt(saver + step + number)))
    });
    let left: Vec<pb::NewPrompt> = left.collect();
    pannier.assert_stats(&left, RANGES[0], ["", "", ""]).await;
    pannier.added_up().await;
    pannier.assert_stats(&left, RANGES[0], ["", "", ""]).await;
}

#[tokio::test]
async fn what_would_read_too_much_or_tell_too_much_is_refused() {
    let pannier = pannier_with(|settings| {
        settings.prompts.stats_rows_max = 1_000;
        settings.prompts.stats_groups_max = 2;
    })
    .await;
    let in_one_hour = |number: i64| pb::NewPrompt { prompt_time: at(START_S + number), ..prompt(number) };
    pannier.saved((0..1_000).map(in_one_hour).collect()).await;
    let cut = pb::StatsRequest { start_time: at(START_S + 1), ..Default::default() };
    let total = pannier.try_stats(cut.clone()).await.unwrap().total.unwrap();
    assert_eq!(total.prompt_count, 999);
    pannier.saved((1_000..1_002).map(in_one_hour).collect()).await;
    let by_backend = pb::StatsRequest { group_by: vec![1], ..Default::default() };
    for request in [cut, by_backend] {
        let status = pannier.try_stats(request).await.unwrap_err();
        assert_status(&status, Code::ResourceExhausted, ErrorReason::StatsRangeTooLarge);
    }
    let whole = pb::StatsRequest { start_time: at(START_S), group_by: vec![3], ..Default::default() };
    assert_eq!(pannier.try_stats(whole).await.unwrap().total.unwrap().prompt_count, 1_002);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_told() {
    let pannier = pannier().await;
    let request = pb::StatsRequest {
        group_by: vec![1, 0],
        start_time: at(1),
        end_time: at(0),
        backend: "x".repeat(4_097),
        ..Default::default()
    };
    let status = pannier.try_stats(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["backend", "end_time", "group_by[1]"]);
    for group_by in [vec![1, 1], vec![9], vec![-1]] {
        let request = pb::StatsRequest { group_by, ..Default::default() };
        let fields = violated_fields(&pannier.try_stats(request).await.unwrap_err());
        assert!(fields[0].starts_with("group_by["), "{fields:?}");
    }
}

#[tokio::test]
async fn sums_beyond_64_bits_saturate_and_come_back() {
    let pannier = pannier_with(|settings| settings.prompts.stats_interval_ms = 10).await;
    let dear = || pb::NewPrompt {
        cost_micros: Some(1 << 50),
        prompt_tokens: Some(1 << 40),
        ..super::calls::prompt_at("a", 0)
    };
    let mut saved = Vec::new();
    for _ in 0..9 {
        saved.extend(pannier.save_all((0..1_000).map(|_| dear()).collect()).await);
    }
    let group_by = vec![pb::StatsGroup::Backend.into(), pb::StatsGroup::Day.into()];
    let request = || pb::StatsRequest { group_by: group_by.clone(), ..Default::default() };
    let cut =
        || pb::StatsRequest { end_time: Some(super::calls::time(crate::harness::START_US + 1)), ..request() };
    // Noted, added up, and read from the prompts themselves.
    for _ in 0..2 {
        for request in [request(), cut()] {
            let stats = pannier.try_stats(request).await.unwrap();
            for stats in [stats.total.as_ref().unwrap(), &stats.groups[0]] {
                assert_eq!((stats.prompt_count, stats.cost_micros), (9_000, i64::MAX));
                assert_eq!(stats.prompt_tokens, 9_000 << 40);
            }
        }
        while pannier.row_count("prompt_stat_changes").await > 0 {
            pannier.advance(std::time::Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    }
    for prompt_ids in saved[1..].chunks(1_000) {
        let request = pb::BatchDeleteRequest { prompt_ids: prompt_ids.to_vec(), ..Default::default() };
        pannier.prompts().batch_delete(request).await.unwrap();
    }
    let total = pannier.try_stats(request()).await.unwrap().total.unwrap();
    assert_eq!((total.prompt_count, total.cost_micros, total.prompt_tokens), (1, 1 << 50, 1 << 40));
}
