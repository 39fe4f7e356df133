//! The connection is lost exactly at COMMIT: the caller is told to come again, and a repeat with its request_id has one effect.

use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;

use super::network::impatient;
use super::persist::{prepare, put_once, unavailable};
use super::proxy::{Proxy, Trap};
use super::server::Server;
use crate::calls::{Cache, look, put};
use crate::chance::Chance;
use crate::ledger::Seen;
use crate::load::NAMESPACE;
use crate::sidecar::{LONG, Launch, Place, Sidecar};
use crate::turn;

/// The time for a statement and half a second more, and some.
const BOUND: Duration = Duration::from_secs(2);

/// Makes a put whose COMMIT runs into a trap, and repeats it as it was until it succeeds; answers with its etag.
async fn repeated(client: &mut Cache, proxy: &Proxy, trap: Trap, request: &pb::PutRequest) -> String {
    proxy.set_trap(trap);
    let began = Instant::now();
    let status = client.put(request.clone()).await.expect_err("a COMMIT without an answer is no success");
    unavailable(&status);
    assert!(began.elapsed() < BOUND, "{trap:?}: told after {:?}", began.elapsed());
    proxy.trap_has_sprung().await;
    let began = Instant::now();
    loop {
        match client.put(request.clone()).await {
            Ok(answer) => return answer.into_inner().result.expect("a result").etag,
            // The transaction that was left open holds its locks for half a second.
            Err(status) => unavailable(&status),
        }
        assert!(began.elapsed() < LONG, "{trap:?}: no success");
    }
}

async fn value(client: &mut Cache, key: &str) -> Seen {
    look(client, NAMESPACE, &[key.to_owned()]).await.remove(key).expect("an answer")
}

async fn start(place: &Place, proxy: &Proxy) -> Sidecar {
    // The upkeep must not run into the trap.
    let launch = Launch::new(place).set("cache.sweep_ms", 3_600_000).set("cache.access_flush_ms", 600_000);
    impatient(launch).set("cache.memory_bytes_max", 1 << 20).database(&proxy.url("postgres")).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_commit_is_in_doubt_has_one_effect_when_it_is_repeated() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(11);
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let mut sidecar = start(&place, &proxy).await;
    let mut client = prepare(&sidecar).await;
    for (number, trap) in [Trap::AnswerCut, Trap::AnswerLost, Trap::CommitLost].into_iter().enumerate() {
        let (key, ticket) = (format!("doubt/{number}"), number as u64 + 1);
        // On the condition that it is absent: a second effect would be refused.
        let request = put_once(&key, ticket, &mut chance);
        let etag = repeated(&mut client, &proxy, trap, &request).await;
        let again = client.put(request).await.expect("the same answer again").into_inner();
        assert_eq!(again.result.expect("a result").etag, etag, "{trap:?}");
        assert_eq!(value(&mut client, &key).await, Seen::Write(ticket), "{trap:?}");
        println!("{trap:?}: one effect");
    }
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_doubt_is_not_served_from_memory() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(12);
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let mut sidecar = start(&place, &proxy).await;
    let mut client = prepare(&sidecar).await;
    for (number, trap) in [Trap::AnswerCut, Trap::CommitLost].into_iter().enumerate() {
        let (key, ticket) = (format!("kept/{number}"), 2 * number as u64 + 1);
        client.put(put(NAMESPACE, &key, ticket, Durability::Full)).await.expect("a put");
        // Now it is in memory, for a second.
        assert_eq!(value(&mut client, &key).await, Seen::Write(ticket));
        let mut request = put_once(&key, ticket + 1, &mut chance);
        request.item.as_mut().expect("an item").condition = None;
        repeated(&mut client, &proxy, trap, &request).await;
        assert_eq!(value(&mut client, &key).await, Seen::Write(ticket + 1), "{trap:?}: an acknowledged put");
    }
    sidecar.stop().await;
}
