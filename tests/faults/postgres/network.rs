//! A network that hangs, forgets its connections, cuts them or is slow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::persist::{Callers, in_time, nothing_is_lost, prepare, serves_again};
use super::proxy::Proxy;
use super::server::Server;
use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// How long any call may take to fail: the time for a statement and half a second more, then the time for a connection, and
/// as much for what waited for a session meanwhile.
const BOUND: Duration = Duration::from_secs(3);
/// The same with the default settings: a second until an answer is late, then the time for a connection, and some.
const DEFAULT_BOUND: Duration = Duration::from_secs(7);
/// How long after the network is back calls may still fail. Transactions that it left open hold their locks for half a second.
const BACK: Duration = Duration::from_secs(2);

/// With little patience for the database.
pub(super) fn impatient(launch: Launch) -> Launch {
    let launch = launch.set("storage.statement_ms_max", 500).set("storage.lock_ms_max", 400);
    launch.set("storage.connect_ms_max", 500).set("cache.memory_bytes_max", 0)
}

/// How the network hangs, and how it comes back.
#[derive(Clone, Copy, Debug)]
enum Hang {
    /// What it held arrives late.
    Both,
    /// Only answers were held, and arrive late.
    Answers,
    /// What it held never arrives; only new connections work.
    Forgotten,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_network_hangs_calls_fail_fast_and_afterwards_all_recovers() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("the network hangs"));
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let mut sidecar = impatient(Launch::new(&place)).database(&proxy.url("postgres")).start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    for (round, hang) in [Hang::Both, Hang::Answers, Hang::Forgotten].into_iter().enumerate() {
        let callers = Callers::of(&sidecar, &ledger, &mut chance, round as u64).await;
        callers.are_served(100 + chance.below(100)).await;
        match hang {
            Hang::Answers => proxy.hold_answers(),
            Hang::Both | Hang::Forgotten => proxy.hang(),
        }
        callers.are_refused(15).await;
        let known = Instant::now();
        callers.are_refused(100).await;
        let over = Instant::now();
        match hang {
            Hang::Forgotten => proxy.forget_connections(),
            Hang::Both | Hang::Answers => proxy.go_on(),
        }
        serves_again(&mut client, over, BACK).await;
        callers.are_served(100).await;

        println!("{hang:?}:");
        in_time(&callers.end().await, BOUND, known, over);
        nothing_is_lost(&mut client, &ledger, &ledger.unsettled(), &format!("{hang:?}")).await;
    }
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
    sidecar.stop().await;
}

/// A statement may take ten seconds then; but nobody waits so long for a network that says nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_default_patience_calls_fail_fast_as_well() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("the network hangs, with the default patience"));
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let launch = Launch::new(&place).set("cache.memory_bytes_max", 0).database(&proxy.url("postgres"));
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    let callers = Callers::of(&sidecar, &ledger, &mut chance, 1).await;
    callers.are_served(100).await;
    proxy.hang();
    callers.are_refused(15).await;
    let known = Instant::now();
    callers.are_refused(50).await;
    let over = Instant::now();
    proxy.forget_connections();
    // What was under way holds its locks until the database itself ends it: ten seconds for a transaction that lies idle.
    serves_again(&mut client, over, Duration::from_secs(12)).await;
    in_time(&callers.end().await, DEFAULT_BOUND, known, over);
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_cost_hardly_a_call() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("connections are cut"));
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let launch = Launch::new(&place).set("cache.memory_bytes_max", 0).database(&proxy.url("postgres"));
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    let callers = Callers::of(&sidecar, &ledger, &mut chance, 1).await;
    for _ in 0..20 {
        callers.are_served(chance.below(60)).await;
        proxy.cut_connections();
    }
    callers.are_served(100).await;
    let connections = proxy.connections();
    let refused = callers.end().await;
    println!("{connections} connections: {} calls failed", refused.len());
    assert!(connections > 40, "only {connections} connections were made");
    // A COMMIT that was under way when its connection was cut is in doubt, and nothing else fails.
    assert!(refused.len() as u64 * 10 < connections, "{refused:?}");
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_makes_calls_slow_and_none_fail() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("the network is slow"));
    let proxy = Proxy::before(server.address()).await;
    let place = Place::new();
    let launch = Launch::new(&place).set("cache.memory_bytes_max", 0).database(&proxy.url("postgres"));
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    // Every write has its namespace's row to itself for some round trips.
    proxy.delay(Duration::from_millis(5));
    let callers = Callers::of(&sidecar, &ledger, &mut chance, 1).await;
    callers.are_served(60).await;
    proxy.delay(Duration::ZERO);
    let refused = callers.end().await;
    assert!(refused.is_empty(), "{refused:?}");
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    sidecar.stop().await;
}
