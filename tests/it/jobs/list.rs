//! List: jobs by status, type and time, a page at a time.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use prost_types::Timestamp;
use tonic::Code;

use super::calls::of_type;
use crate::harness::{Pannier, START_US, assert_status, pannier, pannier_with};

/// A moment so many seconds after the start of the test.
fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds: START_US / 1_000_000 + seconds, nanos: 0 }
}

fn ids(pages: &[Vec<pb::Job>]) -> Vec<String> {
    pages.concat().into_iter().map(|job| job.id).collect()
}

/// Sixty jobs, one a second: two types, five statuses. The oldest first.
async fn sixty(pannier: &Pannier) -> Vec<pb::Job> {
    let statuses = [
        JobStatus::Pending,
        JobStatus::Processing,
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Aborted,
    ];
    let mut jobs = Vec::new();
    for number in 0..60 {
        let job_type = if number % 3 == 0 { "playlist" } else { "batch" };
        let id = pannier.create(of_type(job_type)).await.id;
        let status = statuses[number % 5];
        if status != JobStatus::Pending {
            pannier.update_status(&id, status).await.unwrap();
        }
        jobs.push(pannier.get_job(&id).await);
        pannier.advance_s(1);
    }
    jobs
}

/// What a list must give.
fn expected(jobs: &[pb::Job], request: &pb::ListRequest) -> Vec<String> {
    let wanted = |job: &&pb::Job| {
        let time = job.create_time.unwrap().seconds;
        (request.statuses.is_empty() || request.statuses.contains(&job.status))
            && (request.r#type.is_empty() || request.r#type == job.r#type)
            && request.create_time_from.is_none_or(|from| from.seconds <= time)
            && request.create_time_before.is_none_or(|before| time < before.seconds)
    };
    let mut ids: Vec<String> = jobs.iter().filter(wanted).map(|job| job.id.clone()).collect();
    if !request.oldest_first {
        ids.reverse();
    }
    ids
}

#[tokio::test]
async fn every_combination_of_filters_gives_its_jobs_once_and_in_order() {
    let pannier = pannier().await;
    let jobs = sixty(&pannier).await;
    let statuses: [&[JobStatus]; 5] = [
        &[],
        &[JobStatus::Failed],
        &[JobStatus::Pending, JobStatus::Processing],
        &[JobStatus::Aborted, JobStatus::Completed, JobStatus::Aborted, JobStatus::Failed],
        &[
            JobStatus::Pending,
            JobStatus::Processing,
            JobStatus::Completed,
            JobStatus::Failed,
            JobStatus::Aborted,
        ],
    ];
    for statuses in statuses {
        for job_type in ["", "batch", "playlist", "none"] {
            for (from, before) in [(None, None), (Some(10), None), (None, Some(45)), (Some(10), Some(45))] {
                for oldest_first in [false, true] {
                    let request = pb::ListRequest {
                        statuses: statuses.iter().map(|status| i32::from(*status)).collect(),
                        r#type: job_type.into(),
                        create_time_from: from.map(at),
                        create_time_before: before.map(at),
                        oldest_first,
                        page_size: 7,
                        ..Default::default()
                    };
                    let pages = pannier.job_pages(request.clone()).await;
                    assert_eq!(ids(&pages), expected(&jobs, &request), "{request:?}");
                    assert!(pages.iter().all(|page| page.len() <= 7));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_list_tells_jobs_whole() {
    let pannier = pannier().await;
    let request = pb::CreateRequest { metadata_json: "{\"a\":[1]}".into(), ..of_type("t") };
    let id = pannier.create(request).await.id;
    pannier.fail(&id, Some(pb::JobError { code: "E".into(), message: "m".into() })).await.unwrap();
    let listed = pannier.job_pages(pb::ListRequest::default()).await.concat();
    assert_eq!(listed, [pannier.get_job(&id).await]);
}

#[tokio::test]
async fn jobs_of_one_moment_are_each_told_once() {
    let pannier = pannier().await;
    let mut made = Vec::new();
    for _ in 0..150 {
        made.push(pannier.job().await);
    }
    for page_size in [1, 64, 100, 149, 150, 1_000] {
        for oldest_first in [true, false] {
            let request = pb::ListRequest { page_size, oldest_first, ..Default::default() };
            let mut listed = pannier.job_ids(request).await;
            if !oldest_first {
                listed.reverse();
            }
            assert_eq!(listed, made, "page_size {page_size}");
        }
    }
    let pages = pannier.job_pages(pb::ListRequest::default()).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 50], "server.page_size is 100");
}

#[tokio::test]
async fn jobs_made_or_deleted_between_pages_neither_repeat_nor_hide_others() {
    let pannier = pannier().await;
    let jobs = sixty(&pannier).await;
    for oldest_first in [true, false] {
        let mut request = pb::ListRequest { page_size: 10, oldest_first, ..Default::default() };
        let mut listed = Vec::new();
        loop {
            let page = pannier.try_list_jobs(request.clone()).await.unwrap();
            listed.extend(page.jobs.into_iter().map(|job| job.id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            // The job that the token stands for goes, and a new one comes.
            pannier.advance_s(1);
            let new = pannier.job().await;
            assert!(pannier.delete_job(&new).await);
            pannier.create(of_type("new")).await;
        }
        let old: Vec<&String> = listed.iter().filter(|id| jobs.iter().any(|job| job.id == **id)).collect();
        assert_eq!(old.len(), 60, "oldest_first {oldest_first}");
        let mut once = listed.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), listed.len());
    }
}

#[tokio::test]
async fn the_job_behind_a_token_may_be_gone() {
    let pannier = pannier().await;
    let jobs = sixty(&pannier).await;
    let mut request = pb::ListRequest { page_size: 10, ..Default::default() };
    let first = pannier.try_list_jobs(request.clone()).await.unwrap();
    assert!(pannier.delete_job(&first.jobs[9].id).await);
    request.page_token = first.next_page_token;
    let second = pannier.try_list_jobs(request).await.unwrap();
    let expected: Vec<_> = jobs.iter().rev().skip(10).take(10).map(|job| &job.id).collect();
    assert_eq!(second.jobs.iter().map(|job| &job.id).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_job_that_changes_its_status_moves_from_list_to_list() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let list = |status: JobStatus| pb::ListRequest { statuses: vec![status.into()], ..Default::default() };
    assert_eq!(pannier.job_ids(list(JobStatus::Pending)).await, std::slice::from_ref(&id));
    pannier.update_status(&id, JobStatus::Processing).await.unwrap();
    assert!(pannier.job_ids(list(JobStatus::Pending)).await.is_empty());
    assert_eq!(pannier.job_ids(list(JobStatus::Processing)).await, [id]);
}

#[tokio::test]
async fn a_token_belongs_to_its_query() {
    let pannier = pannier().await;
    sixty(&pannier).await;
    let request = pb::ListRequest { page_size: 5, ..Default::default() };
    let page_token = pannier.try_list_jobs(request.clone()).await.unwrap().next_page_token;
    let with_token = pb::ListRequest { page_token: page_token.clone(), ..request };
    let another_size = pb::ListRequest { page_size: 9, ..with_token.clone() };
    assert_eq!(pannier.try_list_jobs(another_size).await.unwrap().jobs.len(), 9);
    let others = [
        pb::ListRequest { statuses: vec![JobStatus::Failed.into()], ..with_token.clone() },
        pb::ListRequest { r#type: "batch".into(), ..with_token.clone() },
        pb::ListRequest { oldest_first: true, ..with_token.clone() },
        pb::ListRequest { create_time_from: Some(at(0)), ..with_token.clone() },
        pb::ListRequest { create_time_before: Some(at(0)), ..with_token.clone() },
        pb::ListRequest { page_token: format!("{page_token}x"), ..with_token.clone() },
        pb::ListRequest { page_token: "nonsense".into(), ..with_token },
    ];
    for request in others {
        let status = pannier.try_list_jobs(request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
    }
}

#[tokio::test]
async fn pages_of_large_jobs_end_early_and_lose_none() {
    let pannier = pannier_with(|settings| settings.server.message_bytes_max = 400_000).await;
    let metadata_json = format!("{{\"a\":\"{}\"}}", "m".repeat(60_000));
    let mut made = Vec::new();
    for _ in 0..20 {
        made.push(
            pannier
                .create(pb::CreateRequest { metadata_json: metadata_json.clone(), ..of_type("t") })
                .await
                .id,
        );
    }
    let request = pb::ListRequest { oldest_first: true, ..Default::default() };
    let pages = pannier.job_pages(request).await;
    assert_eq!(ids(&pages), made);
    assert!(pages.iter().all(|page| page.len() <= 6), "{:?}", pages.iter().map(Vec::len).collect::<Vec<_>>());
}
