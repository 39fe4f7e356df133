//! The sidecar is told to stop while the network hangs or the database is away: it does, in time.

use std::sync::Arc;
use std::time::Duration;

use pannier_proto::cache::v1 as pb;

use super::network::impatient;
use super::persist::{nothing_is_lost, prepare};
use super::proxy::Proxy;
use super::server::{End, Server};
use crate::chance::Chance;
use crate::exit::exits_in_time;
use crate::ledger::Ledger;
use crate::load::{NAMESPACE, set_to_work};
use crate::sidecar::{LONG, Launch, Place, within};
use crate::turn;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_network_does_not_delay_the_exit() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("SIGTERM while the network hangs"));
    let place = Place::new();
    let ledger = Arc::new(Ledger::default());
    // With the default patience the sidecar does not know yet that the network hangs, with little it does.
    for (round, is_known) in [(1, false), (2, true)] {
        let proxy = Proxy::before(server.address()).await;
        let launch = Launch::new(&place).database(&proxy.url("postgres"));
        let launch = if is_known { impatient(launch) } else { launch };
        let mut sidecar = launch.start().await;
        let mut client = prepare(&sidecar).await;
        let request = pb::GetOrLeaseRequest {
            namespace: NAMESPACE.into(),
            key: format!("leased/{round}"),
            lease_ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            wait_max: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        };
        client.get_or_lease(request.clone()).await.expect("a lease");
        let waiter = tokio::spawn(async move { client.get_or_lease(request).await });
        let mut writers = set_to_work(&sidecar, &ledger, &mut chance, round).await;
        let early = tokio::time::timeout(Duration::from_millis(200), writers.join_next()).await;
        assert!(early.is_err(), "a writer ended: {early:?}");
        proxy.hang();
        if is_known {
            writers.join_next().await.expect("there are writers").expect("no writer panicked");
        }
        exits_in_time(&mut sidecar, "TERM").await;
        tokio::time::timeout(LONG, writers.join_all()).await.expect("all writers end with the sidecar");
        let waited = tokio::time::timeout(LONG, waiter).await.expect("it ends").expect("no panic");
        waited.expect_err("nobody filled it");
        drop(proxy);

        let mut sidecar = Launch::new(&place).database(&server.url("postgres")).start().await;
        let mut client = prepare(&sidecar).await;
        nothing_is_lost(&mut client, &ledger, &ledger.keys(), &format!("round {round}")).await;
        exits_in_time(&mut sidecar, "TERM").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_does_not_delay_the_exit() {
    let server = Server::started().await;
    let _turn = turn::alone().await;
    let place = Place::new();
    let mut sidecar = Launch::new(&place).database(&server.url("postgres")).start().await;
    prepare(&sidecar).await;
    server.end(End::Fast).await;
    exits_in_time(&mut sidecar, "TERM").await;

    // Nor does one that it still waits for.
    let mut sidecar = Launch::new(&place).database(&server.url("postgres")).spawn();
    let waits = || sidecar.log().contains("waiting for the database").then_some(());
    within(LONG, waits).await.unwrap_or_else(|| panic!("it does not wait:\n{}", sidecar.log()));
    exits_in_time(&mut sidecar, "TERM").await;
}
