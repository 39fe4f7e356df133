//! What the application says in its own words: ids of sessions, long paths, errors that are logged alone; and files that several
//! services have.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::RegisterOutcome::Registered;
use pannier_proto::uploads::v1::UploadSessionStatus as S;
use tonic::Code;

use super::calls::{counts, file, files, hash, us};
use crate::harness::{Pannier, assert_status, pannier, pannier_with};

#[tokio::test]
async fn the_id_of_a_session_is_any_text() {
    let pannier = pannier().await;
    let longest = "é".repeat(128);
    for id in ["a", "chat 7 / 2026-11-21 \u{1F600}", "6F1B3C52-8A0E-4F4E-9C2D-0F6A7B8C9D0E", &longest] {
        let request =
            pb::CreateSessionRequest { session_id: id.into(), source_id: "c".into(), ..Default::default() };
        assert_eq!(pannier.try_create_session(request.clone()).await.unwrap().id, id);
        let status = pannier.try_create_session(request).await.unwrap_err();
        assert_status(&status, Code::AlreadyExists, ErrorReason::UploadSessionExists);
        pannier.forget(vec![hash(1)]).await;
        assert_eq!(pannier.register(id, file(1)).await, Registered);
        assert_eq!(pannier.check(vec![hash(1)]).await[0].files[0].session_id, id);
        pannier.record_error(id, "a", "quota").await;
        assert_eq!(pannier.get_session(id).await.processed_count, 2);
        let request = pb::ListErrorsRequest { session_id: id.into(), ..Default::default() };
        assert_eq!(pannier.errors(request).await[0].session_id, id);
        let shown = pannier.rows_as_text("SELECT session_id FROM v_upload_sessions").await;
        assert!(shown.contains(&vec![id.to_owned()]), "{shown:?}");
    }
    assert_eq!(pannier.get_session("a").await.source_id, "c");
    let status = pannier.try_get_session("6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e").await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::UploadSessionNotFound);
    assert!(pannier.delete_session(&longest).await);
}

#[tokio::test]
async fn a_failed_session_is_resumed_and_takes_files_again() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..2)).await;
    pannier.move_session(&id, S::Failed).await.unwrap();
    let status = pannier.try_register(&id, file(2)).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, ErrorReason::UploadSessionFinished);
    let resumed = pannier.move_session(&id, S::Running).await.unwrap();
    assert_eq!((resumed.status(), resumed.error.as_str(), resumed.end_time), (S::Running, "", None));
    assert_eq!(resumed.last_processed_file, "media/1.jpg");
    assert_eq!(pannier.register(&id, file(2)).await, Registered);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 3, 3, 0, 0));
    pannier.move_session(&id, S::Completed).await.unwrap();
    for status in [S::Running, S::Paused, S::Failed] {
        pannier.move_session(&id, status).await.unwrap_err();
    }
}

#[tokio::test]
async fn paths_as_long_as_the_setting_are_stored_found_and_told_apart() {
    for bytes_max in [4_096, 8_192] {
        let pannier = pannier_with(|settings| settings.uploads.path_bytes_max = bytes_max).await;
        let id = pannier.session().await;
        // No two are alike, and no database compresses them to a few bytes.
        let path = |number: u64| -> String {
            (number * 1_000..)
                .map(hash)
                .flat_map(|hash| hash.into_bytes())
                .map(char::from)
                .take(bytes_max as usize)
                .collect()
        };
        for number in 0..3 {
            assert_eq!(pannier.record_error(&id, &path(number), "network").await, 0);
        }
        assert_eq!(pannier.record_error(&id, &path(1), "network").await, 1);
        assert_eq!(pannier.register(&id, pb::NewFile { path: path(2), ..file(2) }).await, Registered);
        let session = pannier.get_session(&id).await;
        assert_eq!((counts(&session), session.last_processed_file), ((None, 3, 1, 2, 0), path(2)));
        let request = pb::ListErrorsRequest { session_id: id.clone(), ..Default::default() };
        let open: Vec<String> = pannier.errors(request).await.into_iter().map(|error| error.path).collect();
        assert_eq!(open, [path(0), path(1)]);
        assert_eq!(pannier.check(vec![hash(2)]).await[0].files[0].path, path(2));
    }
}

async fn log(pannier: &Pannier, id: &str, path: &str) -> pb::RecordErrorResponse {
    let request = pb::RecordErrorRequest {
        session_id: id.into(),
        path: path.into(),
        r#type: "quota".into(),
        log_only: true,
        ..Default::default()
    };
    pannier.uploads().record_error(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn an_error_that_is_logged_alone_leaves_the_session_as_it_is() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register(&id, file(0)).await;
    let before = pannier.get_session(&id).await;
    pannier.advance_s(10);
    let answer = log(&pannier, &id, "media/1.jpg").await;
    assert!(!answer.error.unwrap().counted);
    assert_eq!(answer.session.unwrap(), before);
    assert_eq!(pannier.get_session(&id).await, before);
    assert_eq!(log(&pannier, &id, "media/1.jpg").await.error.unwrap().retry_count, 1);

    // It is resolved all the same, and the counts stay right.
    assert_eq!(pannier.register(&id, file(1)).await, Registered);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 2, 2, 0, 0));
    let all = pb::ListErrorsRequest { session_id: id.clone(), include_resolved: true, ..Default::default() };
    assert!(pannier.errors(all).await[0].resolve_time.is_some());

    // Counted later, it counts once; logged after that, it still counts.
    log(&pannier, &id, "media/2.jpg").await;
    pannier.record_error(&id, "media/2.jpg", "network").await;
    assert!(log(&pannier, &id, "media/2.jpg").await.error.unwrap().counted);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 3, 2, 1, 0));
    pannier.register(&id, file(2)).await;
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 3, 3, 0, 0));

    pannier.move_session(&id, S::Failed).await.unwrap();
    log(&pannier, &id, "media/9.jpg").await;
    assert_eq!(pannier.get_session(&id).await.status(), S::Failed);
}

#[tokio::test]
async fn errors_of_all_sessions_are_listed_the_last_failure_first() {
    let pannier = pannier().await;
    let (one, other, gone) = (pannier.session().await, pannier.session().await, pannier.session().await);
    let mut expected = Vec::new();
    for number in 0..150 {
        let id = if number % 2 == 0 { &one } else { &other };
        pannier
            .record_error(id, &format!("{number:03}"), if number % 3 == 0 { "quota" } else { "network" })
            .await;
        pannier.record_error(&gone, &format!("{number:03}"), "network").await;
        expected.push((id.clone(), format!("{number:03}")));
        if number % 10 == 0 {
            pannier.advance_s(1);
        }
    }
    pannier.advance_s(1);
    pannier.record_error(&one, "000", "quota").await;
    pannier.delete_session(&gone).await;
    let first = expected.remove(0);
    expected.push(first);
    expected.reverse();
    for page_size in [1, 7, 64, 0] {
        let request = pb::ListErrorsRequest { page_size, ..Default::default() };
        let errors = pannier.errors(request).await;
        assert!(errors.is_sorted_by_key(|error| std::cmp::Reverse(us(error.update_time.as_ref()))));
        let listed: Vec<_> = errors.into_iter().map(|error| (error.session_id, error.path)).collect();
        assert_eq!(listed, expected, "{page_size}");
    }
    let quota = pb::ListErrorsRequest { r#type: "quota".into(), ..Default::default() };
    assert_eq!(pannier.errors(quota).await.len(), 50);
    let damaged = pb::ListErrorsRequest { page_token: "x".into(), ..Default::default() };
    let status = pannier.uploads().list_errors(damaged).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::PageTokenInvalid);
}

#[tokio::test]
async fn a_check_without_a_service_tells_of_every_service() {
    let pannier = pannier().await;
    let check = |states_only| {
        let sha256 = vec![hash(0), hash(1), hash(2), hash(3), hash(4)];
        pannier.try_check(pb::CheckFilesRequest { service: String::new(), sha256, states_only })
    };
    assert!(check(false).await.unwrap().iter().all(|result| result.state() == pb::FileState::Unknown));
    for (service, numbers) in [("photos", 0..2), ("drive", 1..3)] {
        let of_service = files(numbers).into_iter().map(|new| pb::NewFile { service: service.into(), ..new });
        pannier.register_all("", of_service.collect()).await;
    }
    pannier.advance_s(1);
    for (service, sha256) in [("photos", hash(2)), ("photos", hash(3)), ("drive", hash(3))] {
        let request = pb::ReserveFileRequest { service: service.into(), sha256, ..Default::default() };
        pannier.uploads().reserve_file(request).await.unwrap();
        pannier.advance_s(1);
    }
    let results = check(false).await.unwrap();
    let services: Vec<Vec<&str>> = results
        .iter()
        .map(|result| result.files.iter().map(|file| file.service.as_str()).collect())
        .collect();
    assert_eq!(services, [vec!["photos"], vec!["drive", "photos"], vec!["drive"], vec![], vec![]]);
    use pb::FileState::{Reserved, Unknown, Uploaded};
    let states: Vec<_> = results.iter().map(pb::CheckFilesResult::state).collect();
    assert_eq!(states, [Uploaded, Uploaded, Uploaded, Reserved, Unknown]);
    // The reservation of the other service ends a second later.
    assert_eq!(us(results[3].reserved_until_time.as_ref()), Some(pannier.now_us() + 299_000_000));
    let short = check(true).await.unwrap();
    assert!(short.iter().all(|result| result.files.is_empty()));
    assert_eq!(short.iter().map(pb::CheckFilesResult::state).collect::<Vec<_>>(), states);
}
