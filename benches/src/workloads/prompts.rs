//! The history of prompts: saved, imported, read, listed, counted, searched, beside histories of different length.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use tokio::task::JoinSet;

use super::size::{MEGABYTE, MILLION, size_of, tables};
use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::prompts::{self as ceiling, Shape};
use crate::contest::{Contest, Quantile, Side};
use crate::files::Shelf;
use crate::prompts::{BACKENDS, Entry, Sought};
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Launch, Sidecar, Via};
use crate::workers::prompts::{Asked, CeilingSaver, History, Importer, Prompter, Reader, Saver};

/// Prompts of one call of the fill, and calls at once.
const FILL: usize = 500;
const FILLERS: usize = 2;
/// Prompts of one message of an import.
const BATCH: usize = 500;
/// Where there is no target.
const ROUNDS: u32 = 2;
const FLOOR: &str = "floor TCP";
const CEILINGS: [(&str, Shape); 2] = [("rusqlite searched", Shape::Searched), ("rusqlite lean", Shape::Lean)];

/// How many prompts there are.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) name: &'static str,
    pub(super) prompts: u64,
}

const ORDINARY: [Size; 1] = [Size { name: "10k", prompts: 10_000 }];
const LARGE: [Size; 2] = [Size { name: "100k", prompts: 100_000 }, Size { name: "1M", prompts: MILLION }];
/// Up to which the targets are meant.
const TARGETED: u64 = 100_000;

/// A sidecar with a history.
pub(super) struct Server {
    pub(super) sidecar: Sidecar,
    pub(super) history: Arc<History>,
    /// Begins its sides' labels.
    label: String,
    /// On SQLite, and as long as the targets are meant.
    has_targets: bool,
}

/// All of them, the shortest on SQLite first, and a floor that answers as that one does.
struct Servers {
    floor: Server,
    sidecars: Vec<Server>,
    stored: &'static str,
}

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let (servers, mut sections) = servers(bench).await?;
    sections.push(prompt_by_id(bench, &servers, 1).await?);
    sections.push(prompt_by_id(bench, &servers, 16).await?);
    let lists = [("", Asked::Recent), (" confident", Asked::Confident)];
    let contest = Contest::new("prompts", "List of the newest 100 of a backend, without bodies, 1 in flight")
        .note("confident: with a confidence of 0.8 at least, which one in five has and no index");
    sections.push(reads(bench, &servers, contest, &lists, 2.0).await?);
    let statistics = [("", Asked::Stats), (" 30 days", Asked::MonthStats)];
    let contest = Contest::new("prompts", "Stats, 1 in flight")
        .note("of all, without groups; 30 days: of the last third, by backend, beginning within an hour");
    sections.push(reads(bench, &servers, contest, &statistics, 5.0).await?);
    sections.push(searches(bench, &servers).await?);
    for in_flight in [1, 16] {
        sections.push(saves(bench, &servers, in_flight).await?);
    }
    sections.push(imports(bench, &servers).await?);
    Ok(sections)
}

async fn servers(bench: &Bench) -> Fallible<(Servers, Vec<Section>)> {
    let start_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let sizes = if bench.arguments.large { &LARGE[..] } else { &ORDINARY[..] };
    let (mut sidecars, mut sections) = (Vec::new(), Vec::new());
    for &size in sizes {
        let (server, section) = on_sqlite(bench, size, start_us).await?;
        sidecars.push(server);
        sections.push(section);
    }
    for &size in sizes {
        if let Some(launch) = bench.launch_on_postgres(&format!("prompts-{}", size.name), &[]).await? {
            sidecars.push(filled(bench, "PostgreSQL", &launch, size, start_us).await?);
        }
    }
    bench.analyze().await?;
    let first = &sidecars[0];
    let history = Arc::new(History::like(&first.history)?);
    let sidecar = floor(bench, first).await?;
    let floor = Server { sidecar, history, label: FLOOR.to_owned(), has_targets: false };
    let stored = if bench.arguments.large { "100k or 1M" } else { sizes[0].name };
    Ok((Servers { floor, sidecars, stored }, sections))
}

/// A sidecar on SQLite, and what its prompts take on disk.
async fn on_sqlite(bench: &Bench, size: Size, start_us: i64) -> Fallible<(Server, Section)> {
    let data = bench.folder(&format!("prompts-{}", size.name));
    let launch = bench.launch(&data, &[]);
    Sidecar::start(&launch).await?.stop().await?;
    let empty = size_of(&data)?;
    let Server { sidecar, history, label, has_targets } =
        filled(bench, "pannier", &launch, size, start_us).await?;
    sidecar.stop().await?;
    let bytes = size_of(&data)?;
    let title = format!("{} prompts on SQLite, what they take on disk", size.name);
    let mut section = Section { workload: "prompts".to_owned(), title, ..Section::default() };
    let each = (bytes - empty) as f64 / size.prompts as f64;
    let mut of_prompt = Finding::number("a prompt, indexes included", each, "bytes", None);
    of_prompt.note = format!("{:.1} MB in all", bytes as f64 / MEGABYTE);
    let texts = text_bytes(size.prompts) as f64 / size.prompts as f64;
    let mut of_texts = Finding::number("to the texts that were saved", each / texts, "", None);
    of_texts.note = format!("{texts:.0} bytes of texts each");
    section.findings.extend([of_prompt, of_texts]);
    section.findings.extend(tables(&data, size.prompts)?);
    section.notes.push("the size of all files after the sidecar has ended".to_owned());
    let sidecar = Sidecar::start(&launch).await?;
    Ok((Server { sidecar, history, label, has_targets }, section))
}

fn text_bytes(prompts: u64) -> usize {
    let bytes = |entry: Entry| {
        entry.idea().len() + entry.context().len() + entry.improved_prompt().len() + entry.reasoning().len()
    };
    (0..prompts).map(Entry).map(bytes).sum()
}

/// A sidecar with so many prompts, saved in batches, with progress.
pub(super) async fn filled(
    bench: &Bench,
    name: &str,
    launch: &Launch,
    size: Size,
    start_us: i64,
) -> Fallible<Server> {
    let sidecar = Sidecar::start(launch).await?;
    let history = Arc::new(History::new(start_us));
    let prompter = Prompter::new(sidecar.connect(Via::Tcp).await?, &history);
    let (mut left, mut running) = (size.prompts as usize, JoinSet::new());
    let mut ids = vec![0; left];
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < FILLERS {
            let (batch, mut prompter) = (left.min(FILL), prompter.clone());
            running.spawn(async move { prompter.save_all(batch).await });
            left -= batch;
        }
        if let Some(ended) = running.join_next().await {
            let (numbers, given) = ended??;
            ids[numbers.start as usize..numbers.end as usize].copy_from_slice(&given);
        }
        bench.progress(&format!("{name}: {left} of {} prompts left to save", size.prompts));
    }
    history.set_filled(ids)?;
    let has_targets = name == "pannier" && size.prompts <= TARGETED;
    Ok(Server { sidecar, history, label: format!("{name} {}", size.name), has_targets })
}

/// A floor that answers as this sidecar does.
async fn floor(bench: &Bench, server: &Server) -> Fallible<Sidecar> {
    let prompter = Prompter::new(server.sidecar.connect(Via::Tcp).await?, &server.history);
    let mut reader = reader(bench, prompter, Asked::Recent);
    let page = reader.list(BACKENDS[0]).await?.encode_to_vec();
    reader.asked = Asked::Stats;
    let stats = reader.stats().await?.encode_to_vec();
    let prompt = reader.get().await?.encode_to_vec();
    // As long as the sidecar's answer: the last number that it has given.
    let prompt_id = server.history.last_id()?;
    let saved = pannier_proto::prompts::v1::SaveResponse { prompt_id, existed: false }.encode_to_vec();
    let answers = [("Prompt", prompt), ("PromptPage", page), ("PromptStats", stats), ("SavedPrompt", saved)];
    bench.floor("prompts", &answers).await
}

fn reader(bench: &Bench, prompter: Prompter, asked: Asked) -> Reader {
    Reader { prompter, material: bench.material(0, 1), asked }
}

impl Server {
    /// One way for each call in flight.
    async fn ways(&self, bench: &Bench, in_flight: usize) -> Fallible<Vec<Prompter>> {
        let channels = bench.channels(&self.sidecar, Via::Tcp, in_flight).await?;
        Ok(channels.into_iter().map(|channel| Prompter::new(channel, &self.history)).collect())
    }

    async fn readers(&self, bench: &Bench, asked: Asked, in_flight: usize) -> Fallible<Vec<Reader>> {
        let ways = self.ways(bench, in_flight).await?;
        Ok(ways.into_iter().map(|way| reader(bench, way, asked)).collect())
    }

    fn pid(&self) -> u32 {
        self.sidecar.pid()
    }
}

async fn prompt_by_id(bench: &Bench, servers: &Servers, in_flight: usize) -> Fallible<Section> {
    let mut contest = Contest::new("prompts", format!("Get of a prompt by id, {in_flight} in flight"));
    if in_flight == 1 {
        return reads(bench, servers, contest, &[("", Asked::Prompt)], 0.5).await;
    }
    contest = contest.rounds_max(ROUNDS);
    let floor = servers.floor.readers(bench, Asked::Prompt, in_flight).await?;
    contest = contest.side(Side::floor(FLOOR, servers.floor.pid(), floor));
    for server in &servers.sidecars {
        let readers = server.readers(bench, Asked::Prompt, in_flight).await?;
        contest = contest.side(Side::pannier(&server.label, server.pid(), readers));
        contest = contest.ratio(&server.label, FLOOR, None);
    }
    contest.run(bench).await
}

/// One call after the other of each kind; the first kind is measured on the floor as well, and has to answer within so many milliseconds.
async fn reads(
    bench: &Bench,
    servers: &Servers,
    mut contest: Contest,
    kinds: &[(&str, Asked)],
    target_ms: f64,
) -> Fallible<Section> {
    let floor = servers.floor.readers(bench, kinds[0].1, 1).await?;
    contest = contest.side(Side::floor(FLOOR, servers.floor.pid(), floor));
    for server in &servers.sidecars {
        for (place, &(kind, asked)) in kinds.iter().enumerate() {
            let label = format!("{}{kind}", server.label);
            let readers = server.readers(bench, asked, 1).await?;
            contest = contest.side(Side::pannier(&label, server.pid(), readers));
            if place == 0 {
                contest = contest.ratio(&label, FLOOR, None);
            }
            let target = (place == 0 && server.has_targets).then_some(Target::Below(target_ms));
            contest = contest.latency(&label, Quantile::P95, target);
        }
    }
    contest.run(bench).await
}

async fn searches(bench: &Bench, servers: &Servers) -> Fallible<Section> {
    let mut contest = Contest::new("prompts", "Search, the best 20 with snippets, without bodies, 1 in flight")
        .rounds_max(ROUNDS)
        .note("one prompt in 1,000 has the rare word, six in ten the common one, one in 200 the phrase, one in 100 a word with the prefix");
    for server in &servers.sidecars {
        for sought in Sought::ALL {
            let label = format!("{} {}", server.label, sought.name());
            let readers = server.readers(bench, Asked::Search(sought), 1).await?;
            contest = contest.side(Side::pannier(&label, server.pid(), readers));
            contest = contest.latency(&label, Quantile::P95, None);
        }
    }
    contest.run(bench).await
}

async fn saves(bench: &Bench, servers: &Servers, in_flight: usize) -> Fallible<Section> {
    let title = format!(
        "Save of a prompt of 2 KiB beside {}, durability full, {in_flight} in flight",
        servers.stored
    );
    let mut contest = Contest::new("prompts", title).note(
        "rusqlite lean: the rows and the lists' indexes; searched: a full-text index of the three texts besides; neither has statistics",
    );
    let savers = |ways: Vec<Prompter>| ways.into_iter().map(Saver::new).collect();
    let floor: Vec<Saver> = savers(servers.floor.ways(bench, in_flight).await?);
    contest = contest.side(Side::floor(FLOOR, servers.floor.pid(), floor));
    for server in &servers.sidecars {
        let ways = server.ways(bench, in_flight).await?;
        let supply = ways[0].clone();
        contest = contest.side(Side::pannier(&server.label, server.pid(), savers(ways)).supplied(supply));
    }
    against(with_ceilings(bench, contest, in_flight, 1)?, servers, true).run(bench).await
}

async fn imports(bench: &Bench, servers: &Servers) -> Fallible<Section> {
    let title = format!("Import of prompts of 2 KiB beside {}, durability full, 1 stream", servers.stored);
    let mut contest = Contest::new("prompts", title)
        .by("prompts")
        .rounds_max(ROUNDS)
        .stretched(3.0)
        .note(format!(
            "messages of {BATCH} prompts with import keys, each sent before the one before it is acknowledged; times: from a message to \
             its acknowledgement"
        ));
    for server in &servers.sidecars {
        let ways = server.ways(bench, 1).await?;
        let supply = ways[0].clone();
        let importers = ways.into_iter().map(|way| Importer::new(way, BATCH)).collect();
        contest = contest.side(Side::pannier(&server.label, server.pid(), importers).supplied(supply));
    }
    against(with_ceilings(bench, contest, 1, BATCH)?, servers, false).run(bench).await
}

/// The same rows on bare rusqlite, in databases of this contest alone.
fn with_ceilings(bench: &Bench, mut contest: Contest, callers: usize, count: usize) -> Fallible<Contest> {
    for (label, shape) in CEILINGS {
        let writer =
            ceiling::open(&bench.folder(&format!("{label} {}", bench.elapsed())), shape)?.into_writer();
        let shelf = Arc::new(Shelf::default());
        let saver = |_| CeilingSaver { writer: writer.clone(), shelf: Arc::clone(&shelf), count };
        contest = contest.side(Side::ceiling(label, (0..callers).map(saver).collect()));
    }
    Ok(contest)
}

/// The sidecars to the floor and to bare rusqlite.
fn against(mut contest: Contest, servers: &Servers, has_floor: bool) -> Contest {
    for server in &servers.sidecars {
        if has_floor {
            contest = contest.ratio(&server.label, FLOOR, None);
        }
        for (ceiling, _) in CEILINGS {
            contest = contest.ratio(&server.label, ceiling, None);
        }
    }
    contest
}
