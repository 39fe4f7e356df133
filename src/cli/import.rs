//! `pannier import`: an export into an empty database, read back and compared.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;

use super::ticker::Ticker;
use super::{Failure, Sources, print, runtime};
use crate::settings::StorageSettings;
use crate::storage::Storage;
use crate::storage::transfer::{self, Progress, Report, TableTotals};

/// How much of the file is read at once.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file that `pannier export` wrote; - is stdin.
    #[arg(value_name = "FILE", required_unless_present = "discard")]
    file: Option<PathBuf>,
    /// Remove everything that the database holds first. A file is looked through before that, stdin cannot be.
    #[arg(long)]
    replace: bool,
    /// Remove what an import that was cut short has stored, and import nothing.
    #[arg(long, conflicts_with_all = ["file", "replace", "json"])]
    discard: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sources: Sources,
}

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = self.sources.storage()?;
        let Some(file) = &self.file else { return discard(&settings) };
        // Before the database is opened, which may make it.
        let mut input = open(file)?;
        let report = self.import(&settings, file, &mut *input)?;
        print(&if self.json { json(&report)? } else { listing(&report) })?;
        if report.ok {
            return Ok(());
        }
        Err(Failure::Message(
            "what was stored does not read back as it was exported; the target was left empty".into(),
        ))
    }

    fn import(
        &self,
        settings: &StorageSettings,
        file: &Path,
        input: &mut dyn BufRead,
    ) -> Result<Report, Failure> {
        let mut ticker = Ticker::new();
        let tell = &mut |at: Progress<'_>| ticker.tell(at);
        runtime()?.block_on(async {
            let storage = Storage::open(settings).await?;
            let outcome = async {
                if self.replace && file.is_file() {
                    transfer::check(&storage, &mut *open(file)?, tell).await?;
                }
                Ok(transfer::import(&storage, input, self.replace, tell).await?)
            };
            let outcome = outcome.await;
            storage.close().await;
            outcome
        })
    }
}

fn discard(settings: &StorageSettings) -> Result<(), Failure> {
    let mut ticker = Ticker::new();
    let settings = StorageSettings { create: false, ..settings.clone() };
    runtime()?.block_on(async {
        let storage = Storage::open(&settings).await?;
        let outcome = transfer::discard(&storage, &mut |at| ticker.tell(at)).await;
        storage.close().await;
        Ok(outcome?)
    })
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened = File::open(file)
        .map_err(|error| Failure::Message(format!("cannot read {}: {error}", file.display())))?;
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, opened)))
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string_pretty(report)
        .map_err(|error| Failure::Message(format!("the report cannot be printed: {error}")))
}

/// The result as a person reads it.
fn listing(report: &Report) -> String {
    let columns = |[table, rows, bytes, last, sha256, ok]: [&str; 6]| {
        format!("{table:<24} {rows:>12} {bytes:>16} {last:>12}  {sha256:<64}  {ok}")
    };
    let line = |name: &str, totals: &TableTotals, ok: &str| {
        let last = totals.identity.map(|number| number.to_string()).unwrap_or_default();
        let (rows, bytes) = (totals.rows.to_string(), totals.bytes.to_string());
        columns([name, &rows, &bytes, &last, &totals.sha256, ok])
    };
    let yes_or_no = |ok: bool| if ok { "yes" } else { "NO" };
    let mut lines = vec![columns(["table", "rows", "bytes", "last number", "sha256", "ok"])];
    for table in &report.tables {
        lines.push(line(&table.found.table, &table.found, yes_or_no(table.ok)));
        lines.extend(table.expected.iter().map(|expected| line("  as exported", expected, "")));
    }
    let (rows, bytes) = (report.rows.to_string(), report.bytes.to_string());
    lines.push(columns(["all", &rows, &bytes, "", "", yes_or_no(report.ok)]));
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}
