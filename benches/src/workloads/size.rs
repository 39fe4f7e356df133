//! What tasks that wait take on disk.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::depth::fill;
use super::queue::lanes;
use crate::Fallible;
use crate::bench::Bench;
use crate::queue::{agree, parameters};
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Sidecar, Via};

pub(super) const MILLION: u64 = 1_000_000;
/// In the ordinary run.
pub(super) const SAMPLE: u64 = 100_000;
pub(super) const MEGABYTE: f64 = 1e6;
const TABLES_SHOWN: usize = 4;

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let count = if bench.arguments.large { MILLION } else { SAMPLE };
    let title =
        format!("{count} tasks that wait, each with {} bytes of JSON, on SQLite", parameters(0).len());
    let mut section = Section { workload: "queue-size".to_owned(), title, ..Section::default() };
    let data = bench.folder("queue-size");
    let launch = bench.launch(&data, &[]);
    Sidecar::start(&launch).await?.stop().await?;
    let empty = size_of(&data)?;

    let server = Sidecar::start(&launch).await?;
    let mut lanes = lanes(bench, &server, Via::Unix, "size", 2).await?;
    fill(bench, "queue-size", &lanes, count).await?;
    agree(&mut lanes[0]).await?;
    server.stop().await?;

    let size = size_of(&data)?;
    let each = (size - empty) as f64 / count as f64;
    let mut whole = Finding::number(
        "a million tasks, indexes included",
        (empty as f64 + each * MILLION as f64) / MEGABYTE,
        "MB",
        Some(Target::Below(100.0)),
    );
    if count < MILLION {
        whole.note = format!("reckoned from {count}; --large adds them all");
    }
    let mut of_task = Finding::number("a task", each, "bytes", None);
    of_task.note = format!(
        "{:.1} MB, less {:.2} MB of an empty database",
        size as f64 / MEGABYTE,
        empty as f64 / MEGABYTE
    );
    section.findings = vec![whole, of_task];
    section.findings.extend(tables(&data, count)?);
    section.notes.push(
        "the size of all files after the sidecar has ended, which leaves no write-ahead log".to_owned(),
    );
    Ok(vec![section])
}

/// All files of the folder.
pub(super) fn size_of(data: &Path) -> Fallible<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// The largest tables and indexes.
pub(super) fn tables(data: &Path, count: u64) -> Fallible<Vec<Finding>> {
    let connection = Connection::open_with_flags(data.join("pannier.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query =
        connection.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT ?1")?;
    let rows = query
        .query_map([TABLES_SHOWN as i64], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut findings = Vec::new();
    for row in rows {
        let (name, bytes) = row?;
        findings.push(Finding::number(
            &format!("of that, {name}"),
            bytes as f64 / count as f64,
            "bytes",
            None,
        ));
    }
    Ok(findings)
}
