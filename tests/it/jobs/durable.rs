//! What was acknowledged is there after a restart, each column with and without a value.

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::JobStatus;

use super::calls::{failure, of_type, success};
use crate::harness::pannier;

#[tokio::test]
async fn every_column_of_a_job_comes_back_with_and_without_a_value() {
    let pannier = pannier().await;
    let full = pb::CreateRequest {
        total_count: Some(1 << 40),
        auto_complete: true,
        metadata_json: "{\"n\": null, \"x\": \"\\u0000é\"}".into(),
        ..of_type("a.b_c-9")
    };
    let mut ids = Vec::new();
    for status in [
        JobStatus::Pending,
        JobStatus::Processing,
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Aborted,
    ] {
        for request in [full.clone(), of_type("bare")] {
            pannier.advance(std::time::Duration::from_micros(123_457));
            let id = pannier.create(request).await.id;
            match status {
                JobStatus::Pending => {}
                JobStatus::Failed => {
                    let error = pb::JobError { code: "E".into(), message: "é\u{1}".into() };
                    pannier.fail(&id, Some(error)).await.unwrap();
                }
                JobStatus::Processing => {
                    pannier.add_results(&id, vec![success("a"), failure("b", "E")]).await;
                }
                other => {
                    pannier.update_status(&id, other).await.unwrap();
                }
            }
            ids.push(id);
        }
    }
    let mut before = Vec::new();
    for id in &ids {
        before.push(pannier.get_job(id).await);
    }
    assert_eq!(before[0].create_time.unwrap().nanos, 123_457_000, "times keep their microseconds");
    let pannier = pannier.restart().await;
    for (id, before) in ids.iter().zip(&before) {
        assert_eq!(pannier.get_job(id).await, *before);
    }
    let listed = pb::ListRequest { oldest_first: true, ..Default::default() };
    assert_eq!(pannier.job_pages(listed).await.concat(), before);
}

#[tokio::test]
async fn a_job_goes_on_over_many_restarts() {
    let mut pannier = pannier().await;
    let id = pannier.create(pb::CreateRequest { total_count: Some(500), ..of_type("t") }).await.id;
    for round in 1..=5 {
        pannier.add_results(&id, (0..100).map(|i| success(format!("{round}/{i}"))).collect()).await;
        pannier = pannier.restart().await;
        let job = pannier.get_job(&id).await;
        assert_eq!((job.processed_count, job.status()), (100 * round, JobStatus::Processing));
        assert_eq!(pannier.results(&id).await.len(), usize::try_from(100 * round).unwrap());
    }
    pannier.complete(&id).await.unwrap();
    let pannier = pannier.restart().await;
    assert_eq!(pannier.get_job(&id).await.status(), JobStatus::Completed);
}

#[tokio::test]
async fn ids_made_after_a_restart_come_after_those_before() {
    let pannier = pannier().await;
    let before = pannier.job().await;
    let pannier = pannier.restart().await;
    assert!(pannier.job().await > before);
}
