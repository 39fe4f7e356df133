//! Numbers of everything; and the views for a person with a database shell.

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::UploadSessionStatus as S;

use super::calls::{file, files, hashes};
use crate::harness::{pannier, pannier_with};

async fn stats(pannier: &crate::harness::Pannier) -> pb::StatsResponse {
    pannier.uploads().stats(pb::StatsRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn files_are_counted_by_service_and_sessions_by_status() {
    let pannier = pannier().await;
    assert_eq!(stats(&pannier).await, pb::StatsResponse::default());
    let first = pannier.session().await;
    pannier.register_all(&first, files(0..10)).await;
    pannier.register_all(&first, files(0..3)).await;
    pannier.record_error(&first, "bad", "quota").await;
    let second = pannier.session().await;
    pannier.register(&second, pb::NewFile { service: "drive".into(), size_bytes: 5, ..file(1) }).await;
    pannier.session().await;
    pannier.move_session(&second, S::Completed).await.unwrap();
    pannier.reserve_all(hashes(50..54)).await;
    let told = stats(&pannier).await;
    let service = |service: &str, file_count, size_bytes| pb::ServiceFiles {
        service: service.into(),
        file_count,
        size_bytes,
    };
    assert_eq!(told.services, [service("drive", 1, 5), service("photos", 10, 10_045)]);
    let running = pb::StatusSessions {
        status: S::Running.into(),
        session_count: 2,
        success_count: 10,
        error_count: 1,
        duplicate_count: 3,
    };
    let completed = pb::StatusSessions {
        status: S::Completed.into(),
        session_count: 1,
        success_count: 1,
        ..Default::default()
    };
    assert_eq!(told.sessions, [running, completed]);
    assert!(!told.files_truncated && !told.sessions_truncated);
    assert_eq!(told.reservation_count, 4);
    pannier.advance_s(300);
    assert_eq!(stats(&pannier).await.reservation_count, 0);
}

#[tokio::test]
async fn statistics_stop_at_their_bounds_and_say_so() {
    let pannier = pannier_with(|settings| {
        settings.uploads.stats_files_max = 5;
        settings.uploads.stats_sessions_max = 2;
    })
    .await;
    for count in [1, 2, 3] {
        pannier.session().await;
        let told = stats(&pannier).await;
        assert_eq!((told.sessions[0].session_count, told.sessions_truncated), (count.min(2), count > 2));
    }
    pannier.register_all("", files(0..5)).await;
    assert!(!stats(&pannier).await.files_truncated);
    pannier.register_all("", files(5..7)).await;
    let told = stats(&pannier).await;
    assert_eq!((told.services[0].file_count, told.files_truncated), (5, true));
}

#[tokio::test]
async fn sums_of_the_largest_files_are_told() {
    let pannier = pannier().await;
    let largest = |number| pb::NewFile { size_bytes: 1 << 43, ..file(number) };
    pannier.register_all("", (0..1_000).map(largest).collect()).await;
    assert_eq!(stats(&pannier).await.services[0].size_bytes, 1_000 << 43);
}

#[tokio::test]
async fn a_person_sees_sessions_with_their_progress() {
    let pannier = pannier().await;
    let request = pb::CreateSessionRequest {
        session_id: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(),
        source_id: "chat-1".into(),
        name: "Family".into(),
        total_count: Some(8),
        ..Default::default()
    };
    let id = pannier.try_create_session(request).await.unwrap().id;
    pannier.register_all(&id, files(0..4)).await;
    pannier.register(&id, file(0)).await;
    pannier.advance(std::time::Duration::from_millis(1_500));
    pannier.record_error(&id, "bad.jpg", "quota").await;
    let other = pannier.session_of("chat-2").await;
    pannier.move_session(&other, S::Failed).await.unwrap();
    let columns = [
        "session_id",
        "source",
        "name",
        "status",
        "total",
        "processed",
        "percent",
        "succeeded",
        "errors",
        "duplicates",
    ];
    let mut texts: Vec<String> =
        columns.iter().map(|name| format!("coalesce(CAST({name} AS text), '-')")).collect();
    for name in ["last_processed_file", "created", "updated", "ended", "error"] {
        texts.push(format!("coalesce({name}, '-')"));
    }
    let query = format!("SELECT {} FROM v_upload_sessions ORDER BY source", texts.join(", "));
    let rows = pannier.rows_as_text(&query).await;
    let expected = [
        id.as_str(),
        "chat-1",
        "Family",
        "running",
        "8",
        "6",
        "75.0",
        "4",
        "1",
        "1",
        "bad.jpg",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:01.500Z",
        "-",
        "-",
    ];
    assert_eq!(rows[0], expected);
    let expected = [
        other.as_str(),
        "chat-2",
        "",
        "failed",
        "-",
        "0",
        "-",
        "0",
        "0",
        "0",
        "-",
        "2026-01-01T00:00:01.500Z",
        "2026-01-01T00:00:01.500Z",
        "2026-01-01T00:00:01.500Z",
        "quota",
    ];
    assert_eq!(rows[1], expected);
}

#[tokio::test]
async fn a_person_sees_errors_by_type() {
    let pannier = pannier().await;
    let (one, two) = (pannier.session().await, pannier.session().await);
    pannier.record_error(&one, "media/1.jpg", "network").await;
    pannier.advance_s(1);
    pannier.record_error(&one, "media/1.jpg", "network").await;
    pannier.record_error(&two, "media/2.jpg", "network").await;
    pannier.record_error(&two, "media/3.jpg", "quota").await;
    pannier.register(&two, file(2)).await;
    let gone = pannier.session().await;
    pannier.record_error(&gone, "x", "network").await;
    pannier.delete_session(&gone).await;
    let query = "SELECT type, CAST(open AS text), CAST(resolved AS text), CAST(sessions AS text), \
        CAST(most_retries AS text), first, last FROM v_upload_errors ORDER BY type";
    let (first, later) = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z");
    let expected =
        [["network", "1", "1", "2", "1", first, later], ["quota", "1", "0", "1", "0", later, later]];
    assert_eq!(pannier.rows_as_text(query).await, expected);
}
