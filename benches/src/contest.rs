//! Sides measured in turn, round after round, and the ratios between them.

use std::time::Duration;

use crate::bench::{Bench, Pair};
use crate::load::{self, Sample};
use crate::operations::{Caller, Operation};
use crate::report::{Finding, Section, SideReport, Target};
use crate::sidecar::Via;
use crate::statistics::median;
use crate::{Failure, Fallible};

/// Unmeasured: once at the start for each side, and before each round.
const WARM_UP: Duration = Duration::from_millis(250);
const RUN_UP: Duration = Duration::from_millis(60);

/// The sidecar on SQLite and the one on PostgreSQL, where they are compared.
pub(crate) const ON_SQLITE: &str = "pannier TCP";
pub(crate) const ON_POSTGRES: &str = "PostgreSQL TCP";

/// One side.
pub(crate) struct Side {
    label: String,
    workers: Vec<Operation>,
    server: Option<u32>,
    keeps: bool,
    samples: Vec<Sample>,
    /// What ended it before its last round.
    failure: Option<Failure>,
}

impl Side {
    fn new(label: String, workers: Vec<Operation>, server: Option<u32>, keeps: bool) -> Self {
        Self { label, workers, server, keeps, samples: Vec::new(), failure: None }
    }

    /// The sidecar: what it acknowledges is read back at the end.
    pub(crate) fn pannier(label: impl Into<String>, pid: u32, workers: Vec<Operation>) -> Self {
        Self::new(label.into(), workers, Some(pid), true)
    }

    pub(crate) fn floor(label: impl Into<String>, pid: u32, workers: Vec<Operation>) -> Self {
        Self::new(label.into(), workers, Some(pid), false)
    }

    /// In this process, without a server.
    pub(crate) fn ceiling(label: impl Into<String>, workers: Vec<Operation>) -> Self {
        Self::new(label.into(), workers, None, false)
    }

    /// One round, unless an earlier one failed. Nothing of a failed one counts.
    async fn round(&mut self, run_up: Duration, measured: Duration) -> Option<Sample> {
        if self.failure.is_some() {
            return None;
        }
        let sample = load::round(&mut self.workers, self.server, run_up, measured).await;
        sample.map_err(|failure| self.failure = Some(failure)).ok()
    }

    /// That what was acknowledged is there.
    async fn verify(&mut self) {
        if !self.keeps || self.failure.is_some() {
            return;
        }
        for worker in &mut self.workers {
            if let Err(failure) = worker.verify().await {
                self.failure = Some(failure);
                return;
            }
        }
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

    /// The sidecar on PostgreSQL as one more side, over TCP, if there is one; the one on SQLite is compared with it.
    pub(crate) async fn with_postgres(
        self,
        bench: &Bench,
        pair: &Pair,
        in_flight: usize,
        stored: usize,
        operation: impl Fn(Caller) -> Operation,
    ) -> Fallible<Self> {
        let Some(sidecar) = &pair.postgres else { return Ok(self) };
        let workers = bench.workers(sidecar, Via::Tcp, in_flight, stored, operation).await?;
        let side = Side::pannier(ON_POSTGRES, sidecar.pid(), workers);
        Ok(self.side(side).ratio(ON_POSTGRES, ON_SQLITE, None))
    }

    /// Measures all sides and computes the ratios. A side that fails is out; the others go on.
    pub(crate) async fn run(mut self, bench: &Bench) -> Fallible<Section> {
        let measured = Duration::from_secs_f64(bench.arguments.seconds * self.stretch);
        for side in &mut self.sides {
            bench.progress(&format!("{}: warming up {}", self.section.title, side.label));
            side.round(RUN_UP, WARM_UP).await;
        }
        for round in 1..=bench.arguments.rounds {
            for side in &mut self.sides {
                let of = bench.arguments.rounds;
                bench.progress(&format!("{}: round {round} of {of}, {}", self.section.title, side.label));
                let sample = side.round(RUN_UP, measured).await;
                side.samples.extend(sample);
            }
        }
        for side in &mut self.sides {
            side.verify().await;
        }
        self.finish()
    }

    fn finish(mut self) -> Fallible<Section> {
        for ratio in &self.ratios {
            let finding = match (self.rates(&ratio.of)?, self.rates(&ratio.to)?) {
                (Some(of), Some(to)) => {
                    let pairs: Vec<f64> = of.iter().zip(&to).map(|(of, to)| of / to).collect();
                    Finding::of_rounds(&ratio.what, &pairs, ratio.target)
                }
                _ => Finding::not_measured(&ratio.what, ratio.target, "a side failed"),
            };
            self.section.findings.push(finding);
        }
        let failures = self.sides.iter().filter_map(|side| Some((&side.label, side.failure.as_ref()?)));
        let failures: Vec<_> = failures.map(|(label, failure)| format!("{label}: {failure}")).collect();
        if !failures.is_empty() {
            self.section.failure = Some(failures.join("; "));
        }
        for side in self.sides.iter().filter(|side| side.failure.is_none()) {
            self.section.sides.push(side_report(side, self.by_rows));
        }
        Ok(self.section)
    }

    /// A side's rates, round by round; none if it failed.
    fn rates(&self, label: &str) -> Fallible<Option<Vec<f64>>> {
        let side = self.sides.iter().find(|side| side.label == label);
        let side = side.ok_or_else(|| format!("no side is called {label}"))?;
        if side.failure.is_some() {
            return Ok(None);
        }
        Ok(Some(side.samples.iter().map(|sample| rate(sample, self.by_rows)).collect()))
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
