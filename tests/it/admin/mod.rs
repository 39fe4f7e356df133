//! AdminService: what the running sidecar says of itself.

#![allow(clippy::needless_update, reason = "requests gain fields")]

use pannier_proto::admin::v1 as pb;
use pannier_proto::admin::v1::admin_service_client::AdminServiceClient;
use pannier_proto::cache::v1 as cache;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::jobs::v1 as jobs;
use pannier_proto::settings::v1 as settings;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{START_US, assert_status, is_postgres, pannier};

#[tokio::test]
async fn the_status_names_version_schema_storage_and_process() {
    let pannier = pannier().await;
    let mut admin = AdminServiceClient::new(pannier.another_connection().await);
    let status = admin.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert!(status.schema_version.starts_with('m'), "{}", status.schema_version);
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.start_time.unwrap().seconds, START_US / 1_000_000);
    assert!(!status.ephemeral && !status.test_clock, "{status:?}");
    if is_postgres() {
        assert_eq!((status.storage.as_str(), status.data_directory.as_str()), ("postgresql", ""));
    } else {
        let folder = pannier.database().parent().unwrap().display().to_string();
        assert_eq!((status.storage, status.data_directory), ("sqlite".to_owned(), folder));
    }

    pannier.advance_s(3_600);
    let later = admin.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (later.start_time, later.now.unwrap().seconds),
        (status.start_time, START_US / 1_000_000 + 3_600)
    );
}

#[tokio::test]
async fn a_sidecar_without_a_test_clock_does_not_let_callers_move_it() {
    let pannier = pannier().await;
    let mut admin = AdminServiceClient::new(pannier.another_connection().await);
    let by = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let refused = admin.advance_clock(pb::AdvanceClockRequest { by }).await.unwrap_err();
    assert_status(&refused, Code::FailedPrecondition, ErrorReason::ClockNotManual);
}

#[tokio::test]
async fn health_knows_the_service() {
    let pannier = pannier().await;
    let mut health = HealthClient::new(pannier.another_connection().await);
    let service = "pannier.admin.v1.AdminService".to_owned();
    let answer = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

/// A directory that is mistyped, or a database without a schema, is not made.
#[tokio::test]
async fn a_sidecar_that_may_not_make_a_database_refuses_where_there_is_none() {
    let pannier = pannier().await.restart_with(|settings| settings.storage.create = false).await;
    let (mut settings, _directory) = crate::harness::fresh_settings().await;
    settings.storage.create = false;
    let (clock, _hands) = pannier::clock::Clock::manual(START_US);
    let refused = pannier::server::start(&settings, clock).await.err().expect("it refuses").to_string();
    assert!(refused.contains("there is no database") || refused.contains("storage.create"), "{refused}");
    assert!(!std::path::Path::new(&settings.storage.directory).exists());
    drop(pannier);
}

#[tokio::test]
async fn a_sidecar_that_only_reads_serves_reads_and_refuses_every_write() {
    let mut pannier = pannier().await;
    let content = Some(cache::put_item::Content::Value(b"v".to_vec().into()));
    let item = Some(cache::PutItem { key: "k".into(), content, ..Default::default() });
    let put = cache::PutRequest { namespace: "n".into(), item, ..Default::default() };
    pannier.cache.put(put.clone()).await.unwrap();
    let mut pannier = pannier.restart_with(|settings| settings.storage.read_only = true).await;
    let get = cache::GetRequest { namespace: "n".into(), key: "k".into(), ..Default::default() };
    assert!(pannier.cache.get(get.clone()).await.unwrap().into_inner().entry.is_some());
    let refused = [
        pannier.cache.put(put).await.unwrap_err(),
        pannier
            .settings
            .set(settings::SetRequest { key: "s".into(), value_json: "1".into(), ..Default::default() })
            .await
            .unwrap_err(),
        pannier
            .jobs
            .create(jobs::CreateRequest { r#type: "t".into(), ..Default::default() })
            .await
            .unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::FailedPrecondition, ErrorReason::ReadOnly);
    }
    let mut admin = AdminServiceClient::new(pannier.another_connection().await);
    assert!(admin.status(pb::StatusRequest {}).await.unwrap().into_inner().read_only);
    // What is done by itself in a sidecar that writes is not tried here.
    pannier.advance_s(7 * 24 * 3_600);
    assert!(
        pannier
            .settings
            .list(settings::ListRequest::default())
            .await
            .unwrap()
            .into_inner()
            .settings
            .is_empty()
    );
}
