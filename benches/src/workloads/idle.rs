//! The sidecar at rest: how soon it serves, what it then takes, how soon it ends.

use std::time::Duration;

use crate::bench::{Bench, VALUE_BYTES};
use crate::material::stored_key;
use crate::pair::fill;
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Launch, Sidecar, Via};
use crate::workers::cache::Caller;
use crate::{Fallible, proc};

const STARTS: usize = 5;
/// What a former process has left behind: about 100 MB.
const STORED: usize = 100_000;
const REST: Duration = Duration::from_secs(10);
const MEGABYTE: f64 = 1e6;

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let title = format!("starts and rest, with {STORED} entries of a former process in the database");
    let mut section = Section { workload: "idle".to_owned(), title, ..Section::default() };
    let ready = Some(Target::Below(150.0));
    let mut stops = Vec::new();

    bench.progress("starts on fresh data");
    let mut fresh = Vec::new();
    for start in 0..STARTS {
        let sidecar = Sidecar::start(&bench.launch(&bench.folder(&format!("idle-{start}")), &[])).await?;
        fresh.push(milliseconds(sidecar.ready_after));
        stops.push(milliseconds(sidecar.stop().await?));
    }
    section.findings.push(milliseconds_of("ready, fresh data", &fresh, ready));

    bench.progress("filling the database");
    let launch = bench.launch(&bench.folder("idle-filled"), &[]);
    stops.push(milliseconds(filled(bench, &launch).await?));

    bench.progress("starts on existing data");
    let mut existing = Vec::new();
    for _ in 0..STARTS {
        let sidecar = Sidecar::start(&launch).await?;
        existing.push(milliseconds(sidecar.ready_after));
        stops.push(milliseconds(sidecar.stop().await?));
    }
    section.findings.push(milliseconds_of("ready, existing data", &existing, ready));
    section.findings.push(milliseconds_of("end after SIGTERM", &stops, Some(Target::Below(1800.0))));

    let sidecar = Sidecar::start(&launch).await?;
    section.findings.extend(at_rest(bench, &sidecar).await?);
    sidecar.stop().await?;
    let size = std::fs::metadata(&bench.pannier)?.len() as f64 / MEGABYTE;
    section.findings.push(Finding::number("size of the binary", size, "MB", None));
    Ok(vec![section])
}

/// Puts the entries and ends the process; gives the time that took.
async fn filled(bench: &Bench, launch: &Launch) -> Fallible<Duration> {
    let sidecar = Sidecar::start(launch).await?;
    let mut caller = Caller::new(sidecar.connect(Via::Tcp).await?, bench.material(VALUE_BYTES, STORED));
    fill(&mut caller, &mut bench.material(VALUE_BYTES, STORED), STORED).await?;
    sidecar.stop().await
}

/// An application has connected and read one entry; then nothing happens.
async fn at_rest(bench: &Bench, sidecar: &Sidecar) -> Fallible<Vec<Finding>> {
    let mut application = Caller::new(sidecar.connect(Via::Tcp).await?, bench.material(VALUE_BYTES, STORED));
    application.read(stored_key(STORED - 1)).await?;
    bench.progress(&format!("resting for {} s", REST.as_secs()));
    // What the read itself leaves to do (its access time) belongs to use, not to rest.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut used = proc::FineCpu::start(sidecar.pid())?;
    let mut seconds = 0.0;
    for _ in 0..REST.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seconds = used.seconds()?;
    }
    let cpu = seconds / REST.as_secs_f64() * 100.0;
    let resident = proc::resident_bytes(sidecar.pid())? as f64 / MEGABYTE;
    let mut cpu = Finding::number("processor at rest", cpu, "%", Some(Target::Below(0.1)));
    cpu.note = format!("over {} s", REST.as_secs());
    Ok(vec![Finding::number("resident at rest", resident, "MB", Some(Target::Below(20.0))), cpu])
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn milliseconds_of(what: &str, values: &[f64], target: Option<Target>) -> Finding {
    let mut finding = Finding::of_rounds(what, values, target);
    finding.unit = "ms";
    finding
}
