//! Durability, per queue and per call.

use pannier_proto::durability::v1::Durability;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;

use super::calls::{claiming, item, outcome, released};
use crate::harness::{pannier, violated_fields};

#[tokio::test]
async fn a_queue_has_a_durability_and_every_call_may_have_another() {
    let pannier = pannier().await;
    let queue = pb::Queue { durability: Durability::Relaxed.into(), ..Default::default() };
    assert_eq!(pannier.update_queue(queue, &["durability"]).await.durability(), Durability::Relaxed);
    for durability in [Durability::Unspecified, Durability::Full, Durability::Relaxed] {
        let durability = durability.into();
        let request = pb::EnqueueRequest { item: Some(item("a")), durability, ..Default::default() };
        let id = pannier.queue().enqueue(request).await.unwrap().into_inner().enqueued.unwrap().task_id;
        let request = pb::ClaimRequest { claiming: Some(claiming(&[], 1)), durability, ..Default::default() };
        let task = pannier.queue().claim(request).await.unwrap().into_inner().tasks.remove(0);
        let outcomes = vec![outcome(&task, released())];
        let request = pb::ExchangeRequest {
            outcomes,
            claiming: Some(claiming(&[], 1)),
            durability,
            ..Default::default()
        };
        let task = pannier.queue().exchange(request).await.unwrap().into_inner().tasks.remove(0);
        let request =
            pb::CompleteRequest { task_id: id, token: task.token, durability, ..Default::default() };
        pannier.queue().complete(request).await.unwrap();
    }
    let pannier = pannier.restart().await;
    assert_eq!(pannier.list(TaskState::Completed).await.len(), 3);
    let request = pb::GetQueueRequest::default();
    let queue = pannier.queue().get_queue(request).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(queue.durability(), Durability::Relaxed);
}

#[tokio::test]
async fn unknown_durabilities_are_refused_by_every_call() {
    let pannier = pannier().await;
    let mut queue = pannier.queue();
    let durability = 9;
    let refused = [
        queue
            .enqueue(pb::EnqueueRequest { item: Some(item("a")), durability, ..Default::default() })
            .await
            .err(),
        queue
            .claim(pb::ClaimRequest { claiming: Some(claiming(&[], 1)), durability, ..Default::default() })
            .await
            .err(),
        queue.exchange(pb::ExchangeRequest { durability, ..Default::default() }).await.err(),
        queue.release(pb::ReleaseRequest { durability, ..Default::default() }).await.err(),
        queue.cancel(pb::CancelRequest { task_ids: vec![1], durability, ..Default::default() }).await.err(),
        queue.retry(pb::RetryRequest { task_ids: vec![1], durability, ..Default::default() }).await.err(),
    ];
    for status in refused {
        assert_eq!(violated_fields(&status.unwrap()), ["durability"]);
    }
}
