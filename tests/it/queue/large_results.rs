//! A result that is too large: an error of its outcome alone, in every call that reports outcomes.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{completed, item, outcome, settled};
use super::work::{open, stream};
use crate::harness::{Pannier, assert_status, pannier_with};

async fn small() -> Pannier {
    pannier_with(|settings| settings.queue.result_bytes_max = 20).await
}

fn complete(bytes: usize) -> pb::CompleteOutcome {
    pb::CompleteOutcome { result_json: format!("\"{}\"", "x".repeat(bytes - 2)) }
}

fn what(bytes: usize) -> pb::outcome::What {
    pb::outcome::What::Complete(complete(bytes))
}

/// Asserts that the first outcome was refused for its size and the second recorded.
fn assert_first_too_large(results: &[pb::OutcomeResult]) {
    let refused = settled(&results[0]).unwrap_err();
    let Some(pb::outcome_result::Result::Error(error)) = refused.result else { panic!("{results:?}") };
    assert_eq!((error.code, error.reason()), (Code::ResourceExhausted as i32, ErrorReason::ResultTooLarge));
    for part in ["21", "20", "queue.result_bytes_max"] {
        assert!(error.message.contains(part), "{error:?}");
    }
    assert_eq!(settled(&results[1]).unwrap().state(), TaskState::Completed);
}

#[tokio::test]
async fn a_result_that_is_too_large_is_an_error_of_its_outcome_and_the_task_stays_held() {
    let pannier = small().await;
    pannier.enqueue_all(vec![item("a"); 4]).await;
    let tasks = pannier.claim(&[], 4).await;
    let both = |first: usize| vec![outcome(&tasks[first], what(21)), outcome(&tasks[first + 1], what(20))];
    assert_first_too_large(&pannier.settle_all(both(0)).await);
    let request = pb::ExchangeRequest { outcomes: both(2), ..Default::default() };
    assert_first_too_large(&pannier.queue().exchange(request).await.unwrap().into_inner().results);
    let request = pb::CompleteRequest {
        task_id: tasks[0].id,
        token: tasks[0].token,
        complete: Some(complete(21)),
        ..Default::default()
    };
    let status = pannier.queue().complete(request).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::ResultTooLarge);
    for task in [&tasks[0], &tasks[2]] {
        assert_eq!(pannier.state_of(task.id).await, TaskState::Claimed);
        let end = pb::FailOutcome { error: "RESULT_TOO_LARGE".into(), r#final: true, ..Default::default() };
        let ended = pannier.tell(task, pb::outcome::What::Fail(end)).await;
        assert_eq!(ended.state(), TaskState::Failed);
    }
}

#[tokio::test]
async fn a_stream_of_work_goes_on_after_a_result_that_is_too_large() {
    let pannier = small().await;
    pannier.enqueue_all(vec![item("a"); 2]).await;
    let mut worker = stream(&pannier, open("w"), 2).await;
    let tasks = worker.tasks().await;
    worker.say(0, vec![outcome(&tasks[0], what(21)), outcome(&tasks[1], what(20))]);
    assert_first_too_large(&worker.hear().await.results);
    worker.say(0, vec![outcome(&tasks[0], completed())]);
    assert_eq!(settled(&worker.hear().await.results[0]).unwrap().state(), TaskState::Completed);
}
