//! `pannier migrate`: the schema, by hand.

use clap::{Args, Subcommand};

use super::{Failure, Sources, print, progress, runtime};
use crate::storage::{Storage, migrate};

#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply what is missing.
    Up {
        /// The last one to apply; all without it.
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// Take changes back. What they stored is lost.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1, conflicts_with = "to")]
        steps: u32,
        /// The last one to keep.
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// List all, and whether each is applied.
    Status,
}

impl Migrate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = match self.action {
            Action::Up { .. } => self.sources.storage()?,
            Action::Down { .. } | Action::Status => self.sources.existing_storage()?,
        };
        runtime()?.block_on(async {
            let storage = Storage::open(&settings).await?;
            let result = run(&self.action, &storage).await;
            storage.close().await;
            result
        })
    }
}

async fn run(action: &Action, storage: &Storage) -> Result<(), Failure> {
    match action {
        Action::Up { to } => {
            migrate::up(storage, to.as_deref(), |name| progress(&format!("applied {name}"))).await?;
        }
        Action::Down { steps, to } => {
            let tell = |name: &str| progress(&format!("took back {name}"));
            migrate::down(storage, *steps, to.as_deref(), tell).await?;
        }
        Action::Status => {}
    }
    for change in migrate::status(storage).await? {
        let state = if change.is_applied { "applied" } else { "missing" };
        print(&format!("{state}  {}", change.name))?;
    }
    Ok(())
}
