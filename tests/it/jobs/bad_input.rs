//! Bad input of every call: refused whole, all violations at once, nothing stored.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::report_progress_request::Progress;
use prost_types::{Duration, Timestamp};
use tonic::Code;

use super::calls::{failure, of_type, success};
use crate::harness::{Pannier, assert_status, item_fields, pannier, pannier_with, violated_fields};

const BAD_UUIDS: [&str; 6] =
    ["", "x", "6f1b3c52-8a0e-4f4e-9c2d", "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0g", "\0", "0x6f1b"];

async fn create_refused(pannier: &Pannier, request: pb::CreateRequest) -> Vec<String> {
    let status = pannier.try_create(request).await.expect_err("a bad job was made");
    assert!(pannier.job_ids(pb::ListRequest::default()).await.is_empty());
    violated_fields(&status)
}

async fn result_refused(pannier: &Pannier, id: &str, result: pb::NewResult) -> Vec<String> {
    let results = vec![success("good"), result];
    let mut request =
        pb::AddResultsRequest { job_id: id.into(), results, atomic: true, ..Default::default() };
    let mut jobs = pannier.jobs.clone();
    let status = jobs.add_results(request.clone()).await.expect_err("a bad result was recorded");
    assert!(pannier.results(id).await.is_empty());
    // Alone it has the same violations, relative to itself.
    request.results.swap(0, 1);
    let other = pb::AddResultsRequest { results: request.results[..1].to_vec(), atomic: false, ..request };
    let answer = jobs.add_results(other).await.unwrap().into_inner();
    let alone: Vec<String> = item_fields(answer.results[0].error.as_ref().unwrap());
    let placed: Vec<String> = alone.iter().map(|field| format!("results[1].{field}")).collect();
    assert_eq!(violated_fields(&status), placed);
    placed
}

#[tokio::test]
async fn types_that_are_no_names_are_refused() {
    let pannier = pannier().await;
    for job_type in ["", "Batch", "a b", "a/b", "é", "a\0", "%", &"t".repeat(129), &"t".repeat(100_000)] {
        assert_eq!(create_refused(&pannier, of_type(job_type)).await, ["type"], "{job_type:?}");
    }
    for job_type in ["a", "0", "a.b_c-9", &"t".repeat(128)] {
        pannier.create(of_type(job_type)).await;
    }
}

#[tokio::test]
async fn totals_below_zero_or_beyond_the_limit_are_refused() {
    let pannier = pannier().await;
    for total in [-1, i64::MIN, (1 << 40) + 1, i64::MAX] {
        let request = pb::CreateRequest { total_count: Some(total), ..of_type("t") };
        assert_eq!(create_refused(&pannier, request).await, ["total_count"], "{total}");
    }
    for total in [0, 1 << 40] {
        let request = pb::CreateRequest { total_count: Some(total), ..of_type("t") };
        assert_eq!(pannier.create(request).await.total_count, Some(total));
    }
}

#[tokio::test]
async fn metadata_that_is_no_json_object_or_too_large_is_refused() {
    let pannier = pannier_with(|settings| settings.jobs.metadata_bytes_max = 1_000).await;
    let large = format!("{{\"a\":\"{}\"}}", "m".repeat(1_000));
    for metadata in [
        "[]",
        "1",
        "null",
        "{",
        "{}{}",
        "{'a':1}",
        "{\"a\":NaN}",
        "x",
        " ",
        "\0",
        "{\"a\":\"\u{1}\"}",
        &large,
    ] {
        let request = pb::CreateRequest { metadata_json: metadata.into(), ..of_type("t") };
        assert_eq!(create_refused(&pannier, request).await, ["metadata_json"], "{metadata:?}");
    }
    let largest = format!("{{\"a\":\"{}\"}}", "m".repeat(992));
    pannier.create(pb::CreateRequest { metadata_json: largest, ..of_type("t") }).await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_new_job_is_told_at_once() {
    let pannier = pannier().await;
    let request = pb::CreateRequest {
        job_id: "no uuid".into(),
        r#type: "A".into(),
        total_count: Some(-1),
        auto_complete: true,
        metadata_json: "[]".into(),
        durability: 7,
        request_id: "no uuid".into(),
        create_time: Some(Timestamp { seconds: i64::MAX, nanos: 0 }),
        counts: Some(pb::ProgressCounts { successful_count: -1, failed_count: 1 << 41 }),
    };
    let expected = [
        "counts.failed_count",
        "counts.successful_count",
        "create_time",
        "durability",
        "job_id",
        "metadata_json",
        "request_id",
        "total_count",
        "type",
    ];
    assert_eq!(create_refused(&pannier, request).await, expected);
}

#[tokio::test]
async fn ids_that_are_no_uuids_are_refused_by_every_call() {
    let pannier = pannier().await;
    let counts = Some(Progress::Add(pb::ProgressCounts { successful_count: 1, failed_count: 0 }));
    for id in BAD_UUIDS {
        let job_id = || id.to_owned();
        let mut jobs = pannier.jobs.clone();
        let watch = pb::WatchRequest { job_id: job_id(), interval_min: None };
        let list = pb::ListResultsRequest { job_id: job_id(), ..Default::default() };
        let delete = pb::DeleteRequest { job_id: job_id(), ..Default::default() };
        let report = pb::ReportProgressRequest { job_id: job_id(), progress: counts, ..Default::default() };
        let refused = [
            pannier.try_get_job(id).await.unwrap_err(),
            pannier.update_status(id, pb::JobStatus::Processing).await.unwrap_err(),
            pannier.complete(id).await.unwrap_err(),
            pannier.fail(id, None).await.unwrap_err(),
            pannier.abort(id, None).await.unwrap_err(),
            pannier.try_report(report).await.unwrap_err(),
            pannier.try_add_results(id, vec![success("a")]).await.unwrap_err(),
            pannier.try_list_results(list).await.unwrap_err(),
            jobs.delete(delete).await.unwrap_err(),
            jobs.watch(watch).await.err().unwrap(),
        ];
        for status in refused {
            assert_eq!(violated_fields(&status), ["job_id"], "{id:?}");
        }
    }
}

#[tokio::test]
async fn unknown_statuses_and_misplaced_reasons_are_refused() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let update = |status: i32, error: Option<pb::JobError>| {
        let request = pb::UpdateStatusRequest { job_id: id.clone(), status, error, ..Default::default() };
        let mut jobs = pannier.jobs.clone();
        async move { jobs.update_status(request).await }
    };
    for status in [0, 6, 99, -1, i32::MAX, i32::MIN] {
        assert_eq!(violated_fields(&update(status, None).await.unwrap_err()), ["status"], "{status}");
    }
    for status in [pb::JobStatus::Processing, pb::JobStatus::Completed] {
        let refused = update(status.into(), Some(pb::JobError::default())).await.unwrap_err();
        assert_eq!(violated_fields(&refused), ["error"]);
    }
    let error = Some(pb::JobError { code: "c".repeat(257), message: "m\0".into() });
    let refused = update(pb::JobStatus::Failed.into(), error.clone()).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["error.code", "error.message"]);
    for refused in [pannier.fail(&id, error.clone()).await, pannier.abort(&id, error).await] {
        assert_eq!(violated_fields(&refused.unwrap_err()), ["error.code", "error.message"]);
    }
    let error = Some(pb::JobError { code: "é\0".into(), message: "m".repeat(4_097) });
    let refused = pannier.fail(&id, error).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["error.code", "error.message"]);
    assert_eq!(pannier.get_job(&id).await.revision, 1);
    let longest = Some(pb::JobError { code: "c".repeat(256), message: "m".repeat(4_096) });
    pannier.fail(&id, longest).await.unwrap();
}

#[tokio::test]
async fn updates_that_say_nothing_or_nonsense_are_refused() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let paths = |paths: &[&str]| {
        Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    };
    let long = || Some(pb::JobError { code: "c".repeat(257), message: String::new() });
    let base = || pb::UpdateJobRequest { job_id: id.clone(), ..Default::default() };
    let cases = [
        (base(), vec!["update_mask"]),
        (pb::UpdateJobRequest { update_mask: paths(&["type"]), ..base() }, vec!["update_mask.paths[0]"]),
        (pb::UpdateJobRequest { metadata_json: "[]".into(), ..base() }, vec!["metadata_json"]),
        (pb::UpdateJobRequest { total_count: Some(-1), ..base() }, vec!["total_count"]),
        (pb::UpdateJobRequest { error: long(), ..base() }, vec!["error.code"]),
        (pb::UpdateJobRequest { total_count: Some(1), durability: 9, ..base() }, vec!["durability"]),
        (pb::UpdateJobRequest { job_id: "x".into(), total_count: Some(1), ..base() }, vec!["job_id"]),
    ];
    for (request, expected) in cases {
        let status = pannier.update_job(request.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), expected, "{request:?}");
    }
    assert_eq!(pannier.get_job(&id).await.revision, 1);
}

#[tokio::test]
async fn reports_that_say_nothing_or_nonsense_are_refused() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let counts = |successful_count, failed_count| pb::ProgressCounts { successful_count, failed_count };
    let cases = [
        (None, None, vec!["progress"]),
        (Some(Progress::Set(counts(-1, 0))), None, vec!["set.successful_count"]),
        (Some(Progress::Add(counts(0, -1))), None, vec!["add.failed_count"]),
        (
            Some(Progress::Add(counts(i64::MAX, i64::MIN))),
            Some(-1),
            vec!["add.failed_count", "add.successful_count", "total_count"],
        ),
        (Some(Progress::Set(counts(3, 3))), Some(5), vec!["total_count"]),
        (None, Some(i64::MAX), vec!["total_count"]),
    ];
    for (progress, total_count, expected) in cases {
        let request =
            pb::ReportProgressRequest { job_id: id.clone(), progress, total_count, ..Default::default() };
        let status = pannier.try_report(request).await.unwrap_err();
        assert_eq!(violated_fields(&status), expected, "{progress:?} {total_count:?}");
    }
    assert_eq!(pannier.get_job(&id).await.revision, 1);
}

#[tokio::test]
async fn each_thing_wrong_with_a_result_is_named_by_its_place() {
    let pannier = pannier_with(|settings| settings.jobs.result_data_bytes_max = 100).await;
    let id = pannier.job().await;
    let base = || success("a");
    let error = |code: &str, message: &str| Some(pb::JobError { code: code.into(), message: message.into() });
    let time = |seconds, nanos| Some(Duration { seconds, nanos });
    let cases = [
        (pb::NewResult { item_key: String::new(), ..base() }, "item_key"),
        (pb::NewResult { item_key: "k".repeat(1_025), ..base() }, "item_key"),
        (pb::NewResult { item_key: "a\0".into(), ..base() }, "item_key"),
        (pb::NewResult { url: "u".repeat(8_193), ..base() }, "url"),
        (pb::NewResult { url: "\0".into(), ..base() }, "url"),
        (pb::NewResult { success: None, ..base() }, "success"),
        (pb::NewResult { error: error("E", ""), ..base() }, "error"),
        (pb::NewResult { error: error(&"c".repeat(257), ""), ..failure("a", "") }, "error.code"),
        (pb::NewResult { error: error("", &"m".repeat(4_097)), ..failure("a", "") }, "error.message"),
        (pb::NewResult { processing_time: time(-1, 0), ..base() }, "processing_time"),
        (pb::NewResult { processing_time: time(0, -1), ..base() }, "processing_time"),
        (pb::NewResult { processing_time: time(0, 1_000_000_000), ..base() }, "processing_time"),
        (pb::NewResult { processing_time: time(i64::MAX, 0), ..base() }, "processing_time"),
        (pb::NewResult { data_json: "[]".into(), ..base() }, "data_json"),
        (pb::NewResult { data_json: "{".into(), ..base() }, "data_json"),
        (pb::NewResult { data_json: format!("{{\"a\":\"{}\"}}", "d".repeat(100)), ..base() }, "data_json"),
    ];
    for (result, field) in cases {
        let told = result_refused(&pannier, &id, result.clone()).await;
        assert_eq!(told, [format!("results[1].{field}")], "{result:?}");
    }
    let worst = pb::NewResult { data_json: "x".into(), processing_time: time(-1, 0), ..Default::default() };
    let expected = ["data_json", "item_key", "processing_time", "success"];
    let expected: Vec<String> = expected.iter().map(|field| format!("results[1].{field}")).collect();
    assert_eq!(result_refused(&pannier, &id, worst).await, expected);
}

#[tokio::test]
async fn empty_and_oversized_batches_are_refused() {
    let pannier = pannier_with(|settings| settings.jobs.batch_items_max = 10).await;
    let id = pannier.job().await;
    for count in [0, 11] {
        let results = (0..count).map(|i| success(i.to_string())).collect();
        let status = pannier.try_add_results(&id, results).await.unwrap_err();
        assert_eq!(violated_fields(&status), ["results"], "{count} items");
    }
    pannier.add_results(&id, (0..10).map(|i| success(i.to_string())).collect()).await;
}

#[tokio::test]
async fn lists_and_statistics_with_bad_filters_are_refused() {
    let pannier = pannier().await;
    let far = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    let odd = Some(Timestamp { seconds: 0, nanos: -1 });
    let request = pb::ListRequest {
        statuses: vec![1, 0, 9],
        r#type: "A".into(),
        create_time_from: far,
        create_time_before: odd,
        page_size: -1,
        ..Default::default()
    };
    let status = pannier.try_list_jobs(request).await.unwrap_err();
    let expected =
        ["create_time_before", "create_time_from", "page_size", "statuses[1]", "statuses[2]", "type"];
    assert_eq!(violated_fields(&status), expected);
    let request = pb::StatsRequest { r#type: "A".into(), create_time_from: odd, create_time_before: far };
    let status = pannier.jobs.clone().stats(request).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["create_time_before", "create_time_from", "type"]);
    let status = pannier.try_list_jobs(pb::ListRequest { page_size: 1_001, ..Default::default() }).await;
    assert_eq!(violated_fields(&status.unwrap_err()), ["page_size"]);
    let id = pannier.job().await;
    let request = pb::ListResultsRequest { job_id: id, page_size: i32::MIN, ..Default::default() };
    assert_eq!(violated_fields(&pannier.try_list_results(request).await.unwrap_err()), ["page_size"]);
    let years = |seconds| Some(Timestamp { seconds, nanos: 999_999_999 });
    let request = pb::ListRequest {
        create_time_from: years(-62_135_596_800),
        create_time_before: years(253_402_300_799),
        ..Default::default()
    };
    assert_eq!(pannier.try_list_jobs(request).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn intervals_of_watches_below_or_beyond_the_limits_are_refused() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    for (seconds, nanos) in [(0, 0), (0, 99_000_000), (-1, 0), (3_601, 0), (i64::MAX, 0), (0, -1)] {
        let interval_min = Some(Duration { seconds, nanos });
        let request = pb::WatchRequest { job_id: id.clone(), interval_min };
        let status = pannier.jobs.clone().watch(request).await.err().unwrap();
        assert_eq!(violated_fields(&status), ["interval_min"], "{seconds} s {nanos} ns");
    }
}

#[tokio::test]
async fn unknown_durabilities_are_refused_by_every_change() {
    let pannier = pannier().await;
    let job_id = pannier.job().await;
    let mut jobs = pannier.jobs.clone();
    let durability = 3;
    let results = vec![success("a")];
    let add = pb::AddResultsRequest { job_id: job_id.clone(), results, durability, ..Default::default() };
    let report = pb::ReportProgressRequest {
        job_id: job_id.clone(),
        total_count: Some(1),
        durability,
        ..Default::default()
    };
    let complete = pb::CompleteRequest { job_id: job_id.clone(), durability, ..Default::default() };
    let delete = pb::DeleteRequest { job_id: job_id.clone(), durability, ..Default::default() };
    let refused = [
        jobs.add_results(add).await.unwrap_err(),
        jobs.report_progress(report).await.unwrap_err(),
        jobs.complete(complete).await.unwrap_err(),
        jobs.delete(delete).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(violated_fields(&status), ["durability"]);
    }
    assert_eq!(pannier.get_job(&job_id).await.revision, 1);
}

#[tokio::test]
async fn a_message_larger_than_the_setting_is_refused_as_such() {
    let pannier = pannier_with(|settings| settings.server.message_bytes_max = 100_000).await;
    let id = pannier.job().await;
    let results = (0..200).map(|i| pb::NewResult { url: "u".repeat(1_000), ..success(i.to_string()) });
    let status = pannier.try_add_results(&id, results.collect()).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::MessageTooLarge);
}
