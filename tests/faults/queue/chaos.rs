//! The runs: on SQLite with one sidecar, and on PostgreSQL with two that share the queue.

use super::run::{Plan, run, settings};
use crate::chance::{Chance, parameter};
use crate::load::sound;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// Tasks of a run, unless `PANNIER_QUEUE_TASKS` says otherwise.
const TASKS: u64 = 3_000;

fn plan(workers: u32) -> Plan {
    let tasks = parameter("PANNIER_QUEUE_TASKS").unwrap_or(TASKS);
    let kills = parameter("PANNIER_QUEUE_KILLS").unwrap_or(5 + tasks / 1_000);
    Plan { workers, tasks, kills, deaths: 4 * kills }
}

async fn on_sqlite(test: &str, workers: u32) {
    let _turn = turn::alone().await;
    let chance = Chance::new(Chance::seed_of_run(test));
    let place = Place::new();
    run(plan(workers), vec![settings(Launch::new(&place))], chance).await;
    sound(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_and_the_sidecar_are_killed() {
    on_sqlite("chaos of 8", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_workers_and_the_sidecar_are_killed() {
    on_sqlite("chaos of 32", 32).await;
}
