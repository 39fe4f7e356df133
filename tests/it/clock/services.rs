//! The other services: watches, retention, reservations, repeated requests.

use std::time::Duration;

use pannier_proto::jobs::v1 as jobs;
use pannier_proto::settings::v1 as settings;
use pannier_proto::uploads::v1 as uploads;

use super::{STEPS_S, step, steps, until};
use crate::harness::{pannier, pannier_with};

const DAY_MS: u64 = 86_400_000;

#[tokio::test]
async fn a_watch_of_a_job_hears_of_changes() {
    for by_s in STEPS_S {
        let pannier = pannier().await;
        let id = pannier.job().await;
        let request = jobs::WatchRequest { job_id: id.clone(), interval_min: None };
        let mut watch = pannier.jobs.clone().watch(request).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        pannier.clock.set(pannier.now_us() + by_s * 1_000_000);
        pannier.update_status(&id, jobs::JobStatus::Processing).await.unwrap();
        pannier.exists("unrelated", &["a"]).await;
        pannier.advance(Duration::from_secs(1));
        let heard = tokio::time::timeout(Duration::from_secs(20), watch.message()).await;
        let heard = heard.unwrap_or_else(|_| panic!("deaf after {by_s} s"));
        assert_eq!(heard.unwrap().unwrap().job.unwrap().status(), jobs::JobStatus::Processing);
    }
}

#[tokio::test]
async fn jobs_are_kept_for_their_retention_and_then_removed() {
    for at in steps() {
        let mut pannier = pannier_with(|settings| settings.jobs.retention_ms = 2 * DAY_MS).await;
        let id = pannier.job().await;
        pannier.complete(&id).await.unwrap();
        pannier = step(pannier, at).await;
        for _ in 0..12 {
            pannier.advance_s(3_600);
            pannier.exists("unrelated", &["a"]).await;
        }
        assert_eq!(pannier.row_count("jobs").await, 1, "half a day old: {at:?}");
        pannier.advance_s(2 * 86_400);
        until(&pannier, "the job is removed", async || pannier.row_count("jobs").await == 0).await;
    }
}

#[tokio::test]
async fn deletions_of_settings_are_kept_for_their_retention_and_then_removed() {
    for at in steps() {
        let mut pannier = pannier_with(|settings| settings.settings.deleted_retention_ms = 2 * DAY_MS).await;
        pannier.set("key", "1").await;
        pannier
            .settings
            .clone()
            .delete(settings::DeleteRequest { key: "key".into(), ..Default::default() })
            .await
            .unwrap();
        pannier = step(pannier, at).await;
        for _ in 0..12 {
            pannier.advance_s(3_600);
            pannier.exists("unrelated", &["a"]).await;
        }
        assert_eq!(pannier.row_count("settings").await, 1, "half a day old: {at:?}");
        pannier.advance_s(2 * 86_400);
        until(&pannier, "the deletion is forgotten", async || pannier.row_count("settings").await == 0).await;
    }
}

#[tokio::test]
async fn tombstones_of_records_are_kept_for_their_retention_and_then_removed() {
    for at in steps() {
        let mut pannier = pannier_with(|settings| settings.records.tombstone_retention_ms = 2 * DAY_MS).await;
        pannier.make_collection("c").await;
        pannier.put_record("key", "{}").await;
        pannier.delete_record("key").await;
        pannier = step(pannier, at).await;
        for _ in 0..12 {
            pannier.advance_s(3_600);
            pannier.exists("unrelated", &["a"]).await;
        }
        assert_eq!(pannier.row_count("records").await, 1, "half a day old: {at:?}");
        pannier.advance_s(2 * 86_400);
        until(&pannier, "the tombstone is removed", async || pannier.row_count("records").await == 0).await;
    }
}

#[tokio::test]
async fn prompts_are_kept_for_their_retention_and_then_removed() {
    for at in steps() {
        let mut pannier = pannier_with(|settings| settings.prompts.retention_age_ms = 2 * DAY_MS).await;
        pannier.save(crate::prompts::calls::new_prompt("idea")).await;
        pannier = step(pannier, at).await;
        for _ in 0..12 {
            pannier.advance_s(3_600);
            pannier.exists("unrelated", &["a"]).await;
        }
        assert_eq!(pannier.row_count("prompts").await, 1, "half a day old: {at:?}");
        pannier.advance_s(2 * 86_400);
        until(&pannier, "the prompt is removed", async || pannier.row_count("prompts").await == 0).await;
    }
}

#[tokio::test]
async fn a_reserved_file_is_free_again_after_its_time() {
    for at in steps() {
        let mut pannier = pannier().await;
        let is_held = |result: uploads::ReserveFileResult| {
            matches!(result.outcome, Some(uploads::reserve_file_result::Outcome::HeldUntilTime(_)))
        };
        assert!(!is_held(pannier.reserve(1).await));
        pannier = step(pannier, at).await;
        if at.1 < 0 {
            assert!(is_held(pannier.reserve(1).await), "{at:?}");
        }
        pannier.advance_s(301);
        assert!(!is_held(pannier.reserve(1).await), "{at:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_sent_twice_has_one_effect() {
    for at in steps() {
        let mut pannier = pannier().await;
        let request = jobs::CreateRequest {
            r#type: "t".into(),
            request_id: "0190163d-8694-739b-aea5-966c26f8ad90".into(),
            ..Default::default()
        };
        let first = pannier.create(request.clone()).await;
        pannier = step(pannier, at).await;
        pannier.advance_s(60);
        assert_eq!(pannier.try_create(request).await.unwrap().id, first.id, "{at:?}");
    }
}

#[tokio::test]
async fn a_failed_upload_is_due_again_after_its_back_off() {
    for at in steps() {
        let mut pannier = pannier().await;
        let id = pannier.session().await;
        pannier.record_error(&id, "a", "timeout").await;
        pannier.advance_s(1);
        pannier = step(pannier, at).await;
        let backoff = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let policy = uploads::RetryPolicy { attempts_max: 5, backoff, ..Default::default() };
        if at.1 < 0 {
            assert!(pannier.retryable(&id, policy.clone()).await.is_empty(), "{at:?}");
        }
        pannier.advance_s(60);
        assert_eq!(pannier.retryable(&id, policy).await, ["a"], "{at:?}");
    }
}
