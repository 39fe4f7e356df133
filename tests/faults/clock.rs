//! The real clocks: the sidecar under libfaketime, which has the wall clock step while the monotonic clock goes on, and a process that is
//! stopped for a while.

use std::path::Path;
use std::time::Duration;

use pannier_proto::cache::v1 as cache_pb;
use pannier_proto::queue::v1 as pb;
use pannier_proto::queue::v1::queue_service_client::QueueServiceClient;
use tonic::transport::Channel;

use crate::calls::{Cache, cache, channel, item};
use crate::sidecar::{Launch, Place, Sidecar, within};
use crate::turn;

const NAMESPACE: &str = "full";

/// Where distributions have the library.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// A sidecar whose wall clock is the real one with an offset; none, with a line that says so, where libfaketime is not installed.
fn under_faketime(place: &Place) -> Option<Launch> {
    let Some(library) = LIBRARIES.iter().find(|library| Path::new(library).exists()) else {
        println!("SKIPPED: libfaketime is not installed; its package is `libfaketime`");
        return None;
    };
    set_clock(place, "+0");
    let launch = Launch::new(place)
        .variable("LD_PRELOAD", *library)
        .variable("FAKETIME_TIMESTAMP_FILE", place.path("offset"))
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Some(launch)
}

/// Sets the wall clock by an offset such as `-1h`.
fn set_clock(place: &Place, offset: &str) {
    // Renamed into its place: the library must not read half of it.
    std::fs::write(place.path("offset.new"), offset).unwrap();
    std::fs::rename(place.path("offset.new"), place.path("offset")).unwrap();
}

async fn put(client: &mut Cache, key: &str) {
    let request =
        cache_pb::PutRequest { namespace: NAMESPACE.into(), item: Some(item(key, 1)), ..Default::default() };
    client.put(request).await.unwrap();
}

async fn is_there(client: &mut Cache, key: &str) -> bool {
    let keys = vec![key.into()];
    let request = cache_pb::ExistsRequest { namespace: NAMESPACE.into(), keys };
    client.exists(request).await.unwrap().into_inner().results[0].exists
}

async fn limit(client: &mut Cache, entries_max: i64) {
    let namespace = cache_pb::Namespace { name: NAMESPACE.into(), entries_max, ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["entries_max".into()] });
    let request =
        cache_pb::UpdateNamespaceRequest { namespace: Some(namespace), update_mask, ..Default::default() };
    client.update_namespace(request).await.unwrap();
}

async fn queue(sidecar: &Sidecar) -> QueueServiceClient<Channel> {
    QueueServiceClient::new(channel(sidecar).await)
}

async fn enqueue(client: &mut QueueServiceClient<Channel>, delay_s: i64) {
    let when = pb::enqueue_item::When::Delay(prost_types::Duration { seconds: delay_s, nanos: 0 });
    let item = pb::EnqueueItem { r#type: "t".into(), when: Some(when), ..Default::default() };
    let request = pb::EnqueueRequest { item: Some(item), ..Default::default() };
    client.enqueue(request).await.unwrap();
}

/// Claims within a time.
async fn claim(client: &mut QueueServiceClient<Channel>, worker_id: i64, wait_s: i64) -> Vec<pb::Task> {
    let wait = Some(prost_types::Duration { seconds: wait_s, nanos: 0 });
    let claiming = pb::Claiming { worker_id, wait, ..Default::default() };
    let request = pb::ClaimRequest { claiming: Some(claiming), ..Default::default() };
    client.claim(request).await.unwrap().into_inner().tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_to_a_full_namespace_is_there_whatever_the_clock_says() {
    let _turn = turn::shared().await;
    for offset in ["-30s", "-1h", "+365d"] {
        let place = Place::new();
        let Some(launch) = under_faketime(&place) else { return };
        let mut sidecar = launch.start().await;
        let mut client = cache(&sidecar).await;
        limit(&mut client, 10).await;
        for number in 0..20 {
            put(&mut client, &format!("before{number}")).await;
        }
        set_clock(&place, offset);
        for number in 0..10 {
            put(&mut client, &format!("running{number}")).await;
            assert!(is_there(&mut client, &format!("running{number}")).await, "{number} after {offset}");
        }
        set_clock(&place, "+0");
        sidecar.stop().await;
        set_clock(&place, offset);
        sidecar = launch.start().await;
        let mut client = cache(&sidecar).await;
        for number in 0..10 {
            put(&mut client, &format!("started{number}")).await;
            assert!(is_there(&mut client, &format!("started{number}")).await, "{number} started at {offset}");
        }
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_lasts_its_time_over_a_start_with_the_clock_behind() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let Some(launch) = under_faketime(&place) else { return };
    for kill in [false, true] {
        set_clock(&place, "+0");
        let mut sidecar = launch.start().await;
        enqueue(&mut queue(&sidecar).await, 2).await;
        if kill {
            sidecar.kill();
        } else {
            sidecar.stop().await;
        }
        set_clock(&place, "-1h");
        sidecar = launch.start().await;
        assert_eq!(claim(&mut queue(&sidecar).await, 0, 15).await.len(), 1, "killed: {kill}");
        sidecar.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_outlive_a_pause_of_the_process() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let launch = Launch::new(&place).set("queue.worker_timeout_ms", 3_000).set("clock.pause_max_ms", 2_000);
    let mut sidecar = launch.start().await;
    let mut client = queue(&sidecar).await;
    let request = pb::RegisterWorkerRequest { name: "w".into(), ..Default::default() };
    let worker = client.register_worker(request).await.unwrap().into_inner().worker.unwrap().id;
    enqueue(&mut client, 0).await;
    let task = claim(&mut client, worker, 5).await.remove(0);
    // Past the time that a start gives.
    let nothing = claim(&mut client, worker, 1).await;
    assert!(nothing.is_empty());
    sidecar.signal("STOP");
    let paused: Option<()> = within(Duration::from_secs(6), || None).await;
    assert!(paused.is_none());
    sidecar.signal("CONT");
    // Whoever claims first finds out what is due.
    assert!(claim(&mut client, 0, 1).await.is_empty(), "the task is still held");
    let request = pb::CompleteRequest { task_id: task.id, token: task.token, ..Default::default() };
    client.complete(request).await.unwrap();
    sidecar.stop().await;
}
