//! How a watch ends, and what it holds on to until then.

use std::time::Duration;

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;
use tonic::{Code, Request};

use super::calls::{of_type, success};
use super::watch::{Watcher, let_arrive};
use crate::harness::{assert_status, pannier, pannier_with};

#[tokio::test]
async fn a_watch_of_an_ended_job_tells_it_and_ends() {
    let pannier = pannier().await;
    for status in [JobStatus::Completed, JobStatus::Failed, JobStatus::Aborted] {
        let id = pannier.job_in(status).await;
        let (seen, end) = Watcher::new(&pannier, &id, 0).await.ended().await;
        end.unwrap();
        assert_eq!(seen, [pannier.get_job(&id).await]);
    }
}

#[tokio::test]
async fn a_watch_of_no_job_is_refused() {
    let pannier = pannier().await;
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
    let status = Watcher::try_new(&pannier, id, 0).await.err().unwrap();
    assert_status(&status, Code::NotFound, ErrorReason::JobNotFound);
}

#[tokio::test]
async fn a_watch_ends_when_its_job_is_deleted() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 0).await;
    pannier.advance(Duration::from_millis(100));
    let_arrive(&pannier).await;
    assert!(pannier.delete_job(&id).await);
    pannier.advance(Duration::from_millis(100));
    let (seen, end) = watcher.ended().await;
    assert_eq!(seen.len(), 1);
    assert_status(&end.unwrap_err(), Code::NotFound, ErrorReason::JobNotFound);
}

#[tokio::test]
async fn a_watch_does_not_go_on_with_another_job_of_the_same_id() {
    let pannier = pannier().await;
    let id = pannier.job().await;
    let watcher = Watcher::new(&pannier, &id, 0).await;
    let_arrive(&pannier).await;
    // While the watch rests between two looks.
    pannier.delete_job(&id).await;
    pannier.create(pb::CreateRequest { job_id: id.clone(), ..of_type("another") }).await;
    pannier.advance(Duration::from_millis(100));
    let (seen, end) = watcher.ended().await;
    assert!(seen.iter().all(|job| job.r#type == "batch"));
    assert_status(&end.unwrap_err(), Code::NotFound, ErrorReason::JobNotFound);
}

#[tokio::test]
async fn a_stop_ends_every_watch_at_once_and_tells_why() {
    let pannier = pannier_with(|settings| settings.server.drain_ms = 1_200).await;
    let id = pannier.job().await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(Watcher::new(&pannier, &id, 0).await);
    }
    let_arrive(&pannier).await;
    let restarted = tokio::time::timeout(Duration::from_millis(1_000), pannier.restart()).await;
    let pannier = restarted.expect("a stop does not wait for watches");
    for watcher in watchers {
        let (seen, end) = watcher.ended().await;
        assert_eq!(seen.len(), 1);
        assert_status(&end.unwrap_err(), Code::Unavailable, ErrorReason::ShuttingDown);
    }
    let watcher = Watcher::new(&pannier, &id, 0).await;
    assert_eq!(watcher.settled(&pannier).await.len(), 1, "and it can be watched again");
}

#[tokio::test]
async fn as_many_watches_run_as_the_setting_says() {
    let pannier = pannier_with(|settings| settings.jobs.watches_max = 2).await;
    let id = pannier.job().await;
    let mut watchers = vec![Watcher::new(&pannier, &id, 0).await, Watcher::new(&pannier, &id, 0).await];
    let status = Watcher::try_new(&pannier, &id, 0).await.err().unwrap();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
    assert!(status.message().contains("jobs.watches_max"), "{status:?}");

    pannier.complete(&id).await.unwrap();
    pannier.advance(Duration::from_millis(100));
    let mut ended = 0;
    for watcher in watchers.drain(..) {
        watcher.ended().await.1.unwrap();
        ended += 1;
    }
    assert_eq!(ended, 2);
    let another = pannier.job().await;
    watchers.push(Watcher::new(&pannier, &another, 0).await);
    watchers.push(Watcher::new(&pannier, &another, 0).await);
}

#[tokio::test]
async fn a_caller_that_leaves_makes_room_for_another() {
    let pannier = pannier_with(|settings| settings.jobs.watches_max = 1).await;
    let id = pannier.job().await;
    let request = || pb::WatchRequest { job_id: id.clone(), interval_min: None };
    let stream = pannier.jobs.clone().watch(request()).await.unwrap();
    assert!(pannier.jobs.clone().watch(request()).await.is_err());
    drop(stream);
    let mut tries = 0;
    while pannier.jobs.clone().watch(request()).await.is_err() {
        tries += 1;
        assert!(tries < 1_000, "the watch that was left goes on");
        let_arrive(&pannier).await;
    }
}

#[tokio::test]
async fn a_watch_outlives_the_deadline_of_calls_that_bring_none_but_not_its_own() {
    let pannier = pannier_with(|settings| settings.server.deadline_ms = 500).await;
    let id = pannier.job().await;
    let request = || pb::WatchRequest { job_id: id.clone(), interval_min: None };
    let mut lasting = pannier.jobs.clone().watch(request()).await.unwrap().into_inner();
    lasting.message().await.unwrap().unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(1_000), lasting.message()).await;
    assert!(quiet.is_err(), "it ended: {quiet:?}");

    let mut short = Request::new(request());
    short.metadata_mut().insert("grpc-timeout", "1500m".parse().unwrap());
    let mut short = pannier.jobs.clone().watch(short).await.unwrap().into_inner();
    short.message().await.unwrap().unwrap();
    let status = short.message().await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, ErrorReason::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watches_beside_busy_writers_see_the_counts_grow_and_the_end() {
    let pannier = std::sync::Arc::new(pannier().await);
    let total = 8 * 50;
    let request = pb::CreateRequest { total_count: Some(total), auto_complete: true, ..of_type("t") };
    let id = pannier.create(request).await.id;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        watchers.push(Watcher::new(&pannier, &id, 0).await);
    }
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (pannier, id) = (pannier.clone(), id.clone());
            tokio::spawn(async move {
                for item in 0..50 {
                    pannier.add_results(&id, vec![success(format!("{writer}/{item}"))]).await;
                    pannier.advance(Duration::from_millis(10));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // A watch that has just looked looks again when the clock has moved on.
    let mut turns = 0;
    while !watchers.iter().all(Watcher::has_ended) {
        turns += 1;
        assert!(turns < 100, "a watch does not end");
        pannier.advance_s(1);
        let_arrive(&pannier).await;
    }
    for watcher in watchers {
        let (seen, end) = watcher.ended().await;
        end.unwrap();
        assert!(seen.windows(2).all(|pair| pair[0].revision < pair[1].revision));
        assert!(seen.windows(2).all(|pair| pair[0].processed_count <= pair[1].processed_count));
        let last = seen.last().unwrap();
        assert_eq!((last.status(), last.processed_count), (JobStatus::Completed, total));
    }
}
