//! The database ends the sidecar's sessions under load, again and again: hardly a call notices.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};

use super::persist::{Callers, nothing_is_lost, prepare};
use super::server::Server;
use crate::chance::{Chance, parameter};
use crate::ledger::Ledger;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// How often, unless `PANNIER_KILLS` says otherwise.
const TERMINATIONS: u64 = 60;

/// Ends every session of sidecars; tells how many.
async fn terminate(admin: &mut PgConnection) -> i64 {
    let all =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pannier'";
    sqlx::query_scalar(all).fetch_one(admin).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_terminated_cost_hardly_a_call() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("sessions are terminated"));
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    let mut admin = server.admin().await;

    let callers = Callers::of(&sidecar, &ledger, &mut chance, 1).await;
    let terminations = parameter("PANNIER_KILLS").unwrap_or(TERMINATIONS);
    let mut sessions = 0;
    for _ in 0..terminations {
        callers.are_served(1 + chance.below(60)).await;
        sessions += terminate(&mut admin).await;
    }
    callers.are_served(50).await;
    let (calls, _) = callers.counts();
    let refused = callers.end().await;
    println!(
        "{sessions} sessions terminated at {terminations} moments: {} of {calls} calls failed",
        refused.len()
    );
    assert!(sessions > 2 * terminations as i64, "hardly a session was there to be terminated");
    // Only calls whose COMMIT was under way may fail, and most of those are answered before the session ends.
    assert!(refused.len() as i64 * 20 < sessions, "{refused:?}");
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    admin.close().await.expect("a farewell");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_that_are_terminated_cost_no_call() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let place = Place::new();
    // What the upkeep does would notice first.
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let launch = launch.set("cache.sweep_ms", 3_600_000).set("cache.access_flush_ms", 600_000);
    let sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Ledger::default();
    let mut admin = server.admin().await;
    let mut chance = Chance::new(3);
    for number in 0..10 {
        assert!(terminate(&mut admin).await > 0, "there are sessions");
        let keys = [format!("idle/{number}")];
        let tickets = ledger.begin(&keys, crate::ledger::Effect::Put);
        let request = super::persist::put_once(&keys[0], tickets[0], &mut chance);
        client.put(request).await.expect("a put after its sessions were terminated");
        ledger.acknowledge(&tickets);
        terminate(&mut admin).await;
        nothing_is_lost(&mut client, &ledger, &keys, "by reads after terminations").await;
    }
}
