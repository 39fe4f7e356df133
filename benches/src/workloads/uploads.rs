//! Uploads among very many files: what is known of hashes, registrations, what a hash takes on disk.

use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use tokio::task::JoinSet;

use super::size::{MEGABYTE, MILLION, SAMPLE, size_of, tables};
use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::{Inline, uploads::Files};
use crate::contest::{Contest, ON_POSTGRES, ON_SQLITE, Quantile, Side, Supply as _};
use crate::files::{File, Shelf};
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Launch, Sidecar, Via};
use crate::workers::uploads::{
    Asked, CeilingChecker, CeilingRegistrar, CeilingShelf, Checker, Pick, Registrar, Uploader,
};

/// Hashes or files of a batch.
const BATCH: usize = 100;
/// Files of one call of the fill, and calls at once.
const FILL: usize = 5_000;
const FILLERS: usize = 2;
/// Where there is no target.
const ROUNDS: u32 = 2;
const CHECK_MS: Option<Target> = Some(Target::Below(2.0));
const CEILING: &str = "rusqlite lean";
/// The first one everywhere, all where the latency counts.
const ASKING: [(&str, Asked); 3] =
    [("TCP", Asked::Records), ("states", Asked::States), ("unknown", Asked::Unknown)];

/// A server and the files that it has.
struct Server {
    sidecar: Sidecar,
    shelf: Arc<Shelf>,
}

/// The servers of the workload, each but the floor with as many files.
struct Servers {
    pannier: Server,
    floor: Server,
    postgres: Option<Server>,
    /// The folder of the ceiling's database.
    ceiling: std::path::PathBuf,
    registering: CeilingShelf,
    stored: u64,
}

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let stored = if bench.arguments.large { MILLION } else { SAMPLE };
    let (servers, size) = servers(bench, stored).await?;
    let mut sections = vec![size];
    for (in_flight, count) in [(1, BATCH), (8, BATCH), (1, 1), (16, 1)] {
        sections.push(check(bench, &servers, in_flight, count).await?);
    }
    for (in_flight, count) in [(1, 1), (8, 1), (16, 1), (8, BATCH)] {
        sections.push(register(bench, &servers, in_flight, count).await?);
    }
    Ok(sections)
}

async fn servers(bench: &Bench, stored: u64) -> Fallible<(Servers, Section)> {
    let data = bench.folder("uploads");
    let launch = bench.launch(&data, &[]);
    Sidecar::start(&launch).await?.stop().await?;
    let empty = size_of(&data)?;
    let full = filled(bench, "SQLite", &launch, stored).await?;
    full.sidecar.stop().await?;
    let size = size(&data, empty, stored)?;

    let pannier = Server { sidecar: Sidecar::start(&launch).await?, shelf: full.shelf };
    let floor = Server { sidecar: floor(bench, &pannier).await?, shelf: Arc::default() };
    let postgres = match bench.launch_on_postgres("uploads", &[]).await? {
        Some(launch) => Some(filled(bench, "PostgreSQL", &launch, stored).await?),
        None => None,
    };
    bench.analyze().await?;
    let ceiling = bench.folder("uploads-ceiling");
    let registering = filled_ceiling(bench, &ceiling, stored)?;
    Ok((Servers { pannier, floor, postgres, ceiling, registering, stored }, size))
}

/// A sidecar with so many files, registered in one session, with progress.
async fn filled(bench: &Bench, what: &str, launch: &Launch, stored: u64) -> Fallible<Server> {
    let server = Server { sidecar: Sidecar::start(launch).await?, shelf: Arc::default() };
    let mut uploader = server.uploader().await?;
    let (mut left, mut running) = (stored as usize, JoinSet::new());
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < FILLERS {
            let (batch, mut uploader) = (left.min(FILL), uploader.clone());
            running.spawn(async move { uploader.register(batch).await });
            left -= batch;
        }
        if let Some(ended) = running.join_next().await {
            ended??;
        }
        bench.progress(&format!("{what}: {left} of {stored} files left to register"));
    }
    uploader.check().await?;
    Ok(server)
}

fn filled_ceiling(bench: &Bench, folder: &Path, stored: u64) -> Fallible<CeilingShelf> {
    let mut inline = Inline::files(folder)?;
    let shelf = Arc::new(Shelf::default());
    let files = shelf.take(stored as usize);
    inline.fill(files, |done| {
        bench.progress(&format!("{CEILING}: {done} of {stored} files are registered"));
    })?;
    shelf.add(stored as usize);
    Ok(CeilingShelf { writer: inline.into_writer(), shelf })
}

/// A floor that answers as this sidecar does.
async fn floor(bench: &Bench, pannier: &Server) -> Fallible<Sidecar> {
    let mut uploader = pannier.uploader().await?;
    let (file, registered) = uploader.register_one().await?;
    let checked = uploader.check_files(&[file], false).await?.pop();
    let checked = checked.ok_or("CheckFiles answered nothing")?.encode_to_vec();
    bench.floor("uploads", &[("CheckedFile", checked), ("RegisteredFile", registered.encode_to_vec())]).await
}

impl Server {
    /// A way to it, with a session of its own.
    async fn uploader(&self) -> Fallible<Uploader> {
        let mut uploader = Uploader::new(self.sidecar.connect(Via::Tcp).await?, &self.shelf);
        uploader.open_session().await?;
        Ok(uploader)
    }

    /// One way for each call in flight, over the bench's connections, to the session of this one.
    async fn ways(&self, bench: &Bench, first: &Uploader, in_flight: usize) -> Fallible<Vec<Uploader>> {
        let channels = bench.channels(&self.sidecar, Via::Tcp, in_flight).await?;
        Ok(channels.into_iter().map(|channel| first.over(channel)).collect())
    }

    /// The floor has no sessions.
    async fn ways_to_floor(&self, bench: &Bench, in_flight: usize) -> Fallible<Vec<Uploader>> {
        let first = Uploader::new(self.sidecar.connect(Via::Tcp).await?, &self.shelf);
        self.ways(bench, &first, in_flight).await
    }
}

impl Servers {
    /// The sidecars, each with the label that its sides begin with.
    fn sidecars(&self) -> impl Iterator<Item = (&'static str, &Server)> {
        let postgres = self.postgres.as_ref().map(|server| ("PostgreSQL", server));
        std::iter::once(("pannier", &self.pannier)).chain(postgres)
    }

    fn pick(&self, bench: &Bench, count: usize) -> Pick {
        Pick { material: bench.material(0, self.stored as usize), stored: self.stored, count }
    }

    fn checkers(&self, bench: &Bench, ways: Vec<Uploader>, asked: Asked, count: usize) -> Vec<Checker> {
        let checker = |uploader| Checker { uploader, pick: self.pick(bench, count), asked };
        ways.into_iter().map(checker).collect()
    }
}

/// What is known of one hash, or of many, all of which are there unless the side says otherwise.
async fn check(bench: &Bench, servers: &Servers, in_flight: usize, count: usize) -> Fallible<Section> {
    let is_main = (in_flight, count) == (1, BATCH);
    let title = format!("CheckFiles of {count} among {}, {in_flight} in flight", servers.stored);
    let mut contest = Contest::new("uploads", title).by("hashes");
    if is_main {
        contest = contest.ratio("pannier states", ON_SQLITE, None);
    } else {
        contest = contest.rounds_max(ROUNDS);
    }
    let asking = if is_main { &ASKING[..] } else { &ASKING[..1] };
    let floor = servers.floor.ways_to_floor(bench, in_flight).await?;
    let floor = servers.checkers(bench, floor, Asked::Records, count);
    contest = contest.side(Side::floor("floor TCP", servers.floor.sidecar.pid(), floor));
    for (name, server) in servers.sidecars() {
        for &(way, asked) in asking {
            let first = server.uploader().await?;
            let ways = server.ways(bench, &first, in_flight).await?;
            let checkers = servers.checkers(bench, ways, asked, count);
            let label = format!("{name} {way}");
            let side = Side::pannier(&label, server.sidecar.pid(), checkers).supplied(first);
            contest = contest.side(side);
            if is_main {
                contest = contest.latency(&label, Quantile::P95, CHECK_MS.filter(|_| name == "pannier"));
            }
        }
    }
    // One thread: what stands in the operation does not wait for others.
    let ceiling = CeilingChecker {
        inline: Inline::<Files>::files(&servers.ceiling)?,
        pick: servers.pick(bench, count),
    };
    contest = contest
        .side(Side::ceiling(CEILING, vec![ceiling]))
        .ratio(ON_SQLITE, "floor TCP", None)
        .ratio(ON_SQLITE, CEILING, None)
        .note("TCP: all of the files' fields; states: states_only; unknown: hashes that are not there; the ceiling has 1 in flight");
    if servers.postgres.is_some() {
        contest = contest.ratio(ON_POSTGRES, ON_SQLITE, None);
    }
    contest.run(bench).await
}

/// Files that nobody has registered, all of a side into one session.
async fn register(bench: &Bench, servers: &Servers, in_flight: usize, count: usize) -> Fallible<Section> {
    let call = if count == 1 { "RegisterFile".to_owned() } else { format!("BatchRegisterFiles of {count}") };
    let title = format!("{call} beside {}, {in_flight} in flight", servers.stored);
    let mut contest = Contest::new("uploads", title)
        .by("files")
        .rounds_max(ROUNDS)
        .note("durability full; one session, which every call advances");
    let registrars = |ways: Vec<Uploader>| ways.into_iter().map(|way| Registrar::new(way, count)).collect();
    let floor: Vec<Registrar> = registrars(servers.floor.ways_to_floor(bench, in_flight).await?);
    contest = contest.side(Side::floor("floor TCP", servers.floor.sidecar.pid(), floor));
    for (name, server) in servers.sidecars() {
        let first = server.uploader().await?;
        let ways = registrars(server.ways(bench, &first, in_flight).await?);
        let side = Side::pannier(format!("{name} TCP"), server.sidecar.pid(), ways).supplied(first);
        contest = contest.side(side);
    }
    let ceiling = &servers.registering;
    let worker = |_| CeilingRegistrar { ceiling: ceiling.clone(), count };
    let side = Side::ceiling(CEILING, (0..in_flight).map(worker).collect()).supplied(ceiling.clone());
    contest = contest.side(side).ratio(ON_SQLITE, "floor TCP", None).ratio(ON_SQLITE, CEILING, None);
    if servers.postgres.is_some() {
        contest = contest.ratio(ON_POSTGRES, ON_SQLITE, None);
    }
    contest.run(bench).await
}

/// What the files take on disk, after the sidecar has ended.
fn size(data: &Path, empty: u64, stored: u64) -> Fallible<Section> {
    let title = format!("{stored} hashes on SQLite, what they take on disk");
    let mut section = Section { workload: "uploads".to_owned(), title, ..Section::default() };
    let size = size_of(data)?;
    let each = (size - empty) as f64 / stored as f64;
    let ideal = File(0).ideal_bytes() as f64;
    let mut of_hash = Finding::number("a hash, indexes included", each, "bytes", None);
    of_hash.note = format!(
        "{:.1} MB, less {:.2} MB of an empty database",
        size as f64 / MEGABYTE,
        empty as f64 / MEGABYTE
    );
    let mut of_ideal = Finding::number("ideal", ideal, "bytes", None);
    let file = File(0);
    of_ideal.note = format!(
        "32 of the hash, {} of the path, {} of the service's id, 8 of the size, 8 of the time",
        file.path().len(),
        file.service_file_id().len()
    );
    section.findings = vec![of_hash, of_ideal, Finding::number("to the ideal", each / ideal, "", None)];
    section.findings.extend(tables(data, stored)?);
    section.notes.push(
        "the size of all files after the sidecar has ended; service, source, session and MIME type are shared by all and no part of the \
         ideal"
            .to_owned(),
    );
    Ok(section)
}
