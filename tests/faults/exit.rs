//! SIGTERM and SIGINT: exit 0 within 1.8 s, whoever is still connected, and nothing acknowledged is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use pannier_proto::jobs::v1 as jobs_pb;
use pannier_proto::jobs::v1::jobs_service_client::JobsServiceClient;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::calls::{cache, channel, client, endless, put};
use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::load::{NAMESPACE, compare, cut_off_rightly, set_to_work, sound};
use crate::peers::Peer;
use crate::sidecar::{Launch, Place, Sidecar};
use crate::turn;

/// Kubernetes kills a native sidecar 2 s after SIGTERM when the grace period is spent.
const LIMIT: Duration = Duration::from_millis(1_800);

/// Sends a signal; that the process exits with 0 in time.
pub(crate) async fn exits_in_time(sidecar: &mut Sidecar, signal: &str) {
    let began = Instant::now();
    sidecar.signal(signal);
    let status = sidecar.ended(LIMIT * 5).await;
    let took = began.elapsed();
    let status =
        status.unwrap_or_else(|| panic!("SIG{signal} and no end after {took:?}:\n{}", sidecar.log()));
    assert_eq!(status.code(), Some(0), "SIG{signal}: {status}:\n{}", sidecar.log());
    assert!(took < LIMIT, "SIG{signal}: the exit took {took:?}:\n{}", sidecar.log());
    println!("SIG{signal}: exit after {took:?}");
}

/// What a clean exit leaves: the database alone, with all of the WAL in it.
fn wal_is_empty(place: &Place) {
    let wal = place.data().join("pannier.db-wal");
    let length = std::fs::metadata(wal).map_or(0, |metadata| metadata.len());
    assert_eq!(length, 0, "a clean exit left {length} bytes of WAL");
}

async fn write_some(channel: Channel) {
    let mut client = client(channel);
    endless(&mut client, NAMESPACE).await;
    for ticket in 1..=20 {
        let request = put(NAMESPACE, &format!("some/{ticket}"), ticket, Durability::Full);
        client.put(request).await.expect("a put");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_signal_ends_an_unused_sidecar_at_once() {
    let _turn = turn::alone().await;
    for signal in ["TERM", "INT", "HUP"] {
        let place = Place::new();
        let mut sidecar = Launch::new(&place).start().await;
        write_some(channel(&sidecar).await).await;
        exits_in_time(&mut sidecar, signal).await;
        wal_is_empty(&place);
        sound(&place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_idle_peers_do_not_delay_the_exit() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let mut sidecar = Launch::new(&place).socket(&socket).start().await;
    let grpc = sidecar.grpc();
    let _silent = [Peer::silent(&grpc), Peer::silent(&grpc), Peer::silent(&sidecar.http())];
    let _silent_on_socket = std::os::unix::net::UnixStream::connect(&socket).expect("it accepts");
    let _idle = Peer::idle(&grpc);
    let used = channel(&sidecar).await;
    write_some(used.clone()).await;
    exits_in_time(&mut sidecar, "TERM").await;
    wal_is_empty(&place);
    drop(used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_stop_in_the_middle_do_not_delay_the_exit() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let grpc = sidecar.grpc();
    let mut client = cache(&sidecar).await;
    let large = pb::PutItem {
        key: "large".into(),
        content: Some(pb::put_item::Content::Value(vec![7; 3 << 20].into())),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: NAMESPACE.into(), item: Some(large), ..Default::default() };
    client.put(request).await.expect("a put");
    let _peers = [
        Peer::with_half_a_preface(&grpc),
        Peer::with_half_a_frame(&grpc),
        Peer::with_half_a_call(&grpc),
        Peer::that_does_not_read_on(&grpc, NAMESPACE, "large"),
    ];
    exits_in_time(&mut sidecar, "TERM").await;
    wal_is_empty(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_does_not_delay_the_exit_and_is_told() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let mut health = HealthClient::new(channel(&sidecar).await);
    let request = HealthCheckRequest { service: "pannier.cache.v1.CacheService".into() };
    let mut watch = health.watch(request).await.expect("a stream").into_inner();
    let first = watch.message().await.expect("an answer").expect("a state");
    assert_eq!(first.status(), ServingStatus::Serving);

    let later = tokio::spawn(async move {
        let mut states = Vec::new();
        while let Ok(Some(state)) = watch.message().await {
            states.push(state.status());
        }
        states
    });
    exits_in_time(&mut sidecar, "TERM").await;
    let states = later.await.expect("the stream ended");
    assert_eq!(states, [ServingStatus::NotServing], "who watches is told before the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_of_a_job_do_not_delay_the_exit_and_are_told() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let mut jobs = JobsServiceClient::new(channel(&sidecar).await);
    let request = jobs_pb::CreateRequest { r#type: "batch".into(), ..Default::default() };
    let job_id = jobs.create(request).await.expect("a job").into_inner().job.expect("a job").id;
    let request = jobs_pb::WatchRequest { job_id, interval_min: None };
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut watch = jobs.watch(request.clone()).await.expect("a stream").into_inner();
        watch.message().await.expect("a message").expect("a job");
        watches.push(watch);
    }
    // One whose reader has stopped, over a connection of its own.
    let mut stuck = JobsServiceClient::new(channel(&sidecar).await);
    let _unread = stuck.watch(request).await.expect("a stream");

    exits_in_time(&mut sidecar, "TERM").await;
    for mut watch in watches {
        let status = watch.message().await.expect_err("it is cut off");
        let told = status.get_error_details().error_info().map(|info| info.reason.clone());
        assert_eq!(
            (status.code(), told.as_deref()),
            (Code::Unavailable, Some("SHUTTING_DOWN")),
            "{status:?}"
        );
    }
    wal_is_empty(&place);
    sound(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_for_a_lease_does_not_delay_the_exit() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    let request = pb::GetOrLeaseRequest {
        namespace: NAMESPACE.into(),
        key: "leased".into(),
        lease_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        wait_max: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
    };
    let first = client.get_or_lease(request.clone()).await.expect("a lease").into_inner();
    assert!(first.lease.is_some());
    let mut waiting = client.clone();
    let mut waiter = tokio::spawn(async move { waiting.get_or_lease(request).await });
    // Nothing tells that the sidecar has it, but that it does not answer.
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiter).await;
    assert!(early.is_err(), "a waiter that does not wait: {early:?}");

    exits_in_time(&mut sidecar, "TERM").await;
    match waiter.await.expect("it ended") {
        Err(status) => assert!(cut_off_rightly(&status), "{status:?}"),
        Ok(answer) => {
            let answer = answer.into_inner();
            assert!(answer.entry.is_none() && answer.lease.is_none(), "nobody filled it: {answer:?}");
        }
    }
    wal_is_empty(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_write_load_it_exits_in_time_and_keeps_what_it_acknowledged() {
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("SIGTERM under load"));
    let place = Place::new();
    let launch = Launch::new(&place);
    let ledger = Arc::new(Ledger::default());
    for round in 1..=4 {
        let mut sidecar = launch.start().await;
        endless(&mut cache(&sidecar).await, NAMESPACE).await;
        let mut writers = set_to_work(&sidecar, &ledger, &mut chance, round).await;
        let moment = Duration::from_millis(100 + chance.below(200));
        let early = tokio::time::timeout(moment, writers.join_next()).await;
        assert!(early.is_err(), "a writer ended before the signal: {early:?}");
        exits_in_time(&mut sidecar, "TERM").await;
        for status in writers.join_all().await {
            assert!(cut_off_rightly(&status), "{status:?}");
        }
        wal_is_empty(&place);

        let mut sidecar = launch.start().await;
        let wrong = compare(&mut cache(&sidecar).await, &ledger, &ledger.keys()).await;
        assert!(wrong.is_empty(), "after stop {round}:\n{}", wrong.join("\n"));
        sidecar.stop().await;
    }
    sound(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_during_the_drain_changes_nothing() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).start().await;
    write_some(channel(&sidecar).await).await;
    let _peers = [Peer::with_half_a_call(&sidecar.grpc()), Peer::silent(&sidecar.grpc())];
    sidecar.signal("TERM");
    exits_in_time(&mut sidecar, "TERM").await;
    wal_is_empty(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_while_it_starts_ends_it_in_time() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let launch = Launch::new(&place);
    for milliseconds in [0, 2, 5, 10, 20, 40, 80] {
        let mut sidecar = launch.started_for(Duration::from_millis(milliseconds)).await;
        let began = Instant::now();
        sidecar.signal("TERM");
        let status = sidecar.ended(LIMIT).await.unwrap_or_else(|| panic!("it goes on:\n{}", sidecar.log()));
        // Before the process has asked for the signal, the system ends it.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status).is_some();
        assert!(
            by_signal || status.code() == Some(0),
            "after {milliseconds} ms: {status}:\n{}",
            sidecar.log()
        );
        println!("SIGTERM {milliseconds} ms after the start: {status} after {:?}", began.elapsed());
    }
    let mut sidecar = launch.start().await;
    write_some(channel(&sidecar).await).await;
    exits_in_time(&mut sidecar, "TERM").await;
    wal_is_empty(&place);
    sound(&place);
}
