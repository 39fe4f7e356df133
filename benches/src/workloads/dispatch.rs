//! From the Enqueue of a task to a worker that waits.

use std::time::Duration;

use super::queue::lanes;
use crate::Fallible;
use crate::bench::Bench;
use crate::contest::{Contest, Quantile, Side};
use crate::lane::Lane;
use crate::load::Worker;
use crate::queue::Stock;
use crate::report::{Section, Target};
use crate::sidecar::{Sidecar, Via};
use crate::workers::dispatch::{Pacer, WaitingClaimer, WaitingStream};

/// A task every so often: workers wait most of the time.
const PACE: Duration = Duration::from_millis(4);
const WAITING: usize = 8;
/// Fewer and longer than others, so that each has enough tasks for a p99.
const ROUNDS: u32 = 3;
const IN_TIME: Option<Target> = Some(Target::Below(5.0));

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let pannier = bench.sidecar("queue-dispatch", &[]).await?;
    let postgres = match bench.launch_on_postgres("queue-dispatch", &[]).await? {
        Some(launch) => Some(Sidecar::start(&launch).await?),
        None => None,
    };
    let title = format!("from Enqueue to a worker that waits, a task every {} ms", PACE.as_millis());
    let mut contest = Contest::new("queue-dispatch", title)
        .by("tasks")
        .stretched(3.0)
        .rounds_max(ROUNDS)
        .note("times: from the start of the Enqueue, which is on disk before the task is given out, to the task's arrival");
    let servers = [("pannier", Some(&pannier), IN_TIME), ("PostgreSQL", postgres.as_ref(), None)];
    for (name, server, target) in servers {
        let Some(server) = server else { continue };
        for (way, waiting) in [("claims", WAITING), ("streams", WAITING), ("claims", 1), ("streams", 1)] {
            let label = format!("{name} {waiting} {way}");
            contest = contest.side(side(bench, &label, server, way, waiting).await?);
            for quantile in [Quantile::P50, Quantile::P95] {
                contest = contest.latency(&label, quantile, None);
            }
            contest = contest.latency(&label, Quantile::P99, target);
        }
    }
    Ok(vec![contest.run(bench).await?])
}

async fn side(bench: &Bench, label: &str, server: &Sidecar, way: &str, waiting: usize) -> Fallible<Side> {
    let queue = format!("{way}-{waiting}");
    let mut lanes = lanes(bench, server, Via::Tcp, &queue, waiting + 1).await?;
    let pacer = lanes.split_off(waiting);
    let receiver = |lane: Lane| -> Box<dyn Worker> {
        if way == "claims" { Box::new(WaitingClaimer { lane }) } else { Box::new(WaitingStream::new(lane)) }
    };
    let stock = Stock::untouched(pacer[0].clone());
    let mut workers: Vec<_> = lanes.into_iter().map(receiver).collect();
    workers.extend(pacer.into_iter().map(|lane| Box::new(Pacer::new(lane, PACE)) as Box<dyn Worker>));
    Ok(Side::pannier(label, server.pid(), workers).supplied(stock))
}
