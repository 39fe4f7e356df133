//! The RPCs of `pannier.queue.v1.QueueService`: parse, store, reply.

mod by_hand;
mod enqueue;
mod exchange;
mod mutations;
mod outcomes;
mod queues;
mod reads;
mod recount;
mod schedules;
mod watch;
mod work;
mod workers;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::queue_service_server::{QueueService as Rpc, QueueServiceServer, SERVICE_NAME};
use tonic::Request;

use super::{Core, QueueService, store};
use crate::error::Result;
use crate::request_end::RequestEnd;
use crate::status::{Reply, reply};
use crate::storage::Durability;
use crate::storage::idempotency::RequestKey;

/// The service's full name.
pub const NAME: &str = SERVICE_NAME;

/// The service for tonic's router, with messages of at most `message_bytes_max` either way.
pub fn server(queue: QueueService) -> QueueServiceServer<QueueService> {
    let message_bytes_max = queue.0.settings.server.message_bytes_max();
    QueueServiceServer::new(queue)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max)
}

/// The methods that take a request and give an answer are all alike; `work` and `watch` stream.
macro_rules! calls {
    ($($method:ident: $request:ident => $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl Rpc for QueueService {
            type WorkStream = work::Messages;

            async fn work(&self, request: Request<tonic::Streaming<pb::WorkRequest>>) -> Reply<Self::WorkStream> {
                let end = RequestEnd::of(request.extensions());
                reply(Core::work(&self.0, request.into_inner(), end).await)
            }

            type WatchStream = watch::Messages;

            async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
                reply(Core::watch(&self.0, request.into_inner()).await)
            }

            $(
                async fn $method(&self, request: Request<pb::$request>) -> Reply<pb::$response> {
                    reply(Core::$method(&self.0, request.into_inner()).await)
                }
            )*
        }
    };
}

calls! {
    enqueue: EnqueueRequest => EnqueueResponse,
    batch_enqueue: BatchEnqueueRequest => BatchEnqueueResponse,
    claim: ClaimRequest => ClaimResponse,
    exchange: ExchangeRequest => ExchangeResponse,
    settle: SettleRequest => SettleResponse,
    start: StartRequest => StartResponse,
    extend: ExtendRequest => ExtendResponse,
    complete: CompleteRequest => CompleteResponse,
    fail: FailRequest => FailResponse,
    report: ReportRequest => ReportResponse,
    release: ReleaseRequest => ReleaseResponse,
    snooze: SnoozeRequest => SnoozeResponse,
    cancel: CancelRequest => CancelResponse,
    retry: RetryRequest => RetryResponse,
    redrive: RedriveRequest => RedriveResponse,
    get: GetRequest => GetResponse,
    list: ListRequest => ListResponse,
    logs: LogsRequest => LogsResponse,
    stats: StatsRequest => StatsResponse,
    recount: RecountRequest => RecountResponse,
    register_worker: RegisterWorkerRequest => RegisterWorkerResponse,
    heartbeat: HeartbeatRequest => HeartbeatResponse,
    unregister_worker: UnregisterWorkerRequest => UnregisterWorkerResponse,
    list_workers: ListWorkersRequest => ListWorkersResponse,
    update_queue: UpdateQueueRequest => UpdateQueueResponse,
    get_queue: GetQueueRequest => GetQueueResponse,
    list_queues: ListQueuesRequest => ListQueuesResponse,
    delete_queue: DeleteQueueRequest => DeleteQueueResponse,
    pause: PauseRequest => PauseResponse,
    resume: ResumeRequest => ResumeResponse,
    update_key: UpdateKeyRequest => UpdateKeyResponse,
    list_keys: ListKeysRequest => ListKeysResponse,
    put_schedule: PutScheduleRequest => PutScheduleResponse,
    get_schedule: GetScheduleRequest => GetScheduleResponse,
    list_schedules: ListSchedulesRequest => ListSchedulesResponse,
    delete_schedule: DeleteScheduleRequest => DeleteScheduleResponse,
}

impl Core {
    /// Runs `work` in a transaction, once per request.
    async fn change<I, T, W>(
        self: &Arc<Self>,
        durability: Durability,
        request: Option<RequestKey>,
        input: I,
        work: W,
    ) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: prost::Message + Default + 'static,
        W: for<'s, 'a> Fn(&'s mut store::Step<'a>, &'a Arc<Self>, &'a I) -> BoxFuture<'s, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        self.storage.write_once(durability, request, self.prepare_step(input, work)).await
    }

    fn count(&self, setting: u64) -> i64 {
        i64::try_from(setting).unwrap_or(i64::MAX)
    }
}

/// Cuts what was read down to a page; answers with the token of the next, if there is one.
fn cut<T>(rows: &mut Vec<T>, rows_max: u64, token: impl Fn(&T) -> String) -> String {
    let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
    let more = rows.len() > rows_max;
    rows.truncate(rows_max);
    rows.last().filter(|_| more).map(token).unwrap_or_default()
}
