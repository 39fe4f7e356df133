//! Writes: single, in batches, mixed with reads.

use pannier_proto::durability::v1::Durability;

use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::Sync;
use crate::ceiling::cache::{self, Shape};
use crate::contest::{Contest, Side};
use crate::pair::Pair;
use crate::report::{Section, Target};
use crate::sidecar::Via;
use crate::workers::cache::{Caller, Operation};

use super::VALUE_BYTES;
use super::read::{against_floor, four_sides};

/// Entries that are there already: every other put replaces one.
const STORED: usize = 10_000;
const BATCH: usize = 1000;
const OF_CEILING: Option<Target> = Some(Target::AtLeast(0.7));
const FASTER: Option<Target> = Some(Target::Above(1.0));

fn put_full(caller: Caller) -> Operation {
    Operation::Put(caller, Durability::Full)
}

fn put_relaxed(caller: Caller) -> Operation {
    Operation::Put(caller, Durability::Relaxed)
}

/// Put, on disk before the answer: against the floor, and against bare rusqlite.
pub(super) async fn durable_put(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("durable-put", &[], STORED).await?;
    let contest =
        Contest::new("durable-put", "Put of 1 KiB, durability full, 64 in flight").note(pair.sizes.clone());
    let contest = four_sides(bench, contest, &pair, 64, STORED, put_full).await?;
    let mut sections = vec![against_floor(contest, Some(Target::AtLeast(0.5))).run(bench).await?];

    let contest = Contest::new("durable-put", "Put of 1 KiB, durability full, 16 in flight");
    let contest = two_sides(bench, contest, &pair, 16, put_full).await?;
    let contest = contest
        .side(group_commit(bench, "rusqlite cache", Shape::Cache, Sync::Full, 16)?)
        .side(group_commit(bench, "rusqlite lean", Shape::Lean, Sync::Full, 16)?)
        .ratio("pannier TCP", "rusqlite cache", OF_CEILING)
        .ratio("pannier unix", "rusqlite cache", OF_CEILING)
        .ratio("pannier unix", "rusqlite lean", None)
        .ratio("pannier unix", "pannier TCP", FASTER);
    sections.push(contest.run(bench).await?);

    let contest = Contest::new("durable-put", "Put of 1 KiB, durability full, 1 in flight");
    let contest = two_sides(bench, contest, &pair, 1, put_full).await?;
    let contest = contest
        .side(inline(bench, "rusqlite cache", Shape::Cache, 1)?)
        .ratio("pannier TCP", "rusqlite cache", None)
        .ratio("pannier unix", "rusqlite cache", None)
        .ratio("pannier unix", "pannier TCP", FASTER);
    sections.push(contest.run(bench).await?);
    Ok(sections)
}

/// Put that may be lost with the power.
pub(super) async fn relaxed_put(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("relaxed-put", &[], STORED).await?;
    let contest = Contest::new("relaxed-put", "Put of 1 KiB, durability relaxed, 16 in flight");
    let contest = four_sides(bench, contest, &pair, 16, STORED, put_relaxed).await?;
    let contest = contest.side(group_commit(bench, "rusqlite cache", Shape::Cache, Sync::Relaxed, 16)?);
    let contest = against_floor(contest, None).ratio("pannier unix", "rusqlite cache", None);
    Ok(vec![contest.run(bench).await?])
}

/// BatchPut of 1,000: rows a second.
pub(super) async fn batch_put(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("batch-put", &[], STORED).await?;
    let operation = |caller| Operation::BatchPut(caller, BATCH);
    let mut contest = Contest::new("batch-put", "BatchPut of 1,000 x 1 KiB, durability full")
        .by_rows()
        .stretched(2.0)
        .note("'alone': 1 call in flight; its rounds, and all of this table, are twice as long");
    for (in_flight, word) in [(4, ""), (1, " alone")] {
        for via in [Via::Tcp, Via::Unix] {
            let workers = bench.workers(&pair.pannier, via, in_flight, STORED, operation).await?;
            let label = format!("pannier {}{word}", via.name());
            contest = contest.side(Side::pannier(label, pair.pannier.pid(), workers));
        }
    }
    let contest = contest
        .with_postgres(bench, &pair, 4, STORED, operation)
        .await?
        .side(inline(bench, "rusqlite cache", Shape::Cache, BATCH)?)
        .side(inline(bench, "rusqlite lean", Shape::Lean, BATCH)?)
        .ratio("pannier TCP", "rusqlite cache", OF_CEILING)
        .ratio("pannier unix", "rusqlite cache", OF_CEILING)
        .ratio("pannier TCP alone", "rusqlite cache", None)
        .ratio("pannier unix alone", "rusqlite cache", None)
        .ratio("pannier unix", "rusqlite lean", None)
        .ratio("pannier unix", "pannier TCP", FASTER);
    Ok(vec![contest.run(bench).await?])
}

/// Nine Gets to one durable Put.
pub(super) async fn mixed(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("mixed", &[], STORED).await?;
    let contest = Contest::new("mixed", "90 % Get, 10 % durable Put, 1 KiB, 16 in flight");
    let contest = four_sides(bench, contest, &pair, 16, STORED, Operation::Mixed).await?;
    Ok(vec![against_floor(contest, None).run(bench).await?])
}

async fn two_sides(
    bench: &Bench,
    mut contest: Contest,
    pair: &Pair,
    in_flight: usize,
    operation: fn(Caller) -> Operation,
) -> Fallible<Contest> {
    for via in [Via::Tcp, Via::Unix] {
        let workers = bench.workers(&pair.pannier, via, in_flight, STORED, operation).await?;
        contest = contest.side(Side::pannier(format!("pannier {}", via.name()), pair.pannier.pid(), workers));
    }
    contest.with_postgres(bench, pair, in_flight, STORED, operation).await
}

/// A writer thread with group commit and so many callers.
fn group_commit(bench: &Bench, label: &str, shape: Shape, sync: Sync, callers: usize) -> Fallible<Side> {
    let mut material = bench.material(VALUE_BYTES, STORED);
    let writer = cache::open(&fresh(bench, label), shape, sync, &mut material, STORED)?.into_writer();
    let worker = |_| Operation::CeilingPut(writer.clone(), bench.material(VALUE_BYTES, STORED));
    Ok(Side::ceiling(label, (0..callers).map(worker).collect()))
}

/// One caller that writes and commits `count` rows by itself.
fn inline(bench: &Bench, label: &str, shape: Shape, count: usize) -> Fallible<Side> {
    let mut material = bench.material(VALUE_BYTES, STORED);
    let inline = cache::open(&fresh(bench, label), shape, Sync::Full, &mut material, STORED)?;
    Ok(Side::ceiling(label, vec![Operation::CeilingBatchPut(inline, material, count)]))
}

/// A folder that no other database of this run has.
fn fresh(bench: &Bench, label: &str) -> std::path::PathBuf {
    bench.folder(&format!("{label} {}", bench.elapsed()))
}
