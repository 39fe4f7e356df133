//! Many at once, through connections of their own and on PostgreSQL through sidecars of their own.

use std::collections::BTreeSet;

use pannier_proto::prompts::v1 as pb;
use pannier_proto::prompts::v1::prompts_service_client::PromptsServiceClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::calls::{ids, new_prompt};
use crate::harness::{Pannier, is_postgres, pannier};

const CALLERS: i64 = 8;
const ROUNDS: i64 = 12;

/// Clients of their own, on PostgreSQL of two sidecars.
async fn clients(pannier: &Pannier) -> (Vec<PromptsServiceClient<Channel>>, Option<Pannier>) {
    let other = if is_postgres() { Some(pannier.beside().await) } else { None };
    let mut clients = Vec::new();
    for caller in 0..CALLERS {
        let of = other.as_ref().filter(|_| caller % 2 == 1).unwrap_or(pannier);
        clients.push(PromptsServiceClient::new(of.another_connection().await));
    }
    (clients, other)
}

/// A prompt whose names, conversation and key others use at the same time.
fn contested(caller: i64, round: i64) -> pb::NewPrompt {
    pb::NewPrompt {
        backend: format!("b{}", round % 3),
        model: format!("m{round}"),
        conversation_id: format!("c{}", (caller + round) % 3),
        import_key: format!("k{}", round * 10 + caller / 2),
        ..new_prompt(&format!("{caller}/{round}"))
    }
}

#[tokio::test]
async fn what_is_saved_and_deleted_at_once_adds_up() {
    let pannier = pannier().await;
    let (clients, _other) = clients(&pannier).await;
    let mut callers = JoinSet::new();
    for (caller, mut client) in (0..).zip(clients) {
        callers.spawn(async move {
            let mut own = BTreeSet::new();
            for round in 0..ROUNDS {
                // In another order each: conversations and keys are met crosswise.
                let mut prompts: Vec<_> =
                    (0..4).map(|i| contested(caller, (round + i * caller) % ROUNDS)).collect();
                prompts.rotate_left(usize::try_from(caller % 4).unwrap());
                let request = pb::BatchSaveRequest { prompts, ..Default::default() };
                let saved = client.batch_save(request).await.unwrap().into_inner();
                let new = saved.results.iter().filter(|result| !result.existed);
                own.extend(new.map(|result| result.prompt_id));
                if round % 3 == 2 {
                    let prompt_ids: Vec<i64> = own.iter().rev().step_by(2).copied().collect();
                    if !prompt_ids.is_empty() {
                        own.retain(|id| !prompt_ids.contains(id));
                        let request =
                            pb::BatchDeleteRequest { prompt_ids: prompt_ids.clone(), ..Default::default() };
                        let deleted = client.batch_delete(request).await.unwrap().into_inner().deleted_count;
                        assert_eq!(deleted, i64::try_from(prompt_ids.len()).unwrap());
                    }
                }
            }
            own
        });
    }
    let mut left = BTreeSet::new();
    for own in callers.join_all().await {
        for id in own {
            assert!(left.insert(id), "{id} was saved twice");
        }
    }
    let listed = pannier.list_prompts(pb::ListRequest::default()).await;
    assert_eq!(ids(&listed).into_iter().collect::<BTreeSet<_>>(), left);
    let keys: BTreeSet<&str> = listed.iter().map(|prompt| prompt.import_key.as_str()).collect();
    assert_eq!(keys.len(), listed.len(), "a key was saved twice");
    let mut counted = 0;
    for (conversation, count, _, _) in pannier.conversations(0).await {
        let of = listed.iter().filter(|prompt| prompt.conversation_id == conversation).count();
        assert_eq!(count, i64::try_from(of).unwrap(), "{conversation}");
        counted += of;
    }
    assert_eq!(counted, listed.len());
}

#[tokio::test]
async fn marks_of_one_prompt_are_not_lost() {
    let pannier = pannier().await;
    let id = pannier.save(new_prompt("a")).await;
    let (clients, _other) = clients(&pannier).await;
    let mut callers = JoinSet::new();
    for (caller, mut client) in (0..).zip(clients) {
        callers.spawn(async move {
            for round in 0..4 {
                let tag = |round: i64| format!("t{}", caller * 10 + round);
                let request = pb::TagRequest {
                    prompt_id: id,
                    add: vec![tag(round)],
                    remove: if round > 0 { vec![tag(round - 1)] } else { Vec::new() },
                    ..Default::default()
                };
                client.tag(request).await.unwrap();
                let set = vec![super::calls::number(&tag(round), 1.0)];
                client.score(pb::ScoreRequest { prompt_id: id, set, ..Default::default() }).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let prompt = pannier.prompt(id).await;
    let mut expected: Vec<String> = (0..CALLERS).map(|caller| format!("t{}", caller * 10 + 3)).collect();
    expected.sort();
    assert_eq!(prompt.tags, expected);
    assert_eq!(prompt.scores.len(), usize::try_from(CALLERS * 4).unwrap());
}

#[tokio::test]
async fn pruning_and_deleting_at_once_counts_each_prompt_once() {
    let pannier = pannier().await;
    let saved = pannier.save_all((0..400).map(|i| super::calls::prompt_at("a", i)).collect()).await;
    let (clients, _other) = clients(&pannier).await;
    let mut callers = JoinSet::new();
    for (caller, mut client) in (0..).zip(clients) {
        let saved = saved.clone();
        callers.spawn(async move {
            if caller % 2 == 0 {
                let request = pb::PruneRequest { keep_newest: Some(100), ..Default::default() };
                return client.prune(request).await.unwrap().into_inner().pruned_count;
            }
            let mut deleted = 0;
            for chunk in saved[..300].chunks(50) {
                let request = pb::BatchDeleteRequest { prompt_ids: chunk.to_vec(), ..Default::default() };
                deleted += client.batch_delete(request).await.unwrap().into_inner().deleted_count;
            }
            deleted
        });
    }
    let gone: i64 = callers.join_all().await.into_iter().sum();
    assert_eq!(gone + pannier.row_count("prompts").await, 400);
    assert_eq!(pannier.filtered(pb::PromptFilter::default()).await, saved[300..]);
}
