//! Two sidecars on one database share the queues.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use super::calls::{claiming, completed, item, numbered, numbers, outcome, seconds, settled};
use super::keys::{at_once, keyed, keys, limit_all};
use super::request_id::waiting;
use crate::harness::{Pannier, assert_status, pannier};

async fn both() -> (Pannier, Pannier) {
    let first = pannier().await;
    let second = first.beside().await;
    (first, second)
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_claim_that_waits_at_one_gets_the_task_that_comes_to_the_other() {
    let (first, second) = both().await;
    // The second one's clock stands still: only the wake-up can end the wait.
    let waiter = second.waiter(pb::Claiming { wait: Some(seconds(60)), ..Default::default() }).await;
    let id = first.enqueue(item("a")).await;
    let task = waiter.await.unwrap().remove(0);
    assert_eq!(task.id, id);
    first.try_complete(&task).await.unwrap();
    assert_eq!(second.state_of(id).await, TaskState::Completed);
    let refused = second.try_complete(&task).await.unwrap_err();
    assert_status(&refused, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_worker_of_one_claims_beats_and_leaves_at_the_other() {
    let (first, second) = both().await;
    let worker_id = first.worker("w").await;
    let id = first.enqueue(item("a")).await;
    assert_eq!(second.claim_for(worker_id).await.unwrap().id, id);
    for _ in 0..5 {
        first.advance_s(13);
        second.advance_s(13);
        second.beat(worker_id).await;
    }
    assert_eq!(first.state_of(id).await, TaskState::Claimed);
    let leave = pb::UnregisterWorkerRequest { worker_id, ..Default::default() };
    second.queue().unregister_worker(leave).await.unwrap();
    assert_eq!(first.state_of(id).await, TaskState::Queued);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn what_one_pauses_or_limits_holds_for_the_other() {
    let (first, second) = both().await;
    second.enqueue_all((0..3).map(|number| keyed("a", "k", number)).collect()).await;
    limit_all(&first, at_once(1)).await;
    first.queue().pause(pb::PauseRequest::default()).await.unwrap();
    assert!(second.claim(&[], 10).await.is_empty());
    first.queue().resume(pb::ResumeRequest::default()).await.unwrap();
    let mut held = Vec::new();
    // The rules of a queue are known to the other by a wake-up, which may take a moment.
    while held.is_empty() {
        held = second.claim(&[], 10).await;
    }
    assert!(held.len() == 1 || held.len() == 3, "{held:?}");
    assert_eq!(keys(&first).await[0].held_count, held.len() as i64);
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_schedule_runs_once_though_both_see_that_it_is_time() {
    let (first, second) = both().await;
    let schedule = pb::Schedule {
        name: "s".into(),
        item: Some(numbered("a", 7)),
        cron: "* * * * *".into(),
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    first.queue().put_schedule(request).await.unwrap();
    for _ in 0..20 {
        first.advance_s(60);
        second.advance_s(60);
        let (one, other) = tokio::join!(first.claim(&[], 5), second.claim(&[], 5));
        let mut claimed: Vec<pb::Task> = one.into_iter().chain(other).collect();
        // Who found the other at work had nothing to claim yet.
        while claimed.is_empty() {
            claimed = second.claim(&[], 5).await;
        }
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        second.try_complete(&claimed[0]).await.unwrap();
        assert!(first.claim(&[], 5).await.is_empty());
    }
}

/// Claims over several types, outcomes and new tasks meet the keys in every order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn keys_in_every_order_lose_no_task_and_no_room() {
    const TASKS: i64 = 240;
    let (first, second) = both().await;
    limit_all(&first, at_once(2)).await;
    let workers: Vec<_> = (0..6_i64)
        .map(|worker| {
            let queue = if worker % 2 == 0 { first.queue() } else { second.queue() };
            let mine = (0..TASKS).filter(|number| number % 6 == worker).collect();
            tokio::spawn(add_and_work(queue, mine))
        })
        .collect();
    let mut seen = Vec::new();
    for worker in workers {
        seen.extend(worker.await.unwrap());
    }
    // What was in line while its key was locked elsewhere, or blocked at the end.
    loop {
        let rest = first.claim(&[], 100).await;
        if rest.is_empty() {
            break;
        }
        seen.extend(numbers(&rest));
        let outcomes = rest.iter().map(|task| outcome(task, completed())).collect();
        assert!(first.settle_all(outcomes).await.iter().all(|result| settled(result).is_ok()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..TASKS).collect::<Vec<_>>());
    assert!(keys(&first).await.iter().all(|key| key.held_count == 0));
}

/// Adds tasks of three types and six keys, those of every other caller from the last to the first, then works until nothing is
/// there for a while; answers with what it has worked on.
async fn add_and_work(mut queue: QueueServiceClient<Channel>, mine: Vec<i64>) -> Vec<i64> {
    for numbers in mine.chunks(8) {
        let kind = |number: i64| ["a", "b", "c"][usize::try_from(number % 3).unwrap()];
        let task = |number: i64| keyed(kind(number), &format!("k{}", number * 5 % 6), number);
        let mut items: Vec<_> = numbers.iter().map(|number| task(*number)).collect();
        if mine[0] % 2 == 0 {
            items.reverse();
        }
        queue.batch_enqueue(pb::BatchEnqueueRequest { items, ..Default::default() }).await.unwrap();
    }
    let (mut outcomes, mut seen, mut idle) = (Vec::new(), Vec::new(), 0);
    while idle < 20 {
        let claiming = Some(claiming(&[], 5));
        let request = pb::ExchangeRequest { outcomes, claiming, ..Default::default() };
        let answer = queue.exchange(request).await.unwrap().into_inner();
        assert!(answer.results.iter().all(|result| settled(result).is_ok()));
        idle = if answer.tasks.is_empty() { idle + 1 } else { 0 };
        seen.extend(numbers(&answer.tasks));
        outcomes = answer.tasks.iter().map(|task| outcome(task, completed())).collect();
    }
    seen
}

#[tokio::test]
#[ignore = "PostgreSQL alone: an SQLite file belongs to one process"]
async fn a_repeat_at_the_other_gets_the_same_tasks() {
    let (one, other) = both().await;
    let (first, second) = (waiting(&one).await, waiting(&other).await);
    let ids = one.enqueue_all(vec![item("a"), item("a")]).await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((&first, first[0].id), (&second, ids[0]));
    assert_eq!(one.list(TaskState::Claimed).await.len(), 1);
}
