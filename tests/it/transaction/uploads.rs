//! Files and sessions of uploads in commits: by the rules of the calls, all or nothing.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::transaction::v1::UploadsCheck;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use pannier_proto::uploads::v1 as uploads;
use pannier_proto::uploads::v1::UploadSessionStatus as Status;
use tonic::Code;

use super::calls::{assert_failed, set};
use crate::harness::{pannier, violated_fields};
use crate::uploads::calls::{counts, file, hash};

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";
const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

fn begin() -> What {
    let request = uploads::CreateSessionRequest {
        session_id: ID.into(),
        source_id: "chat".into(),
        ..Default::default()
    };
    What::UploadsCreateSession(request)
}

fn register(session_id: &str, number: u64) -> What {
    What::UploadsRegisterFile(uploads::RegisterFileRequest {
        session_id: session_id.into(),
        file: Some(file(number)),
        last_processed_file: Some(format!("f{number}")),
        ..Default::default()
    })
}

fn complete() -> What {
    What::UploadsCompleteSession(uploads::CompleteSessionRequest {
        session_id: ID.into(),
        ..Default::default()
    })
}

fn check(statuses: &[Status]) -> What {
    let statuses = statuses.iter().map(|status| (*status).into()).collect();
    What::UploadsCheck(UploadsCheck { session_id: ID.into(), statuses })
}

#[tokio::test]
async fn a_file_its_session_and_what_belongs_to_it_advance_together() {
    let pannier = pannier().await;
    let error = uploads::RecordErrorRequest {
        session_id: ID.into(),
        path: "broken".into(),
        r#type: "quota".into(),
        ..Default::default()
    };
    let results = pannier
        .commit(vec![
            begin(),
            register(ID, 1),
            What::UploadsRecordError(error),
            set("cursor", "1"),
            complete(),
        ])
        .await;
    let Outcome::UploadsRegisterFile(registered) = &results[1] else { panic!("{results:?}") };
    assert_eq!(registered.outcome(), uploads::RegisterOutcome::Registered);
    let session = registered.session.clone().unwrap();
    assert_eq!((counts(&session), session.last_processed_file.as_str()), ((None, 1, 1, 0, 0), "f1"));
    let Outcome::UploadsCompleteSession(completed) = &results[4] else { panic!("{results:?}") };
    let session = completed.session.clone().unwrap();
    assert_eq!((counts(&session), session.status()), ((None, 2, 1, 1, 0), Status::Completed));
    // The same hash again is a duplicate here, too.
    let results = pannier.commit(vec![register("", 1)]).await;
    let Outcome::UploadsRegisterFile(again) = &results[0] else { panic!("{results:?}") };
    assert_eq!(again.outcome(), uploads::RegisterOutcome::Duplicate);
    assert_eq!(again.known.as_ref().unwrap().sha256, hash(1));
}

#[tokio::test]
async fn a_mutation_that_is_refused_takes_the_file_along() {
    let pannier = pannier().await;
    pannier.commit(vec![begin()]).await;
    let refused = pannier.try_commit(vec![register(ID, 1), register(UNKNOWN, 2)]).await.unwrap_err();
    assert_failed(
        &refused,
        "mutations[1].uploads_register_file",
        Code::NotFound,
        ErrorReason::UploadSessionNotFound,
    );
    let refused = pannier.try_commit(vec![complete(), register(ID, 2)]).await.unwrap_err();
    assert_failed(
        &refused,
        "mutations[1].uploads_register_file",
        Code::FailedPrecondition,
        ErrorReason::UploadSessionFinished,
    );
    let results = pannier.commit(vec![register(ID, 1), register(ID, 2)]).await;
    for result in results {
        let Outcome::UploadsRegisterFile(registered) = result else { panic!("{result:?}") };
        assert_eq!(registered.outcome(), uploads::RegisterOutcome::Registered, "nothing was stored");
    }
}

#[tokio::test]
async fn a_session_is_checked_where_it_stands() {
    let pannier = pannier().await;
    let refused = pannier.try_commit(vec![check(&[Status::Running])]).await.unwrap_err();
    assert_failed(&refused, "mutations[0].uploads_check", Code::NotFound, ErrorReason::UploadSessionNotFound);
    pannier.commit(vec![begin(), check(&[Status::Paused, Status::Running]), register(ID, 1)]).await;
    let refused = pannier.try_commit(vec![register(ID, 2), check(&[Status::Completed])]).await.unwrap_err();
    assert_failed(&refused, "mutations[1].uploads_check", Code::FailedPrecondition, ErrorReason::CheckFailed);
    let refused = pannier.try_commit(vec![check(&[])]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["mutations[0].uploads_check.statuses"]);
}

#[tokio::test]
async fn what_is_wrong_or_contradicts_is_told_with_its_place() {
    let pannier = pannier().await;
    let wrong = uploads::RegisterFileRequest {
        session_id: "\0".into(),
        file: Some(uploads::NewFile { sha256: "y".into(), size_bytes: -1, ..file(1) }),
        request_id: "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e".into(),
        ..Default::default()
    };
    let refused = pannier.try_commit(vec![begin(), What::UploadsRegisterFile(wrong)]).await.unwrap_err();
    let at = |field: &str| format!("mutations[1].uploads_register_file.{field}");
    assert_eq!(
        violated_fields(&refused),
        [at("file.sha256"), at("file.size_bytes"), at("request_id"), at("session_id")]
    );
    let delete = uploads::DeleteSessionRequest { session_id: ID.into(), ..Default::default() };
    let refused = pannier
        .try_commit(vec![begin(), What::UploadsDeleteSession(delete), register(ID, 1)])
        .await
        .unwrap_err();
    assert_eq!(violated_fields(&refused), ["mutations[2]"]);
    let refused = pannier.try_commit(vec![begin(), begin()]).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["mutations[1]"]);
}

#[tokio::test]
async fn a_batch_in_a_commit_is_registered_whole() {
    let pannier = pannier().await;
    pannier.commit(vec![begin()]).await;
    let lost = uploads::NewFile { reservation_token: UNKNOWN.into(), ..file(2) };
    let batch = |files: Vec<uploads::NewFile>| {
        let request =
            uploads::BatchRegisterFilesRequest { session_id: ID.into(), files, ..Default::default() };
        What::UploadsBatchRegisterFiles(request)
    };
    let refused = pannier.try_commit(vec![batch(vec![file(1), lost])]).await.unwrap_err();
    assert_failed(
        &refused,
        "mutations[0].uploads_batch_register_files.files[1]",
        Code::Aborted,
        ErrorReason::UploadReservationLost,
    );
    let results = pannier.commit(vec![batch(vec![file(1), file(2)])]).await;
    let Outcome::UploadsBatchRegisterFiles(registered) = &results[0] else { panic!("{results:?}") };
    assert_eq!(counts(registered.session.as_ref().unwrap()), (None, 2, 2, 0, 0));
}
