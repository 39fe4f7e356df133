//! kill -9 under load, again and again: what was acknowledged is there, and no batch is there by half.

use std::sync::Arc;
use std::time::Duration;

use crate::calls::{cache, endless};
use crate::chance::{Chance, parameter};
use crate::ledger::Ledger;
use crate::load::{NAMESPACE, compare, cut_off_rightly, set_to_work, sound};
use crate::sidecar::{Launch, Place};
use crate::turn;

/// How often, unless `PANNIER_KILLS` says otherwise.
const KILLS: u64 = 50;
/// The process is killed at a random moment of this span after the writers began.
const SPAN_MICROS: u64 = 250_000;
/// Now and then the next one is killed as well, while it starts and recovers.
const START_SPAN_MICROS: u64 = 120_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_nine_under_load() {
    let _turn = turn::shared().await;
    let kills = parameter("PANNIER_KILLS").unwrap_or(KILLS);
    let mut chance = Chance::new(Chance::seed_of_run("kill -9 under load"));
    let place = Place::new();
    // A small WAL limit: the kills meet checkpoints too.
    let launch = Launch::new(&place).set("storage.checkpoint_bytes", 262_144);
    let ledger = Arc::new(Ledger::default());

    let mut sidecar = launch.start().await;
    endless(&mut cache(&sidecar).await, NAMESPACE).await;
    for round in 1..=kills {
        let mut writers = set_to_work(&sidecar, &ledger, &mut chance, round).await;
        let moment = Duration::from_micros(chance.below(SPAN_MICROS));
        let early = tokio::time::timeout(moment, writers.join_next()).await;
        assert!(early.is_err(), "a writer ended before the kill: {early:?}\n{}", sidecar.log());
        sidecar.kill();
        for status in writers.join_all().await {
            assert!(cut_off_rightly(&status), "round {round}: {status:?}");
        }

        while chance.once_in(4) {
            launch.started_for(Duration::from_micros(chance.below(START_SPAN_MICROS))).await.kill();
        }
        sidecar = launch.start().await;
        let mut client = cache(&sidecar).await;
        let wrong = compare(&mut client, &ledger, &ledger.unsettled()).await;
        assert!(wrong.is_empty(), "after kill {round}:\n{}", wrong.join("\n"));
    }
    let wrong = compare(&mut cache(&sidecar).await, &ledger, &ledger.keys()).await;
    assert!(wrong.is_empty(), "at the end:\n{}", wrong.join("\n"));
    println!("{kills} kills, {} acknowledged writes, none lost", ledger.acknowledged());
    assert!(ledger.acknowledged() > 10 * kills, "too little was written for the kills to mean anything");
    sidecar.stop().await;
    sound(&place);
}
