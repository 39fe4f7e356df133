//! The runs: on SQLite with one sidecar, and on PostgreSQL with two that share the queue.

use super::run::{Plan, run, settings};
use crate::chance::{Chance, parameter};
use crate::load::sound;
use crate::postgres::server::Server;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// Tasks of a run, unless `PANNIER_QUEUE_TASKS` says otherwise.
const TASKS: u64 = 2_000;

fn plan(workers: u32) -> Plan {
    let tasks = parameter("PANNIER_QUEUE_TASKS").unwrap_or(TASKS);
    let kills = parameter("PANNIER_QUEUE_KILLS").unwrap_or(6 + tasks / 1_000);
    Plan { workers, tasks, kills, deaths: 4 * kills }
}

async fn on_sqlite(test: &str, workers: u32) {
    let _turn = turn::alone().await;
    let chance = Chance::new(Chance::seed_of_run(test));
    let place = Place::new();
    run(plan(workers), vec![settings(Launch::new(&place))], chance).await;
    sound(&place);
}

/// Two sidecars share the queue, and either is killed.
async fn on_postgres(test: &str, workers: u32) {
    let _turn = turn::alone().await;
    let server = Server::started().await;
    let chance = Chance::new(Chance::seed_of_run(test));
    let place = Place::new();
    let launch = |name: &str| {
        let launch = Launch::named(&place, name, &place.path(name));
        settings(launch).variable("PANNIER_STORAGE__URL", server.url("postgres"))
    };
    run(plan(workers), vec![launch("one"), launch("two")], chance).await;
    // The engine would do the work again; rows that are locked in one order need no second try.
    let log = server.log();
    let deadlocks: Vec<&str> =
        log.split("ERROR:").filter(|error| error.contains("deadlock detected")).collect();
    let first: Vec<&str> = deadlocks.iter().flat_map(|error| error.lines().take(12)).take(12).collect();
    assert!(deadlocks.is_empty(), "{} deadlocks, the first: {}", deadlocks.len(), first.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_and_the_sidecar_are_killed() {
    on_sqlite("chaos of 8", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_workers_and_the_sidecar_are_killed() {
    on_sqlite("chaos of 32", 32).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_and_two_sidecars_on_postgres_are_killed() {
    on_postgres("chaos of 8 on PostgreSQL", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_workers_and_two_sidecars_on_postgres_are_killed() {
    on_postgres("chaos of 32 on PostgreSQL", 32).await;
}
