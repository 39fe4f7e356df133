//! Sides measured in turn, round after round, and the ratios between them.

use std::time::Duration;

use crate::bench::Bench;
use crate::load::{self, Sample, Worker};
use crate::report::{Finding, Section, SideReport, Target};
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
    workers: Vec<Box<dyn Worker>>,
    supply: Option<Box<dyn Supply>>,
    server: Option<u32>,
    keeps: bool,
    samples: Vec<Sample>,
    /// What ended it before its last round.
    failure: Option<Failure>,
}

/// What a side uses up.
#[tonic::async_trait]
pub(crate) trait Supply: Send {
    /// Provides for a round of so many seconds.
    async fn prepare(&mut self, seconds: f64) -> Fallible<()>;

    /// That what was counted agrees with what the server says of it, after the last round.
    async fn check(&mut self) -> Fallible<()>;
}

impl Side {
    fn new<W: Worker + 'static>(label: String, workers: Vec<W>, server: Option<u32>, keeps: bool) -> Self {
        let workers = workers.into_iter().map(|worker| Box::new(worker) as Box<dyn Worker>).collect();
        Self { label, workers, supply: None, server, keeps, samples: Vec::new(), failure: None }
    }

    /// The sidecar: what it acknowledges is read back at the end.
    pub(crate) fn pannier<W: Worker + 'static>(label: impl Into<String>, pid: u32, workers: Vec<W>) -> Self {
        Self::new(label.into(), workers, Some(pid), true)
    }

    pub(crate) fn floor<W: Worker + 'static>(label: impl Into<String>, pid: u32, workers: Vec<W>) -> Self {
        Self::new(label.into(), workers, Some(pid), false)
    }

    /// In this process, without a server.
    pub(crate) fn ceiling<W: Worker + 'static>(label: impl Into<String>, workers: Vec<W>) -> Self {
        Self::new(label.into(), workers, None, false)
    }

    /// What it uses up is provided before each round.
    pub(crate) fn supplied(mut self, supply: impl Supply + 'static) -> Self {
        self.supply = Some(Box::new(supply));
        self
    }

    /// One round, unless an earlier one failed. Nothing of a failed one counts.
    async fn round(&mut self, run_up: Duration, measured: Duration) -> Option<Sample> {
        if self.failure.is_some() {
            return None;
        }
        let sample = self.supplied_round(run_up, measured).await;
        sample.map_err(|failure| self.failure = Some(failure)).ok()
    }

    async fn supplied_round(&mut self, run_up: Duration, measured: Duration) -> Fallible<Sample> {
        if let Some(supply) = &mut self.supply {
            supply.prepare((run_up + measured).as_secs_f64()).await?;
        }
        load::round(&mut self.workers, self.server, run_up, measured).await
    }

    /// That what was acknowledged is there.
    async fn verify(&mut self) {
        if self.failure.is_none() {
            self.failure = self.verified().await.err();
        }
    }

    async fn verified(&mut self) -> Fallible<()> {
        if self.keeps {
            for worker in &mut self.workers {
                worker.verify().await?;
            }
        }
        match &mut self.supply {
            Some(supply) => supply.check().await,
            None => Ok(()),
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

/// A latency to report, in milliseconds: of a side by its label.
struct Wait {
    of: String,
    quantile: Quantile,
    target: Option<Target>,
}

/// Which latency.
#[derive(Clone, Copy)]
pub(crate) enum Quantile {
    P50,
    P95,
    P99,
}

impl Quantile {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::P50 => sample.p50,
            Self::P95 => sample.p95,
            Self::P99 => sample.p99,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

/// Sides that belong together.
pub(crate) struct Contest {
    section: Section,
    sides: Vec<Side>,
    ratios: Vec<Ratio>,
    waits: Vec<Wait>,
    counted: Counted,
    /// Rounds are so many times as long.
    stretch: f64,
    /// At most so many rounds.
    rounds_max: u32,
}

/// What a rate is of.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    Calls,
    /// What a call handles many of, by its name.
    Rows(&'static str),
}

impl Contest {
    pub(crate) fn new(workload: &str, title: impl Into<String>) -> Self {
        let section = Section { workload: workload.to_owned(), title: title.into(), ..Section::default() };
        Self {
            section,
            sides: Vec::new(),
            ratios: Vec::new(),
            waits: Vec::new(),
            counted: Counted::Calls,
            stretch: 1.0,
            rounds_max: u32::MAX,
        }
    }

    /// Counts rows instead of calls.
    pub(crate) fn by_rows(self) -> Self {
        self.by("rows")
    }

    /// Counts what is called so instead of calls.
    pub(crate) fn by(mut self, rows: &'static str) -> Self {
        self.counted = Counted::Rows(rows);
        self
    }

    /// Fewer rounds, where there are many sides and no target.
    pub(crate) fn rounds_max(mut self, rounds: u32) -> Self {
        self.rounds_max = rounds;
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

    pub(crate) fn latency(mut self, of: &str, quantile: Quantile, target: Option<Target>) -> Self {
        self.waits.push(Wait { of: of.to_owned(), quantile, target });
        self
    }

    /// Measures all sides and computes the ratios. A side that fails is out; the others go on.
    pub(crate) async fn run(mut self, bench: &Bench) -> Fallible<Section> {
        let measured = Duration::from_secs_f64(bench.arguments.seconds * self.stretch);
        for side in &mut self.sides {
            bench.progress(&format!("{}: warming up {}", self.section.title, side.label));
            side.round(RUN_UP, WARM_UP).await;
        }
        let of = bench.arguments.rounds.min(self.rounds_max);
        for round in 1..=of {
            for side in &mut self.sides {
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
        for wait in &self.waits {
            let what = format!("{} of {}", wait.quantile.name(), wait.of);
            let side = self.find(&wait.of)?;
            let times: Vec<f64> =
                side.samples.iter().map(|sample| wait.quantile.of(sample) / 1000.0).collect();
            let finding = if side.failure.is_none() {
                Finding { unit: "ms", ..Finding::of_rounds(&what, &times, wait.target) }
            } else {
                Finding::not_measured(&what, wait.target, "the side failed")
            };
            self.section.findings.push(finding);
        }
        let failures = self.sides.iter().filter_map(|side| Some((&side.label, side.failure.as_ref()?)));
        let failures: Vec<_> = failures.map(|(label, failure)| format!("{label}: {failure}")).collect();
        if !failures.is_empty() {
            self.section.failure = Some(failures.join("; "));
        }
        for side in self.sides.iter().filter(|side| side.failure.is_none()) {
            self.section.sides.push(side_report(side, self.counted));
        }
        Ok(self.section)
    }

    fn find(&self, label: &str) -> Fallible<&Side> {
        let side = self.sides.iter().find(|side| side.label == label);
        side.ok_or_else(|| format!("no side is called {label}").into())
    }

    /// A side's rates, round by round; none if it failed.
    fn rates(&self, label: &str) -> Fallible<Option<Vec<f64>>> {
        let side = self.find(label)?;
        if side.failure.is_some() {
            return Ok(None);
        }
        Ok(Some(side.samples.iter().map(|sample| rate(sample, self.counted)).collect()))
    }
}

fn rate(sample: &Sample, counted: Counted) -> f64 {
    match counted {
        Counted::Calls => sample.calls_per_second,
        Counted::Rows(_) => sample.rows_per_second,
    }
}

fn side_report(side: &Side, counted: Counted) -> SideReport {
    let of = |pick: fn(&Sample) -> f64| median(&side.samples.iter().map(pick).collect::<Vec<_>>());
    let of_some = |pick: &dyn Fn(&Sample) -> Option<f64>| {
        let values: Vec<f64> = side.samples.iter().filter_map(pick).collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let rounds: Vec<f64> = side.samples.iter().map(|sample| rate(sample, counted)).collect();
    SideReport {
        side: side.label.clone(),
        in_flight: side.workers.len(),
        per_second: median(&rounds),
        unit: match counted {
            Counted::Calls => "calls",
            Counted::Rows(name) => name,
        },
        p50: of(|sample| sample.p50),
        p95: of(|sample| sample.p95),
        p99: of(|sample| sample.p99),
        server_cpu_each: of_some(&|sample| Some(sample.server_cpu? / rate(sample, counted))),
        flushes_per_second: of_some(&|sample| sample.flushes_per_second),
        rounds,
    }
}
