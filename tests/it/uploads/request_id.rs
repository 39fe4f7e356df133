//! Repeated requests: one effect, the first answer; another body is refused.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::uploads::v1 as pb;
use tonic::Code;

use super::calls::{counts, file, files, hash, token};
use crate::harness::{assert_status, pannier};

/// The id of the request of that number.
fn request_id(number: u8) -> String {
    format!("6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d{number:02}")
}

#[tokio::test]
async fn a_repeated_registration_counts_once() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let one = pb::RegisterFileRequest {
        session_id: id.clone(),
        file: Some(file(1)),
        request_id: request_id(1),
        ..Default::default()
    };
    let first = pannier.uploads().register_file(one.clone()).await.unwrap().into_inner();
    pannier.move_session(&id, pb::UploadSessionStatus::Paused).await.unwrap();
    assert_eq!(pannier.uploads().register_file(one.clone()).await.unwrap().into_inner(), first);
    let many = pb::BatchRegisterFilesRequest {
        session_id: id.clone(),
        files: files(1..4),
        request_id: request_id(2),
        ..Default::default()
    };
    let first = pannier.uploads().batch_register_files(many.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.uploads().batch_register_files(many).await.unwrap().into_inner(), first);
    assert_eq!(counts(&pannier.get_session(&id).await), (None, 4, 3, 0, 1));

    let other = pb::RegisterFileRequest { file: Some(file(9)), ..one };
    let status = pannier.uploads().register_file(other).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, ErrorReason::RequestIdReused);
    assert_eq!(pannier.states(vec![hash(9)]).await, [pb::FileState::Unknown]);
}

#[tokio::test]
async fn a_repeated_reservation_has_the_same_token() {
    let pannier = pannier().await;
    let request = pb::ReserveFileRequest {
        service: "photos".into(),
        sha256: hash(1),
        request_id: request_id(1),
        ..Default::default()
    };
    let first = pannier.uploads().reserve_file(request.clone()).await.unwrap().into_inner();
    assert_eq!(pannier.uploads().reserve_file(request).await.unwrap().into_inner(), first);
    let request = pb::ReleaseReservationsRequest {
        service: "photos".into(),
        reservations: vec![pb::HeldReservation { sha256: hash(1), token: token(&first.result.unwrap()) }],
        request_id: request_id(2),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = pannier.uploads().release_reservations(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.results.iter().map(|result| result.released).collect::<Vec<_>>(), [true]);
    }
}

#[tokio::test]
async fn repeated_changes_of_a_session_are_no_illegal_transitions() {
    let pannier = pannier().await;
    let create =
        pb::CreateSessionRequest { source_id: "c".into(), request_id: request_id(1), ..Default::default() };
    let first = pannier.try_create_session(create.clone()).await.unwrap();
    assert_eq!(pannier.try_create_session(create).await.unwrap(), first);
    let (session_id, mut uploads) = (first.id, pannier.uploads());
    let pause = pb::PauseSessionRequest {
        session_id: session_id.clone(),
        request_id: request_id(2),
        ..Default::default()
    };
    let paused = uploads.pause_session(pause.clone()).await.unwrap().into_inner();
    let resume = pb::ResumeSessionRequest {
        session_id: session_id.clone(),
        request_id: request_id(3),
        ..Default::default()
    };
    let resumed = uploads.resume_session(resume.clone()).await.unwrap().into_inner();
    assert_eq!(uploads.pause_session(pause).await.unwrap().into_inner(), paused);
    let complete = pb::CompleteSessionRequest {
        session_id: session_id.clone(),
        request_id: request_id(4),
        ..Default::default()
    };
    let completed = uploads.complete_session(complete.clone()).await.unwrap().into_inner();
    assert_eq!(uploads.resume_session(resume).await.unwrap().into_inner(), resumed);
    assert_eq!(uploads.complete_session(complete).await.unwrap().into_inner(), completed);
    let delete = pb::DeleteSessionRequest { session_id, request_id: request_id(5), ..Default::default() };
    for _ in 0..2 {
        assert!(uploads.delete_session(delete.clone()).await.unwrap().into_inner().deleted);
    }
}

#[tokio::test]
async fn a_repeated_error_is_no_retry_and_a_repeated_forget_forgets_nothing_new() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    let record = pb::RecordErrorRequest {
        session_id: id.clone(),
        path: "a".into(),
        r#type: "network".into(),
        request_id: request_id(1),
        ..Default::default()
    };
    for _ in 0..3 {
        let answer = pannier.uploads().record_error(record.clone()).await.unwrap().into_inner();
        assert_eq!(answer.error.unwrap().retry_count, 0);
    }
    pannier.register(&id, file(1)).await;
    let forget = pb::ForgetRequest {
        service: "photos".into(),
        sha256: vec![hash(1)],
        request_id: request_id(2),
        ..Default::default()
    };
    assert_eq!(pannier.uploads().forget(forget.clone()).await.unwrap().into_inner().forgotten_count, 1);
    pannier.register(&id, file(1)).await;
    assert_eq!(pannier.uploads().forget(forget).await.unwrap().into_inner().forgotten_count, 1);
    assert_eq!(pannier.states(vec![hash(1)]).await, [pb::FileState::Uploaded], "registered since");
}

#[tokio::test]
async fn a_refused_call_is_not_kept() {
    let pannier = pannier().await;
    let id = pannier.session().await;
    pannier.reserve(1).await;
    let request = pb::RegisterFileRequest {
        session_id: id,
        file: Some(file(1)),
        request_id: request_id(1),
        ..Default::default()
    };
    let status = pannier.uploads().register_file(request.clone()).await.unwrap_err();
    assert_status(&status, Code::Aborted, ErrorReason::UploadFileReserved);
    pannier.advance_s(300);
    let answer = pannier.uploads().register_file(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), pb::RegisterOutcome::Registered);
}
