//! Tracked jobs: made, advanced, given results, read.

use prost::Message as _;

use crate::Fallible;
use crate::bench::Bench;
use crate::contest::{Contest, ON_POSTGRES, ON_SQLITE, Side};
use crate::report::Section;
use crate::sidecar::{Sidecar, Via};
use crate::workers::jobs::{Doing, JobsCaller};

const IN_FLIGHT: usize = 16;
/// Nothing here has a target: fewer rounds.
const ROUNDS: u32 = 2;
const DOINGS: [(&str, Doing); 5] = [
    ("Create of a job, durability full", Doing::Create),
    ("Get of a job", Doing::Get),
    ("ReportProgress, durability relaxed", Doing::Report),
    ("AddResults of 1, durability full", Doing::Add(1)),
    ("AddResults of 100, durability full", Doing::Add(100)),
];

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let pannier = bench.sidecar("jobs", &[]).await?;
    let floor = floor(bench, &pannier).await?;
    let postgres = match bench.launch_on_postgres("jobs", &[]).await? {
        Some(launch) => Some(Sidecar::start(&launch).await?),
        None => None,
    };
    let mut sections = Vec::new();
    for (title, doing) in DOINGS {
        let mut contest = Contest::new("jobs", format!("{title}, {IN_FLIGHT} in flight")).rounds_max(ROUNDS);
        if matches!(doing, Doing::Add(_)) {
            contest = contest.by("results");
        }
        let callers = async |server: &Sidecar| -> Fallible<Vec<JobsCaller>> {
            let channels = bench.channels(server, Via::Tcp, IN_FLIGHT).await?;
            Ok(channels.into_iter().map(|channel| JobsCaller::new(channel, doing)).collect())
        };
        contest = contest
            .side(Side::floor("floor TCP", floor.pid(), callers(&floor).await?))
            .side(Side::pannier(ON_SQLITE, pannier.pid(), callers(&pannier).await?))
            .ratio(ON_SQLITE, "floor TCP", None);
        if let Some(sidecar) = &postgres {
            contest = contest.side(Side::pannier(ON_POSTGRES, sidecar.pid(), callers(sidecar).await?)).ratio(
                ON_POSTGRES,
                ON_SQLITE,
                None,
            );
        }
        sections.push(contest.run(bench).await?);
    }
    Ok(sections)
}

/// A floor that answers as this sidecar does.
async fn floor(bench: &Bench, pannier: &Sidecar) -> Fallible<Sidecar> {
    let mut caller = JobsCaller::new(pannier.connect(Via::Tcp).await?, Doing::Report);
    let created = caller.create().await?;
    let reported = caller.report().await?;
    bench.floor("jobs", &[("Job", created.encode_to_vec()), ("ReportedJob", reported.encode_to_vec())]).await
}
