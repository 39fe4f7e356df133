//! Reads: from memory, from the database, and many at once.

use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::Sync;
use crate::ceiling::cache::{self, Shape};
use crate::contest::{Contest, Side};
use crate::material::Material;
use crate::pair::Pair;
use crate::report::{Section, Target};
use crate::sidecar::{Sidecar, Via};
use crate::workers::cache::{Caller, Operation};

use super::VALUE_BYTES;

/// What an application asks for again and again.
const HOT: usize = 1000;
/// Entries of the batch and cold workloads.
const STORED: usize = 10_000;
const BATCH: usize = 100;
const AT_LEAST: Option<Target> = Some(Target::AtLeast(0.85));
const FASTER: Option<Target> = Some(Target::Above(1.0));

/// Get of entries held in memory.
pub(super) async fn hot_get(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("hot-get", &[], HOT).await?;
    let mut sections = Vec::new();
    for (in_flight, target) in [(16, AT_LEAST), (1, None)] {
        let title = format!("Get of 1 KiB from memory, {in_flight} in flight");
        let contest = Contest::new("hot-get", title).note(pair.sizes.clone());
        let contest = four_sides(bench, contest, &pair, in_flight, HOT, Operation::Get).await?;
        sections.push(against_floor(contest, target).run(bench).await?);
    }
    Ok(sections)
}

/// Floor and sidecar, over TCP and over the Unix socket, and the sidecar on PostgreSQL.
pub(super) async fn four_sides(
    bench: &Bench,
    mut contest: Contest,
    pair: &Pair,
    in_flight: usize,
    stored: usize,
    operation: impl Fn(Caller) -> Operation + Copy,
) -> Fallible<Contest> {
    for via in [Via::Tcp, Via::Unix] {
        let floor = bench.workers(&pair.floor, via, in_flight, stored, operation).await?;
        let pannier = bench.workers(&pair.pannier, via, in_flight, stored, operation).await?;
        contest = contest
            .side(Side::floor(format!("floor {}", via.name()), pair.floor.pid(), floor))
            .side(Side::pannier(format!("pannier {}", via.name()), pair.pannier.pid(), pannier));
    }
    contest.with_postgres(bench, pair, in_flight, stored, operation).await
}

/// The ratios of four sides.
pub(super) fn against_floor(contest: Contest, target: Option<Target>) -> Contest {
    contest
        .ratio("pannier TCP", "floor TCP", target)
        .ratio("pannier unix", "floor unix", target)
        .ratio("pannier unix", "pannier TCP", FASTER)
        .ratio("floor unix", "floor TCP", None)
}

/// Get of entries that memory does not hold: the memory tier is off.
pub(super) async fn cold_get(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("cold-get", &["cache.memory_bytes_max=0"], STORED).await?;
    let title = "Get of 1 KiB from the database (memory tier off), 16 in flight";
    let contest = Contest::new("cold-get", title).note(pair.sizes.clone());
    let contest = four_sides(bench, contest, &pair, 16, STORED, Operation::Get).await?;
    let contest = contest.side(ceiling_reads(bench, "cold-get-ceiling", 1)?);
    let section = against_floor(contest, None).ratio("pannier unix", "rusqlite", None).run(bench).await?;
    Ok(vec![section])
}

/// BatchGet of 100 out of 10,000.
pub(super) async fn batch_get(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("batch-get", &[], STORED).await?;
    let mut contest = Contest::new("batch-get", "BatchGet of 100 x 1 KiB out of 10,000 entries").by_rows();
    let operation = |caller| Operation::BatchGet(caller, BATCH);
    contest = four_sides(bench, contest, &pair, 4, STORED, operation).await?;
    let alone = lone_caller(bench, &pair.pannier, operation).await?;
    contest = contest
        .side(Side::pannier("pannier unix alone", pair.pannier.pid(), alone))
        .side(ceiling_reads(bench, "batch-get-ceiling", BATCH)?);
    let contest = against_floor(contest, None).ratio("pannier unix", "rusqlite", None);
    Ok(vec![contest.run(bench).await?])
}

async fn lone_caller(
    bench: &Bench,
    server: &Sidecar,
    operation: impl Fn(Caller) -> Operation,
) -> Fallible<Vec<Operation>> {
    bench.workers(server, Via::Unix, 1, STORED, operation).await
}

/// Reads by key on one thread.
fn ceiling_reads(bench: &Bench, folder: &str, count: usize) -> Fallible<Side> {
    let mut material: Material = bench.material(VALUE_BYTES, STORED);
    let inline = cache::open(&bench.folder(folder), Shape::Cache, Sync::Full, &mut material, STORED)?;
    Ok(Side::ceiling("rusqlite", vec![Operation::CeilingGet(inline, material, count)]))
}
