//! Sessions: made, read, changed, taken along the legal transitions, listed, deleted.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::UploadSessionStatus as S;
use prost_types::Timestamp;
use tonic::Code;

use super::calls::{counts, file, files, us};
use crate::harness::{START_US, assert_status, pannier};

const ALL: [S; 4] = [S::Running, S::Paused, S::Completed, S::Failed];

#[tokio::test]
async fn a_new_session_runs_and_has_what_it_was_made_with() {
    let pannier = pannier().await;
    let start_time = Some(Timestamp { seconds: 1_700_000_000, nanos: 5_000 });
    let request = pb::CreateSessionRequest {
        start_time,
        session_id: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(),
        source_id: "chat-7".into(),
        name: "Family".into(),
        total_count: Some(12),
        metadata_json: r#"{"year": 2026}"#.into(),
        ..Default::default()
    };
    let session = pannier.try_create_session(request.clone()).await.unwrap();
    assert_eq!(session.id, "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e");
    assert_eq!((session.source_id.as_str(), session.name.as_str()), ("chat-7", "Family"));
    assert_eq!((session.status(), session.revision), (S::Running, 1));
    assert_eq!(counts(&session), (Some(12), 0, 0, 0, 0));
    assert_eq!(session.metadata_json, request.metadata_json);
    assert_eq!((session.last_processed_file.as_str(), session.error.as_str()), ("", ""));
    assert_eq!((us(session.create_time.as_ref()), session.start_time), (Some(START_US), start_time));
    assert_eq!(session.update_time, session.create_time);
    assert_eq!(session.end_time, None);
    assert_eq!(pannier.get_session(&session.id).await, session);

    let status = pannier.try_create_session(request).await.unwrap_err();
    assert_status(&status, Code::AlreadyExists, ErrorReason::UploadSessionExists);
}

#[tokio::test]
async fn sessions_that_are_not_there_are_not_found() {
    let pannier = pannier().await;
    let id = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
    let mut refused = vec![
        pannier.try_get_session(id).await.unwrap_err(),
        pannier.try_register(id, file(1)).await.unwrap_err(),
        pannier.try_register_all(id, files(0..3)).await.unwrap_err(),
        pannier.try_record_error(id, "a", "quota").await.unwrap_err(),
    ];
    let update = pb::UpdateSessionRequest { session_id: id.into(), ..Default::default() };
    refused.push(pannier.try_update_session(update).await.unwrap_err());
    for status in ALL {
        refused.push(pannier.move_session(id, status).await.unwrap_err());
    }
    let list = pb::ListFilesRequest { session_id: id.into(), ..Default::default() };
    refused.push(pannier.uploads().list_files(list).await.unwrap_err());
    let list = pb::ListErrorsRequest { session_id: id.into(), ..Default::default() };
    refused.push(pannier.uploads().list_errors(list).await.unwrap_err());
    let list = pb::ListRetryableRequest { session_id: id.into(), ..Default::default() };
    refused.push(pannier.uploads().list_retryable(list).await.unwrap_err());
    for status in refused {
        assert_status(&status, Code::NotFound, ErrorReason::UploadSessionNotFound);
    }
    assert!(!pannier.delete_session(id).await);
}

#[tokio::test]
async fn every_transition_is_legal_or_refused_with_nothing_changed() {
    let pannier = pannier().await;
    for from in ALL {
        for to in ALL {
            let id = pannier.session().await;
            if from != S::Running {
                pannier.move_session(&id, from).await.unwrap();
            }
            let before = pannier.get_session(&id).await;
            pannier.advance_s(1);
            let moved = pannier.move_session(&id, to).await;
            let is_resumed = (from, to) == (S::Failed, S::Running);
            let is_legal = is_resumed || matches!(from, S::Running | S::Paused) && from != to;
            assert_eq!(moved.is_ok(), is_legal, "{from:?} to {to:?}");
            match moved {
                Ok(session) => {
                    assert_eq!((session.status(), session.revision), (to, before.revision + 1));
                    let is_end = matches!(to, S::Completed | S::Failed);
                    assert_eq!(us(session.end_time.as_ref()), is_end.then_some(pannier.now_us()));
                    assert_eq!(session.error, if to == S::Failed { "quota" } else { "" });
                    assert_eq!(pannier.get_session(&id).await, session);
                }
                Err(status) => {
                    assert_status(&status, Code::FailedPrecondition, ErrorReason::UploadTransitionIllegal);
                    assert_eq!(pannier.get_session(&id).await, before);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_counted_can_be_changed_and_what_is_absent_stays() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..3)).await;
    let update = pb::UpdateSessionRequest { session_id: id.clone(), ..Default::default() };
    let before = pannier.get_session(&id).await;
    assert_eq!(pannier.try_update_session(update.clone()).await.unwrap(), before, "nothing said");

    let all = pb::UpdateSessionRequest {
        name: Some("Other".into()),
        metadata_json: Some("{}".into()),
        total_count: Some(3),
        last_processed_file: Some("media/1.jpg".into()),
        ..update.clone()
    };
    let changed = pannier.try_update_session(all).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.metadata_json.as_str()), ("Other", "{}"));
    assert_eq!(counts(&changed), (Some(3), 3, 3, 0, 0));
    assert_eq!(changed.last_processed_file, "media/1.jpg");
    assert_eq!(changed.revision, before.revision + 1);
    assert_eq!(pannier.get_session(&id).await, changed);

    let cleared = pb::UpdateSessionRequest {
        name: Some(String::new()),
        metadata_json: Some(String::new()),
        last_processed_file: Some(String::new()),
        ..update.clone()
    };
    let cleared = pannier.try_update_session(cleared).await.unwrap();
    assert_eq!((cleared.name.as_str(), cleared.metadata_json.as_str()), ("", ""));
    assert_eq!(cleared.last_processed_file, "");

    let low = pb::UpdateSessionRequest { total_count: Some(2), ..update };
    let status = pannier.try_update_session(low).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, ErrorReason::UploadCountInvalid);
    assert_eq!(pannier.get_session(&id).await, cleared);
}

#[tokio::test]
async fn a_finished_session_keeps_its_counts_and_may_be_renamed() {
    let pannier = pannier().await;
    for end in [S::Completed, S::Failed] {
        let id = pannier.session().await;
        pannier.move_session(&id, end).await.unwrap();
        let before = pannier.get_session(&id).await;
        let update = pb::UpdateSessionRequest { session_id: id.clone(), ..Default::default() };
        let total = pb::UpdateSessionRequest { total_count: Some(1), ..update.clone() };
        let place = pb::UpdateSessionRequest { last_processed_file: Some("a".into()), ..update.clone() };
        let refused = [
            pannier.try_register(&id, file(1)).await.unwrap_err(),
            pannier.try_register_all(&id, files(0..3)).await.unwrap_err(),
            pannier.try_record_error(&id, "a", "quota").await.unwrap_err(),
            pannier.try_update_session(total).await.unwrap_err(),
            pannier.try_update_session(place).await.unwrap_err(),
        ];
        for status in refused {
            assert_status(&status, Code::FailedPrecondition, ErrorReason::UploadSessionFinished);
        }
        assert_eq!(pannier.get_session(&id).await, before);
        assert_eq!(pannier.states(vec![super::calls::hash(1)]).await, [pb::FileState::Unknown]);
        let name = pb::UpdateSessionRequest { name: Some("Done".into()), ..update };
        assert_eq!(pannier.try_update_session(name).await.unwrap().name, "Done");
    }
}

#[tokio::test]
async fn lists_go_by_status_and_source_the_newest_first() {
    let pannier = pannier().await;
    let mut made = Vec::new();
    for number in 0..24 {
        let source = ["chat-1", "chat-2", "chat-3"][number % 3];
        let id = pannier.session_of(source).await;
        let status = ALL[number % 4];
        if status != S::Running {
            pannier.move_session(&id, status).await.unwrap();
        }
        made.insert(0, (id, source, status));
    }
    for status in [S::Unspecified, S::Running, S::Paused, S::Completed, S::Failed] {
        for source in ["", "chat-1", "chat-3", "chat-9"] {
            let expected: Vec<String> = made
                .iter()
                .filter(|(_, s, _)| source.is_empty() || *s == source)
                .filter(|(_, _, s)| status == S::Unspecified || *s == status)
                .map(|(id, _, _)| id.clone())
                .collect();
            for page_size in [1, 4, 0] {
                let request = pb::ListSessionsRequest {
                    status: status.into(),
                    source_id: source.into(),
                    page_size,
                    ..Default::default()
                };
                let pages = pannier.session_pages(request).await;
                assert_eq!(pages.concat(), expected, "{status:?} {source}");
                assert!(page_size == 0 || pages.iter().all(|page| page.len() <= page_size as usize));
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_large_sessions_ends_early_and_the_next_goes_on() {
    let pannier = crate::harness::pannier_with(|settings| settings.server.response_bytes_max = 114_000).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        let request = pb::CreateSessionRequest {
            source_id: "chat-1".into(),
            metadata_json: format!("{{\"a\":\"{}\"}}", "m".repeat(40_000)),
            ..Default::default()
        };
        ids.insert(0, pannier.try_create_session(request).await.unwrap().id);
    }
    let pages = pannier.session_pages(pb::ListSessionsRequest::default()).await;
    assert_eq!(pages.concat(), ids);
    assert!(pages.iter().all(|page| page.len() <= 4), "{pages:?}");
}

#[tokio::test]
async fn a_deleted_session_takes_its_errors_along_and_leaves_its_files() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..3)).await;
    for number in 0..600 {
        pannier.record_error(&id, &format!("bad/{number}"), "quota").await;
    }
    let other = pannier.session().await;
    pannier.record_error(&other, "bad/1", "quota").await;
    assert!(pannier.delete_session(&id).await);
    assert!(!pannier.delete_session(&id).await);
    let status = pannier.try_get_session(&id).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::UploadSessionNotFound);

    let known = pannier.check(vec![super::calls::hash(1)]).await.remove(0).files.remove(0);
    assert_eq!((known.session_id.as_str(), known.source_id.as_str()), ("", "chat-1"));
    for _ in 0..200 {
        pannier.advance_s(10);
        pannier.get_session(&other).await;
        if pannier.row_count("upload_errors").await == 1 && pannier.row_count("upload_remains").await == 0 {
            break;
        }
    }
    assert_eq!(pannier.row_count("upload_errors").await, 1);
    assert_eq!(pannier.row_count("upload_remains").await, 0);
    assert_eq!(pannier.get_session(&other).await.error_count, 1);
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(0..5)).await;
    pannier.record_error(&id, "media/9.jpg", "network").await;
    pannier.move_session(&id, S::Paused).await.unwrap();
    let before = pannier.get_session(&id).await;
    let pannier = pannier.restart().await;
    assert_eq!(pannier.get_session(&id).await, before);
    assert_eq!(before.last_processed_file, "media/9.jpg");
    let resumed = pannier.move_session(&id, S::Running).await.unwrap();
    assert_eq!(counts(&resumed), (None, 6, 5, 1, 0));
    assert_eq!(pannier.register(&id, file(9)).await, pb::RegisterOutcome::Registered);
}
