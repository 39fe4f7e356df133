//! The uploads of the floor.

use pannier_proto::uploads::v1::uploads_service_server::UploadsService;
use pannier_proto::uploads::v1::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Uploads {
    checked: CheckFilesResult,
    registered: RegisterFileResponse,
}

impl Uploads {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self { checked: answers.read("CheckedFile")?, registered: answers.read("RegisteredFile")? })
    }
}

#[tonic::async_trait]
impl UploadsService for Uploads {
    async fn check_files(
        &self,
        request: Request<CheckFilesRequest>,
    ) -> Result<Response<CheckFilesResponse>, Status> {
        let results = vec![self.checked.clone(); request.into_inner().sha256.len()];
        Ok(Response::new(CheckFilesResponse { results }))
    }

    async fn register_file(
        &self,
        _request: Request<RegisterFileRequest>,
    ) -> Result<Response<RegisterFileResponse>, Status> {
        Ok(Response::new(self.registered.clone()))
    }

    async fn batch_register_files(
        &self,
        request: Request<BatchRegisterFilesRequest>,
    ) -> Result<Response<BatchRegisterFilesResponse>, Status> {
        let outcome = self.registered.outcome;
        let result = BatchRegisterFilesResult { outcome, ..BatchRegisterFilesResult::default() };
        let results = vec![result; request.into_inner().files.len()];
        Ok(Response::new(BatchRegisterFilesResponse { results, session: self.registered.session.clone() }))
    }

    type ExportIndexStream = Empty<Result<ExportIndexResponse, Status>>;

    async fn export_index(
        &self,
        _request: Request<ExportIndexRequest>,
    ) -> Result<Response<Self::ExportIndexStream>, Status> {
        Err(super::not_measured())
    }

    async fn import_index(
        &self,
        _request: Request<Streaming<ImportIndexRequest>>,
    ) -> Result<Response<ImportIndexResponse>, Status> {
        Err(super::not_measured())
    }

    unmeasured! {
        create_session(CreateSessionRequest) -> CreateSessionResponse;
        get_session(GetSessionRequest) -> GetSessionResponse;
        list_sessions(ListSessionsRequest) -> ListSessionsResponse;
        update_session(UpdateSessionRequest) -> UpdateSessionResponse;
        pause_session(PauseSessionRequest) -> PauseSessionResponse;
        resume_session(ResumeSessionRequest) -> ResumeSessionResponse;
        complete_session(CompleteSessionRequest) -> CompleteSessionResponse;
        fail_session(FailSessionRequest) -> FailSessionResponse;
        delete_session(DeleteSessionRequest) -> DeleteSessionResponse;
        reserve_file(ReserveFileRequest) -> ReserveFileResponse;
        batch_reserve_files(BatchReserveFilesRequest) -> BatchReserveFilesResponse;
        extend_reservations(ExtendReservationsRequest) -> ExtendReservationsResponse;
        release_reservations(ReleaseReservationsRequest) -> ReleaseReservationsResponse;
        list_files(ListFilesRequest) -> ListFilesResponse;
        forget(ForgetRequest) -> ForgetResponse;
        record_error(RecordErrorRequest) -> RecordErrorResponse;
        list_errors(ListErrorsRequest) -> ListErrorsResponse;
        list_retryable(ListRetryableRequest) -> ListRetryableResponse;
        stats(StatsRequest) -> StatsResponse;
    }
}
