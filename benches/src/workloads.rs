//! The workloads by name, and the run of all of them.

mod clients;
mod depth;
mod dispatch;
mod idle;
mod jobs;
mod maintenance;
mod memory;
mod prompts;
mod queue;
mod read;
mod records;
mod size;
mod uploads;
mod write;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bench::{Bench, VALUE_BYTES};
use crate::postgres::Postgres;
use crate::report::{Report, Section};
use crate::{Fallible, RunArguments, proc};

const NAMES: [&str; 20] = [
    "hot-get",
    "cold-get",
    "batch-get",
    "durable-put",
    "relaxed-put",
    "batch-put",
    "mixed",
    "clients",
    "idle",
    "memory",
    "queue-work",
    "queue-enqueue",
    "queue-dispatch",
    "queue-depth",
    "queue-size",
    "jobs",
    "uploads",
    "prompts",
    "maintenance",
    "records",
];

pub(crate) fn names() -> [&'static str; NAMES.len()] {
    NAMES
}

async fn workload(name: &str, bench: &Bench) -> Fallible<Vec<Section>> {
    match name {
        "hot-get" => read::hot_get(bench).await,
        "cold-get" => read::cold_get(bench).await,
        "batch-get" => read::batch_get(bench).await,
        "durable-put" => write::durable_put(bench).await,
        "relaxed-put" => write::relaxed_put(bench).await,
        "batch-put" => write::batch_put(bench).await,
        "mixed" => write::mixed(bench).await,
        "clients" => clients::run(bench).await,
        "idle" => idle::run(bench).await,
        "memory" => memory::run(bench).await,
        "queue-work" => queue::work(bench).await,
        "queue-enqueue" => queue::enqueue(bench).await,
        "queue-dispatch" => dispatch::run(bench).await,
        "queue-depth" => depth::run(bench).await,
        "queue-size" => size::run(bench).await,
        "jobs" => jobs::run(bench).await,
        "uploads" => uploads::run(bench).await,
        "prompts" => prompts::run(bench).await,
        "maintenance" => maintenance::run(bench).await,
        "records" => records::run(bench).await,
        other => Err(format!("there is no workload {other}").into()),
    }
}

/// Runs what was asked for. A workload that fails is reported as failed; the others go on.
pub(crate) async fn run_all(arguments: RunArguments, postgres: Option<Arc<Postgres>>) -> Fallible<Report> {
    let bench = Bench::new(arguments, postgres)?;
    let only = &bench.arguments.only;
    let chosen: Vec<&str> =
        NAMES.into_iter().filter(|name| only.is_empty() || only.iter().any(|o| o == name)).collect();
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let others = proc::Others::start();
    let mut sections = Vec::new();
    for (index, name) in chosen.iter().enumerate() {
        bench.begin(format!("{name} ({} of {})", index + 1, chosen.len()));
        match workload(name, &bench).await {
            Ok(measured) => sections.extend(measured),
            Err(failure) => sections.push(Section {
                workload: (*name).to_owned(),
                title: "could not be measured".to_owned(),
                failure: Some(failure.to_string()),
                ..Section::default()
            }),
        }
    }
    bench.finish();
    let arguments = &bench.arguments;
    Ok(Report {
        machine: proc::machine(),
        pannier_version: version(&bench).await,
        started_unix_seconds: started,
        took_seconds: bench.elapsed(),
        others_share: others.and_then(|others| others.share()),
        rounds: arguments.rounds,
        seconds_a_round: arguments.seconds,
        connections_a_side: arguments.connections,
        postgres: bench.postgres.as_ref().map(|postgres| postgres.facts.clone()),
        on_both: sections.iter().flat_map(Section::on_both).collect(),
        notes: notes(&bench),
        sections,
    })
}

async fn version(bench: &Bench) -> String {
    let output = tokio::process::Command::new(&bench.pannier).arg("--version").output().await;
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "pannier (version unknown)".to_owned() } else { text }
}

fn notes(bench: &Bench) -> Vec<String> {
    let mut notes = vec![
        "closed loop: each call in flight waits for its answer; load generator and server share the machine's cores"
            .to_owned(),
        "times are of calls, in µs; server CPU is for one call, or one row or task where those are counted, at 10 ms a round".to_owned(),
        "floor: a tonic server in a process of its own that answers at once, with the sidecar's own recorded answers"
            .to_owned(),
        "ceiling: rusqlite in this process, no gRPC; 'cache' has indexes for expiry and least-recently-used, 'queue' for tasks that \
         are held and that are finished, 'lean' none but those its statements go by"
            .to_owned(),
        format!(
            "{} gRPC channel(s) a side, the same for floor and sidecar: an application opens one and multiplexes on it",
            bench.arguments.connections
        ),
        format!(
            "every put carries a fresh random value of {VALUE_BYTES} bytes, half of them under new keys: each row really changes"
        ),
        "flushes/s are those the busiest disk completed meanwhile, the whole machine's; durable puts with none were not durable"
            .to_owned(),
        "the last acknowledged put of each worker is read back after its contest".to_owned(),
        "after each contest of the queue its Stats must agree with the tasks that were counted, added and completed; each job must \
         have the counts that were acknowledged, each upload session its files, and the uploads' Stats all of them; the prompts' \
         Stats and each collection must count what was acknowledged"
            .to_owned(),
        "prompts and documents have texts in six languages whose words follow Zipf's law; lists, searches, statistics, queries and \
         changes are checked against what was saved: which, how many, in which order"
            .to_owned(),
        "workers of the queue register anew for each round; tasks are there before each round, twice what it can use up"
            .to_owned(),
        "a ratio is the median over the rounds of one round's rate against the same round's rate of the other side; (lowest to highest)"
            .to_owned(),
    ];
    if bench.postgres.is_some() {
        let note = "PostgreSQL: a sidecar with the same settings on that server, over TCP; its CPU is the sidecar's alone, \
                    and a server on this machine takes from the same cores; ANALYZE was run after each fill, as autovacuum \
                    would within a minute";
        notes.push(note.to_owned());
    }
    notes
}
