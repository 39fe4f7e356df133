//! RegisterFile and BatchRegisterFiles: files and counts in one step; known files are duplicates.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::RegisterOutcome::{Duplicate, Registered};
use prost_types::Timestamp;
use tonic::Code;

use super::calls::{counts, file, files, hash, hashes, us};
use crate::harness::{assert_status, pannier, pannier_with};

#[tokio::test]
async fn a_registered_file_is_known_with_all_that_was_said_of_it() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let new = pb::NewFile {
        service: "drive".into(),
        sha256: hash(1).to_uppercase(),
        path: "export/media/IMG_1.jpg".into(),
        name: "Holiday.jpg".into(),
        size_bytes: 1 << 43,
        mime_type: "image/jpeg".into(),
        service_file_id: "AF1Qip".into(),
        source_id: "chat-9".into(),
        upload_time: Some(Timestamp { seconds: 5, nanos: 6_000 }),
        reservation_token: String::new(),
    };
    let answer = pannier.try_register(&id, new.clone()).await.unwrap();
    assert_eq!((answer.outcome(), answer.known), (Registered, None));
    let session = answer.session.unwrap();
    assert_eq!(counts(&session), (None, 1, 1, 0, 0));
    assert_eq!((session.last_processed_file.as_str(), session.revision), ("export/media/IMG_1.jpg", 2));

    let request =
        pb::CheckFilesRequest { service: "drive".into(), sha256: vec![hash(1)], states_only: false };
    let known = pannier.try_check(request).await.unwrap().remove(0);
    assert_eq!(known.state(), pb::FileState::Uploaded);
    let expected = pb::UploadedFile {
        service: "drive".into(),
        sha256: hash(1),
        path: new.path,
        name: new.name,
        size_bytes: new.size_bytes,
        mime_type: new.mime_type,
        service_file_id: new.service_file_id,
        source_id: new.source_id,
        session_id: id,
        upload_time: new.upload_time,
    };
    assert_eq!(known.files, [expected]);
    assert_eq!(pannier.states(vec![hash(1)]).await, [pb::FileState::Unknown], "another service");
}

#[tokio::test]
async fn what_is_not_said_of_a_file_comes_from_its_path_its_session_and_the_clock() {
    let pannier = pannier().await;
    let id = pannier.session_of("chat-3").await;
    pannier.register(&id, pb::NewFile { path: r"C:\media\a.png".into(), ..file(1) }).await;
    let known = pannier.check(vec![hash(1)]).await.remove(0).files.remove(0);
    assert_eq!((known.name.as_str(), known.source_id.as_str()), ("a.png", "chat-3"));
    assert_eq!((known.mime_type.as_str(), known.service_file_id.as_str()), ("", ""));
    assert_eq!(us(known.upload_time.as_ref()), Some(pannier.now_us()));

    // Without a session there is neither a source nor a count.
    let answer = pannier.try_register("", file(2)).await.unwrap();
    assert_eq!((answer.outcome(), answer.session), (Registered, None));
    let known = pannier.check(vec![hash(2)]).await.remove(0).files.remove(0);
    assert_eq!((known.session_id.as_str(), known.source_id.as_str()), ("", ""));
}

#[tokio::test]
async fn a_known_file_is_a_duplicate_and_stays_as_it_was_known() {
    let pannier = pannier().await;
    let (first, second) = (pannier.session().await, pannier.session_of("chat-2").await);
    pannier.register(&first, file(1)).await;
    let before = pannier.check(vec![hash(1)]).await;
    for (session, times) in [(&first, 1), (&second, 1), (&second, 2)] {
        let again = pb::NewFile { path: "elsewhere/x.jpg".into(), size_bytes: 7, ..file(1) };
        let answer = pannier.try_register(session, again).await.unwrap();
        assert_eq!((answer.outcome(), answer.known), (Duplicate, before[0].files.first().cloned()));
        assert_eq!(answer.session.as_ref().unwrap().duplicate_count, times);
        assert_eq!(answer.session.unwrap().last_processed_file, "elsewhere/x.jpg");
    }
    assert_eq!(counts(&pannier.get_session(&first).await), (None, 2, 1, 0, 1));
    assert_eq!(counts(&pannier.get_session(&second).await), (None, 2, 0, 0, 2));
    assert_eq!(pannier.check(vec![hash(1)]).await, before);
}

#[tokio::test]
async fn one_file_may_be_in_two_services() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let elsewhere = pb::NewFile { service: "drive".into(), ..file(1) };
    let batch = vec![file(1), elsewhere.clone(), file(1), elsewhere];
    assert_eq!(pannier.register_all(&id, batch).await, [Registered, Registered, Duplicate, Duplicate]);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 4, 2, 0, 2));
}

#[tokio::test]
async fn a_batch_counts_what_is_new_and_what_is_known_by_their_places() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.register_all(&id, files(10..20)).await;
    let mut batch = files(5..15);
    batch.reverse();
    batch.push(file(5));
    let answer = pannier.try_register_all(&id, batch.clone()).await.unwrap();
    for (result, new) in answer.results.iter().zip(&batch) {
        let is_new = (5..10).any(|number| hash(number) == new.sha256);
        let is_first = !std::ptr::eq(new, batch.last().unwrap());
        assert_eq!(result.outcome(), if is_new && is_first { Registered } else { Duplicate });
        assert_eq!(result.known.is_some(), !(is_new && is_first));
        assert_eq!(result.error, None);
    }
    let session = answer.session.unwrap();
    assert_eq!(counts(&session), (None, 21, 15, 0, 6));
    assert_eq!(session.last_processed_file, "media/5.jpg");
    assert_eq!(pannier.states(hashes(5..20)).await, [pb::FileState::Uploaded; 15]);
}

#[tokio::test]
async fn a_thousand_files_go_into_one_call_and_a_total_grows_with_them() {
    let pannier = pannier().await;
    let request =
        pb::CreateSessionRequest { source_id: "c".into(), total_count: Some(900), ..Default::default() };
    let id = pannier.try_create_session(request).await.unwrap().id;
    assert_eq!(pannier.register_all(&id, files(0..1_000)).await, [Registered; 1_000]);
    assert_eq!(counts(&pannier.get_session(&id).await), (Some(1_000), 1_000, 1_000, 0, 0));
    let pages = pannier.file_pages(pb::ListFilesRequest { session_id: id, ..Default::default() }).await;
    assert_eq!(pages.concat().len(), 1_000);
}

#[tokio::test]
async fn where_to_resume_can_be_said_and_is_kept_when_all_is_refused() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let request = pb::RegisterFileRequest {
        session_id: id.clone(),
        file: Some(file(7)),
        last_processed_file: Some("media/3.jpg".into()),
        ..Default::default()
    };
    let answer = pannier.uploads().register_file(request).await.unwrap().into_inner();
    assert_eq!(answer.session.unwrap().last_processed_file, "media/3.jpg");
    let request = pb::BatchRegisterFilesRequest {
        session_id: id.clone(),
        files: files(0..3),
        last_processed_file: Some("media/4.jpg".into()),
        ..Default::default()
    };
    let answer = pannier.uploads().batch_register_files(request).await.unwrap().into_inner();
    assert_eq!(answer.session.unwrap().last_processed_file, "media/4.jpg");

    let before = pannier.get_session(&id).await;
    let stale = pb::NewFile { reservation_token: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(), ..file(50) };
    let answer = pannier.try_register_all(&id, vec![stale]).await.unwrap();
    assert!(answer.results[0].error.is_some());
    assert_eq!(pannier.get_session(&id).await, before);
}

#[tokio::test]
async fn a_paused_session_takes_what_was_under_way() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.move_session(&id, pb::UploadSessionStatus::Paused).await.unwrap();
    assert_eq!(pannier.register(&id, file(1)).await, Registered);
    assert_eq!(pannier.record_error(&id, "b", "network").await, 0);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 2, 1, 1, 0));
}

#[tokio::test]
async fn answers_leave_the_metadata_out_and_the_session_keeps_it() {
    let pannier = pannier().await;
    let request =
        pb::CreateSessionRequest { source_id: "c".into(), metadata_json: "{}".into(), ..Default::default() };
    let id = pannier.try_create_session(request).await.unwrap().id;
    assert_eq!(pannier.try_register(&id, file(1)).await.unwrap().session.unwrap().metadata_json, "");
    assert_eq!(pannier.get_session(&id).await.metadata_json, "{}");
    let paused = pannier.move_session(&id, pb::UploadSessionStatus::Paused).await.unwrap();
    assert_eq!(paused.metadata_json, "{}");
}

#[tokio::test]
async fn names_beyond_the_limits_are_refused_and_known_ones_are_not() {
    let pannier = pannier_with(|settings| {
        settings.uploads.sources_max = 1;
        settings.uploads.mime_types_max = 1;
    })
    .await;
    let id = pannier.session_of("a").await;
    let other = pb::CreateSessionRequest { source_id: "b".into(), ..Default::default() };
    let typed = |kind: &str, number| pb::NewFile { mime_type: kind.into(), ..file(number) };
    pannier.register(&id, typed("image/png", 1)).await;
    let refused = [
        pannier.try_create_session(other).await.unwrap_err(),
        pannier.try_register(&id, typed("image/jpeg", 2)).await.unwrap_err(),
        pannier.try_register("", pb::NewFile { source_id: "b".into(), ..file(2) }).await.unwrap_err(),
    ];
    for status in refused {
        assert_status(&status, Code::ResourceExhausted, ErrorReason::TooManyUploadNames);
    }
    assert_eq!(pannier.states(vec![hash(2)]).await, [pb::FileState::Unknown]);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 1, 1, 0, 0));
    assert_eq!(pannier.register(&id, typed("image/png", 3)).await, Registered);
    let pannier = pannier.restart().await;
    assert_eq!(pannier.register(&id, typed("image/png", 4)).await, Registered, "known in the table");
}
