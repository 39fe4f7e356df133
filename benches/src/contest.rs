//! Sides measured in turn, round after round, and the ratios between them.

use std::time::Duration;

use crate::Fallible;
use crate::bench::Bench;
use crate::load::{self, Sample};
use crate::operations::Operation;
use crate::report::{Finding, Section, SideReport, Target};
use crate::statistics::median;

/// Unmeasured: once at the start for each side, and before each round.
const WARM_UP: Duration = Duration::from_millis(250);
const RUN_UP: Duration = Duration::from_millis(60);

/// One side.
pub(crate) struct Side {
    label: String,
    workers: Vec<Operation>,
    server: Option<u32>,
    keeps: bool,
    samples: Vec<Sample>,
}

impl Side {
    /// The sidecar: what it acknowledges is read back at the end.
    pub(crate) fn pannier(label: impl Into<String>, pid: u32, workers: Vec<Operation>) -> Self {
        Self { label: label.into(), workers, server: Some(pid), keeps: true, samples: Vec::new() }
    }

    pub(crate) fn floor(label: impl Into<String>, pid: u32, workers: Vec<Operation>) -> Self {
        Self { label: label.into(), workers, server: Some(pid), keeps: false, samples: Vec::new() }
    }

    /// In this process, without a server.
    pub(crate) fn ceiling(label: impl Into<String>, workers: Vec<Operation>) -> Self {
        Self { label: label.into(), workers, server: None, keeps: false, samples: Vec::new() }
    }
}

/// A ratio to report: `of` / `to`, the sides by their label.
struct Ratio {
    what: String,
    of: String,
    to: String,
    target: Option<Target>,
}

/// Sides that belong together.
pub(crate) struct Contest {
    section: Section,
    sides: Vec<Side>,
    ratios: Vec<Ratio>,
    by_rows: bool,
    /// Rounds are so many times as long.
    stretch: f64,
}

impl Contest {
    pub(crate) fn new(workload: &str, title: impl Into<String>) -> Self {
        let section = Section { workload: workload.to_owned(), title: title.into(), ..Section::default() };
        Self { section, sides: Vec::new(), ratios: Vec::new(), by_rows: false, stretch: 1.0 }
    }

    /// Counts rows instead of calls.
    pub(crate) fn by_rows(mut self) -> Self {
        self.by_rows = true;
        self
    }

    /// Longer rounds, for calls of which a round holds few.
    pub(crate) fn stretched(mut self, stretch: f64) -> Self {
        self.stretch = stretch;
        self
    }

    pub(crate) fn side(mut self, side: Side) -> Self {
        self.sides.push(side);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.section.notes.push(note.into());
        self
    }

    pub(crate) fn ratio(mut self, of: &str, to: &str, target: Option<Target>) -> Self {
        let what = format!("{of} / {to}");
        self.ratios.push(Ratio { what, of: of.to_owned(), to: to.to_owned(), target });
        self
    }

    /// Measures all sides and computes the ratios.
    pub(crate) async fn run(mut self, bench: &Bench) -> Fallible<Section> {
        let measured = Duration::from_secs_f64(bench.arguments.seconds * self.stretch);
        for side in &mut self.sides {
            bench.progress(&format!("{}: warming up {}", self.section.title, side.label));
            load::round(&mut side.workers, side.server, RUN_UP, WARM_UP)
                .await
                .map_err(|failure| format!("{}: {failure}", side.label))?;
        }
        for round in 1..=bench.arguments.rounds {
            for side in &mut self.sides {
                let of = bench.arguments.rounds;
                bench.progress(&format!("{}: round {round} of {of}, {}", self.section.title, side.label));
                let sample = load::round(&mut side.workers, side.server, RUN_UP, measured).await;
                side.samples.push(sample.map_err(|failure| format!("{}: {failure}", side.label))?);
            }
        }
        for side in self.sides.iter_mut().filter(|side| side.keeps) {
            for worker in &mut side.workers {
                worker.verify().await.map_err(|failure| format!("{}: {failure}", side.label))?;
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Fallible<Section> {
        for ratio in &self.ratios {
            let (of, to) = (self.rates(&ratio.of)?, self.rates(&ratio.to)?);
            let pairs: Vec<f64> = of.iter().zip(&to).map(|(of, to)| of / to).collect();
            self.section.findings.push(Finding::of_rounds(&ratio.what, &pairs, ratio.target));
        }
        for side in &self.sides {
            self.section.sides.push(side_report(side, self.by_rows));
        }
        Ok(self.section)
    }

    fn rates(&self, label: &str) -> Fallible<Vec<f64>> {
        let side = self.sides.iter().find(|side| side.label == label);
        let side = side.ok_or_else(|| format!("no side is called {label}"))?;
        Ok(side.samples.iter().map(|sample| rate(sample, self.by_rows)).collect())
    }
}

fn rate(sample: &Sample, by_rows: bool) -> f64 {
    if by_rows { sample.rows_per_second } else { sample.calls_per_second }
}

fn side_report(side: &Side, by_rows: bool) -> SideReport {
    let of = |pick: fn(&Sample) -> f64| median(&side.samples.iter().map(pick).collect::<Vec<_>>());
    let of_some = |pick: fn(&Sample) -> Option<f64>| {
        let values: Vec<f64> = side.samples.iter().filter_map(pick).collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let rounds: Vec<f64> = side.samples.iter().map(|sample| rate(sample, by_rows)).collect();
    SideReport {
        side: side.label.clone(),
        in_flight: side.workers.len(),
        per_second: median(&rounds),
        unit: if by_rows { "rows" } else { "calls" },
        p50: of(|sample| sample.p50),
        p95: of(|sample| sample.p95),
        p99: of(|sample| sample.p99),
        server_cpu_per_call: of_some(|sample| sample.server_cpu),
        flushes_per_second: of_some(|sample| sample.flushes_per_second),
        rounds,
    }
}
