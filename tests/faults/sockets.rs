//! TCP and the Unix socket: both at once, files that were left behind, and who may not be pushed aside.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;

use crate::calls::{Cache, cache, cache_at, endless, look, put};
use crate::ledger::Seen;
use crate::load::NAMESPACE;
use crate::sidecar::{Launch, Place};
use crate::turn;

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn found(client: &mut Cache, key: &str) -> Seen {
    look(client, NAMESPACE, &[key.to_owned()]).await.remove(key).expect("an answer")
}

#[tokio::test]
async fn tcp_and_a_unix_socket_serve_the_same_at_once() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let mut sidecar = Launch::new(&place).socket(&socket).start().await;
    assert_eq!(sidecar.ready()["socket"], socket.to_str().expect("a plain path"));
    let (mut tcp, mut unix) = (cache(&sidecar).await, cache_at(&socket).await);
    endless(&mut tcp, NAMESPACE).await;
    tcp.put(put(NAMESPACE, "by tcp", 1, Durability::Full)).await.expect("a put");
    unix.put(put(NAMESPACE, "by unix", 2, Durability::Full)).await.expect("a put");
    assert_eq!(found(&mut unix, "by tcp").await, Seen::Write(1));
    assert_eq!(found(&mut tcp, "by unix").await, Seen::Write(2));
    sidecar.stop().await;
    assert!(!socket.exists(), "a stopped sidecar leaves its socket behind");
}

#[tokio::test]
async fn either_can_be_off() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let launch = Launch::new(&place).socket(&socket).flag("--listen", "").flag("--http-listen", "");
    let mut sidecar = launch.start().await;
    assert!(sidecar.ready()["grpc"].is_null() && sidecar.ready()["http"].is_null(), "{}", sidecar.ready());
    endless(&mut cache_at(&socket).await, NAMESPACE).await;
    sidecar.stop().await;

    let mut sidecar = Launch::new(&place).start().await;
    assert!(sidecar.ready()["socket"].is_null(), "{}", sidecar.ready());
    sidecar.stop().await;
}

#[tokio::test]
async fn the_socket_of_a_killed_process_is_replaced() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let launch = Launch::new(&place).socket(&socket);
    launch.start().await.kill();
    assert!(is_socket(&socket), "kill -9 leaves the socket behind, which is what this is about");
    let mut sidecar = launch.start().await;
    endless(&mut cache_at(&socket).await, NAMESPACE).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn the_socket_of_a_living_process_is_left_to_it() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let socket = place.path("p.sock");
    let _first = Launch::new(&place).socket(&socket).start().await;
    let second = Launch::named(&place, "second", &place.path("other")).socket(&socket);
    refused_for_the_socket(&second).await;
    endless(&mut cache_at(&socket).await, NAMESPACE).await;

    let taken = place.path("taken.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&taken).expect("a socket");
    refused_for_the_socket(&second.socket(&taken)).await;
    std::os::unix::net::UnixStream::connect(&taken).expect("it is still there");
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_left_alone() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let path = place.path("letter.txt");
    std::fs::write(&path, b"dear all").expect("a file");
    refused_for_the_socket(&Launch::new(&place).socket(&path)).await;
    assert_eq!(std::fs::read(&path).expect("still there"), b"dear all");
    refused_for_the_socket(&Launch::new(&place).socket(&place.path("no/such/folder/p.sock"))).await;
}

async fn refused_for_the_socket(launch: &Launch) {
    let refusal = launch.refused().await;
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let last = refusal.stderr.lines().last().expect("a line");
    assert!(last.starts_with("error: "), "{refusal:?}");
}

#[tokio::test]
async fn a_taken_port_is_refused() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    for flag in ["--listen", "--http-listen"] {
        let refusal = Launch::new(&place).flag(flag, address.clone()).refused().await;
        assert_eq!(refusal.code, Some(1), "{refusal:?}");
        let last = refusal.stderr.lines().last().expect("a line");
        assert!(last.starts_with("error: ") && last.contains(&address), "{refusal:?}");
    }
}

/// With Nagle's algorithm on, an answer waits 40 ms for an acknowledgement wherever something small was sent just before it:
/// after large messages that is the window's update.
#[tokio::test]
async fn calls_in_sequence_do_not_wait_for_acknowledgements() {
    const CALLS: u32 = 50;
    let _turn = turn::alone().await;
    let place = Place::new();
    let sidecar = Launch::new(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    for value_bytes in [10, 20_000, 40_000, 100_000] {
        let content = Some(pb::put_item::Content::Value(vec![7; value_bytes].into()));
        let item = pb::PutItem { key: "k".into(), content, ..Default::default() };
        let put = pb::PutRequest { namespace: NAMESPACE.into(), item: Some(item), ..Default::default() };
        let get = pb::GetRequest { namespace: NAMESPACE.into(), key: "k".into(), ..Default::default() };
        let mut took = [Duration::ZERO; 2];
        for _ in 0..CALLS {
            let began = Instant::now();
            client.put(put.clone()).await.expect("a put");
            took[0] += began.elapsed();
            let began = Instant::now();
            client.get(get.clone()).await.expect("an answer");
            took[1] += began.elapsed();
        }
        println!("{value_bytes} bytes: {CALLS} puts and gets took {took:?}");
        let most = Duration::from_millis(20) * CALLS;
        assert!(took.iter().all(|took| *took < most), "{value_bytes} bytes: {took:?}");
    }
}
