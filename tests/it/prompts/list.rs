//! Lists: filters that combine, orders, pages.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use tonic::Code;

use super::calls::{ids, ms, new_prompt, prompt_at, time};
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with};

/// The prompt of that number: its fields go round at different speeds.
fn varied(i: i64) -> pb::NewPrompt {
    let pick = |what: &str, of: i64| format!("{what}{}", i % of);
    let mut new = prompt_at(&format!("p{i}"), i / 2);
    new.backend = pick("b", 2);
    new.model = if i % 3 == 0 { String::new() } else { pick("m", 3) };
    new.framework = if i % 4 == 0 { String::new() } else { pick("f", 4) };
    new.provider = pick("r", 5);
    new.conversation_id = if i % 6 == 0 { String::new() } else { pick("c", 6) };
    new.tags = vec![pick("t", 3), pick("u", 2)];
    new.confidence = (i % 7 != 0).then(|| (i % 10) as f64 / 10.0);
    new.latency = if i % 5 == 0 { None } else { ms(i % 11 * 100) };
    new.error = (i % 9 == 0).then(|| pb::PromptError { code: "e".into(), message: String::new() });
    let body = new.body.as_mut().unwrap();
    body.metadata_json = format!(r#"{{"n": {}, "user": {{"plan": "plan{}"}}}}"#, i % 8, i % 3);
    new
}

const COUNT: i64 = 300;

async fn varied_prompts() -> (Pannier, Vec<i64>) {
    let pannier = pannier().await;
    let ids = pannier.save_all((0..COUNT).map(varied).collect()).await;
    (pannier, ids)
}

/// Whether a filter takes a prompt, as the protocol says it.
fn takes(filter: &pb::PromptFilter, prompt: &pb::NewPrompt) -> bool {
    let is = |asked: &str, has: &str| asked.is_empty() || asked == has;
    let status = if prompt.error.is_some() { pb::PromptStatus::Failed } else { pb::PromptStatus::Ok };
    let order = |time: &prost_types::Timestamp| (time.seconds, time.nanos);
    let long = |time: &prost_types::Duration| (time.seconds, time.nanos);
    let at = order(prompt.prompt_time.as_ref().unwrap());
    let latency = prompt.latency.as_ref().map(long);
    let metadata: serde_json::Value =
        serde_json::from_str(&prompt.body.as_ref().unwrap().metadata_json).unwrap();
    is(&filter.backend, &prompt.backend)
        && is(&filter.model, &prompt.model)
        && is(&filter.framework, &prompt.framework)
        && is(&filter.provider, &prompt.provider)
        && is(&filter.conversation_id, &prompt.conversation_id)
        && filter.tags.iter().all(|tag| prompt.tags.contains(tag))
        && (filter.status() == pb::PromptStatus::Unspecified || filter.status() == status)
        && filter.start_time.as_ref().is_none_or(|start| at >= order(start))
        && filter.end_time.as_ref().is_none_or(|end| at < order(end))
        && filter.confidence_min.is_none_or(|min| prompt.confidence.is_some_and(|has| has >= min))
        && filter.confidence_max.is_none_or(|max| prompt.confidence.is_some_and(|has| has <= max))
        && filter.latency_min.as_ref().is_none_or(|min| latency.is_some_and(|has| has >= long(min)))
        && filter.latency_max.as_ref().is_none_or(|max| latency.is_some_and(|has| has <= long(max)))
        && filter.metadata.iter().all(|condition| {
            let pointer = format!("/{}", condition.path.replace('.', "/"));
            metadata.pointer(&pointer).map(ToString::to_string) == Some(condition.value_json.clone())
        })
}

fn condition(path: &str, value_json: &str) -> pb::MetadataCondition {
    pb::MetadataCondition { path: path.into(), value_json: value_json.into() }
}

/// Filters by one field each.
fn single_filters() -> Vec<pb::PromptFilter> {
    let none = pb::PromptFilter::default;
    vec![
        pb::PromptFilter { backend: "b1".into(), ..none() },
        pb::PromptFilter { model: "m2".into(), ..none() },
        pb::PromptFilter { framework: "f3".into(), ..none() },
        pb::PromptFilter { provider: "r4".into(), ..none() },
        pb::PromptFilter { conversation_id: "c1".into(), ..none() },
        pb::PromptFilter { tags: vec!["t1".into()], ..none() },
        pb::PromptFilter { tags: vec!["u1".into(), "t2".into()], ..none() },
        pb::PromptFilter { status: pb::PromptStatus::Failed.into(), ..none() },
        pb::PromptFilter { status: pb::PromptStatus::Ok.into(), ..none() },
        pb::PromptFilter { start_time: Some(time(START_US + 100_000_000)), ..none() },
        pb::PromptFilter { end_time: Some(time(START_US + 100_000_000)), ..none() },
        pb::PromptFilter { confidence_min: Some(0.5), ..none() },
        pb::PromptFilter { confidence_max: Some(0.3), ..none() },
        pb::PromptFilter { latency_min: ms(300), ..none() },
        pb::PromptFilter { latency_max: ms(700), ..none() },
        pb::PromptFilter { metadata: vec![condition("user.plan", r#""plan1""#)], ..none() },
        pb::PromptFilter { metadata: vec![condition("n", "3")], ..none() },
    ]
}

/// What both ask.
fn both(one: &pb::PromptFilter, other: &pb::PromptFilter) -> pb::PromptFilter {
    let text = |one: &String, other: &String| if one.is_empty() { other.clone() } else { one.clone() };
    pb::PromptFilter {
        backend: text(&one.backend, &other.backend),
        model: text(&one.model, &other.model),
        framework: text(&one.framework, &other.framework),
        provider: text(&one.provider, &other.provider),
        conversation_id: text(&one.conversation_id, &other.conversation_id),
        tags: [one.tags.clone(), other.tags.clone()].concat(),
        status: one.status.max(other.status),
        start_time: one.start_time.or(other.start_time),
        end_time: one.end_time.or(other.end_time),
        confidence_min: one.confidence_min.or(other.confidence_min),
        confidence_max: one.confidence_max.or(other.confidence_max),
        latency_min: one.latency_min.or(other.latency_min),
        latency_max: one.latency_max.or(other.latency_max),
        metadata: [one.metadata.clone(), other.metadata.clone()].concat(),
    }
}

#[tokio::test]
async fn filters_combine_and_take_what_they_say() {
    let (pannier, ids) = varied_prompts().await;
    let singles = single_filters();
    let mut found_some = 0;
    for (index, one) in singles.iter().enumerate() {
        for other in &singles[index..] {
            let filter = both(one, other);
            if filter.confidence_min > filter.confidence_max && filter.confidence_max.is_some() {
                continue;
            }
            let expected: Vec<i64> =
                (0..COUNT).filter(|i| takes(&filter, &varied(*i))).map(|i| ids[i as usize]).collect();
            found_some += usize::from(!expected.is_empty());
            assert_eq!(pannier.filtered(filter.clone()).await, expected, "{filter:?}");
        }
    }
    assert!(found_some > 100, "{found_some}");
    for unknown in [
        pb::PromptFilter { backend: "b9".into(), ..Default::default() },
        pb::PromptFilter { conversation_id: "c9".into(), ..Default::default() },
        pb::PromptFilter { tags: vec!["t9".into()], ..Default::default() },
    ] {
        assert_eq!(pannier.filtered(unknown).await, [0_i64; 0]);
    }
}

#[tokio::test]
async fn every_order_is_whole_and_pages_of_any_size_are_its_pieces() {
    let (pannier, ids_of) = varied_prompts().await;
    let all: Vec<(i64, pb::NewPrompt)> = (0..COUNT).map(|i| (ids_of[i as usize], varied(i))).collect();
    let latency = |new: &pb::NewPrompt| new.latency.map(|time| (time.seconds, time.nanos));
    use pb::PromptOrder as O;
    for order in [
        O::Unspecified,
        O::NewestFirst,
        O::OldestFirst,
        O::SlowestFirst,
        O::FastestFirst,
        O::MostConfidentFirst,
        O::LeastConfidentFirst,
    ] {
        let mut expected = all.clone();
        match order {
            O::SlowestFirst | O::FastestFirst => {
                expected.retain(|(_, new)| new.latency.is_some());
                expected.sort_by_key(|(id, new)| (latency(new), *id));
            }
            O::MostConfidentFirst | O::LeastConfidentFirst => {
                expected.retain(|(_, new)| new.confidence.is_some());
                expected.sort_by(|(one, a), (other, b)| {
                    a.confidence.partial_cmp(&b.confidence).unwrap().then(one.cmp(other))
                });
            }
            _ => {}
        }
        if !matches!(order, O::OldestFirst | O::FastestFirst | O::LeastConfidentFirst) {
            expected.reverse();
        }
        let expected: Vec<i64> = expected.into_iter().map(|(id, _)| id).collect();
        for page_size in [0, 1, 7, 128, 1_000] {
            if page_size == 1 && !matches!(order, O::NewestFirst | O::SlowestFirst | O::LeastConfidentFirst) {
                continue;
            }
            let request = pb::ListRequest { order: order.into(), page_size, ..Default::default() };
            let pages = pannier.prompt_pages(request).await;
            let rows = match page_size {
                0 => 100,
                size => usize::try_from(size).unwrap(),
            };
            assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == rows), "{order:?} {page_size}");
            assert_eq!(ids(&pages.concat()), expected, "{order:?} {page_size}");
        }
    }
}

#[tokio::test]
async fn orders_by_value_keep_the_filter() {
    let (pannier, ids_of) = varied_prompts().await;
    for order in [pb::PromptOrder::SlowestFirst, pb::PromptOrder::MostConfidentFirst] {
        for filter in single_filters() {
            let mut expected: Vec<i64> = (0..COUNT)
                .filter(|i| takes(&filter, &varied(*i)))
                .filter(|i| match order {
                    pb::PromptOrder::SlowestFirst => varied(*i).latency.is_some(),
                    _ => varied(*i).confidence.is_some(),
                })
                .map(|i| ids_of[i as usize])
                .collect();
            let request =
                pb::ListRequest { filter: Some(filter.clone()), order: order.into(), ..Default::default() };
            let mut found = ids(&pannier.list_prompts(request).await);
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{order:?} {filter:?}");
        }
    }
}

#[tokio::test]
async fn many_prompts_of_one_moment_are_listed_each_once() {
    let pannier = pannier().await;
    let same = |i: i64| pb::NewPrompt { latency: ms(5), confidence: Some(0.5), ..prompt_at("a", i / 400) };
    let mut expected = pannier.save_all((0..1_000).map(same).collect()).await;
    expected.reverse();
    for order in
        [pb::PromptOrder::NewestFirst, pb::PromptOrder::SlowestFirst, pb::PromptOrder::MostConfidentFirst]
    {
        let request = pb::ListRequest { order: order.into(), page_size: 90, ..Default::default() };
        assert_eq!(ids(&pannier.list_prompts(request).await), expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_rows_and_the_list_goes_on() {
    let pannier = pannier_with(|settings| settings.prompts.scan_rows_max = 100).await;
    let all = (0..600).map(|i| pb::NewPrompt { confidence: Some(i as f64 / 600.0), ..prompt_at("a", i) });
    let all = all.collect();
    let ids_of = pannier.save_all(all).await;
    let filter = Some(pb::PromptFilter { confidence_max: Some(0.0), ..Default::default() });
    let pages = pannier.prompt_pages(pb::ListRequest { filter, ..Default::default() }).await;
    assert!(pages.len() >= 4, "{}", pages.len());
    assert!(pages[0].is_empty());
    assert_eq!(ids(&pages.concat()), [ids_of[0]]);
}

#[tokio::test]
async fn a_token_of_another_query_is_refused() {
    let pannier = pannier().await;
    pannier.save_all((0..10).map(|i| prompt_at("a", i)).collect()).await;
    let list = pb::ListRequest { page_size: 3, ..Default::default() };
    let token = pannier.prompts().list(list.clone()).await.unwrap().into_inner().next_page_token;
    let with = |token: &str| pb::ListRequest { page_token: token.to_owned(), ..list.clone() };
    pannier.prompts().list(with(&token)).await.unwrap();
    let filter = Some(pb::PromptFilter { backend: "anthropic".into(), ..Default::default() });
    let mut refused = Vec::new();
    for other in [
        pb::ListRequest { filter, ..with(&token) },
        pb::ListRequest { order: pb::PromptOrder::OldestFirst.into(), ..with(&token) },
        pb::ListRequest { order: pb::PromptOrder::MostConfidentFirst.into(), ..with(&token) },
        with(&token[1..]),
        with("x"),
    ] {
        refused.push(pannier.prompts().list(other).await.unwrap_err());
    }
    let export = pb::ExportRequest { page_token: token.clone(), ..Default::default() };
    refused.push(pannier.prompts().export(export).await.unwrap_err());
    let conversations = pb::ListConversationsRequest { page_token: token, ..Default::default() };
    refused.push(pannier.prompts().list_conversations(conversations).await.unwrap_err());
    for status in refused {
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn what_is_saved_or_deleted_between_pages_moves_nothing_else() {
    let pannier = pannier().await;
    let ids_of = pannier.save_all((0..20).map(|i| prompt_at("a", i)).collect()).await;
    let list = pb::ListRequest { page_size: 10, ..Default::default() };
    let first = pannier.prompts().list(list.clone()).await.unwrap().into_inner();
    // The last one of the page, one of the next page, and a new one at the front.
    pannier.delete_prompt(ids_of[10]).await;
    pannier.delete_prompt(ids_of[5]).await;
    pannier.save(prompt_at("new", 100)).await;
    let next = pb::ListRequest { page_token: first.next_page_token, ..list };
    let next = pannier.prompts().list(next).await.unwrap().into_inner();
    let expected: Vec<i64> = [9, 8, 7, 6, 4, 3, 2, 1, 0].iter().map(|i| ids_of[*i]).collect();
    assert_eq!(ids(&next.prompts), expected);
    assert_eq!(next.next_page_token, "");
}

#[tokio::test]
async fn bodies_are_listed_when_they_are_asked_for() {
    let pannier = pannier().await;
    pannier.save(new_prompt("a")).await;
    let listed = pannier.list_prompts(pb::ListRequest::default()).await;
    assert_eq!((listed[0].body.as_ref(), listed[0].has_body), (None, true));
    let listed = pannier.list_prompts(pb::ListRequest { with_bodies: true, ..Default::default() }).await;
    assert_eq!(listed[0].body.as_ref().unwrap().idea, "a");
}
