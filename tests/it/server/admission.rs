//! Calls that wait leave their place, probes need none, and whatever the server refuses has details.

use std::time::Duration;

use pannier_proto::cache::v1 as cache;
use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::queue::v1 as queue;
use pannier_proto::uploads::v1 as uploads;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::harness::{Pannier, assert_status, pannier, pannier_with};

const WAITS: u64 = 20;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Calls until a call is let in.
macro_rules! admitted {
    ($call:expr) => {
        loop {
            match $call.await {
                Err(status) if status.message().contains("server.calls_max") => {
                    tokio::task::yield_now().await;
                }
                other => break other,
            }
        }
    };
}

fn lease(wait_s: i64) -> cache::GetOrLeaseRequest {
    let wait_max = Some(prost_types::Duration { seconds: wait_s, nanos: 0 });
    cache::GetOrLeaseRequest { namespace: "n".into(), key: "k".into(), wait_max, ..Default::default() }
}

fn put() -> cache::PutRequest {
    let content = Some(cache::put_item::Content::Value("v".into()));
    let item = Some(cache::PutItem { key: "k".into(), content, ..Default::default() });
    cache::PutRequest { namespace: "n".into(), item, ..Default::default() }
}

/// Waits until so many calls wait.
async fn until_waiting(pannier: &Pannier, count: u64) {
    let value = format!(" {count}");
    let is_found = |line: &str| line.starts_with("pannier_calls_waiting{") && line.ends_with(&value);
    let waiting = async {
        while !pannier.metrics().await.lines().any(is_found) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("as many calls wait");
}

async fn with_few_calls() -> Pannier {
    pannier_with(|settings| {
        settings.server.calls_max = 4;
        settings.server.http_listen = "127.0.0.1:0".into();
    })
    .await
}

#[tokio::test]
async fn those_who_wait_for_a_lease_do_not_keep_out_the_put_that_ends_their_wait() {
    let pannier = with_few_calls().await;
    let mut holder = pannier.cache.clone();
    holder.get_or_lease(lease(0)).await.unwrap();
    let mut waits = JoinSet::new();
    for _ in 0..WAITS {
        let client = pannier.cache.clone();
        waits.spawn(async move { admitted!(client.clone().get_or_lease(lease(10))) });
    }
    until_waiting(&pannier, WAITS).await;
    holder.put(put()).await.unwrap();
    while let Some(answer) = waits.join_next().await {
        assert!(answer.unwrap().unwrap().into_inner().entry.is_some());
    }
    until_waiting(&pannier, 0).await;
}

#[tokio::test]
async fn those_who_wait_for_tasks_do_not_keep_out_who_enqueues_them() {
    let pannier = with_few_calls().await;
    let mut waits = JoinSet::new();
    for _ in 0..WAITS {
        let client = pannier.queue.clone();
        let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
        let claiming = Some(queue::Claiming { wait, ..Default::default() });
        let request = queue::ClaimRequest { claiming, ..Default::default() };
        waits.spawn(async move { admitted!(client.clone().claim(request.clone())) });
    }
    until_waiting(&pannier, WAITS).await;
    let item = || queue::EnqueueItem { r#type: "t".into(), ..Default::default() };
    let items = (0..WAITS).map(|_| item()).collect();
    let request = queue::BatchEnqueueRequest { items, ..Default::default() };
    pannier.queue.clone().batch_enqueue(request).await.unwrap();
    while let Some(answer) = waits.join_next().await {
        assert_eq!(answer.unwrap().unwrap().into_inner().tasks.len(), 1);
    }
}

#[tokio::test]
async fn no_more_wait_than_the_setting_allows() {
    let pannier = pannier_with(|settings| {
        settings.server.waits_max = 1;
        settings.server.http_listen = "127.0.0.1:0".into();
    })
    .await;
    let mut client = pannier.cache.clone();
    client.get_or_lease(lease(0)).await.unwrap();
    let mut waiting = pannier.cache.clone();
    let waiting = tokio::spawn(async move { waiting.get_or_lease(lease(10)).await });
    until_waiting(&pannier, 1).await;
    let status = client.get_or_lease(lease(10)).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
    assert!(status.message().contains("server.waits_max"), "{status:?}");
    client.put(put()).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_thousand_calls_fit_into_one_connection() {
    const CALLS: u64 = 999;
    let pannier = pannier_with(|settings| settings.server.http_listen = "127.0.0.1:0".into()).await;
    let mut holder = pannier.cache.clone();
    holder.get_or_lease(lease(0)).await.unwrap();
    let mut waits = JoinSet::new();
    for _ in 0..CALLS {
        let client = pannier.cache.clone();
        waits.spawn(async move { client.clone().get_or_lease(lease(20)).await });
    }
    until_waiting(&pannier, CALLS).await;
    // The thousandth.
    holder.put(put()).await.unwrap();
    while let Some(answer) = waits.join_next().await {
        assert!(answer.unwrap().unwrap().into_inner().entry.is_some());
    }
}

#[tokio::test]
async fn probes_are_answered_when_no_call_is_let_in() {
    let pannier = pannier_with(|settings| settings.server.calls_max = 1).await;
    let mut client = pannier.uploads.clone();
    let never = tokio_stream::pending::<uploads::ImportIndexRequest>;
    let running = tokio::spawn(async move { admitted!(client.import_index(never())).map(|_| ()) });
    let mut cache = pannier.cache.clone();
    let full = async {
        loop {
            match cache.put(put()).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(status) => break status,
            }
        }
    };
    let status = tokio::time::timeout(LONG, full).await.expect("no call is let in");
    assert_status(&status, Code::ResourceExhausted, ErrorReason::Overloaded);
    let mut health = HealthClient::new(pannier.another_connection().await);
    for service in ["", "pannier.cache.v1.CacheService"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    running.abort();
}

#[tokio::test]
async fn a_watch_on_the_health_of_an_unknown_service_says_so_and_stays_open() {
    let pannier = pannier().await;
    let mut health = HealthClient::new(pannier.another_connection().await);
    let unknown = || HealthCheckRequest { service: "pannier.later.v1.LaterService".into() };
    let mut watch = health.watch(unknown()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut known = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let next = tokio::time::timeout(Duration::from_millis(50), watch.message()).await;
    assert!(next.is_err(), "the stream has ended: {next:?}");
    let status = health.check(unknown()).await.unwrap_err();
    assert_status(&status, Code::NotFound, ErrorReason::MethodUnknown);
}

async fn call(pannier: &Pannier, path: &'static str, encoding: Option<&'static str>) -> Status {
    let mut grpc = tonic::client::Grpc::new(pannier.another_connection().await);
    grpc.ready().await.unwrap();
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(encoding) = encoding {
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
    }
    let codec = pannier_proto::codec::Codec::<HealthCheckRequest, HealthCheckResponse>::default();
    grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err()
}

#[tokio::test]
async fn unknown_methods_and_encodings_have_details() {
    let pannier = pannier().await;
    for path in ["/pannier.cache.v1.CacheService/Gte", "/pannier.cash.v1.CashService/Get"] {
        let status = call(&pannier, path, None).await;
        assert_status(&status, Code::Unimplemented, ErrorReason::MethodUnknown);
        assert!(status.message().contains(path), "{status:?}");
    }
    let status = call(&pannier, "/pannier.cache.v1.CacheService/Get", Some("gzip")).await;
    assert_status(&status, Code::Unimplemented, ErrorReason::EncodingUnsupported);
}

#[tokio::test]
async fn what_is_no_grpc_is_answered_with_415_and_details() {
    let pannier = pannier().await;
    let stream = tokio::net::TcpStream::connect(pannier.address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://localhost/pannier.cache.v1.CacheService/Get");
    let request = request.header("content-type", "application/json").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 415);
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_status(&status, Code::InvalidArgument, ErrorReason::ContentTypeUnsupported);
}

#[tokio::test]
async fn a_request_that_does_not_arrive_is_ended() {
    let pannier = pannier_with(|settings| settings.server.request_read_ms_max = 200).await;
    let stream = tokio::net::TcpStream::connect(pannier.address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = || {
        let request = http::Request::post("http://localhost/pannier.cache.v1.CacheService/Get");
        request.header("content-type", "application/grpc").header("grpc-timeout", "300S").body(()).unwrap()
    };
    let (headers_alone, _held) = client.send_request(request(), false).unwrap();
    let (begun, mut body) = client.send_request(request(), false).unwrap();
    body.send_data(vec![0, 0, 0, 0, 100, 1].into(), false).unwrap();
    for response in [headers_alone, begun] {
        let response = response.await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_status(&status, Code::DeadlineExceeded, ErrorReason::RequestIncomplete);
    }
}
