//! Watch: tasks as they are, then with each change, until all have ended; and again from where it broke off.

use std::collections::HashMap;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::{Code, Streaming};

use super::calls::{failed, item, seconds};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

async fn watch(
    pannier: &Pannier,
    task_ids: &[i64],
    etags: &HashMap<i64, String>,
) -> Streaming<pb::WatchResponse> {
    let request = pb::WatchRequest { task_ids: task_ids.to_vec(), etags: etags.clone(), interval_min: None };
    pannier.queue().watch(request).await.unwrap().into_inner()
}

/// The next message: the task and its state.
async fn next(stream: &mut Streaming<pb::WatchResponse>) -> (i64, TaskState) {
    let message = stream.message().await.unwrap().expect("a message");
    (message.task_id, message.task.expect("a task").state())
}

#[tokio::test]
async fn each_task_is_sent_as_it_is_and_with_every_change_until_all_have_ended() {
    let pannier = pannier().await;
    let ids = pannier
        .enqueue_all(vec![pb::EnqueueItem { parameters_json: "1".into(), ..item("a") }, item("b")])
        .await;
    let mut stream = watch(&pannier, &ids, &HashMap::new()).await;
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.task_id, first.task.unwrap().parameters_json.as_str()), (ids[0], ""));
    assert_eq!(next(&mut stream).await, (ids[1], TaskState::Queued));
    let tasks = pannier.claim(&[], 2).await;
    pannier.advance_s(1);
    assert_eq!(next(&mut stream).await, (ids[0], TaskState::Claimed));
    assert_eq!(next(&mut stream).await, (ids[1], TaskState::Claimed));
    let complete = pb::CompleteOutcome { result_json: "[7]".into() };
    pannier.tell(&tasks[0], pb::outcome::What::Complete(complete)).await;
    pannier.advance_s(1);
    let done = stream.message().await.unwrap().unwrap().task.unwrap();
    assert_eq!((done.id, done.result_json.as_str(), done.state()), (ids[0], "[7]", TaskState::Completed));
    pannier.tell(&tasks[1], failed("e")).await;
    pannier.advance_s(1);
    let again = stream.message().await.unwrap().unwrap().task.unwrap();
    assert_eq!((again.id, again.error.as_str()), (ids[1], "e"));
    pannier.cancel(ids[1]).await;
    pannier.advance_s(1);
    assert_eq!(next(&mut stream).await, (ids[1], TaskState::Cancelled));
    assert_eq!(stream.message().await.unwrap(), None, "all have ended");
}

#[tokio::test]
async fn a_watch_goes_on_from_the_etags_that_came() {
    let pannier = pannier().await;
    let ids = pannier.enqueue_all(vec![item("a"); 3]).await;
    let held = pannier.claim_one().await;
    pannier.try_complete(&held).await.unwrap();
    let mut stream = watch(&pannier, &ids, &HashMap::new()).await;
    let mut etags = HashMap::new();
    for _ in 0..3 {
        let message = stream.message().await.unwrap().unwrap();
        etags.insert(message.task_id, message.etag);
    }
    drop(stream);
    pannier.cancel(ids[1]).await;
    let mut stream = watch(&pannier, &ids, &etags).await;
    assert_eq!(next(&mut stream).await, (ids[1], TaskState::Cancelled), "the others have not changed");
    pannier.cancel(ids[2]).await;
    pannier.advance_s(1);
    assert_eq!(next(&mut stream).await, (ids[2], TaskState::Cancelled));
    assert_eq!(stream.message().await.unwrap(), None, "the end of the first was known");
}

#[tokio::test]
async fn a_task_that_is_not_there_is_sent_as_missing() {
    let pannier = pannier().await;
    let mut stream = watch(&pannier, &[99], &HashMap::new()).await;
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!((message.task_id, message.missing, message.task), (99, true, None));
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn watches_and_their_tasks_are_bounded() {
    let pannier = pannier_with(|settings| {
        settings.queue.watches_max = 1;
        settings.queue.watch_tasks_max = 2;
    })
    .await;
    let ids = pannier.enqueue_all(vec![item("a"); 3]).await;
    let request = |task_ids: &[i64]| pb::WatchRequest {
        task_ids: task_ids.to_vec(),
        interval_min: Some(seconds(1)),
        ..Default::default()
    };
    let status = pannier.queue().watch(request(&ids)).await.err().unwrap();
    assert_eq!(crate::harness::violated_fields(&status), ["task_ids"]);
    let _first = pannier.queue().watch(request(&ids[..2])).await.unwrap();
    let status = pannier.queue().watch(request(&ids[..2])).await.err().unwrap();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
}
