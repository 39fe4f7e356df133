//! The jobs of the floor.

use pannier_proto::jobs::v1::jobs_service_server::JobsService;
use pannier_proto::jobs::v1::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Jobs {
    created: Job,
    reported: Job,
}

impl Jobs {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self { created: answers.read("Job")?, reported: answers.read("ReportedJob")? })
    }
}

#[tonic::async_trait]
impl JobsService for Jobs {
    async fn create(&self, _request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        Ok(Response::new(CreateResponse { job: Some(self.created.clone()) }))
    }

    async fn get(&self, _request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse { job: Some(self.created.clone()) }))
    }

    async fn report_progress(
        &self,
        _request: Request<ReportProgressRequest>,
    ) -> Result<Response<ReportProgressResponse>, Status> {
        Ok(Response::new(ReportProgressResponse { job: Some(self.reported.clone()) }))
    }

    async fn add_results(
        &self,
        request: Request<AddResultsRequest>,
    ) -> Result<Response<AddResultsResponse>, Status> {
        let added = AddResult { outcome: AddOutcome::Added.into(), error: None };
        let results = vec![added; request.into_inner().results.len()];
        Ok(Response::new(AddResultsResponse { results, job: Some(self.reported.clone()) }))
    }

    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(super::not_measured())
    }

    unmeasured! {
        list(ListRequest) -> ListResponse;
        update_job(UpdateJobRequest) -> UpdateJobResponse;
        update_status(UpdateStatusRequest) -> UpdateStatusResponse;
        list_results(ListResultsRequest) -> ListResultsResponse;
        complete(CompleteRequest) -> CompleteResponse;
        fail(FailRequest) -> FailResponse;
        abort(AbortRequest) -> AbortResponse;
        delete(DeleteRequest) -> DeleteResponse;
        stats(StatsRequest) -> StatsResponse;
    }
}
