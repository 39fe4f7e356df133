//! The RPCs of `pannier.jobs.v1.JobsService`: parse, store, reply.

mod jobs;
mod mutations;
mod progress;
mod watch;

use pannier_proto::jobs::v1 as pb;
use pannier_proto::jobs::v1::jobs_service_server::{JobsService as Rpc, JobsServiceServer, SERVICE_NAME};
use tonic::Request;

use super::JobsService;
use crate::status::{Reply, reply};

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(jobs: JobsService) -> JobsServiceServer<JobsService> {
    let message_bytes_max = jobs.0.settings.server.message_bytes_max();
    JobsServiceServer::new(jobs)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max)
}

#[tonic::async_trait]
impl Rpc for JobsService {
    type WatchStream = watch::Messages;

    async fn create(&self, request: Request<pb::CreateRequest>) -> Reply<pb::CreateResponse> {
        reply(self.0.create(request.into_inner()).await)
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Reply<pb::GetResponse> {
        reply(self.0.get(request.into_inner()).await)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Reply<pb::ListResponse> {
        reply(self.0.list(request.into_inner()).await)
    }

    async fn update_job(&self, request: Request<pb::UpdateJobRequest>) -> Reply<pb::UpdateJobResponse> {
        reply(self.0.update_job(request.into_inner()).await)
    }

    async fn update_status(
        &self,
        request: Request<pb::UpdateStatusRequest>,
    ) -> Reply<pb::UpdateStatusResponse> {
        reply(self.0.update_status(request.into_inner()).await)
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Reply<pb::ReportProgressResponse> {
        reply(self.0.report_progress(request.into_inner()).await)
    }

    async fn add_results(&self, request: Request<pb::AddResultsRequest>) -> Reply<pb::AddResultsResponse> {
        reply(self.0.add_results(request.into_inner()).await)
    }

    async fn list_results(&self, request: Request<pb::ListResultsRequest>) -> Reply<pb::ListResultsResponse> {
        reply(self.0.list_results(request.into_inner()).await)
    }

    async fn complete(&self, request: Request<pb::CompleteRequest>) -> Reply<pb::CompleteResponse> {
        reply(self.0.complete(request.into_inner()).await)
    }

    async fn fail(&self, request: Request<pb::FailRequest>) -> Reply<pb::FailResponse> {
        reply(self.0.fail(request.into_inner()).await)
    }

    async fn abort(&self, request: Request<pb::AbortRequest>) -> Reply<pb::AbortResponse> {
        reply(self.0.abort(request.into_inner()).await)
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Reply<pb::DeleteResponse> {
        reply(self.0.delete(request.into_inner()).await)
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        reply(self.0.watch(request.into_inner()).await)
    }

    async fn stats(&self, request: Request<pb::StatsRequest>) -> Reply<pb::StatsResponse> {
        reply(self.0.stats(request.into_inner()).await)
    }
}
