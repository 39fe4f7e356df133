//! Claims from queues of different length, and beside millions of finished tasks: they should all be as fast.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio::task::JoinSet;

use super::queue::lanes;
use crate::bench::{Bench, URL};
use crate::contest::{Contest, Quantile, Side, Supply};
use crate::lane::Lane;
use crate::queue::{Queue as _, agree_beside};
use crate::report::{Section, Target};
use crate::sidecar::{Launch, Sidecar, Via};
use crate::workers::tasks::Steady;
use crate::{Fallible, postgres};

const WORKERS: usize = 8;
const SHORT: u64 = 1_000;
const QUEUE: &str = "depth";
/// Each worker adds as many as it has taken after so many.
const REFILL: usize = 50;
/// Tasks of one call of the fill, and calls at once.
const FILL: usize = 5_000;
const FILLERS: usize = 2;
const FINISHED: u64 = 5_000_000;
const FLAT: Option<Target> = Some(Target::AtLeast(0.8));
const CLAIM_MS: Option<Target> = Some(Target::Below(2.0));

/// As the sidecar leaves them behind: of the first type, completed one after the other up to now, never claimed twice. Standard SQL.
const ADD_FINISHED: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
    INSERT INTO queue_tasks (type_id, state, priority, token, failure_count, loss_count, is_cancelling, order_key, claim_time,
        finish_time, worker_id, parameters)
    SELECT y.id, 4, 5, 1, 0, 0, FALSE, {now} - 6000000 - ({count} - i) * 100, {now} - 5000000 - ({count} - i) * 100,
        {now} - 4000000 - ({count} - i) * 100, 1, '{\"video\":\"v00000000000\",\"part\":1}'
    FROM n, (SELECT min(id) AS id FROM queue_types) y";
const COUNT_FINISHED: &str =
    "INSERT INTO queue_counts (type_id, queued, scheduled, claimed, running, completed, failed, cancelled, blocked)
    SELECT min(id), 0, 0, 0, 0, {count}, 0, 0, 0 FROM queue_types WHERE TRUE
    ON CONFLICT (type_id) DO UPDATE SET completed = queue_counts.completed + excluded.completed";

/// A queue to measure: how long, beside how many finished tasks.
#[derive(Clone, Copy)]
struct Depth {
    name: &'static str,
    queued: u64,
    finished: u64,
}

const DEPTHS: [Depth; 2] =
    [Depth { name: "1k", queued: SHORT, finished: 0 }, Depth { name: "100k", queued: 100_000, finished: 0 }];
const LARGE: [Depth; 2] = [
    Depth { name: "1M", queued: 1_000_000, finished: 0 },
    Depth { name: "1k beside 5M finished", queued: SHORT, finished: FINISHED },
];

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let mut depths = DEPTHS.to_vec();
    if bench.arguments.large {
        depths.extend(LARGE);
    }
    let title = format!("claim and complete, {WORKERS} workers, one task a call, by the length of the queue");
    let mut contest = Contest::new("queue-depth", title).by("tasks").note("times: of the Claim alone").note(
        format!("each worker adds {REFILL} tasks after it has taken {REFILL}, so the queue keeps its length"),
    );
    if bench.arguments.large {
        contest = contest.note(format!(
            "the {FINISHED} finished tasks were written into the database while the sidecar was stopped, by one INSERT"
        ));
    }
    let mut servers = Vec::new();
    for depth in depths {
        for (what, launch) in launches(bench, depth).await? {
            let server = with_finished(bench, &launch, depth, what).await?;
            let label = format!("{what} {}", depth.name);
            contest = contest.side(side(bench, &label, &server, depth).await?);
            let is_long = depth.queued > SHORT || depth.finished > 0;
            if is_long {
                contest = contest.ratio(&label, &format!("{what} 1k"), FLAT.filter(|_| what == "pannier"));
            }
            contest = contest.latency(&label, Quantile::P95, CLAIM_MS.filter(|_| what == "pannier"));
            servers.push(server);
        }
    }
    bench.analyze().await?;
    Ok(vec![contest.run(bench).await?])
}

fn folder(depth: Depth) -> String {
    format!("queue-depth {}", depth.name)
}

async fn launches(bench: &Bench, depth: Depth) -> Fallible<Vec<(&'static str, Launch)>> {
    let name = folder(depth);
    let mut launches = vec![("pannier", bench.launch(&bench.folder(&name), &[]))];
    launches.extend(bench.launch_on_postgres(&name, &[]).await?.map(|launch| ("PostgreSQL", launch)));
    Ok(launches)
}

/// A sidecar with so many finished tasks.
async fn with_finished(bench: &Bench, launch: &Launch, depth: Depth, what: &str) -> Fallible<Sidecar> {
    let server = Sidecar::start(launch).await?;
    if depth.finished == 0 {
        return Ok(server);
    }
    // One task makes the queue and the type that the finished ones are of; it is completed, as they are.
    let mut lane = Lane::new(server.connect(Via::Tcp).await?, QUEUE);
    lane.enqueue(1).await?;
    let held = lane.claim(1).await?;
    lane.complete(&held).await?;
    server.stop().await?;
    bench.progress(&format!("{what}: writing {} finished tasks", depth.finished));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let fit = |sql: &str| {
        sql.replace("{count}", &(depth.finished - 1).to_string()).replace("{now}", &now.to_string())
    };
    let script = format!("BEGIN; {}; {}; COMMIT;", fit(ADD_FINISHED), fit(COUNT_FINISHED));
    match launch.variables.iter().find(|(name, _)| *name == URL) {
        Some((_, url)) => postgres::run_at(url, script).await?,
        None => Connection::open(bench.folder(&folder(depth)).join("pannier.db"))?.execute_batch(&script)?,
    }
    Sidecar::start(launch).await
}

async fn side(bench: &Bench, label: &str, server: &Sidecar, depth: Depth) -> Fallible<Side> {
    let lanes = lanes(bench, server, Via::Tcp, QUEUE, WORKERS).await?;
    fill(bench, label, &lanes, depth.queued).await?;
    let kept = Kept { lane: lanes[0].clone(), finished: depth.finished };
    let workers = lanes.into_iter().map(|lane| Steady::new(lane, REFILL)).collect();
    Ok(Side::pannier(label, server.pid(), workers).supplied(kept))
}

/// Adds so many tasks, with progress.
pub(super) async fn fill(bench: &Bench, label: &str, lanes: &[Lane], count: u64) -> Fallible<()> {
    let (mut left, mut running) = (count as usize, JoinSet::new());
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < FILLERS {
            let batch = left.min(FILL);
            let mut lane = lanes[running.len() % lanes.len()].clone();
            running.spawn(async move { lane.enqueue(batch).await });
            left -= batch;
        }
        if let Some(ended) = running.join_next().await {
            ended??;
        }
        bench.progress(&format!("{label}: {left} of {count} tasks left to add"));
    }
    Ok(())
}

/// Nothing is used up; the counts must agree, with those that were finished before.
struct Kept {
    lane: Lane,
    finished: u64,
}

#[tonic::async_trait]
impl Supply for Kept {
    async fn prepare(&mut self, _seconds: f64) -> Fallible<()> {
        Ok(())
    }

    async fn check(&mut self) -> Fallible<()> {
        agree_beside(&mut self.lane, self.finished).await
    }
}
