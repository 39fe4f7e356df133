//! Documents in collections: put, read, found by what they hold, followed and synchronised; what they take on disk.

use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use rusqlite::{Connection, OpenFlags};
use tokio::task::JoinSet;

use super::size::{MEGABYTE, size_of, tables};
use crate::Fallible;
use crate::bench::Bench;
use crate::ceiling::records as ceiling;
use crate::contest::{Contest, ON_POSTGRES, ON_SQLITE, Quantile, Side};
use crate::documents::{Document, INDEXED, ORDERED};
use crate::files::Shelf;
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Launch, Sidecar, Via};
use crate::workers::records::{
    CeilingPutter, ChangesReader, Collection, Getter, Keeper, Putter, Queried, Querier, Syncer,
};

const SAMPLE: u64 = 10_000;
const LARGE: u64 = 100_000;
/// Documents of one call of the fill, and calls at once.
const FILL: usize = 500;
const FILLERS: usize = 2;
const BATCH: usize = 100;
/// What a client has done while it was offline.
const PUSHED: usize = 500;
/// Where there is no target.
const ROUNDS: u32 = 2;
const FLOOR: &str = "floor TCP";
const CEILING: &str = "rusqlite lean";
/// The indexes of the collections that have any.
const PATHS: [&str; 2] = [INDEXED, ORDERED];
const INDEXED_SIDE: &str = " indexed";
/// REQUIREMENTS D: 100,000 results within a gigabyte, indexes at most a fifth of the data; and what is aimed at.
const RESULTS: f64 = 100_000.0;
const RESULTS_MB: Target = Target::Below(1_000.0);
const OF_PAYLOAD: Target = Target::Below(1.2);
const OF_DATA: Target = Target::Below(0.2);
/// What the records' indexes and the rest of their tables take; an index that was declared is a table.
const SHARES: &str = "
    SELECT s.type = 'index' OR s.tbl_name = 'record_values' AS is_index, sum(d.pgsize) AS bytes
    FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE s.tbl_name LIKE 'record%' GROUP BY 1";

/// A sidecar with its collections.
struct Server {
    sidecar: Sidecar,
    /// What its sides are called, but for what distinguishes them.
    label: &'static str,
    collections: Collections,
}

struct Collections {
    /// Filled, with indexes; nothing is written to it any more.
    results: Arc<Collection>,
    /// Written to, without and with indexes, and by Sync.
    plain: Arc<Collection>,
    indexed: Arc<Collection>,
    synced: Arc<Collection>,
}

struct Servers {
    pannier: Server,
    floor: Server,
    postgres: Option<Server>,
    stored: u64,
}

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let stored = if bench.arguments.large { LARGE } else { SAMPLE };
    let (servers, size) = servers(bench, stored).await?;
    let mut sections = vec![size];
    for in_flight in [1, 16] {
        sections.push(gets(bench, &servers, in_flight).await?);
    }
    sections.push(queries(bench, &servers).await?);
    sections.push(changes(bench, &servers).await?);
    for (in_flight, count) in [(1, 1), (16, 1), (4, BATCH)] {
        sections.push(puts(bench, &servers, in_flight, count).await?);
    }
    sections.push(syncs(bench, &servers).await?);
    Ok(sections)
}

async fn servers(bench: &Bench, stored: u64) -> Fallible<(Servers, Section)> {
    let data = bench.folder("records");
    let launch = bench.launch(&data, &[]);
    Sidecar::start(&launch).await?.stop().await?;
    let empty = size_of(&data)?;
    let full = filled(bench, ON_SQLITE, &launch, stored).await?;
    full.sidecar.stop().await?;
    let size = size(&data, empty, stored)?;

    let pannier = Server { sidecar: Sidecar::start(&launch).await?, ..full };
    pannier.create_written().await?;
    let sidecar = floor(bench, &pannier).await?;
    let floor = Server { sidecar, label: FLOOR, collections: Collections::of(stored) };
    let postgres = match bench.launch_on_postgres("records", &[]).await? {
        Some(launch) => {
            let server = filled(bench, ON_POSTGRES, &launch, stored).await?;
            server.create_written().await?;
            Some(server)
        }
        None => None,
    };
    bench.analyze().await?;
    Ok((Servers { pannier, floor, postgres, stored }, size))
}

/// A sidecar with so many results, put in batches, with progress.
async fn filled(bench: &Bench, label: &'static str, launch: &Launch, stored: u64) -> Fallible<Server> {
    let collections = Collections::of(stored);
    let server = Server { sidecar: Sidecar::start(launch).await?, label, collections };
    let mut keeper = server.keeper(&server.collections.results).await?;
    keeper.create(&PATHS).await?;
    let (mut left, mut running) = (stored as usize, JoinSet::new());
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < FILLERS {
            let (batch, mut keeper) = (left.min(FILL), keeper.clone());
            running.spawn(async move { keeper.put_all(batch).await });
            left -= batch;
        }
        if let Some(ended) = running.join_next().await {
            ended??;
        }
        bench.progress(&format!("{label}: {left} of {stored} documents left to put"));
    }
    let payload = payload_bytes(stored);
    let told = keeper.size_bytes().await?;
    if told == payload.keys + payload.documents {
        Ok(server)
    } else {
        Err(format!("the collection says {told} bytes, put were {} and keys", payload.documents).into())
    }
}

/// A floor that answers as this sidecar does.
async fn floor(bench: &Bench, server: &Server) -> Fallible<Sidecar> {
    let (_, put) = server.keeper(&server.collections.plain).await?.put().await?;
    let keeper = server.keeper(&server.collections.results).await?;
    let record = Getter { keeper, material: bench.material(0, 1) }.get().await?;
    bench.floor("records", &[("PutRecord", put.encode_to_vec()), ("Record", record.encode_to_vec())]).await
}

impl Collections {
    fn of(stored: u64) -> Self {
        let collection = |name| Collection::new(name, stored);
        Self {
            results: collection("results"),
            plain: collection("plain"),
            indexed: collection("indexed"),
            synced: collection("synced"),
        }
    }
}

impl Server {
    async fn keeper(&self, collection: &Arc<Collection>) -> Fallible<Keeper> {
        Ok(Keeper::new(self.sidecar.connect(Via::Tcp).await?, collection))
    }

    /// Makes the collections that are written to.
    async fn create_written(&self) -> Fallible<()> {
        self.keeper(&self.collections.plain).await?.create(&[]).await?;
        self.keeper(&self.collections.indexed).await?.create(&PATHS).await?;
        self.keeper(&self.collections.synced).await?.create(&[]).await
    }

    /// One way for each call in flight.
    async fn ways(
        &self,
        bench: &Bench,
        collection: &Arc<Collection>,
        in_flight: usize,
    ) -> Fallible<Vec<Keeper>> {
        let channels = bench.channels(&self.sidecar, Via::Tcp, in_flight).await?;
        Ok(channels.into_iter().map(|channel| Keeper::new(channel, collection)).collect())
    }

    async fn getters(&self, bench: &Bench, in_flight: usize) -> Fallible<Vec<Getter>> {
        let ways = self.ways(bench, &self.collections.results, in_flight).await?;
        Ok(ways.into_iter().map(|keeper| Getter { keeper, material: bench.material(0, 1) }).collect())
    }

    async fn putters(
        &self,
        bench: &Bench,
        collection: &Arc<Collection>,
        in_flight: usize,
        count: usize,
    ) -> Fallible<Vec<Putter>> {
        let ways = self.ways(bench, collection, in_flight).await?;
        Ok(ways.into_iter().map(|keeper| Putter::new(keeper, count)).collect())
    }

    fn pid(&self) -> u32 {
        self.sidecar.pid()
    }
}

impl Servers {
    fn sidecars(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.pannier).chain(&self.postgres)
    }

    /// How PostgreSQL compares, if there is one.
    fn both(&self, contest: Contest) -> Contest {
        if self.postgres.is_some() { contest.ratio(ON_POSTGRES, ON_SQLITE, None) } else { contest }
    }
}

async fn gets(bench: &Bench, servers: &Servers, in_flight: usize) -> Fallible<Section> {
    let title = format!("Get of a record of 2 KiB among {}, {in_flight} in flight", servers.stored);
    let floor = servers.floor.getters(bench, in_flight).await?;
    let mut contest = Contest::new("records", title).rounds_max(ROUNDS).side(Side::floor(
        FLOOR,
        servers.floor.pid(),
        floor,
    ));
    for server in servers.sidecars() {
        let getters = server.getters(bench, in_flight).await?;
        contest = contest.side(Side::pannier(server.label, server.pid(), getters));
    }
    servers.both(contest.ratio(ON_SQLITE, FLOOR, None)).run(bench).await
}

async fn queries(bench: &Bench, servers: &Servers) -> Fallible<Section> {
    let title = format!("Query among {} documents, all pages of it, 1 in flight", servers.stored);
    let mut contest = Contest::new("records", title).rounds_max(ROUNDS).note(
        "TCP: 20 documents by an indexed path; unindexed: the same by a path without an index; top: the first 20 in the order of an \
         indexed path",
    );
    for server in servers.sidecars() {
        for (kind, queried) in
            [("", Queried::Indexed), (" unindexed", Queried::Unindexed), (" top", Queried::Top)]
        {
            let label = format!("{}{kind}", server.label);
            let keeper = server.keeper(&server.collections.results).await?;
            let querier = Querier { keeper, material: bench.material(0, 1), queried };
            contest = contest.side(Side::pannier(&label, server.pid(), vec![querier]));
            contest = contest.latency(&label, Quantile::P95, None);
        }
    }
    let unindexed = format!("{ON_SQLITE} unindexed");
    servers.both(contest.ratio(ON_SQLITE, &unindexed, None)).run(bench).await
}

async fn changes(bench: &Bench, servers: &Servers) -> Fallible<Section> {
    let title = format!("Changes, all of {} documents, pages of 1,000 at most, 1 in flight", servers.stored);
    let mut contest = Contest::new("records", title).by("changes").rounds_max(ROUNDS).stretched(2.0);
    for server in servers.sidecars() {
        let reader = ChangesReader::new(server.keeper(&server.collections.results).await?);
        contest = contest.side(Side::pannier(server.label, server.pid(), vec![reader]));
    }
    servers.both(contest).run(bench).await
}

async fn puts(bench: &Bench, servers: &Servers, in_flight: usize, count: usize) -> Fallible<Section> {
    let call = if count == 1 { "Put".to_owned() } else { format!("BatchPut of {count}") };
    let title = format!("{call} of new documents of 2 KiB, durability full, {in_flight} in flight");
    let mut contest = Contest::new("records", title)
        .by("documents")
        .note("TCP: a collection without indexes; indexed: one with two; all of a side into one collection");
    if count > 1 {
        contest = contest.rounds_max(ROUNDS);
    }
    let floor = servers.floor.putters(bench, &servers.floor.collections.plain, in_flight, count).await?;
    contest = contest.side(Side::floor(FLOOR, servers.floor.pid(), floor));
    for server in servers.sidecars() {
        let collections = &server.collections;
        for (kind, collection) in [("", &collections.plain), (INDEXED_SIDE, &collections.indexed)] {
            let putters = server.putters(bench, collection, in_flight, count).await?;
            let side = Side::pannier(format!("{}{kind}", server.label), server.pid(), putters);
            contest = contest.side(side.supplied(server.keeper(collection).await?));
        }
    }
    let writer = ceiling::open(&bench.folder(&format!("records-ceiling {}", bench.elapsed())))?.into_writer();
    let shelf = Arc::new(Shelf::default());
    let putter =
        |_| CeilingPutter { writer: writer.clone(), shelf: Arc::clone(&shelf), of: servers.stored, count };
    contest = contest.side(Side::ceiling(CEILING, (0..in_flight).map(putter).collect()));
    let indexed = format!("{ON_SQLITE}{INDEXED_SIDE}");
    contest = contest
        .ratio(ON_SQLITE, FLOOR, None)
        .ratio(ON_SQLITE, CEILING, None)
        .ratio(&indexed, CEILING, None)
        .ratio(&indexed, ON_SQLITE, None);
    servers.both(contest).run(bench).await
}

async fn syncs(bench: &Bench, servers: &Servers) -> Fallible<Section> {
    let title = format!("Sync, pushes of {PUSHED} new documents of 2 KiB");
    let mut contest = Contest::new("records", title)
        .by("mutations")
        .rounds_max(ROUNDS)
        .stretched(2.0)
        .note("each push acknowledges the one before it; all of a side into one collection");
    for server in servers.sidecars() {
        for (kind, clients) in [("", 1), (" 4 clients", 4)] {
            let synced = &server.collections.synced;
            let ways = server.ways(bench, synced, clients).await?;
            let syncers = ways.into_iter().map(|keeper| Syncer::new(keeper, PUSHED)).collect();
            let side = Side::pannier(format!("{}{kind}", server.label), server.pid(), syncers);
            contest = contest.side(side.supplied(server.keeper(synced).await?));
        }
    }
    servers.both(contest).run(bench).await
}

/// Bytes that were given.
struct Payload {
    keys: i64,
    documents: i64,
}

fn payload_bytes(stored: u64) -> Payload {
    let documents = || (0..stored).map(Document);
    Payload {
        keys: documents().map(|document| document.key().len() as i64).sum(),
        documents: documents().map(|document| document.json(stored).len() as i64).sum(),
    }
}

/// What the results take on disk, after the sidecar has ended.
fn size(data: &Path, empty: u64, stored: u64) -> Fallible<Section> {
    let title = format!("{stored} results with two indexes on SQLite, what they take on disk");
    let mut section = Section { workload: "records".to_owned(), title, ..Section::default() };
    let (size, payload) = (size_of(data)?, payload_bytes(stored).documents as f64);
    let own = (size - empty) as f64;
    let whole = (empty as f64 + own * RESULTS / stored as f64) / MEGABYTE;
    let mut whole = Finding::number("100,000 results, indexes included", whole, "MB", Some(RESULTS_MB));
    if stored < LARGE {
        whole.note = format!("reckoned from {stored}; --large puts them all");
    }
    let mut of_payload = Finding::number("to the JSON that was put", own / payload, "", Some(OF_PAYLOAD));
    of_payload.note = format!("{:.0} bytes of JSON each", payload / stored as f64);
    let (indexes, rest) = shares(data)?;
    let mut of_data = Finding::number("indexes to data", indexes / rest, "", Some(OF_DATA));
    of_data.note = format!(
        "{:.0} bytes of indexes and {:.0} of data each; keys, order of changes, two paths",
        indexes / stored as f64,
        rest / stored as f64
    );
    section.findings = vec![whole, of_payload, of_data];
    section.findings.extend(tables(data, stored)?);
    section
        .notes
        .push("the size of all files after the sidecar has ended, less an empty database".to_owned());
    Ok(section)
}

/// Bytes of the records' indexes, and of the rest.
fn shares(data: &Path) -> Fallible<(f64, f64)> {
    let connection = Connection::open_with_flags(data.join("pannier.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = connection.prepare(SHARES)?;
    let rows = query.query_map([], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)? as f64)))?;
    let (mut indexes, mut rest) = (0.0, 0.0);
    for row in rows {
        let (is_index, bytes) = row?;
        *if is_index { &mut indexes } else { &mut rest } += bytes;
    }
    if rest > 0.0 { Ok((indexes, rest)) } else { Err("the database has no records".into()) }
}
