//! The RPCs of `pannier.uploads.v1.UploadsService`: parse, store, reply.

mod errors;
mod files;
mod index;
mod mutations;
mod reservations;
mod sessions;

use pannier_proto::uploads::v1 as pb;
use pannier_proto::uploads::v1::uploads_service_server::{
    SERVICE_NAME, UploadsService as Rpc, UploadsServiceServer,
};
use tonic::{Request, Response, Streaming};

use super::convert::Parser;
use super::store::Page;
use super::{Uploads, UploadsService};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::status::{Reply, reply};
use crate::storage::idempotency::RequestKey;
use crate::storage::{Durability, Operation};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(uploads: UploadsService) -> UploadsServiceServer<UploadsService> {
    let bytes_max = uploads.0.settings.server.message_bytes_max();
    UploadsServiceServer::new(uploads)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max)
}

/// The methods that take a request and give an answer are all alike: mutations are prepared and run in a transaction of their own, which
/// survives what is said here unless the request says otherwise; reads are functions of that name.
macro_rules! calls {
    (mutations { $($mutation:ident $method:literal: $prepare:ident($asks:ident) => $answers:ident, $durability:ident;)* }
     reads { $($read:ident: $asked:ident => $answered:ident;)* }) => {
        #[tonic::async_trait]
        impl Rpc for UploadsService {
            type ExportIndexStream = index::Messages;

            $(async fn $mutation(&self, request: Request<pb::$asks>) -> Reply<pb::$answers> {
                let mut request = request.into_inner();
                let mut parser = Parser::new(&self.0.settings.uploads);
                let id = parser.request_id(&std::mem::take(&mut request.request_id));
                let key = self.0.request_keys.key(id, $method, &request);
                let operation = self.0.$prepare(&mut parser, request);
                reply(self.0.run(parser, key, operation, Durability::$durability).await)
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
        create_session "CreateSession": prepare_create_session(CreateSessionRequest) => CreateSessionResponse, Full;
        update_session "UpdateSession": prepare_update_session(UpdateSessionRequest) => UpdateSessionResponse, Full;
        pause_session "PauseSession": prepare_pause_session(PauseSessionRequest) => PauseSessionResponse, Full;
        resume_session "ResumeSession": prepare_resume_session(ResumeSessionRequest) => ResumeSessionResponse, Full;
        complete_session "CompleteSession": prepare_complete_session(CompleteSessionRequest) => CompleteSessionResponse, Full;
        fail_session "FailSession": prepare_fail_session(FailSessionRequest) => FailSessionResponse, Full;
        delete_session "DeleteSession": prepare_delete_session(DeleteSessionRequest) => DeleteSessionResponse, Full;
        reserve_file "ReserveFile": prepare_reserve_file(ReserveFileRequest) => ReserveFileResponse, Relaxed;
        batch_reserve_files "BatchReserveFiles": prepare_batch_reserve_files(BatchReserveFilesRequest) => BatchReserveFilesResponse, Relaxed;
        extend_reservations "ExtendReservations": prepare_extend_reservations(ExtendReservationsRequest) => ExtendReservationsResponse, Relaxed;
        release_reservations "ReleaseReservations": prepare_release_reservations(ReleaseReservationsRequest) => ReleaseReservationsResponse, Relaxed;
        register_file "RegisterFile": prepare_register_file(RegisterFileRequest) => RegisterFileResponse, Full;
        batch_register_files "BatchRegisterFiles": prepare_batch_register_files(BatchRegisterFilesRequest) => BatchRegisterFilesResponse, Full;
        forget "Forget": prepare_forget(ForgetRequest) => ForgetResponse, Full;
        record_error "RecordError": prepare_record_error(RecordErrorRequest) => RecordErrorResponse, Full;
    }
    reads {
        get_session: GetSessionRequest => GetSessionResponse;
        list_sessions: ListSessionsRequest => ListSessionsResponse;
        check_files: CheckFilesRequest => CheckFilesResponse;
        list_files: ListFilesRequest => ListFilesResponse;
        list_errors: ListErrorsRequest => ListErrorsResponse;
        list_retryable: ListRetryableRequest => ListRetryableResponse;
        stats: StatsRequest => StatsResponse;
    }
}

impl Uploads {
    /// Runs a mutation in a transaction of its own, unless something is wrong with it.
    async fn run<A: prost::Message + Default + 'static>(
        &self,
        parser: Parser<'_>,
        key: Option<RequestKey>,
        operation: Operation<A>,
        usually: Durability,
    ) -> Result<A> {
        parser.violations.check()?;
        self.storage.write_once(usually, key, operation).await
    }

    /// A page of a list.
    fn page<K>(&self, after: Option<K>, rows_max: u64) -> Page<K> {
        Page { after, rows_max: usize::try_from(rows_max).unwrap_or(usize::MAX), budget: Budget::of_call() }
    }
}

/// The number of the row after which a page begins.
fn number_key(query: Query, page_token: &str) -> Result<Option<i64>> {
    let key = query.key_of(page_token)?;
    key.map(|key| key.parse().map_err(|_| Error::PageTokenInvalid)).transpose()
}
