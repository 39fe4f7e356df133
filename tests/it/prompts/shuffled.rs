//! The same batch in another order by each of many callers: none waits for long, and none sees a deadlock.

use std::time::Duration;

use pannier::clock::instant;
use pannier_proto::prompts::v1 as pb;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use tokio::task::JoinSet;

use super::calls::new_prompt;
use crate::harness::{Pannier, pannier};

const CALLERS: u64 = 8;
const ROUNDS: u64 = 5;
const ITEMS: u64 = 40;

/// The numbers below `count`, in an order that `seed` says.
fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..count).collect();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for at in (1..all.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.swap(at, usize::try_from(state % (at as u64 + 1)).unwrap());
    }
    all
}

/// A prompt whose key, names and conversation every caller saves.
fn keyed(round: u64, number: u64) -> pb::NewPrompt {
    pb::NewPrompt {
        import_key: format!("{round}/{number}"),
        backend: format!("b{round}/{}", number % 7),
        model: format!("m{round}/{number}"),
        conversation_id: if number.is_multiple_of(2) { format!("c{}", number % 5) } else { String::new() },
        ..new_prompt(&number.to_string())
    }
}

/// Has all callers run at once; the longest call of each.
async fn longest<F, R>(pannier: &Pannier, run: F) -> Duration
where
    F: Fn(PromptsServiceClient<tonic::transport::Channel>, u64) -> R,
    R: Future<Output = Duration> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = PromptsServiceClient::new(pannier.another_connection().await);
        callers.spawn(run(client, caller));
    }
    callers.join_all().await.into_iter().max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_keys_are_saved_in_any_order_at_once() {
    let pannier = pannier().await;
    let save = |mut client: PromptsServiceClient<_>, caller: u64| async move {
        let mut longest = Duration::ZERO;
        for round in 0..ROUNDS {
            let order = shuffled(ITEMS, caller * 100 + round);
            let prompts = order.iter().map(|number| keyed(round, *number)).collect();
            let began = instant();
            let request = pb::BatchSaveRequest { prompts, ..Default::default() };
            let saved = client.batch_save(request).await.unwrap().into_inner().results;
            longest = longest.max(began.elapsed());
            let prompt_ids: Vec<i64> = saved.iter().map(|result| result.prompt_id).collect();
            let request = pb::BatchGetRequest { prompt_ids, without_bodies: true };
            let read = client.batch_get(request).await.unwrap().into_inner().prompts;
            let keys: Vec<String> = read.into_iter().map(|prompt| prompt.import_key).collect();
            let expected: Vec<String> = order.iter().map(|number| format!("{round}/{number}")).collect();
            assert_eq!(keys, expected, "results stand in the order of the request");
        }
        longest
    };
    let longest = longest(&pannier, save).await;
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert_eq!(pannier.row_count("prompts").await, i64::try_from(ROUNDS * ITEMS).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_prompts_are_deleted_in_any_order_at_once() {
    let pannier = pannier().await;
    let ids = pannier.save_all((0..ITEMS).map(|number| keyed(0, number)).collect()).await;
    let delete = |mut client: PromptsServiceClient<_>, caller: u64| {
        let prompt_ids =
            shuffled(ITEMS, caller).iter().map(|at| ids[usize::try_from(*at).unwrap()]).collect();
        async move {
            let began = instant();
            client.batch_delete(pb::BatchDeleteRequest { prompt_ids, ..Default::default() }).await.unwrap();
            began.elapsed()
        }
    };
    let longest = longest(&pannier, delete).await;
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert_eq!(pannier.row_count("prompts").await, 0);
    assert_eq!(pannier.row_count("prompt_conversations").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_prompts_are_scored_in_any_order_at_once() {
    let pannier = pannier().await;
    let ids = pannier.save_all((0..ITEMS).map(|number| keyed(0, number)).collect()).await;
    let score = |mut client: PromptsServiceClient<_>, caller: u64| {
        let of = |at: u64| pb::PromptScoring {
            prompt_id: ids[usize::try_from(at).unwrap()],
            set: vec![super::calls::number(&format!("s{caller}"), 1.0)],
            ..Default::default()
        };
        let items: Vec<_> = shuffled(ITEMS, caller).into_iter().map(of).collect();
        async move {
            let began = instant();
            let request = pb::BatchScoreRequest { items, ..Default::default() };
            let results = client.batch_score(request).await.unwrap().into_inner().results;
            assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
            began.elapsed()
        }
    };
    let longest = longest(&pannier, score).await;
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    for prompt in pannier.list_prompts(pb::ListRequest::default()).await {
        assert_eq!(prompt.scores.len(), usize::try_from(CALLERS).unwrap());
    }
}
