//! Unique keys: a task that is there already is not added again.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;

use super::calls::{completed, failed, item, seconds};
use crate::harness::{Pannier, pannier, pannier_with};

fn unique(key: &str) -> pb::Unique {
    pb::Unique { key: key.into(), ..Default::default() }
}

fn with(unique: pb::Unique) -> pb::EnqueueItem {
    pb::EnqueueItem { unique: Some(unique), ..item("a") }
}

async fn add(pannier: &Pannier, unique: pb::Unique) -> (i64, bool, TaskState) {
    let enqueued = pannier.try_enqueue("", with(unique)).await.unwrap();
    (enqueued.task_id, enqueued.duplicate, enqueued.state())
}

#[tokio::test]
async fn a_task_like_one_that_is_unfinished_is_not_added() {
    let pannier = pannier().await;
    let (id, is_duplicate, _) = add(&pannier, unique("k")).await;
    assert!(!is_duplicate);
    assert_eq!(add(&pannier, unique("k")).await, (id, true, TaskState::Queued));
    assert!(!add(&pannier, unique("l")).await.1, "another key");
    let other = pannier.try_enqueue("other", with(unique("k"))).await.unwrap();
    assert!(!other.duplicate, "another queue");
    let other_type = pb::EnqueueItem { r#type: "b".into(), ..with(unique("k")) };
    assert!(pannier.try_enqueue("", other_type).await.unwrap().duplicate, "whatever the type");
    let task = pannier.claim_one().await;
    assert_eq!(add(&pannier, unique("k")).await, (id, true, TaskState::Claimed));
    pannier.tell(&task, completed()).await;
    let (next, is_duplicate, _) = add(&pannier, unique("k")).await;
    assert!(!is_duplicate && next != id);
    assert_eq!(add(&pannier, unique("k")).await, (next, true, TaskState::Queued));
}

#[tokio::test]
async fn the_states_that_stand_in_the_way_can_be_said() {
    let pannier = pannier().await;
    let states = |states: &[TaskState]| pb::Unique {
        states: states.iter().map(|state| *state as i32).collect(),
        ..unique("k")
    };
    let (id, ..) = add(&pannier, unique("k")).await;
    let task = pannier.claim_one().await;
    let (second, is_duplicate, _) = add(&pannier, states(&[TaskState::Queued])).await;
    assert!(!is_duplicate, "the first is claimed");
    pannier.cancel(second).await;
    pannier.tell(&task, completed()).await;
    assert_eq!(
        add(&pannier, states(&[TaskState::Completed, TaskState::Cancelled])).await,
        (second, true, TaskState::Cancelled),
        "the latest is named, not {id}"
    );
}

#[tokio::test]
async fn a_period_bounds_for_how_long_a_task_stands_in_the_way() {
    let pannier = pannier().await;
    let all = [TaskState::Queued, TaskState::Claimed, TaskState::Completed];
    let for_a_minute = || pb::Unique {
        states: all.iter().map(|state| *state as i32).collect(),
        period: Some(seconds(60)),
        ..unique("k")
    };
    let (id, ..) = add(&pannier, for_a_minute()).await;
    let task = pannier.claim_one().await;
    pannier.tell(&task, completed()).await;
    pannier.advance_s(59);
    assert_eq!(add(&pannier, for_a_minute()).await, (id, true, TaskState::Completed));
    pannier.advance_s(1);
    assert!(!add(&pannier, for_a_minute()).await.1);
}

#[tokio::test]
async fn of_two_alike_in_one_batch_the_first_is_added() {
    let pannier = pannier().await;
    let request = pb::BatchEnqueueRequest {
        items: vec![with(unique("k")), with(unique("k")), with(unique("l"))],
        ..Default::default()
    };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    let enqueued: Vec<pb::Enqueued> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            pb::batch_enqueue_result::Outcome::Enqueued(enqueued) => enqueued,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(enqueued.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(enqueued[0].task_id, enqueued[1].task_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_callers_at_once_one_adds_the_task() {
    let pannier = pannier().await;
    let callers: Vec<_> = (0..40)
        .map(|number| {
            let mut queue = pannier.queue();
            let item = Some(with(unique(&format!("k{}", number % 4))));
            let request = pb::EnqueueRequest { item, ..Default::default() };
            tokio::spawn(async move { queue.enqueue(request).await.unwrap().into_inner().enqueued.unwrap() })
        })
        .collect();
    let mut added = 0;
    for caller in callers {
        added += i32::from(!caller.await.unwrap().duplicate);
    }
    assert_eq!(added, 4);
    assert_eq!(pannier.claim(&[], 100).await.len(), 4);
}

#[tokio::test]
async fn a_key_goes_with_its_task() {
    let pannier = pannier_with(|settings| settings.queue.retention_ms = 1_000).await;
    add(&pannier, unique("k")).await;
    let task = pannier.claim_one().await;
    pannier.tell(&task, completed()).await;
    pannier.sweep_until(|pannier| async move { pannier.try_task(task.id).await.is_err() }).await;
    assert_eq!(pannier.row_count("queue_uniques").await, 0);
    assert!(!add(&pannier, unique("k")).await.1);
}

#[tokio::test]
async fn every_task_of_the_key_stands_in_the_way_not_only_the_latest() {
    let pannier = pannier().await;
    let later = pb::enqueue_item::When::Delay(seconds(500));
    let scheduled = pb::EnqueueItem { when: Some(later), ..with(unique("k")) };
    let first = pannier.enqueue(scheduled).await;
    let queued = pb::Unique { states: vec![TaskState::Queued.into()], ..unique("k") };
    let (second, is_duplicate, _) = add(&pannier, queued).await;
    assert!(!is_duplicate, "the first is scheduled");
    let task = pannier.claim_one().await;
    pannier.tell(&task, completed()).await;
    assert_eq!(pannier.state_of(second).await, TaskState::Completed);
    assert_eq!(add(&pannier, unique("k")).await, (first, true, TaskState::Scheduled));
}

/// Dead tasks of one key, the oldest first.
async fn dead(pannier: &Pannier, key: &str, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let item = pb::EnqueueItem { max_retries: Some(0), ..with(unique(key)) };
        ids.push(pannier.enqueue(item).await);
        let task = pannier.claim_one().await;
        pannier.tell(&task, failed("e")).await;
        pannier.advance_s(1);
    }
    ids
}

async fn retry(pannier: &Pannier, task_ids: &[i64]) -> Vec<Result<TaskState, (ErrorReason, String)>> {
    let request = pb::RetryRequest { task_ids: task_ids.to_vec(), ..Default::default() };
    let results = pannier.queue().retry(request).await.unwrap().into_inner().results;
    let of = |result: pb::TaskResult| match result.result.unwrap() {
        pb::task_result::Result::State(state) => Ok(TaskState::try_from(state).unwrap()),
        pb::task_result::Result::Error(error) => Err((error.reason(), error.message)),
    };
    results.into_iter().map(of).collect()
}

#[tokio::test]
async fn a_retry_beside_an_unfinished_task_of_its_key_is_refused_and_names_it() {
    let pannier = pannier().await;
    let ids = dead(&pannier, "k", 2).await;
    let (live, ..) = add(&pannier, unique("k")).await;
    let results = retry(&pannier, &ids).await;
    for result in &results {
        let (reason, message) = result.as_ref().unwrap_err();
        assert_eq!(*reason, ErrorReason::TaskDuplicate);
        assert!(message.contains(&format!("task {live} ")), "{message}");
    }
    pannier.cancel(live).await;
    let results = retry(&pannier, &ids).await;
    assert_eq!(results[0], Ok(TaskState::Queued));
    let (_, message) = results[1].as_ref().unwrap_err();
    assert!(message.contains(&format!("task {} ", ids[0])), "{message}");
    assert_eq!(pannier.claim(&[], 5).await.len(), 1);
}

#[tokio::test]
async fn a_redrive_queues_the_oldest_of_each_key_and_counts_the_others() {
    let pannier = pannier().await;
    let of_k = dead(&pannier, "k", 3).await;
    let of_l = dead(&pannier, "l", 2).await;
    let (live, ..) = add(&pannier, unique("l")).await;
    let mut request = pb::RedriveRequest { max_tasks: 2, ..Default::default() };
    let mut answers = Vec::new();
    loop {
        let answer = pannier.queue().redrive(request.clone()).await.unwrap().into_inner();
        answers.push((answer.redriven_count, answer.skipped_count));
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(answers, [(1, 1), (0, 2), (0, 1)]);
    let mut claimed: Vec<i64> = pannier.claim(&[], 9).await.iter().map(|task| task.id).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, [of_k[0], live]);
    for id in of_k[1..].iter().chain(&of_l) {
        assert_eq!(pannier.state_of(*id).await, TaskState::Failed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_the_same_keys_in_any_order_do_not_wait_for_each_other() {
    let pannier = pannier().await;
    let callers: Vec<_> = (0..8_usize)
        .map(|caller| {
            let mut queue = pannier.queue();
            let items = (0..40).map(|number| with(unique(&format!("k{}", (number * 7 + caller * 11) % 40))));
            let request = pb::BatchEnqueueRequest { items: items.collect(), ..Default::default() };
            tokio::spawn(async move { queue.batch_enqueue(request).await.unwrap().into_inner().results })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().len(), 40);
    }
    assert_eq!(pannier.claim(&[], 100).await.len(), 40, "each key once");
}
