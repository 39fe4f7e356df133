//! The RPCs of `pannier.uploads.v1.UploadsService`: parse, store, reply.

mod errors;
mod files;
mod index;
mod reservations;
mod sessions;
mod steps;

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::uploads_service_server::{
    SERVICE_NAME, UploadsService as Rpc, UploadsServiceServer,
};
use tonic::{Request, Response, Streaming};

use super::store::Page;
use super::{Uploads, UploadsService};
use crate::error::{Error, Result};
use crate::page::Query;
use crate::status::{Reply, reply};

pub use errors::RecordError;
pub use files::{BatchRegisterFiles, Forget, RegisterFile};
pub use reservations::{BatchReserveFiles, ExtendReservations, ReleaseReservations, ReserveFile};
pub use sessions::{
    CompleteSession, CreateSession, DeleteSession, FailSession, PauseSession, ResumeSession, UpdateSession,
};
pub use steps::{Context, Step};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(uploads: UploadsService) -> UploadsServiceServer<UploadsService> {
    let bytes_max = usize::try_from(uploads.0.settings.server.message_bytes_max).unwrap_or(usize::MAX);
    UploadsServiceServer::new(uploads)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

/// The methods that take a request and give an answer are all alike: mutations are steps, reads are functions of that name.
macro_rules! calls {
    (mutations { $($mutation:ident: $step:ident($asks:ident) => $answers:ident,)* }
     reads { $($read:ident: $asked:ident => $answered:ident,)* }) => {
        #[tonic::async_trait]
        impl Rpc for UploadsService {
            type ExportIndexStream = index::Messages;

            $(async fn $mutation(&self, request: Request<pb::$asks>) -> Reply<pb::$answers> {
                reply(self.0.call::<$step>(request.into_inner()).await)
            })*

            $(async fn $read(&self, request: Request<pb::$asked>) -> Reply<pb::$answered> {
                reply(self.0.$read(request.into_inner()).await)
            })*

            async fn export_index(
                &self,
                request: Request<pb::ExportIndexRequest>,
            ) -> Reply<Self::ExportIndexStream> {
                reply(self.0.export_index(request.into_inner()).await)
            }

            async fn import_index(
                &self,
                request: Request<Streaming<pb::ImportIndexRequest>>,
            ) -> Reply<pb::ImportIndexResponse> {
                self.0.import_index(request.into_inner()).await.map(Response::new)
            }
        }
    };
}

calls! {
    mutations {
        create_session: CreateSession(CreateSessionRequest) => CreateSessionResponse,
        update_session: UpdateSession(UpdateSessionRequest) => UpdateSessionResponse,
        pause_session: PauseSession(PauseSessionRequest) => PauseSessionResponse,
        resume_session: ResumeSession(ResumeSessionRequest) => ResumeSessionResponse,
        complete_session: CompleteSession(CompleteSessionRequest) => CompleteSessionResponse,
        fail_session: FailSession(FailSessionRequest) => FailSessionResponse,
        delete_session: DeleteSession(DeleteSessionRequest) => DeleteSessionResponse,
        reserve_file: ReserveFile(ReserveFileRequest) => ReserveFileResponse,
        batch_reserve_files: BatchReserveFiles(BatchReserveFilesRequest) => BatchReserveFilesResponse,
        extend_reservations: ExtendReservations(ExtendReservationsRequest) => ExtendReservationsResponse,
        release_reservations: ReleaseReservations(ReleaseReservationsRequest) => ReleaseReservationsResponse,
        register_file: RegisterFile(RegisterFileRequest) => RegisterFileResponse,
        batch_register_files: BatchRegisterFiles(BatchRegisterFilesRequest) => BatchRegisterFilesResponse,
        forget: Forget(ForgetRequest) => ForgetResponse,
        record_error: RecordError(RecordErrorRequest) => RecordErrorResponse,
    }
    reads {
        get_session: GetSessionRequest => GetSessionResponse,
        list_sessions: ListSessionsRequest => ListSessionsResponse,
        check_files: CheckFilesRequest => CheckFilesResponse,
        list_files: ListFilesRequest => ListFilesResponse,
        list_errors: ListErrorsRequest => ListErrorsResponse,
        list_retryable: ListRetryableRequest => ListRetryableResponse,
        stats: StatsRequest => StatsResponse,
    }
}

impl Uploads {
    /// A page of a list.
    fn page<K>(&self, after: Option<K>, rows_max: u64) -> Page<K> {
        Page {
            after,
            rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(self.settings.server.message_bytes_max / 2).unwrap_or(usize::MAX),
        }
    }
}

/// The number of the row after which a page begins.
fn number_key(query: Query, page_token: &str) -> Result<Option<i64>> {
    let key = query.key_of(page_token)?;
    key.map(|key| key.parse().map_err(|_| Error::PageTokenInvalid)).transpose()
}
