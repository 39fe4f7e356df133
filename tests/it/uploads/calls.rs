//! The calls of the uploads service as tests write them. Those that cannot fail in the test at hand unwrap.

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::uploads_service_client::UploadsServiceClient;
use prost_types::Timestamp;
use tonic::Status;
use tonic::transport::Channel;

use crate::harness::Pannier;

/// A hash that is told from others by its number, in no order.
pub fn hash(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    format!("{mixed:016x}{number:016x}{mixed:032x}")
}

pub fn hashes(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(hash).collect()
}

/// A file of the service `photos` with that number, and nothing that it need not have.
pub fn file(number: u64) -> pb::NewFile {
    pb::NewFile {
        service: "photos".into(),
        sha256: hash(number),
        path: format!("media/{number}.jpg"),
        size_bytes: 1_000 + i64::try_from(number).unwrap(),
        ..Default::default()
    }
}

pub fn files(numbers: std::ops::Range<u64>) -> Vec<pb::NewFile> {
    numbers.map(file).collect()
}

/// (total, processed, success, error, duplicate)
pub fn counts(session: &pb::UploadSession) -> (Option<i64>, i64, i64, i64, i64) {
    let pb::UploadSession { success_count, error_count, duplicate_count, .. } = *session;
    (session.total_count, session.processed_count, success_count, error_count, duplicate_count)
}

/// Microseconds of a time on the wire.
pub fn us(time: Option<&Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// The token of a file that was reserved.
#[track_caller]
pub fn token(result: &pb::ReserveFileResult) -> String {
    match &result.outcome {
        Some(pb::reserve_file_result::Outcome::Reserved(reservation)) => reservation.token.clone(),
        other => panic!("not reserved: {other:?}"),
    }
}

/// Until when somebody else has a file.
#[track_caller]
pub fn held_until(result: &pb::ReserveFileResult) -> i64 {
    match &result.outcome {
        Some(pb::reserve_file_result::Outcome::HeldUntilTime(time)) => us(Some(time)).unwrap(),
        other => panic!("not held: {other:?}"),
    }
}

impl Pannier {
    pub fn uploads(&self) -> UploadsServiceClient<Channel> {
        self.uploads.clone()
    }

    pub async fn try_create_session(
        &self,
        request: pb::CreateSessionRequest,
    ) -> Result<pb::UploadSession, Status> {
        Ok(self.uploads().create_session(request).await?.into_inner().session.unwrap())
    }

    /// The id of a new session of the source `chat-1`.
    pub async fn session(&self) -> String {
        self.session_of("chat-1").await
    }

    pub async fn session_of(&self, source: &str) -> String {
        let request = pb::CreateSessionRequest { source_id: source.into(), ..Default::default() };
        self.try_create_session(request).await.unwrap().id
    }

    pub async fn try_get_session(&self, id: &str) -> Result<pb::UploadSession, Status> {
        let request = pb::GetSessionRequest { session_id: id.into() };
        Ok(self.uploads().get_session(request).await?.into_inner().session.unwrap())
    }

    pub async fn get_session(&self, id: &str) -> pb::UploadSession {
        self.try_get_session(id).await.unwrap()
    }

    pub async fn try_update_session(
        &self,
        request: pb::UpdateSessionRequest,
    ) -> Result<pb::UploadSession, Status> {
        Ok(self.uploads().update_session(request).await?.into_inner().session.unwrap())
    }

    /// Takes a session to a status.
    pub async fn move_session(
        &self,
        id: &str,
        status: pb::UploadSessionStatus,
    ) -> Result<pb::UploadSession, Status> {
        use pb::UploadSessionStatus as S;
        let (mut uploads, session_id) = (self.uploads(), id.to_owned());
        let session = match status {
            S::Running => {
                let request = pb::ResumeSessionRequest { session_id, ..Default::default() };
                uploads.resume_session(request).await?.into_inner().session
            }
            S::Paused => {
                let request = pb::PauseSessionRequest { session_id, ..Default::default() };
                uploads.pause_session(request).await?.into_inner().session
            }
            S::Completed => {
                let request = pb::CompleteSessionRequest { session_id, ..Default::default() };
                uploads.complete_session(request).await?.into_inner().session
            }
            S::Failed => {
                let request =
                    pb::FailSessionRequest { session_id, error: "quota".into(), ..Default::default() };
                uploads.fail_session(request).await?.into_inner().session
            }
            S::Unspecified => panic!("no call leads there"),
        };
        Ok(session.unwrap())
    }

    pub async fn delete_session(&self, id: &str) -> bool {
        let request = pb::DeleteSessionRequest { session_id: id.into(), ..Default::default() };
        self.uploads().delete_session(request).await.unwrap().into_inner().deleted
    }

    /// All pages of a list of sessions, by id.
    pub async fn session_pages(&self, mut request: pb::ListSessionsRequest) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        loop {
            let page = self.uploads().list_sessions(request.clone()).await.unwrap().into_inner();
            pages.push(page.sessions.into_iter().map(|session| session.id).collect());
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub async fn try_check(
        &self,
        request: pb::CheckFilesRequest,
    ) -> Result<Vec<pb::CheckFilesResult>, Status> {
        Ok(self.uploads().check_files(request).await?.into_inner().results)
    }

    /// What is known of files of the service `photos`.
    pub async fn check(&self, sha256: Vec<String>) -> Vec<pb::CheckFilesResult> {
        let request = pb::CheckFilesRequest { service: "photos".into(), sha256, states_only: false };
        self.try_check(request).await.unwrap()
    }

    /// The states of files of the service `photos`.
    pub async fn states(&self, sha256: Vec<String>) -> Vec<pb::FileState> {
        self.check(sha256).await.iter().map(pb::CheckFilesResult::state).collect()
    }

    pub async fn try_register(
        &self,
        session_id: &str,
        file: pb::NewFile,
    ) -> Result<pb::RegisterFileResponse, Status> {
        let request =
            pb::RegisterFileRequest { session_id: session_id.into(), file: Some(file), ..Default::default() };
        Ok(self.uploads().register_file(request).await?.into_inner())
    }

    pub async fn register(&self, session_id: &str, file: pb::NewFile) -> pb::RegisterOutcome {
        self.try_register(session_id, file).await.unwrap().outcome()
    }

    pub async fn try_register_all(
        &self,
        session_id: &str,
        files: Vec<pb::NewFile>,
    ) -> Result<pb::BatchRegisterFilesResponse, Status> {
        let request =
            pb::BatchRegisterFilesRequest { session_id: session_id.into(), files, ..Default::default() };
        Ok(self.uploads().batch_register_files(request).await?.into_inner())
    }

    pub async fn register_all(&self, session_id: &str, files: Vec<pb::NewFile>) -> Vec<pb::RegisterOutcome> {
        let answer = self.try_register_all(session_id, files).await.unwrap();
        answer.results.iter().map(pb::BatchRegisterFilesResult::outcome).collect()
    }

    /// A wish to reserve a file of the service `photos`.
    pub async fn reserve(&self, number: u64) -> pb::ReserveFileResult {
        let request =
            pb::ReserveFileRequest { service: "photos".into(), sha256: hash(number), ..Default::default() };
        self.uploads().reserve_file(request).await.unwrap().into_inner().result.unwrap()
    }

    /// Wishes to reserve files of the service `photos`.
    pub async fn reserve_all(&self, sha256: Vec<String>) -> Vec<pb::ReserveFileResult> {
        let request = pb::BatchReserveFilesRequest { service: "photos".into(), sha256, ..Default::default() };
        self.uploads().batch_reserve_files(request).await.unwrap().into_inner().results
    }

    pub async fn release_files(&self, reservations: Vec<pb::HeldReservation>) -> Vec<bool> {
        let request =
            pb::ReleaseReservationsRequest { service: "photos".into(), reservations, ..Default::default() };
        self.uploads()
            .release_reservations(request)
            .await
            .unwrap()
            .into_inner()
            .results
            .into_iter()
            .map(|result| result.released)
            .collect()
    }

    /// All pages of a list of files, by hash.
    pub async fn file_pages(&self, mut request: pb::ListFilesRequest) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        loop {
            let page = self.uploads().list_files(request.clone()).await.unwrap().into_inner();
            pages.push(page.files.into_iter().map(|file| file.sha256).collect());
            assert!(pages.len() < 10_000, "the pages do not end");
            if page.next_page_token.is_empty() {
                return pages;
            }
            request.page_token = page.next_page_token;
        }
    }

    pub async fn forget(&self, sha256: Vec<String>) -> i64 {
        let request = pb::ForgetRequest { service: "photos".into(), sha256, ..Default::default() };
        self.uploads().forget(request).await.unwrap().into_inner().forgotten_count
    }

    pub async fn try_record_error(
        &self,
        session_id: &str,
        path: &str,
        kind: &str,
    ) -> Result<pb::RecordErrorResponse, Status> {
        let request = pb::RecordErrorRequest {
            session_id: session_id.into(),
            path: path.into(),
            r#type: kind.into(),
            message: format!("{kind} happened"),
            ..Default::default()
        };
        Ok(self.uploads().record_error(request).await?.into_inner())
    }

    /// Records an error; answers with its retry count.
    pub async fn record_error(&self, session_id: &str, path: &str, kind: &str) -> i64 {
        self.try_record_error(session_id, path, kind).await.unwrap().error.unwrap().retry_count
    }

    /// All pages of a list of errors.
    pub async fn errors(&self, mut request: pb::ListErrorsRequest) -> Vec<pb::UploadError> {
        let mut errors = Vec::new();
        loop {
            let page = self.uploads().list_errors(request.clone()).await.unwrap().into_inner();
            errors.extend(page.errors);
            if page.next_page_token.is_empty() {
                return errors;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The paths that are due to be tried again.
    pub async fn retryable(&self, session_id: &str, policy: pb::RetryPolicy) -> Vec<String> {
        let request = pb::ListRetryableRequest {
            session_id: session_id.into(),
            policy: Some(policy),
            page_size: 1_000,
            ..Default::default()
        };
        let answer = self.uploads().list_retryable(request).await.unwrap().into_inner();
        assert_eq!(answer.next_page_token, "");
        answer.errors.into_iter().map(|error| error.path).collect()
    }

    /// The index of a service, or of all, and its messages' number.
    pub async fn export(&self, service: &str) -> (String, usize) {
        let request = pb::ExportIndexRequest { service: service.into() };
        let mut messages = self.uploads().export_index(request).await.unwrap().into_inner();
        let (mut text, mut count) = (String::new(), 0);
        while let Some(message) = messages.message().await.unwrap() {
            text.push_str(&message.ndjson);
            count += 1;
        }
        (text, count)
    }

    /// An import of messages that are all or none.
    pub async fn try_import(&self, messages: Vec<String>) -> Result<pb::ImportIndexResponse, Status> {
        self.try_import_each(messages, true).await
    }

    pub async fn try_import_each(
        &self,
        messages: Vec<String>,
        atomic: bool,
    ) -> Result<pb::ImportIndexResponse, Status> {
        let messages = messages.into_iter().map(|ndjson| pb::ImportIndexRequest { ndjson, atomic });
        let stream = tokio_stream::iter(messages.collect::<Vec<_>>());
        Ok(self.uploads().import_index(stream).await?.into_inner())
    }
}
