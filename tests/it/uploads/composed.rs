//! Steps of the uploads inside a transaction of another's: all or nothing, by the rules of the calls.

use pannier::clock::Clock;
use pannier::error::{Error, Result};
use pannier::services::uploads::{
    CompleteSession, CreateSession, RecordError, RegisterFile, Step, UploadsService,
};
use pannier::settings::Durability;
use pannier::storage::Storage;
use pannier_proto::uploads::v1 as pb;

use super::calls::{counts, file, hash};
use crate::harness::{START_US, fresh_settings};

const ID: &str = "6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e";

/// The uploads without a server.
struct Bare {
    storage: Storage,
    uploads: UploadsService,
    _directory: tempfile::TempDir,
}

async fn bare() -> Bare {
    let (settings, directory) = fresh_settings().await;
    let storage = pannier::server::open(&settings.storage, |_| {}).await.unwrap();
    let uploads = UploadsService::new(storage.clone(), Clock::manual(START_US).0, &settings);
    let bare = Bare { storage, uploads, _directory: directory };
    let request =
        pb::CreateSessionRequest { session_id: ID.into(), source_id: "c".into(), ..Default::default() };
    bare.run(bare.uploads.parse::<CreateSession>(request).unwrap()).await.unwrap();
    bare
}

impl Bare {
    /// Runs a step alone.
    async fn run<S: Step>(&self, step: S) -> Result<S::Response> {
        let input = (self.uploads.clone(), step);
        self.storage
            .write(Durability::Full, input, |tx, (uploads, step)| {
                Box::pin(uploads.run_in(tx, step, START_US))
            })
            .await
    }

    /// Runs two steps in one transaction.
    async fn run_both<A: Step, B: Step>(&self, one: A, other: B) -> Result<(A::Response, B::Response)> {
        let input = (self.uploads.clone(), one, other);
        self.storage
            .write(Durability::Full, input, |tx, (uploads, one, other)| {
                Box::pin(async move {
                    let first = uploads.run_in(tx, one, START_US).await?;
                    Ok((first, uploads.run_in(tx, other, START_US).await?))
                })
            })
            .await
    }

    fn registering(&self, number: u64) -> RegisterFile {
        let request =
            pb::RegisterFileRequest { session_id: ID.into(), file: Some(file(number)), ..Default::default() };
        self.uploads.parse(request).unwrap()
    }

    fn erring(&self, session_id: &str) -> RecordError {
        let request = pb::RecordErrorRequest {
            session_id: session_id.into(),
            path: "a".into(),
            r#type: "quota".into(),
            ..Default::default()
        };
        self.uploads.parse(request).unwrap()
    }
}

#[tokio::test]
async fn two_steps_of_one_transaction_are_both_done() {
    let bare = bare().await;
    let (first, second) = bare.run_both(bare.registering(1), bare.erring(ID)).await.unwrap();
    assert_eq!(counts(&first.session.unwrap()), (None, 1, 1, 0, 0));
    assert_eq!(counts(&second.session.unwrap()), (None, 2, 1, 1, 0));
    let again = bare.run(bare.registering(1)).await.unwrap();
    assert_eq!(again.outcome(), pb::RegisterOutcome::Duplicate);
    assert_eq!(again.known.unwrap().sha256, hash(1));
}

#[tokio::test]
async fn a_step_that_is_refused_takes_the_others_along() {
    let bare = bare().await;
    let unknown = "00000000-0000-7000-8000-000000000000";
    let refused = bare.run_both(bare.registering(1), bare.erring(unknown)).await.unwrap_err();
    assert!(matches!(refused, Error::UploadSessionNotFound), "{refused}");
    let complete = pb::CompleteSessionRequest { session_id: ID.into(), ..Default::default() };
    let complete: CompleteSession = bare.uploads.parse(complete).unwrap();
    let refused = bare.run_both(complete, bare.registering(2)).await.unwrap_err();
    assert!(matches!(refused, Error::UploadSessionFinished { .. }), "{refused}");
    for number in [1, 2] {
        let answer = bare.run(bare.registering(number)).await.unwrap();
        assert_eq!(answer.outcome(), pb::RegisterOutcome::Registered, "nothing was stored");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_step_is_told_as_the_call_would_tell_it() {
    let bare = bare().await;
    let request = pb::RegisterFileRequest {
        session_id: "x".into(),
        file: Some(pb::NewFile { sha256: "y".into(), size_bytes: -1, ..file(1) }),
        ..Default::default()
    };
    let Err(Error::Invalid(violations)) = bare.uploads.parse::<RegisterFile>(request) else {
        panic!("a bad step was parsed")
    };
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["session_id", "file.sha256", "file.size_bytes"]);
}
