//! Two sidecars on one database: whoever waits at one for a key that the other fills is woken, also after an outage.

use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;

use super::network::impatient;
use super::persist::prepare;
use super::proxy::Proxy;
use super::server::{End, Server};
use crate::calls::{Cache, put};
use crate::load::NAMESPACE;
use crate::sidecar::{LONG, Launch, Place};
use crate::turn;

/// A waiter looks by itself a second after it began to wait: one that is served sooner was woken.
const LOOKS: Duration = Duration::from_millis(1_000);
/// How long before the fill it waits.
const WAITS: Duration = Duration::from_millis(200);
/// When wake-ups come again after an outage, at the latest.
const BACK: Duration = Duration::from_secs(8);

/// Two sidecars: one that is waited at and one that fills.
struct Pair {
    waiting: Cache,
    filling: Cache,
    keys: u64,
}

impl Pair {
    /// Lets a caller wait for a key that is then filled; tells whether it was served so soon that it was woken.
    async fn is_woken(&mut self) -> bool {
        self.keys += 1;
        let key = format!("leased/{}", self.keys);
        let request = pb::GetOrLeaseRequest {
            namespace: NAMESPACE.into(),
            key: key.clone(),
            lease_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            wait_max: Some(prost_types::Duration { seconds: 15, nanos: 0 }),
        };
        let lease = self.filling.get_or_lease(request.clone()).await.expect("a lease").into_inner().lease;
        let mut waiting = self.waiting.clone();
        let asked = Instant::now();
        let mut waiter = tokio::spawn(async move { waiting.get_or_lease(request).await });
        // Nothing tells that it waits but that it does not answer.
        let early = tokio::time::timeout(WAITS, &mut waiter).await;
        assert!(early.is_err(), "a waiter that does not wait: {early:?}");
        let mut fill = put(NAMESPACE, &key, self.keys, Durability::Full);
        fill.item.as_mut().expect("an item").lease_token = lease.expect("nobody has it").token;
        self.filling.put(fill).await.expect("the lease is held");
        let answer = tokio::time::timeout(LONG, waiter).await.expect("it ends").expect("it did not panic");
        assert!(answer.expect("an answer").into_inner().entry.is_some(), "the entry that was filled");
        asked.elapsed() < LOOKS
    }

    /// That wake-ups come again.
    async fn are_woken_again(&mut self, what: &str) {
        let back = Instant::now();
        while !self.is_woken().await {
            assert!(back.elapsed() < BACK, "no wake-ups {:?} after {what}", back.elapsed());
        }
        println!("wake-ups come within {:?} of {what}", back.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_come_again_after_the_database_was_away() {
    let mut server = Server::started().await;
    let _turn = turn::alone().await;
    let place = Place::new();
    let launch = |name| Launch::named(&place, name, &place.path(name)).database(&server.url("postgres"));
    let (first, second) = (launch("first").start().await, launch("second").start().await);
    let mut pair = Pair { waiting: prepare(&first).await, filling: prepare(&second).await, keys: 0 };
    pair.are_woken_again("the start").await;
    // The listeners' sessions alone: no other one notices.
    server
        .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^(LISTEN|SELECT 1$)'")
        .await;
    pair.are_woken_again("the end of the listeners").await;
    for end in [End::Fast, End::Killed] {
        server.end(end).await;
        server.start().await;
        for client in [&mut pair.waiting, &mut pair.filling] {
            super::persist::serves_again(client, Instant::now(), BACK).await;
        }
        pair.are_woken_again(&format!("{end:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wake_ups_come_again_though_the_old_connection_never_says_a_word() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let place = Place::new();
    let proxy = Proxy::before(server.address()).await;
    let first = impatient(Launch::new(&place)).database(&proxy.url("postgres")).start().await;
    let second = Launch::named(&place, "second", &place.path("second")).database(&server.url("postgres"));
    let second = second.start().await;
    let mut pair = Pair { waiting: prepare(&first).await, filling: prepare(&second).await, keys: 0 };
    pair.are_woken_again("the start").await;
    proxy.forget_connections();
    pair.are_woken_again("connections that were forgotten").await;
    // Nobody notices this one but who listens.
    proxy.forget_listeners();
    assert!(!pair.is_woken().await, "a wake-up came over a connection that was forgotten");
    pair.are_woken_again("a listener's connection that was forgotten").await;
}
