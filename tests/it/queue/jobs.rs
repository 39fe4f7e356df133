//! Tasks that are items of a job: their ends are its results.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::jobs::v1::JobStatus;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::TaskState;
use tonic::Code;

use super::calls::{completed, failed, item, outcome, released, seconds};
use crate::harness::{Pannier, assert_status, pannier, violated_fields};

fn item_of(job_id: &str, key: &str) -> pb::EnqueueItem {
    pb::EnqueueItem { job_id: job_id.into(), job_item_key: key.into(), max_retries: Some(0), ..item("a") }
}

fn completed_with(result_json: &str) -> pb::outcome::What {
    pb::outcome::What::Complete(pb::CompleteOutcome { result_json: result_json.into() })
}

/// A job of so many items that completes with the last of them.
async fn job_of(pannier: &Pannier, total: i64) -> String {
    let request = jobs::CreateRequest {
        r#type: "batch".into(),
        total_count: Some(total),
        auto_complete: true,
        ..Default::default()
    };
    pannier.create(request).await.id
}

/// (processed, successful, failed)
async fn counts(pannier: &Pannier, job_id: &str) -> (i64, i64, i64) {
    let job = pannier.get_job(job_id).await;
    (job.processed_count, job.successful_count, job.failed_count)
}

#[tokio::test]
async fn the_end_of_a_task_is_the_result_of_its_item() {
    let pannier = pannier().await;
    let job_id = job_of(&pannier, 4).await;
    let keys = ["video", "", "list", "bad"];
    let ids = pannier.enqueue_all(keys.map(|key| item_of(&job_id, key)).to_vec()).await;
    let found = pannier.task(ids[0]).await;
    assert_eq!((found.job_id.as_str(), found.job_item_key.as_str()), (job_id.as_str(), "video"));
    assert_eq!(pannier.get_job(&job_id).await.status(), JobStatus::Pending);

    let tasks = pannier.claim(&[], 10).await;
    assert_eq!((tasks[0].job_id.as_str(), tasks[0].job_item_key.as_str()), (job_id.as_str(), "video"));
    pannier.advance_s(3);
    pannier.tell(&tasks[0], completed_with(r#"{"a": 1.0}"#)).await;
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
    assert_eq!(pannier.get_job(&job_id).await.status(), JobStatus::Processing);
    let outcomes = vec![
        outcome(&tasks[1], completed()),
        outcome(&tasks[2], completed_with("[1, 2]")),
        outcome(&tasks[3], failed("it broke")),
    ];
    pannier.settle_all(outcomes).await;

    let job = pannier.get_job(&job_id).await;
    assert_eq!((job.status(), job.processed_count, job.failed_count), (JobStatus::Completed, 4, 1));
    let results = pannier.results(&job_id).await;
    let told: Vec<(&str, bool, &str)> = results
        .iter()
        .map(|result| (result.item_key.as_str(), result.success, result.data_json.as_str()))
        .collect();
    let own = ids[1].to_string();
    let expected = [
        ("video", true, r#"{"a": 1.0}"#),
        (own.as_str(), true, ""),
        ("list", true, r#"{"result":[1, 2]}"#),
        ("bad", false, ""),
    ];
    assert_eq!(told, expected);
    let error = results[3].error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("TASK_FAILED", "it broke"));
    assert_eq!(results[0].processing_time, Some(seconds(3)));
}

#[tokio::test]
async fn only_ends_are_results() {
    let pannier = pannier().await;
    let job_id = job_of(&pannier, 2).await;
    let patient = pb::EnqueueItem { max_retries: Some(1), ..item_of(&job_id, "a") };
    let id = pannier.enqueue(patient).await;
    for what in [released(), failed("once")] {
        let task = pannier.claim_one().await;
        pannier.tell(&task, what).await;
        assert_eq!(counts(&pannier, &job_id).await, (0, 0, 0));
    }
    pannier.advance_s(60);
    let task = pannier.claim_one().await;
    pannier.tell(&task, failed("twice")).await;
    assert_eq!(counts(&pannier, &job_id).await, (1, 0, 1));
    assert_eq!(pannier.state_of(id).await, TaskState::Failed);
}

#[tokio::test]
async fn a_stale_token_gives_the_job_nothing() {
    let pannier = pannier().await;
    let job_id = job_of(&pannier, 1).await;
    pannier.enqueue(item_of(&job_id, "a")).await;
    let stale = pannier.claim_one().await;
    pannier.advance_s(60);
    let task = pannier.claim_one().await;
    pannier.try_complete(&stale).await.unwrap_err();
    assert_eq!(counts(&pannier, &job_id).await, (0, 0, 0));
    pannier.try_complete(&task).await.unwrap();
    pannier.try_complete(&task).await.unwrap_err();
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
}

#[tokio::test]
async fn a_cancelled_task_is_a_failed_item_until_it_is_retried_and_done() {
    let pannier = pannier().await;
    let job_id = job_of(&pannier, 3).await;
    let id = pannier.enqueue(item_of(&job_id, "a")).await;
    pannier.cancel(id).await;
    assert_eq!(counts(&pannier, &job_id).await, (1, 0, 1));
    let error = pannier.results(&job_id).await[0].error.clone().unwrap();
    assert_eq!(error.code, "TASK_CANCELLED");
    let request = pb::RetryRequest { task_ids: vec![id], ..Default::default() };
    pannier.queue().retry(request).await.unwrap();
    let task = pannier.claim_one().await;
    pannier.try_complete(&task).await.unwrap();
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
    assert_eq!(pannier.results(&job_id).await.len(), 1);
}

#[tokio::test]
async fn a_task_that_is_lost_too_often_is_a_failed_item() {
    let pannier = crate::harness::pannier_with(|settings| settings.queue.losses_max = 1).await;
    let job_id = job_of(&pannier, 1).await;
    pannier.enqueue(item_of(&job_id, "a")).await;
    for _ in 0..2 {
        pannier.claim_one().await;
        pannier.advance_s(60);
    }
    assert!(pannier.claim(&[], 1).await.is_empty());
    assert_eq!(pannier.get_job(&job_id).await.status(), JobStatus::Completed);
    assert_eq!(counts(&pannier, &job_id).await, (1, 0, 1));
}

#[tokio::test]
async fn tasks_of_several_jobs_end_in_one_call_and_watchers_are_told() {
    let pannier = pannier().await;
    let mut job_ids = Vec::new();
    for _ in 0..5 {
        job_ids.push(job_of(&pannier, 4).await);
    }
    let items = (0..20).map(|number| item_of(&job_ids[number * 3 % 5], &format!("{number}"))).collect();
    pannier.enqueue_all(items).await;
    let request = jobs::WatchRequest { job_id: job_ids[2].clone(), ..Default::default() };
    let mut watch = pannier.jobs.clone().watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().job.unwrap().processed_count, 0);
    let tasks = pannier.claim(&[], 20).await;
    pannier.settle_all(tasks.iter().map(|task| outcome(task, completed())).collect()).await;
    for job_id in &job_ids {
        assert_eq!(counts(&pannier, job_id).await, (4, 4, 0));
    }
    // The clock stands still, so the watch may look again only when it is moved.
    pannier.advance_s(1);
    let last = watch.message().await.unwrap().unwrap().job.unwrap();
    assert_eq!((last.processed_count, last.status()), (4, JobStatus::Completed));
}

#[tokio::test]
async fn a_task_ends_though_its_job_has_ended_or_is_gone() {
    let pannier = pannier().await;
    let aborted = job_of(&pannier, 2).await;
    let deleted = job_of(&pannier, 2).await;
    pannier.enqueue_all(vec![item_of(&aborted, "a"), item_of(&deleted, "a")]).await;
    let tasks = pannier.claim(&[], 10).await;
    pannier.abort(&aborted, None).await.unwrap();
    assert!(pannier.delete_job(&deleted).await);
    for task in &tasks {
        assert_eq!(pannier.try_complete(task).await.unwrap().state(), TaskState::Completed);
    }
    assert_eq!(counts(&pannier, &aborted).await, (0, 0, 0));
}

#[tokio::test]
async fn jobs_that_take_no_results_take_no_tasks() {
    let pannier = pannier().await;
    let ended = pannier.job_in(JobStatus::Completed).await;
    let unknown = "0198c5a0-0000-7000-8000-000000000000";
    let cases = [
        (unknown, Code::NotFound, ErrorReason::JobNotFound),
        (ended.as_str(), Code::FailedPrecondition, ErrorReason::JobEnded),
    ];
    for (job_id, code, reason) in cases {
        let refused = pannier.try_enqueue("", item_of(job_id, "a")).await.unwrap_err();
        assert_status(&refused, code, reason);
    }
    // In a batch only the item is refused.
    let items = vec![item("a"), item_of(unknown, "a"), item_of(&pannier.job().await, "a")];
    let request = pb::BatchEnqueueRequest { items, ..Default::default() };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    let is_refused = |result: &pb::BatchEnqueueResult| {
        matches!(&result.outcome, Some(pb::batch_enqueue_result::Outcome::Error(error))
            if error.reason() == ErrorReason::JobNotFound)
    };
    assert_eq!(results.iter().map(is_refused).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(pannier.claim(&[], 10).await.len(), 2);
}

#[tokio::test]
async fn what_is_said_of_the_job_must_hang_together() {
    let pannier = pannier().await;
    let alone = pb::EnqueueItem { job_item_key: "a".into(), ..item("a") };
    let refused = pannier.try_enqueue("", alone).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["item.job_item_key"]);
    let refused = pannier.try_enqueue("", item_of("6f1b3c52", "a")).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["item.job_id"]);
    let schedule = pb::Schedule {
        name: "s".into(),
        cron: "* * * * *".into(),
        item: Some(item_of(&pannier.job().await, "a")),
        ..Default::default()
    };
    let request = pb::PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
    let refused = pannier.queue().put_schedule(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["schedule.item.job_id"]);
}

#[tokio::test]
async fn a_result_that_is_too_large_for_the_job_is_refused_and_the_task_stays_held() {
    let pannier = crate::harness::pannier_with(|settings| settings.jobs.result_data_bytes_max = 30).await;
    let job_id = job_of(&pannier, 1).await;
    pannier.enqueue(item_of(&job_id, "a")).await;
    let task = pannier.claim_one().await;
    for (text, fits) in [("x".repeat(18), false), ("x".repeat(17), true)] {
        let complete = Some(pb::CompleteOutcome { result_json: format!("\"{text}\"") });
        let request =
            pb::CompleteRequest { task_id: task.id, token: task.token, complete, ..Default::default() };
        let answer = pannier.queue().complete(request).await;
        if fits {
            answer.unwrap();
            continue;
        }
        let error = answer.unwrap_err();
        assert_status(&error, Code::ResourceExhausted, ErrorReason::JobResultTooLarge);
        for part in ["31 bytes", "30", "jobs.result_data_bytes_max"] {
            assert!(error.message().contains(part), "{}", error.message());
        }
        assert_eq!(pannier.state_of(task.id).await, TaskState::Claimed);
    }
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
    // A task of no job may have a larger one.
    pannier.enqueue(item("b")).await;
    let task = pannier.claim_one().await;
    pannier.tell(&task, completed_with(&format!("\"{}\"", "x".repeat(100)))).await;
}

#[tokio::test]
async fn an_item_has_one_task_at_a_time() {
    let pannier = pannier().await;
    let job_id = job_of(&pannier, 2).await;
    let duplicate = async |pannier: &Pannier| {
        let refused = pannier.try_enqueue("", item_of(&job_id, "a")).await.unwrap_err();
        assert_status(&refused, Code::AlreadyExists, ErrorReason::JobItemDuplicate);
        refused.message().to_owned()
    };
    let request = pb::BatchEnqueueRequest {
        items: vec![item_of(&job_id, "a"), item_of(&job_id, "a"), item_of(&job_id, "b")],
        ..Default::default()
    };
    let results = pannier.queue().batch_enqueue(request).await.unwrap().into_inner().results;
    use pb::batch_enqueue_result::Outcome;
    assert!(
        matches!(&results[1].outcome, Some(Outcome::Error(error)) if error.reason() == ErrorReason::JobItemDuplicate)
    );
    let tasks = pannier.claim(&[], 9).await;
    assert_eq!(tasks.len(), 2);
    assert!(duplicate(&pannier).await.contains(&format!("task {}", tasks[0].id)));
    // A failed item may be tried again by a new task, whose end takes the place of the failure.
    pannier.tell(&tasks[0], failed("e")).await;
    assert_eq!(counts(&pannier, &job_id).await, (1, 0, 1));
    pannier.enqueue(item_of(&job_id, "a")).await;
    let again = pannier.claim_one().await;
    pannier.tell(&again, completed()).await;
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
    duplicate(&pannier).await;
    pannier.tell(&tasks[1], completed()).await;
    assert_eq!(pannier.get_job(&job_id).await.status(), JobStatus::Completed);
}

#[tokio::test]
async fn an_item_with_a_result_takes_no_task() {
    let pannier = pannier().await;
    let job_id = pannier.job().await;
    let result = jobs::NewResult { item_key: "a".into(), success: Some(true), ..Default::default() };
    let request =
        jobs::AddResultsRequest { job_id: job_id.clone(), results: vec![result], ..Default::default() };
    pannier.jobs.clone().add_results(request).await.unwrap();
    let refused = pannier.try_enqueue("", item_of(&job_id, "a")).await.unwrap_err();
    assert_status(&refused, Code::AlreadyExists, ErrorReason::JobItemDuplicate);
}

#[tokio::test]
async fn a_job_that_is_made_again_counts_its_own_tasks_only() {
    let pannier = pannier().await;
    let create = |job_id: &str| jobs::CreateRequest {
        r#type: "batch".into(),
        job_id: job_id.into(),
        total_count: Some(1),
        auto_complete: true,
        ..Default::default()
    };
    let job_id = pannier.create(create("")).await.id;
    pannier.enqueue(item_of(&job_id, "a")).await;
    assert!(pannier.delete_job(&job_id).await);
    pannier.create(create(&job_id)).await;
    let old = pannier.claim_one().await;
    assert_eq!(pannier.try_complete(&old).await.unwrap().state(), TaskState::Completed);
    assert_eq!(counts(&pannier, &job_id).await, (0, 0, 0));
    // The old one's task does not stand in the way of the new one's.
    pannier.enqueue(item_of(&job_id, "a")).await;
    let new = pannier.claim_one().await;
    pannier.try_complete(&new).await.unwrap();
    assert_eq!(counts(&pannier, &job_id).await, (1, 1, 0));
}
