//! How long a sidecar lives: data of its own, a clock for tests, its end with stdin, without clients, without its files.

#![allow(clippy::needless_update, reason = "requests gain fields")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pannier_proto::admin::v1 as admin_pb;
use pannier_proto::admin::v1::admin_service_client::AdminServiceClient;
use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::calls::{cache, channel, endless, put};
use crate::load::NAMESPACE;
use crate::sidecar::{LONG, Launch, Place, Sidecar, pannier_alone, within};
use crate::turn;

fn ephemeral(place: &Place) -> Launch {
    let temporary = place.path("tmp");
    std::fs::create_dir_all(&temporary).expect("a folder");
    Launch::new(place).without("--data").switch("--ephemeral").variable("TMPDIR", temporary)
}

async fn admin(sidecar: &Sidecar) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(channel(sidecar).await)
}

async fn directory(sidecar: &Sidecar) -> PathBuf {
    let status =
        admin(sidecar).await.status(admin_pb::StatusRequest {}).await.expect("a status").into_inner();
    assert!(status.ephemeral, "{status:?}");
    PathBuf::from(status.data_directory)
}

fn children(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn an_ephemeral_sidecar_removes_its_data_at_the_end() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let began = Instant::now();
    let mut sidecar =
        ephemeral(&place).variable("PANNIER_STORAGE__URL", "postgres://nobody@192.0.2.1/x").start().await;
    println!("an ephemeral sidecar was ready after {:?}", began.elapsed());
    let data = directory(&sidecar).await;
    assert!(data.starts_with(place.path("tmp")) && data.join("pannier.db").exists(), "{data:?}");
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    sidecar.stop().await;
    assert_eq!(children(&place.path("tmp")), 0);
}

#[tokio::test]
async fn two_ephemeral_sidecars_share_nothing_and_those_of_killed_ones_are_removed() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut killed = ephemeral(&place).start().await;
    let left = directory(&killed).await;
    killed.kill();
    let second = ephemeral(&place).start().await;
    let data = directory(&second).await;
    assert!(data != left && left.exists(), "what was left a moment ago may be of one that is starting");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
    for folder in [&left, &data] {
        std::fs::File::open(folder).expect("a folder").set_modified(long_ago).expect("its owner may");
    }
    drop(ephemeral(&place).start().await);
    assert!(!left.exists() && data.exists(), "one that runs keeps its data");
}

#[tokio::test]
async fn the_test_clock_moves_by_calls_alone() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let sidecar = ephemeral(&place).switch("--test-clock").start().await;
    let mut admin = admin(&sidecar).await;
    let mut client = cache(&sidecar).await;
    let item = pb::PutItem {
        key: "k".into(),
        content: Some(pb::put_item::Content::Value(b"v".to_vec().into())),
        expiry: Some(pb::put_item::Expiry::Ttl(prost_types::Duration { seconds: 3_600, nanos: 0 })),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: NAMESPACE.into(), item: Some(item), ..Default::default() };
    client.put(request).await.expect("a put");
    let get = pb::GetRequest { namespace: NAMESPACE.into(), key: "k".into(), ..Default::default() };
    let before = admin.status(admin_pb::StatusRequest {}).await.expect("a status").into_inner();
    assert!(before.test_clock, "{before:?}");
    assert!(client.get(get.clone()).await.expect("an answer").into_inner().entry.is_some());

    let by =
        |seconds| admin_pb::AdvanceClockRequest { by: Some(prost_types::Duration { seconds, nanos: 0 }) };
    let after = admin.advance_clock(by(7_200)).await.expect("it moves").into_inner();
    assert_eq!(after.now.expect("a time").seconds, before.now.expect("a time").seconds + 7_200);
    assert!(client.get(get).await.expect("an answer").into_inner().entry.is_none(), "it has expired");
    for seconds in [0, -1, 1_000_000_000] {
        let refused = admin.advance_clock(by(seconds)).await.expect_err("out of range");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
}

#[test]
fn a_test_clock_needs_data_that_nobody_keeps() {
    for arguments in [&["--test-clock"][..], &["--ephemeral", "--data", "x"], &["--exit-when-idle", "soon"]] {
        let output = pannier_alone().args(arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[tokio::test]
async fn it_ends_when_its_stdin_is_closed() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).stdin().switch("--exit-with-stdin").start().await;
    assert!(sidecar.ended(Duration::from_millis(300)).await.is_none(), "stdin is open");
    sidecar.close_stdin();
    let status = sidecar.ended(LONG).await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", sidecar.log());
    assert!(sidecar.log().contains("stdin was closed"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_once_no_client_has_been_connected_for_so_long() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).flag("--exit-when-idle", "3s").start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    let early = sidecar.ended(Duration::from_secs(4)).await;
    assert!(early.is_none(), "a client is connected:\n{}", sidecar.log());
    // Probes that come all the time do not keep it.
    let (address, count) = (sidecar.grpc(), Arc::new(AtomicU32::new(0)));
    let counted = count.clone();
    let probes = tokio::spawn(async move {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
        loop {
            let Ok(channel) = endpoint.connect().await else { continue };
            let asked = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
            counted.fetch_add(u32::from(asked.is_ok()), Ordering::Relaxed);
        }
    });
    drop(client);
    let status = sidecar.ended(LONG).await.expect("it ends");
    probes.abort();
    assert_eq!(status.code(), Some(0), "{}", sidecar.log());
    assert!(sidecar.log().contains("no client is connected"), "{}", sidecar.log());
    assert!(count.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_sidecar_whose_files_were_removed_says_so_and_ends() {
    let _turn = turn::shared().await;
    for victim in ["pannier.lock", "pannier.db", ""] {
        let place = Place::new();
        let mut sidecar = Launch::new(&place).set("storage.presence_check_ms", "50ms").start().await;
        let path = place.data().join(victim);
        if victim.is_empty() {
            std::fs::remove_dir_all(&path).expect("it is there");
        } else {
            std::fs::remove_file(&path).expect("it is there");
        }
        let status = sidecar.ended(LONG).await.unwrap_or_else(|| panic!("{victim:?}:\n{}", sidecar.log()));
        let log = sidecar.log();
        assert_eq!(status.code(), Some(1), "{victim:?}: {log}");
        let last = log.lines().last().expect("a line");
        assert!(last.starts_with("error: ") && last.contains("was removed or replaced"), "{log}");
    }
}

#[tokio::test]
async fn a_database_that_another_was_put_in_the_place_of_ends_the_sidecar() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).set("storage.presence_check_ms", 50).start().await;
    let copy = place.path("copy.db");
    std::fs::copy(place.database(), &copy).expect("a copy");
    std::fs::rename(&copy, place.database()).expect("its owner may");
    assert_eq!(sidecar.ended(LONG).await.expect("it ends").code(), Some(1), "{}", sidecar.log());
}

#[tokio::test]
async fn without_a_command_the_sidecar_is_run() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let ready = place.path("ready.json");
    let mut command = pannier_alone();
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "", "--data"]).arg(place.data());
    let mut child = command.arg("--ready-file").arg(&ready).spawn().expect("the binary runs");
    let is_ready = within(LONG, || ready.exists().then_some(())).await;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(is_ready.is_some() && place.database().exists());
}

#[tokio::test]
async fn a_sidecar_that_only_reads_stands_beside_one_that_writes() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let reading = Launch::named(&place, "reading", &place.data()).set("storage.read_only", true);
    let refusal = reading.refused().await;
    assert!(refusal.stderr.contains("there is no database") && !place.data().exists(), "{refusal:?}");

    let mut writer = Launch::new(&place).start().await;
    let mut client = cache(&writer).await;
    endless(&mut client, NAMESPACE).await;
    client.put(put(NAMESPACE, "k", 1, Durability::Full)).await.expect("a put");
    let mut reader = reading.start().await;
    let mut seeing = cache(&reader).await;
    let get = pb::GetRequest { namespace: NAMESPACE.into(), key: "k".into(), ..Default::default() };
    let etag = |answer: pb::GetResponse| answer.entry.expect("it is there").etag;
    let first = etag(seeing.get(get.clone()).await.expect("an answer").into_inner());
    let refused = seeing.put(put(NAMESPACE, "k", 9, Durability::Full)).await.expect_err("it only reads");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");

    client.put(put(NAMESPACE, "k", 2, Durability::Full)).await.expect("the writer goes on");
    let end = Instant::now() + LONG;
    while etag(seeing.get(get.clone()).await.expect("an answer").into_inner()) == first {
        assert!(Instant::now() < end, "the reader serves what is old");
    }
    writer.stop().await;
    reader.stop().await;
    let before = std::fs::read(place.database()).expect("a file");
    reading.start().await.stop().await;
    assert_eq!(std::fs::read(place.database()).expect("a file"), before, "a reader has changed the file");
}
