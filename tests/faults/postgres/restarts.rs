//! The database is stopped, or killed with all its processes, and started again under load, several times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::persist::{Callers, in_time, nothing_is_lost, prepare, serves_again};
use super::server::{End, Server};
use crate::calls::http_get;
use crate::chance::{Chance, parameter};
use crate::ledger::Ledger;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// How long any call may take to fail.
const BOUND: Duration = Duration::from_secs(3);
/// How long after the database is back calls may still fail.
const BACK: Duration = Duration::from_secs(2);
/// How often, unless `PANNIER_KILLS` says otherwise (a twentieth of that).
const ROUNDS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_the_end_of_the_database_under_load() {
    let mut server = Server::started().await;
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("the database ends under load"));
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    let rounds = parameter("PANNIER_KILLS").map_or(ROUNDS, |kills| (kills / 20).max(3));
    for round in 1..=rounds {
        let way = [End::Fast, End::Immediate, End::Killed][round as usize % 3];
        let callers = Callers::of(&sidecar, &ledger, &mut chance, round).await;
        callers.are_served(100 + chance.below(200)).await;
        server.end(way).await;
        callers.are_refused(30).await;
        let known = Instant::now();
        callers.are_refused(60).await;
        assert_eq!(
            http_get(&sidecar, "/livez").0,
            200,
            "an outage of the database is no reason to be killed"
        );
        assert_eq!(http_get(&sidecar, "/readyz").0, 200, "memory still serves, and errors say what is wrong");
        let over = Instant::now();
        server.start().await;
        let back = Instant::now();
        serves_again(&mut client, back, BACK).await;
        callers.are_served(100).await;

        println!("round {round}, {way:?}:");
        in_time(&callers.end().await, BOUND, known, over);
        nothing_is_lost(&mut client, &ledger, &ledger.unsettled(), &format!("{way:?} in round {round}"))
            .await;
    }
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "at the end").await;
    println!("{rounds} ends of the database, {} acknowledged writes, none lost", ledger.acknowledged());
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
    sidecar.stop().await;
}
