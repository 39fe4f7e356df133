//! Random histories of two clients that are sometimes offline and of one who writes directly, while sidecars are killed: answers are
//! lost, pushes come again in other parts, callers go away in the middle. In the end all hold the same, and a checker finds each mutation
//! applied once and in order.

mod books;
mod checker;
mod counted;
mod device;
mod history;
mod run;
#[cfg(test)]
mod seeded;
mod writer;

use crate::chance::{Chance, parameter};
use crate::load::sound;
use crate::postgres::server::Server;
use crate::sidecar::{Launch, Place};
use crate::turn;
use run::{Plan, run};

/// Kills of a run, unless `PANNIER_KILLS` says otherwise.
const KILLS: u64 = 9;
/// Steps of each who takes part, for each kill.
const STEPS: u64 = 50;

fn plan() -> Plan {
    let kills = parameter("PANNIER_KILLS").unwrap_or(KILLS);
    Plan { steps: kills.max(4) * STEPS / 3, kills }
}

fn settings(launch: Launch) -> Launch {
    // The kills meet checkpoints too.
    launch.set("storage.checkpoint_bytes", 262_144)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_cut_off_and_the_server_agree() {
    let _turn = turn::shared().await;
    let chance = Chance::new(Chance::seed_of_run("random syncs"));
    let place = Place::new();
    run(plan(), vec![settings(Launch::new(&place))], chance).await;
    sound(&place);
}

/// Two sidecars share the database, and either is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_cut_off_and_two_sidecars_agree() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let chance = Chance::new(Chance::seed_of_run("random syncs on PostgreSQL"));
    let place = Place::new();
    let launch =
        |name: &str| Launch::named(&place, name, &place.path(name)).database(&server.url("postgres"));
    run(plan(), vec![launch("one"), launch("two")], chance).await;
    let log = server.log();
    assert!(!log.contains("deadlock detected"), "{log}");
}
