//! What Python and Node programs reach with nothing but generated stubs.

use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::Fallible;
use crate::bench::Bench;
use crate::material::{NAMESPACE, stored_key};
use crate::report::{Finding, Section, SideReport, Target};
use crate::sidecar::{Sidecar, Via};
use crate::statistics::median;

const STORED: usize = 1000;
const IN_FLIGHT: usize = 16;
/// An interpreter takes its time to start and to warm up: fewer rounds, and longer ones.
const ROUNDS: u32 = 3;
const SECONDS: f64 = 1.0;
const MISSING: &str = "run make clients first";

/// One language's program and what it needs.
struct Language {
    name: &'static str,
    program: PathBuf,
    script: PathBuf,
    /// Where the generated stubs or modules are, given to the script.
    library: PathBuf,
}

/// What the scripts print.
#[derive(Deserialize)]
struct Measured {
    calls_per_second: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
}

fn languages(bench: &Bench) -> [Language; 2] {
    let root = &bench.arguments.root;
    let scripts = root.join("benches/clients");
    [
        Language {
            name: "Python, grpcio aio",
            program: root.join(".venv/bin/python"),
            script: scripts.join("get.py"),
            library: root.join("tests/clients/python/gen"),
        },
        Language {
            name: "Node, grpc-js with protobuf-es",
            program: "node".into(),
            script: scripts.join("get.mjs"),
            library: root.join("tests/clients/node"),
        },
    ]
}

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let pair = bench.pair("clients", &[], STORED).await?;
    let mut sections = Vec::new();
    for language in languages(bench) {
        let title = format!(
            "Get of 1 KiB from memory with generated stubs, {}, {IN_FLIGHT} in flight",
            language.name
        );
        let mut section = Section { workload: "clients".to_owned(), title, ..Section::default() };
        if is_set_up(&language) {
            measure(bench, &language, &pair.floor, &pair.pannier, &mut section).await?;
        } else {
            let target = Some(Target::AtLeast(0.9));
            section.findings.push(Finding::not_measured("pannier TCP / floor TCP", target, MISSING));
        }
        sections.push(section);
    }
    Ok(sections)
}

fn is_set_up(language: &Language) -> bool {
    let is_there = |path: &str| language.library.join(path).exists();
    let node = is_there("node_modules/@grpc/grpc-js") && is_there("gen/pannier/cache/v1/cache_pb.js");
    let python = language.program.exists() && is_there("pannier/cache/v1/cache_pb2_grpc.py");
    node || python
}

async fn measure(
    bench: &Bench,
    language: &Language,
    floor: &Sidecar,
    pannier: &Sidecar,
    section: &mut Section,
) -> Fallible<()> {
    let sides = [
        ("floor TCP", floor, Via::Tcp),
        ("pannier TCP", pannier, Via::Tcp),
        ("floor unix", floor, Via::Unix),
        ("pannier unix", pannier, Via::Unix),
    ];
    let mut results: [Vec<Measured>; 4] = Default::default();
    for round in 1..=ROUNDS {
        for ((label, server, via), results) in sides.iter().zip(&mut results) {
            bench.progress(&format!("{}: round {round} of {ROUNDS}, {label}", language.name));
            results.push(call(language, server, *via).await?);
        }
    }
    for ((label, ..), results) in sides.iter().zip(&results) {
        section.sides.push(side_report(label, results));
    }
    let mut ratio = |of: usize, to: usize, target: Option<Target>| {
        let pairs = results[of].iter().zip(&results[to]);
        let ratios: Vec<f64> = pairs.map(|(of, to)| of.calls_per_second / to.calls_per_second).collect();
        let what = format!("{} / {}", sides[of].0, sides[to].0);
        section.findings.push(Finding::of_rounds(&what, &ratios, target));
    };
    ratio(1, 0, Some(Target::AtLeast(0.9)));
    ratio(3, 2, Some(Target::AtLeast(0.9)));
    ratio(3, 1, Some(Target::Above(1.0)));
    ratio(2, 0, None);
    section.notes.push(format!("{ROUNDS} rounds of {SECONDS} s, a new process each"));
    Ok(())
}

async fn call(language: &Language, server: &Sidecar, via: Via) -> Fallible<Measured> {
    let address = match via {
        Via::Tcp => server.address.clone(),
        Via::Unix => format!("unix:{}", server.socket.display()),
    };
    // The keys are the prefilled ones; the last tells the script how they look.
    let output = Command::new(&language.program)
        .arg(&language.script)
        .args([
            &address,
            &SECONDS.to_string(),
            "--in-flight",
            &IN_FLIGHT.to_string(),
            "--namespace",
            NAMESPACE,
        ])
        .args(["--keys", &STORED.to_string(), "--key-like", &stored_key(0), "--library"])
        .arg(&language.library)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{}: {error}", language.program.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing on stderr");
        return Err(format!("{} failed: {last}", language.name).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn side_report(label: &str, results: &[Measured]) -> SideReport {
    let of = |pick: fn(&Measured) -> f64| median(&results.iter().map(pick).collect::<Vec<_>>());
    SideReport {
        side: label.to_owned(),
        in_flight: IN_FLIGHT,
        per_second: of(|measured| measured.calls_per_second),
        unit: "calls",
        p50: of(|measured| measured.p50_us),
        p95: of(|measured| measured.p95_us),
        p99: of(|measured| measured.p99_us),
        server_cpu_each: None,
        flushes_per_second: None,
        rounds: results.iter().map(|measured| measured.calls_per_second).collect(),
    }
}
