//! The command line: one file per subcommand.
//!
//! Data goes to stdout, the log and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.

mod call;
mod completions;
mod config;
mod doctor;
mod ephemeral;
mod export;
mod healthcheck;
mod import;
mod migrate;
mod output;
mod ready_file;
mod request;
mod serve;
mod target;
mod ticker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Error;
use crate::settings::{Loaded, Problem, Settings, StorageSettings};

use output::{error, print, progress};

/// Wrong configuration (`EX_CONFIG` of sysexits).
const EXIT_CONFIGURATION: u8 = 78;

/// A persistence sidecar: durable state for an application over gRPC on localhost.
#[derive(Debug, Parser)]
#[command(name = "pannier", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command the sidecar is run: these are the flags of `serve`.
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar until a signal stops it. The default without a command: `pannier --data DIR` serves.
    Serve(serve::Serve),
    /// Ask a running sidecar whether it serves; exit 0 if it does.
    Healthcheck(healthcheck::Healthcheck),
    /// Show or change the database's schema; the sidecar must not be running.
    Migrate(migrate::Migrate),
    /// Write everything in the database to a file; the sidecar must not be running.
    Export(export::Export),
    /// Fill an empty database from an export, and compare; the sidecar must not be running.
    Import(import::Import),
    /// Show the settings and where each came from, or check them.
    Config(config::Config),
    /// Look at the settings and the database, and say what is there and what is wrong; exit 1 if anything is. Changes
    /// nothing; a sidecar may be running.
    Doctor(doctor::Doctor),
    /// Call a method of a running sidecar with a JSON request, and print the answer as JSON.
    Call(call::Call),
    /// Print completions for a shell.
    Completions(completions::Completions),
}

/// Where settings come from besides their defaults and the environment.
#[derive(Debug, Default, Args)]
struct Sources {
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE", env = "PANNIER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The data directory (storage.directory).
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<String>,
    /// Any setting; may be given more than once. Not for secrets: every user of the machine can read command lines.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = assignment, global = true)]
    assignments: Vec<(String, String)>,
}

/// Why a command failed.
enum Failure {
    /// Said in one line.
    Message(String),
    /// All that is wrong with the settings.
    Configuration(Vec<Problem>),
    /// A setting is wrong, as its use has shown; said in one line.
    Misconfigured(String),
    /// Reported already.
    Silent,
    /// The reader of stdout has left, as `head` does: no failure.
    Closed,
    /// Said already: the settings are wrong.
    Unconfigured,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Misconfigured { .. } => Self::Misconfigured(error.to_string()),
            _ => Self::Message(error.to_string()),
        }
    }
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let result = match self.command.unwrap_or(Command::Serve(self.serve)) {
            Command::Serve(command) => command.run(),
            Command::Healthcheck(command) => command.run(),
            Command::Migrate(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Call(command) => command.run(),
            Command::Completions(command) => command.run(),
        };
        match result {
            Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
            Err(Failure::Silent) => ExitCode::FAILURE,
            Err(Failure::Unconfigured) => ExitCode::from(EXIT_CONFIGURATION),
            Err(Failure::Message(message)) => {
                error(&message);
                ExitCode::FAILURE
            }
            Err(Failure::Misconfigured(message)) => {
                error(&message);
                ExitCode::from(EXIT_CONFIGURATION)
            }
            Err(Failure::Configuration(problems)) => {
                for problem in problems {
                    error(&problem.to_string());
                }
                ExitCode::from(EXIT_CONFIGURATION)
            }
        }
    }
}

impl Sources {
    /// Reads all layers; `flags` are further ones of the command's own.
    fn load(&self, flags: &[(&str, Option<&String>)]) -> Result<Loaded, Failure> {
        let own = flags.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.clone())));
        let data = self.data.iter().map(|data| ("storage.directory".to_owned(), data.clone()));
        let all: Vec<_> = self.assignments.iter().cloned().chain(data).chain(own).collect();
        Settings::load(self.config.as_deref(), std::env::vars(), &all).map_err(Failure::Configuration)
    }
}

impl Sources {
    /// How a command that does one thing after another uses the database: one connection is enough.
    fn storage(&self) -> Result<StorageSettings, Failure> {
        let mut storage = self.load(&[])?.settings.storage;
        storage.connections = 1;
        Ok(storage)
    }
}

impl Sources {
    /// The same for a command that only makes sense where there is a database: it makes none.
    fn existing_storage(&self) -> Result<StorageSettings, Failure> {
        let mut storage = self.storage()?;
        storage.create = false;
        Ok(storage)
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give section.key=value".to_owned()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pannier")
        .build()
        .map_err(|error| Failure::Message(format!("cannot start the runtime: {error}")))
}
