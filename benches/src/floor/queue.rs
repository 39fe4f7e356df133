//! The queue of the floor.

use pannier_proto::queue::v1::queue_service_server::QueueService;
use pannier_proto::queue::v1::*;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, unmeasured};
use crate::Fallible;

/// Answers with what the sidecar answered.
#[derive(Clone)]
pub(super) struct Queue {
    enqueued: Enqueued,
    claimed: Task,
    settled: Settled,
}

impl Queue {
    pub(super) fn new(answers: &Answers) -> Fallible<Self> {
        Ok(Self {
            enqueued: answers.read("Enqueued")?,
            claimed: answers.read("Task")?,
            settled: answers.read("Settled")?,
        })
    }

    fn tasks(&self, claiming: Option<Claiming>) -> Vec<Task> {
        let count = claiming.map_or(0, |claiming| claiming.max_tasks);
        vec![self.claimed.clone(); usize::try_from(count).unwrap_or(0)]
    }
}

#[tonic::async_trait]
impl QueueService for Queue {
    async fn enqueue(&self, _request: Request<EnqueueRequest>) -> Result<Response<EnqueueResponse>, Status> {
        Ok(Response::new(EnqueueResponse { enqueued: Some(self.enqueued) }))
    }

    async fn batch_enqueue(
        &self,
        request: Request<BatchEnqueueRequest>,
    ) -> Result<Response<BatchEnqueueResponse>, Status> {
        let outcome = Some(batch_enqueue_result::Outcome::Enqueued(self.enqueued));
        let results = vec![BatchEnqueueResult { outcome }; request.into_inner().items.len()];
        Ok(Response::new(BatchEnqueueResponse { results }))
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Result<Response<ClaimResponse>, Status> {
        Ok(Response::new(ClaimResponse { tasks: self.tasks(request.into_inner().claiming) }))
    }

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        let result = Some(outcome_result::Result::Settled(self.settled));
        let results = vec![OutcomeResult { result }; request.outcomes.len()];
        Ok(Response::new(ExchangeResponse { results, tasks: self.tasks(request.claiming) }))
    }

    async fn complete(
        &self,
        _request: Request<CompleteRequest>,
    ) -> Result<Response<CompleteResponse>, Status> {
        Ok(Response::new(CompleteResponse { settled: Some(self.settled) }))
    }

    type WorkStream = Empty<Result<WorkResponse, Status>>;

    async fn work(
        &self,
        _request: Request<Streaming<WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        Err(super::not_measured())
    }

    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(super::not_measured())
    }

    unmeasured! {
        recount(RecountRequest) -> RecountResponse;
        delete_queue(DeleteQueueRequest) -> DeleteQueueResponse;
        settle(SettleRequest) -> SettleResponse;
        start(StartRequest) -> StartResponse;
        extend(ExtendRequest) -> ExtendResponse;
        fail(FailRequest) -> FailResponse;
        report(ReportRequest) -> ReportResponse;
        release(ReleaseRequest) -> ReleaseResponse;
        snooze(SnoozeRequest) -> SnoozeResponse;
        cancel(CancelRequest) -> CancelResponse;
        retry(RetryRequest) -> RetryResponse;
        redrive(RedriveRequest) -> RedriveResponse;
        get(GetRequest) -> GetResponse;
        list(ListRequest) -> ListResponse;
        logs(LogsRequest) -> LogsResponse;
        stats(StatsRequest) -> StatsResponse;
        register_worker(RegisterWorkerRequest) -> RegisterWorkerResponse;
        heartbeat(HeartbeatRequest) -> HeartbeatResponse;
        unregister_worker(UnregisterWorkerRequest) -> UnregisterWorkerResponse;
        list_workers(ListWorkersRequest) -> ListWorkersResponse;
        update_queue(UpdateQueueRequest) -> UpdateQueueResponse;
        get_queue(GetQueueRequest) -> GetQueueResponse;
        list_queues(ListQueuesRequest) -> ListQueuesResponse;
        pause(PauseRequest) -> PauseResponse;
        resume(ResumeRequest) -> ResumeResponse;
        update_key(UpdateKeyRequest) -> UpdateKeyResponse;
        list_keys(ListKeysRequest) -> ListKeysResponse;
        put_schedule(PutScheduleRequest) -> PutScheduleResponse;
        get_schedule(GetScheduleRequest) -> GetScheduleResponse;
        list_schedules(ListSchedulesRequest) -> ListSchedulesResponse;
        delete_schedule(DeleteScheduleRequest) -> DeleteScheduleResponse;
    }
}
