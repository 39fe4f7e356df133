//! `pannier-bench`: closed-loop load against the sidecar, against a no-op gRPC server (the floor) and against bare
//! rusqlite (the ceiling), in short interleaved rounds, so that what is compared is measured under the same conditions.
//! With a PostgreSQL's URL a second sidecar stands on that, and takes part in every round.

mod bench;
mod ceiling;
mod contest;
mod documents;
mod files;
mod floor;
mod lane;
mod load;
mod material;
mod pair;
mod postgres;
mod proc;
mod prompts;
mod queue;
mod report;
mod sidecar;
mod statistics;
mod table;
mod words;
mod workers;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use postgres::Postgres;

/// Whatever stops a workload, as a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// A result whose failure is a sentence.
pub(crate) type Fallible<T> = Result<T, Failure>;

/// Measures the sidecar against a no-op gRPC server and against bare rusqlite, in one run on one machine.
#[derive(Parser)]
#[command(name = "pannier-bench", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Subcommand)]
enum Command {
    /// The no-op server: answers each call of the cache at once with a message of the sidecar's size.
    Floor(floor::FloorArguments),
}

/// What to measure, and how long.
#[derive(Args)]
pub(crate) struct RunArguments {
    /// Write the results as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// A PostgreSQL, as postgres://user:password@host:port/database: all but the clients' workloads are measured on it as well, in
    /// schemas that are made for it and removed. Give it by the variable if other users of the machine can list processes.
    #[arg(long, value_name = "URL", env = "PANNIER_BENCH_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Only this workload. May be given several times.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(workloads::names()))]
    pub(crate) only: Vec<String>,
    /// The workloads of the queue, the uploads, the prompts and the records at full size: a million tasks, hashes or prompts, five
    /// million finished tasks, 100,000 documents. It takes minutes.
    #[arg(long)]
    pub(crate) large: bool,
    /// How long each side is measured in each round.
    #[arg(long, value_name = "N", default_value_t = 0.3, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// How many interleaved rounds; the medians are reported.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// gRPC channels per side. One is what an application opens: gRPC multiplexes all its calls on one connection.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) connections: u32,
    /// How many entries the memory workload puts.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) memory_puts: u64,
    /// When the memory workload stops, finished or not.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) memory_seconds: u64,
    /// The sidecar's binary; without it, the one beside this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) pannier: Option<PathBuf>,
    /// Where the databases go: a real disk, or the durable workloads mean nothing. Without it, beside this program.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// The checkout, for the Python and Node clients and their generated stubs.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    pub(crate) root: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=600.0).contains(&seconds) { Ok(seconds) } else { Err("must be 0.05 to 600".to_owned()) }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Floor(floor)) => floor::serve(floor).await.map(|()| true),
        None => run(arguments.run).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// True when every workload could be measured; a missed target is a result, not a failure.
async fn run(arguments: RunArguments) -> Fallible<bool> {
    let json = arguments.json.clone();
    let postgres = match arguments.url.as_deref() {
        // A make variable that is not set is an empty variable here.
        None | Some("") => None,
        Some(url) => Some(Arc::new(Postgres::open(url).await?)),
    };
    let mut terminated = signal(SignalKind::terminate())?;
    // Leaving from here ends the servers and removes the databases.
    let report = tokio::select! {
        report = workloads::run_all(arguments, postgres.clone()) => report,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        _ = terminated.recv() => Err("terminated".into()),
    };
    if let Some(postgres) = postgres {
        postgres.clean_up().await.map_err(|failure| format!("schemas are left behind: {failure}"))?;
    }
    let report = report?;
    print!("{}", table::render(&report));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report.sections.iter().all(|section| section.failure.is_none()))
}
