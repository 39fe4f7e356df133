//! Progress and lines of workers: in the task, in its log and in watches, and bounded.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::{TaskEventKind, TaskState};
use tonic::{Code, Status};

use super::calls::{item, outcome, released, us};
use crate::harness::{Pannier, assert_status, item_fields, pannier, pannier_with, violated_fields};

fn line(progress: Option<f64>, message: &str) -> pb::ReportOutcome {
    pb::ReportOutcome { progress, message: message.into(), details_json: String::new() }
}

async fn report(
    pannier: &Pannier,
    task: &pb::Task,
    report: pb::ReportOutcome,
) -> Result<pb::Settled, Status> {
    let request =
        pb::ReportRequest { task_id: task.id, token: task.token, report: Some(report), ..Default::default() };
    Ok(pannier.queue().report(request).await?.into_inner().settled.unwrap())
}

#[tokio::test]
async fn progress_and_lines_are_in_the_task_and_in_its_log() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    pannier.advance_s(1);
    let full = pb::ReportOutcome { details_json: "{\"page\":1}".into(), ..line(Some(0.25), "page 1 of 4") };
    assert_eq!(report(&pannier, &task, full).await.unwrap().state(), TaskState::Claimed);
    let shown = pannier.task(id).await;
    assert_eq!((shown.progress, shown.progress_message.as_str()), (Some(0.25), "page 1 of 4"));
    assert_eq!(us(shown.update_time.as_ref()), Some(pannier.now_us()));
    let pannier = pannier.restart().await;
    let events = pannier.events(id).await;
    let kinds: Vec<_> = events.iter().map(pb::TaskEvent::kind).collect();
    assert_eq!(kinds, [TaskEventKind::Enqueued, TaskEventKind::Claimed, TaskEventKind::Line]);
    let told = &events[2];
    assert_eq!((told.message.as_str(), told.details_json.as_str()), ("page 1 of 4", "{\"page\":1}"));
    assert_eq!((told.progress, told.token, told.error.as_str()), (Some(0.25), task.token, ""));
    // A new attempt begins without progress.
    pannier.tell(&task, released()).await;
    let again = pannier.claim_one().await;
    assert_eq!((again.progress, pannier.task(id).await.progress), (None, None));
    let stale = report(&pannier, &task, line(Some(1.0), "")).await.unwrap_err();
    assert_status(&stale, Code::Aborted, ErrorReason::LeaseLost);
}

#[tokio::test]
async fn of_many_lines_of_an_attempt_the_first_and_the_last_are_kept_with_the_number_left_out() {
    let pannier = pannier_with(|settings| settings.queue.task_lines_max = 6).await;
    let id = pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let what = |number| pb::outcome::What::Report(line(None, &number_of(number)));
    for batch in (0..100).collect::<Vec<i64>>().chunks(7) {
        pannier.settle_all(batch.iter().map(|number| outcome(&task, what(*number))).collect()).await;
    }
    let events = pannier.events(id).await;
    let told: Vec<_> =
        events[2..].iter().map(|event| (event.kind(), event.message.clone(), event.count)).collect();
    let line = |number| (TaskEventKind::Line, number_of(number), 1);
    let left_out = (TaskEventKind::LinesLeftOut, String::new(), 94);
    assert_eq!(told, [line(0), line(1), line(2), left_out, line(97), line(98), line(99)]);
    assert_eq!(pannier.task(id).await.progress_message, number_of(99));
}

fn number_of(number: i64) -> String {
    format!("line {number}")
}

#[tokio::test]
async fn a_watch_sends_progress() {
    let pannier = pannier().await;
    let id = pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let request = pb::WatchRequest { task_ids: vec![id], ..Default::default() };
    let mut stream = pannier.queue().watch(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for progress in [None, Some(0.5), Some(1.0)] {
        if progress.is_some() {
            report(&pannier, &task, line(progress, "")).await.unwrap();
            pannier.advance_s(1);
        }
        seen.push(stream.message().await.unwrap().unwrap().task.unwrap().progress);
    }
    assert_eq!(seen, [None, Some(0.5), Some(1.0)]);
}

#[tokio::test]
async fn lines_that_say_nothing_or_nonsense_are_refused_alone() {
    let pannier = pannier_with(|settings| settings.queue.line_details_bytes_max = 20).await;
    pannier.enqueue(item("a")).await;
    let task = pannier.claim_one().await;
    let long = || format!("{{\"a\":\"{}\"}}", "x".repeat(20));
    let cases = [
        (line(None, ""), "report"),
        (line(Some(1.5), ""), "report.progress"),
        (line(Some(f64::NAN), ""), "report.progress"),
        (line(None, &"m".repeat(4_097)), "report.message"),
        (pb::ReportOutcome { details_json: "[]".into(), ..line(None, "m") }, "report.details_json"),
        (pb::ReportOutcome { details_json: long(), ..line(None, "m") }, "report.details_json"),
    ];
    for (wrong, field) in cases {
        let status = report(&pannier, &task, wrong.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), [field], "{wrong:?}");
        let right = line(Some(0.1), "right");
        let outcomes = [wrong, right].map(|line| outcome(&task, pb::outcome::What::Report(line)));
        let results = pannier.settle_all(outcomes.to_vec()).await;
        let Some(pb::outcome_result::Result::Error(error)) = &results[0].result else {
            panic!("{results:?}")
        };
        assert_eq!(item_fields(error), [field]);
        assert!(super::calls::settled(&results[1]).is_ok());
    }
}
