//! The queue: tasks added, claimed and completed, in all the ways there are.

use prost::Message as _;

use pannier_proto::queue::v1::{ClaimRequest, CompleteRequest, EnqueueRequest};

use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::queue::{CeilingQueue, Shape};
use crate::contest::{Contest, ON_POSTGRES, ON_SQLITE, Side};
use crate::lane::Lane;
use crate::load::Worker;
use crate::queue::{Queue as _, Stock};
use crate::report::{Section, Target};
use crate::sidecar::{Sidecar, Via};
use crate::workers::refused;
use crate::workers::stream::StreamWorker;
use crate::workers::tasks::{Claimer, Enqueuer, Exchanger};

/// Tasks of a batch.
const BATCH: usize = 100;
/// What may be expected at most, in tasks a second: so many are there before the first round.
const SINGLE_EXPECTED: f64 = 20_000.0;
const BATCH_EXPECTED: f64 = 80_000.0;
const CEILING_SINGLE_EXPECTED: f64 = 60_000.0;
const CEILING_BATCH_EXPECTED: f64 = 250_000.0;
/// Where there is no target, because there are many sides.
const ROUNDS: u32 = 2;
const OF_CEILING: Option<Target> = Some(Target::AtLeast(0.6));
const OF_SINGLE: Option<Target> = Some(Target::AtLeast(3.0));

/// The servers of a workload.
struct Servers {
    pannier: Sidecar,
    floor: Sidecar,
    postgres: Option<Sidecar>,
}

async fn servers(bench: &Bench, name: &str) -> Fallible<Servers> {
    let pannier = bench.sidecar(name, &[]).await?;
    let floor = floor(bench, name, &pannier).await?;
    let postgres = match bench.launch_on_postgres(name, &[]).await? {
        Some(launch) => Some(Sidecar::start(&launch).await?),
        None => None,
    };
    Ok(Servers { pannier, floor, postgres })
}

/// A floor that answers as this sidecar does.
async fn floor(bench: &Bench, name: &str, pannier: &Sidecar) -> Fallible<Sidecar> {
    let mut lane = Lane::new(pannier.connect(Via::Tcp).await?, "recorded");
    let request =
        EnqueueRequest { queue: lane.queue.clone(), item: Some(lane.item()), ..EnqueueRequest::default() };
    let enqueued = lane.client.enqueue(request).await.map_err(refused)?.into_inner().enqueued;
    lane.arrive().await?;
    let claiming = Some(lane.claiming(1, std::time::Duration::ZERO));
    let request = ClaimRequest { claiming, ..ClaimRequest::default() };
    let task = lane.client.claim(request).await.map_err(refused)?.into_inner().tasks.pop();
    let task = task.ok_or("a task that was added could not be claimed")?;
    let request = CompleteRequest { task_id: task.id, token: task.token, ..CompleteRequest::default() };
    let settled = lane.client.complete(request).await.map_err(refused)?.into_inner().settled;
    lane.leave().await?;
    let (enqueued, settled) = enqueued.zip(settled).ok_or("the sidecar answered without a task")?;
    let answers = [
        ("Enqueued", enqueued.encode_to_vec()),
        ("Task", task.encode_to_vec()),
        ("Settled", settled.encode_to_vec()),
    ];
    bench.floor(name, &answers).await
}

/// Adding tasks.
pub(super) async fn enqueue(bench: &Bench) -> Fallible<Vec<Section>> {
    let servers = servers(bench, "queue-enqueue").await?;
    let mut sections = Vec::new();
    let cases = [(8, 1), (8, BATCH), (8, 1000), (1, 1), (1, BATCH), (1, 1000), (32, 1), (32, BATCH)];
    for (in_flight, count) in cases {
        sections.push(enqueue_of(bench, &servers, in_flight, count).await?);
    }
    Ok(sections)
}

async fn enqueue_of(bench: &Bench, servers: &Servers, in_flight: usize, count: usize) -> Fallible<Section> {
    let call = if count == 1 { "Enqueue".to_owned() } else { format!("BatchEnqueue of {count}") };
    let queue = format!("enqueue-{in_flight}-{count}");
    let mut contest = Contest::new("queue-enqueue", format!("{call}, {in_flight} in flight"))
        .by("tasks")
        .rounds_max(ROUNDS);
    if count == 1 {
        let lanes = lanes(bench, &servers.floor, Via::Tcp, &queue, in_flight).await?;
        contest = contest.side(Side::floor("floor TCP", servers.floor.pid(), enqueuers(lanes, count))).ratio(
            ON_SQLITE,
            "floor TCP",
            None,
        );
    }
    contest = contest.side(enqueue_side(bench, ON_SQLITE, &servers.pannier, &queue, in_flight, count).await?);
    if let Some(sidecar) = &servers.postgres {
        contest = contest
            .side(enqueue_side(bench, ON_POSTGRES, sidecar, &queue, in_flight, count).await?)
            .ratio(ON_POSTGRES, ON_SQLITE, None);
    }
    let ceiling = CeilingQueue::open(&bench.folder(&format!("rusqlite {queue}")), Shape::Lean)?;
    let workers = enqueuers((0..in_flight).map(|_| ceiling.clone()).collect(), count);
    let side = Side::ceiling("rusqlite lean", workers).supplied(Stock::untouched(ceiling));
    contest.side(side).ratio(ON_SQLITE, "rusqlite lean", None).run(bench).await
}

async fn enqueue_side(
    bench: &Bench,
    label: &str,
    server: &Sidecar,
    queue: &str,
    in_flight: usize,
    count: usize,
) -> Fallible<Side> {
    let lanes = lanes(bench, server, Via::Tcp, queue, in_flight).await?;
    let stock = Stock::untouched(lanes[0].clone());
    Ok(Side::pannier(label, server.pid(), enqueuers(lanes, count)).supplied(stock))
}

fn enqueuers<Q>(queues: Vec<Q>, count: usize) -> Vec<Enqueuer<Q>> {
    queues.into_iter().map(|queue| Enqueuer { queue, count }).collect()
}

/// Ways to one queue, one for each worker, which share its counts.
pub(super) async fn lanes(
    bench: &Bench,
    server: &Sidecar,
    via: Via,
    queue: &str,
    workers: usize,
) -> Fallible<Vec<Lane>> {
    let channels = bench.channels(server, via, workers).await?;
    let first = Lane::new(server.connect(via).await?, queue);
    Ok(channels.into_iter().map(|channel| first.over(channel)).collect())
}

/// The ways to work on tasks.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// So many with a Claim, then done with a Complete or a Settle.
    Calls(usize),
    /// The same with leases, unregistered.
    Leased(usize),
    /// So many done and as many taken with an Exchange.
    Exchange(usize),
    /// By a stream with so much credit.
    Stream(usize),
}

const WAYS: [(&str, Way); 6] = [
    ("single", Way::Calls(1)),
    ("exchange 1", Way::Exchange(1)),
    ("stream 1", Way::Stream(1)),
    ("batch 100", Way::Calls(BATCH)),
    ("exchange 100", Way::Exchange(BATCH)),
    ("stream 100", Way::Stream(BATCH)),
];

impl Way {
    fn worker(self, lane: Lane) -> Box<dyn Worker> {
        match self {
            Self::Calls(count) => Box::new(Claimer { queue: lane, count }),
            Self::Leased(count) => Box::new(Claimer { queue: lane.leased(), count }),
            Self::Exchange(count) => Box::new(Exchanger::new(lane, count)),
            Self::Stream(credit) => Box::new(StreamWorker::new(lane, credit)),
        }
    }

    fn expected(self) -> f64 {
        match self {
            Self::Calls(1) | Self::Leased(1) | Self::Exchange(1) | Self::Stream(1) => SINGLE_EXPECTED,
            _ => BATCH_EXPECTED,
        }
    }
}

/// Claim and complete.
pub(super) async fn work(bench: &Bench) -> Fallible<Vec<Section>> {
    let servers = servers(bench, "queue-work").await?;
    let mut sections = Vec::new();
    for workers in [8, 1, 32] {
        sections.push(work_of(bench, &servers, workers).await?);
    }
    Ok(sections)
}

async fn work_of(bench: &Bench, servers: &Servers, workers: usize) -> Fallible<Section> {
    let is_main = workers == 8;
    let mut contest = Contest::new("queue-work", format!("claim and complete, {workers} workers"))
        .by("tasks")
        .note("single: Claim, then Complete; batch: Claim, then Settle; exchange: both in one call; stream: credit")
        .note("times: of a task's or a batch's calls together; of streams from an outcome to its answer");
    if !is_main {
        contest = contest.rounds_max(ROUNDS);
    }
    for (name, way) in WAYS {
        let side = work_side(bench, "pannier", name, &servers.pannier, Via::Tcp, workers, way).await?;
        contest = contest.side(side);
        if let Some(sidecar) = &servers.postgres {
            let side = work_side(bench, "PostgreSQL", name, sidecar, Via::Tcp, workers, way).await?;
            let (of, to) = (format!("PostgreSQL {name}"), format!("pannier {name}"));
            contest = contest.side(side).ratio(&of, &to, None);
        }
    }
    bench.analyze().await?;
    if is_main {
        contest = more_sides(bench, servers, contest, workers).await?;
    }
    let lean = ceiling(bench, "rusqlite lean", Shape::Lean, workers, 1)?;
    contest = contest.side(lean).ratio("pannier single", "rusqlite lean", OF_CEILING.filter(|_| is_main));
    let target = OF_SINGLE.filter(|_| is_main);
    contest
        .ratio("pannier batch 100", "pannier single", target)
        .ratio("pannier exchange 1", "pannier single", None)
        .ratio("pannier stream 1", "pannier single", None)
        .ratio("pannier exchange 100", "pannier batch 100", None)
        .ratio("pannier stream 100", "pannier batch 100", None)
        .run(bench)
        .await
}

/// What is compared with eight workers only.
async fn more_sides(bench: &Bench, servers: &Servers, contest: Contest, workers: usize) -> Fallible<Contest> {
    let floor = lanes(bench, &servers.floor, Via::Tcp, "floor", workers).await?;
    let floor = floor.into_iter().map(|lane| Way::Leased(1).worker(lane)).collect();
    let pannier = &servers.pannier;
    Ok(contest
        .side(work_side(bench, "pannier", "single, unix", pannier, Via::Unix, workers, Way::Calls(1)).await?)
        .side(
            work_side(bench, "pannier", "single, leases", pannier, Via::Tcp, workers, Way::Leased(1)).await?,
        )
        .side(Side::floor("floor single", servers.floor.pid(), floor))
        .side(ceiling(bench, "rusqlite queue", Shape::Queue, workers, 1)?)
        .side(ceiling(bench, "rusqlite lean, batch 100", Shape::Lean, workers, BATCH)?)
        .ratio("pannier single", "floor single", None)
        .ratio("pannier single, unix", "pannier single", None)
        .ratio("pannier single, leases", "pannier single", None)
        .ratio("pannier single", "rusqlite queue", None)
        .ratio("pannier batch 100", "rusqlite lean, batch 100", None))
}

async fn work_side(
    bench: &Bench,
    what: &str,
    name: &str,
    server: &Sidecar,
    via: Via,
    workers: usize,
    way: Way,
) -> Fallible<Side> {
    let queue = format!("{workers}-{}", name.replace([' ', ','], "-"));
    let lanes = lanes(bench, server, via, &queue, workers).await?;
    let stock = Stock::new(lanes[0].clone(), way.expected()).begun().await?;
    let workers: Vec<_> = lanes.into_iter().map(|lane| way.worker(lane)).collect();
    Ok(Side::pannier(format!("{what} {name}"), server.pid(), workers).supplied(stock))
}

fn ceiling(bench: &Bench, label: &str, shape: Shape, workers: usize, count: usize) -> Fallible<Side> {
    let folder = bench.folder(&format!("{label} {workers}"));
    let queue = CeilingQueue::open(&folder, shape)?;
    let claimers =
        (1..=workers as i64).map(|worker| Claimer { queue: queue.of_worker(worker), count }).collect();
    let expected = if count == 1 { CEILING_SINGLE_EXPECTED } else { CEILING_BATCH_EXPECTED };
    Ok(Side::ceiling(label, claimers).supplied(Stock::new(queue, expected)))
}
