//! Storage that fails at every point: no call is told OK whose effect is missing later, nothing is done by half, the
//! errors say what they must, and the service resumes by itself.

mod judge;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libc::{EIO, ENOSPC};
use pannier_proto::durability::v1::Durability;

use crate::calls::{Cache, cache, endless, put};
use crate::load::sound;
use crate::shim::{Plan, RESIZES, SYNCS, Shim, WRITES, Which};
use crate::sidecar::{Launch, Place, Sidecar};
use crate::turn;
use judge::{Fate, judge};
use script::Script;

/// How many points of a series are tried, unless `PANNIER_FAULTS=all` asks for each.
const POINTS: u64 = 30;

/// A sidecar with the shim in it, and all that was ever written to it.
struct Bench {
    name: String,
    shim: Shim,
    launch: Launch,
    sidecar: Sidecar,
    scripts: Vec<Script>,
    place: Place,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let place = Place::new();
        let shim = Shim::build(&place);
        // Checkpoints fall into the script, and nothing but the script writes.
        let launch = Launch::new(&place)
            .set("storage.checkpoint_bytes", 65_536)
            .set("cache.access_flush_ms", 600_000)
            .set("cache.sweep_ms", 3_600_000)
            .set("jobs.sweep_ms", 3_600_000)
            .set("cache.namespaces_max", 100_000);
        // The schema is made and checkpointed before: where checkpoints fall does not depend on how much of it there is.
        launch.start().await.stop().await;
        let launch = shim.load_into(launch);
        let sidecar = launch.start().await;
        Self { name: name.to_owned(), shim, launch, sidecar, scripts: Vec::new(), place }
    }

    async fn client(&self) -> Cache {
        cache(&self.sidecar).await
    }

    /// Runs a script with the fault at a point. Comes back with the fault lifted.
    async fn run(&mut self, plan: Plan, point: u64) -> Fate {
        let mut client = self.client().await;
        let namespace = format!("{}-{}", self.name, self.scripts.len());
        let mut script = Script::prepare(&mut client, namespace).await;
        self.shim.arm(plan, point);
        let mut already = None;
        let mut late = Vec::new();
        while let Some(step) = script.next(&mut client).await {
            if step.result.is_ok() && already.is_some_and(judge::forbids_acknowledging) {
                late.push(step.kind);
            }
            already = self.shim.failed();
        }
        if already.is_some_and(|failed| failed.kind != SYNCS) {
            script.reads_go_on(&mut client).await;
        }
        self.shim.disarm();
        let fate = judge(&script, plan, self.shim.failed());
        assert!(late.is_empty(), "point {point}: {late:?} were acknowledged after a failed sync of the WAL");
        self.scripts.push(script);
        fate
    }

    /// Compares the last script with what is there.
    async fn compare(&self, when: &str) {
        let mut client = self.client().await;
        let script = self.scripts.last().expect("a script");
        let wrong = script.compare(&mut client).await;
        assert!(wrong.is_empty(), "{when}:\n{}\n{}", wrong.join("\n"), self.sidecar.log());
    }

    /// Waits until writes are taken again. False if the process ended instead.
    async fn resumes(&mut self, point: u64) -> bool {
        let began = Instant::now();
        let mut client = self.client_or_none().await;
        loop {
            if let Some(status) = self.sidecar.ended(Duration::ZERO).await {
                assert_eq!(status.code(), Some(1), "point {point}: {status}:\n{}", self.sidecar.log());
                return false;
            }
            if let Some(client) = &mut client
                && client.put(put("probe", "probe", point, Durability::Full)).await.is_ok()
            {
                return true;
            }
            let took = began.elapsed();
            assert!(
                took < Duration::from_secs(10),
                "point {point}: no service after {took:?}:\n{}",
                self.sidecar.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A process that is about to end takes no connections any more.
    async fn client_or_none(&self) -> Option<Cache> {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.sidecar.grpc()));
        endpoint.expect("an address").connect().await.ok().map(crate::calls::client)
    }

    /// One point of a series, from the fault to the repeated requests. Tells whether the fault was met.
    async fn try_point(&mut self, plan: Plan, point: u64) -> bool {
        let fate = self.run(plan, point).await;
        let running = match fate {
            Fate::MustEnd => {
                let status = self.sidecar.ended(Duration::from_secs(3)).await;
                let code = status.and_then(|status| status.code());
                assert_eq!(
                    code,
                    Some(1),
                    "point {point}: a failed sync of the WAL and no end:\n{}",
                    self.sidecar.log()
                );
                false
            }
            Fate::MayEnd => self.resumes(point).await,
            Fate::MustResume | Fate::Unharmed => {
                assert!(
                    self.resumes(point).await,
                    "point {point}: the process ended:\n{}",
                    self.sidecar.log()
                );
                true
            }
        };
        if running {
            self.compare(&format!("point {point}, in the same process")).await;
            self.sidecar.kill();
        }
        self.sidecar = self.launch.start().await;
        self.compare(&format!("point {point}, after a restart")).await;
        let mut client = self.client().await;
        self.scripts.last_mut().expect("a script").repeat_failed(&mut client).await;
        self.compare(&format!("point {point}, after the repeated requests")).await;
        fate != Fate::Unharmed
    }

    /// After all: everything is still there, and the file is sound.
    async fn finish(mut self) {
        self.sidecar.stop().await;
        sound(&self.place);
        self.sidecar = self.launch.start().await;
        let mut client = self.client().await;
        for script in &self.scripts {
            let wrong = script.compare(&mut client).await;
            assert!(wrong.is_empty(), "at the end:\n{}", wrong.join("\n"));
        }
    }
}

/// Fails one call after the other: of the many, a part that is spread over all of them.
async fn series(name: &str, plan: Plan) {
    let _turn = turn::shared().await;
    let mut bench = Bench::new(name).await;
    assert_eq!(bench.run(plan, 0).await, Fate::Unharmed);
    let calls = bench.shim.matched();
    bench.compare("without a fault").await;
    assert!(calls >= 5, "the shim saw {calls} calls: it is not in the way of the database");
    let all = std::env::var("PANNIER_FAULTS").is_ok_and(|value| value == "all");
    let stride = if all { 1 } else { calls.div_ceil(POINTS) };
    // Series begin at different points, so that together they meet more of them.
    let first = 1 + name.bytes().map(u64::from).sum::<u64>() % stride;
    let (mut tried, mut met) = (0, BTreeMap::new());
    for point in (first..=calls).step_by(stride as usize) {
        tried += 1;
        if bench.try_point(plan, point).await {
            *met.entry(bench.shim.failed()).or_insert(0) += 1;
        }
    }
    println!("{name}: {calls} calls, {tried} points tried, met: {met:?}");
    assert!(met.values().sum::<u64>() * 10 >= tried * 8, "{name}: of {tried} faults only {met:?} were met");
    let files: BTreeSet<_> = met.keys().flatten().map(|failed| failed.file).collect();
    assert!(
        files.is_superset(&BTreeSet::from([Which::Wal, Which::Database])),
        "{name}: only {files:?} were met"
    );
    bench.finish().await;
}

const ONCE: Plan = Plan { kinds: WRITES | RESIZES, error: ENOSPC, sticky: false, torn: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_for_a_moment() {
    series("full-once", ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_full_and_takes_half_of_a_write() {
    series("full-sticky", Plan { sticky: true, torn: true, ..ONCE }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_once_after_half_of_it() {
    series("write-once", Plan { error: EIO, torn: true, ..ONCE }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_fail_until_the_disk_is_mended() {
    series("write-sticky", Plan { error: EIO, sticky: true, ..ONCE }).await;
}

/// The kernel tells of a lost page once; the next sync succeeds, and the page is lost all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_once() {
    series("sync-once", Plan { kinds: SYNCS, error: EIO, ..ONCE }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_that_fail_for_want_of_space() {
    series("sync-full", Plan { kinds: SYNCS, sticky: true, ..ONCE }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_put_is_answered_after_its_sync_and_a_relaxed_one_without() {
    const STALL: Duration = Duration::from_millis(300);
    let _turn = turn::alone().await;
    let bench = Bench::new("stall").await;
    let mut client = bench.client().await;
    endless(&mut client, "stall").await;
    bench.shim.stall_syncs(STALL.as_millis() as u64);
    for (ticket, durability) in
        [(1, Durability::Full), (2, Durability::Relaxed), (3, Durability::Unspecified)]
    {
        let (syncs, writes) = (bench.shim.wal_syncs(), bench.shim.writes());
        let began = Instant::now();
        client.put(put("stall", "k", ticket, durability)).await.expect("a put");
        let (took, synced) = (began.elapsed(), bench.shim.wal_syncs() > syncs);
        let full = durability != Durability::Relaxed;
        assert!(bench.shim.writes() > writes, "{durability:?}: answered before it was written");
        assert_eq!((synced, took >= STALL), (full, full), "{durability:?}: synced: {synced}, took {took:?}");
    }
    bench.shim.stall_syncs(0);
}
