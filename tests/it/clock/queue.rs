//! The queue: leases, delays, rates and retention run on the steady clock.

use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;

use super::{step, steps, until};
use crate::harness::{pannier, pannier_with};
use crate::queue::calls::{failed, item, seconds};

#[tokio::test]
async fn a_delay_lasts_its_time() {
    for at in steps() {
        let mut pannier = pannier().await;
        let delay = Some(pb::enqueue_item::When::Delay(seconds(2)));
        let delayed = pannier.enqueue(pb::EnqueueItem { when: delay, ..item("a") }).await;
        pannier.enqueue(item("b")).await;
        let task = pannier.claim(&["b"], 1).await.remove(0);
        pannier.tell(&task, failed("again")).await;
        pannier = step(pannier, at).await;
        pannier.advance_s(4);
        let mut ids: Vec<i64> = pannier.claim(&[], 5).await.iter().map(|task| task.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [delayed, task.id], "{at:?}");
    }
}

#[tokio::test]
async fn a_key_whose_rate_is_used_up_is_claimed_again_after_its_time() {
    for at in steps() {
        let mut pannier = pannier().await;
        let limits = pb::KeyLimits { claims_max: 1, claims_period: Some(seconds(60)), ..Default::default() };
        let queue = pb::Queue { key_limits: Some(limits), ..Default::default() };
        pannier.update_queue(queue, &["key_limits"]).await;
        for _ in 0..2 {
            pannier.enqueue(pb::EnqueueItem { limit_key: "k".into(), ..item("a") }).await;
        }
        assert_eq!(pannier.claim(&[], 5).await.len(), 1);
        assert!(pannier.claim(&[], 5).await.is_empty());
        pannier = step(pannier, at).await;
        pannier.advance_s(61);
        assert_eq!(pannier.claim(&[], 5).await.len(), 1, "{at:?}");
    }
}

#[tokio::test]
async fn dead_letters_are_kept_for_their_retention_and_then_removed() {
    for at in steps() {
        let mut pannier = pannier_with(|settings| settings.queue.failed_retention_ms = 2 * 86_400_000).await;
        let id = pannier.enqueue(item("a")).await;
        let task = pannier.claim_one().await;
        let fail = pb::FailOutcome { r#final: true, ..Default::default() };
        pannier.tell(&task, pb::outcome::What::Fail(fail)).await;
        pannier = step(pannier, at).await;
        for _ in 0..12 {
            pannier.advance_s(3_600);
            pannier.let_arrive().await;
        }
        assert_eq!(pannier.state_of(id).await, TaskState::Failed, "half a day old: {at:?}");
        pannier.advance_s(2 * 86_400);
        until(&pannier, "the task is removed", async || pannier.try_task(id).await.is_err()).await;
    }
}

#[tokio::test]
async fn tasks_are_claimed_in_the_order_in_which_they_came() {
    for at in steps() {
        let mut pannier = pannier().await;
        let first = pannier.enqueue(item("a")).await;
        pannier = step(pannier, at).await;
        let second = pannier.enqueue(item("a")).await;
        let order: Vec<i64> = pannier.claim(&[], 5).await.iter().map(|task| task.id).collect();
        assert_eq!(order, [first, second], "{at:?}");
    }
}

#[tokio::test]
async fn workers_of_a_process_that_was_paused_get_the_time_that_a_start_gives() {
    let pannier = pannier().await;
    pannier.enqueue(item("a")).await;
    let worker = pannier.worker("w").await;
    let task = pannier.claim_for(worker).await.unwrap();
    pannier.clock.pause(std::time::Duration::from_secs(18));
    pannier.let_arrive().await;
    assert!(pannier.claim(&[], 1).await.is_empty());
    pannier.beat(worker).await;
    pannier.try_complete(&task).await.unwrap();
    // A worker that is really gone is given up after its timeout.
    pannier.enqueue(item("a")).await;
    pannier.claim_for(worker).await.unwrap();
    pannier.clock.pause(std::time::Duration::from_secs(18));
    pannier.advance_s(15);
    assert_eq!(pannier.claim(&[], 1).await.len(), 1);
}
