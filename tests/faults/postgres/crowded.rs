//! The database has no connection left for some of the sidecar's sessions: those that have one do the work.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};

use super::persist::{Callers, nothing_is_lost, prepare};
use super::server::Server;
use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// Connections that the database allows.
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_without_a_connection_leave_the_work_to_the_others() {
    let mut server = Server::made().await;
    let _turn = turn::shared().await;
    server.option(&format!("max_connections={CONNECTIONS}"));
    server.option("superuser_reserved_connections=0");
    server.start().await;
    let mut chance = Chance::new(Chance::seed_of_run("no connection is left"));
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let mut others = Vec::new();
    while let Ok(other) = PgConnection::connect(&server.url("postgres")).await {
        others.push(other);
        assert!(others.len() < CONNECTIONS, "the sidecar has none");
    }

    let ledger = Arc::new(Ledger::default());
    let callers = Callers::of(&sidecar, &ledger, &mut chance, 1).await;
    callers.are_served(300).await;
    let few = callers.counts();
    drop(others);
    callers.are_served(300).await;
    let refused = callers.end().await;
    println!("{few:?} with few connections, {} failed with enough", refused.len() - few.1);
    assert!(refused.is_empty(), "{refused:?}");
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    sidecar.stop().await;
}
