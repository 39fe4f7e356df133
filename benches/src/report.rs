//! The results as data: what the JSON file holds and the table shows.

use serde::{Serialize, Serializer};

use crate::contest::ON_SQLITE;
use crate::postgres::Facts;
use crate::statistics::{median, spread};

/// What the labels of the sidecar's sides begin with.
const SQLITE: &str = "pannier";
const POSTGRES: &str = "PostgreSQL";

/// One run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) pannier_version: String,
    pub(crate) started_unix_seconds: u64,
    pub(crate) took_seconds: f64,
    /// The part of the processors that other processes took during the run.
    pub(crate) others_share: Option<f64>,
    pub(crate) rounds: u32,
    pub(crate) seconds_a_round: f64,
    pub(crate) connections_a_side: u32,
    /// The server that `PostgreSQL` stands for, if there was one.
    pub(crate) postgres: Option<Facts>,
    /// The sidecar on SQLite and the one on PostgreSQL side by side.
    pub(crate) on_both: Vec<OnBoth>,
    pub(crate) notes: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// What the sidecar does on SQLite and on PostgreSQL, over TCP: medians over the rounds, times in microseconds.
#[derive(Serialize)]
pub(crate) struct OnBoth {
    pub(crate) title: String,
    /// Calls or rows.
    pub(crate) unit: &'static str,
    pub(crate) sqlite_per_second: f64,
    pub(crate) postgres_per_second: f64,
    /// PostgreSQL to SQLite: the median of the rounds' ratios.
    pub(crate) ratio: f64,
    /// The lowest and highest of them.
    pub(crate) spread: (f64, f64),
    pub(crate) sqlite_p50: f64,
    pub(crate) postgres_p50: f64,
    pub(crate) sqlite_p99: f64,
    pub(crate) postgres_p99: f64,
}

/// One table: sides that were measured together, and what follows from them.
#[derive(Serialize, Default)]
pub(crate) struct Section {
    pub(crate) workload: String,
    pub(crate) title: String,
    pub(crate) notes: Vec<String>,
    pub(crate) sides: Vec<SideReport>,
    pub(crate) findings: Vec<Finding>,
    /// Why it could not be measured.
    pub(crate) failure: Option<String>,
}

/// One side of a comparison: medians over the rounds. Times in microseconds.
#[derive(Serialize)]
pub(crate) struct SideReport {
    pub(crate) side: String,
    pub(crate) in_flight: usize,
    /// Calls, or rows where a call handles many.
    pub(crate) per_second: f64,
    pub(crate) unit: &'static str,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// Of the server's process, for a call or a row, whichever is counted.
    pub(crate) server_cpu_each: Option<f64>,
    pub(crate) flushes_per_second: Option<f64>,
    /// `per_second` of each round, in order.
    pub(crate) rounds: Vec<f64>,
}

/// A number with its target, if it has one.
#[derive(Serialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    /// None: not measured; see `note`.
    pub(crate) measured: Option<f64>,
    /// The lowest and highest of the rounds.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<Target>,
    pub(crate) verdict: Verdict,
    pub(crate) note: String,
}

/// What a number should be.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    Above(f64),
    Below(f64),
}

#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pass,
    /// Short of the target, on whichever side that is.
    Below,
    /// No target was set.
    Info,
    NotMeasured,
}

impl Section {
    /// What it says of SQLite and PostgreSQL, for each side that was measured on both.
    pub(crate) fn on_both(&self) -> Vec<OnBoth> {
        let pair = |sqlite: &SideReport| {
            let way = sqlite.side.strip_prefix(SQLITE)?;
            let postgres = self.sides.iter().find(|side| side.side.strip_prefix(POSTGRES) == Some(way))?;
            let is_only = sqlite.side == ON_SQLITE;
            let title = if is_only { self.title.clone() } else { format!("{}:{way}", self.title) };
            Some(OnBoth::of(title, sqlite, postgres))
        };
        self.sides.iter().filter_map(pair).collect()
    }
}

impl OnBoth {
    fn of(title: String, sqlite: &SideReport, postgres: &SideReport) -> Self {
        let ratios: Vec<f64> =
            postgres.rounds.iter().zip(&sqlite.rounds).map(|(postgres, sqlite)| postgres / sqlite).collect();
        Self {
            title,
            unit: sqlite.unit,
            sqlite_per_second: sqlite.per_second,
            postgres_per_second: postgres.per_second,
            ratio: median(&ratios),
            spread: spread(&ratios),
            sqlite_p50: sqlite.p50,
            postgres_p50: postgres.p50,
            sqlite_p99: sqlite.p99,
            postgres_p99: postgres.p99,
        }
    }
}

impl Target {
    fn verdict(self, measured: f64) -> Verdict {
        let met = match self {
            Self::AtLeast(bound) => measured >= bound,
            Self::Above(bound) => measured > bound,
            Self::Below(bound) => measured < bound,
        };
        if met { Verdict::Pass } else { Verdict::Below }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::Above(bound) => write!(f, "> {bound}"),
            Self::Below(bound) => write!(f, "< {bound}"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Finding {
    /// From the values of the rounds: their median counts.
    pub(crate) fn of_rounds(what: &str, values: &[f64], target: Option<Target>) -> Self {
        let mut finding = Self::number(what, median(values), "", target);
        finding.spread = Some(spread(values));
        finding
    }

    pub(crate) fn number(what: &str, measured: f64, unit: &'static str, target: Option<Target>) -> Self {
        Self {
            what: what.to_owned(),
            measured: Some(measured),
            spread: None,
            unit,
            target,
            verdict: target.map_or(Verdict::Info, |target| target.verdict(measured)),
            note: String::new(),
        }
    }

    pub(crate) fn not_measured(what: &str, target: Option<Target>, why: &str) -> Self {
        Self {
            what: what.to_owned(),
            measured: None,
            spread: None,
            unit: "",
            target,
            verdict: Verdict::NotMeasured,
            note: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::ON_POSTGRES;

    #[test]
    fn both_databases_are_compared_round_by_round() {
        let side = |label: &str, rounds: [f64; 3]| SideReport {
            side: label.to_owned(),
            in_flight: 1,
            per_second: median(&rounds),
            unit: "calls",
            p50: 1.0,
            p95: 2.0,
            p99: 3.0,
            server_cpu_each: None,
            flushes_per_second: None,
            rounds: rounds.to_vec(),
        };
        let mut section =
            Section { sides: vec![side(ON_SQLITE, [100.0, 200.0, 400.0])], ..Section::default() };
        assert!(section.on_both().is_empty());
        section.sides.push(side("PostgreSQL unix", [1.0, 1.0, 1.0]));
        section.sides.push(side(ON_POSTGRES, [50.0, 20.0, 80.0]));
        let both = section.on_both();
        let both: Vec<_> =
            both.iter().map(|both| (both.ratio, both.spread, both.sqlite_per_second)).collect();
        assert_eq!(both, [(0.2, (0.1, 0.5), 200.0)]);
    }

    #[test]
    fn verdicts() {
        assert_eq!(Target::AtLeast(0.85).verdict(0.85), Verdict::Pass);
        assert_eq!(Target::AtLeast(0.85).verdict(0.8), Verdict::Below);
        assert_eq!(Target::Above(1.0).verdict(1.0), Verdict::Below);
        assert_eq!(Target::Below(20.0).verdict(19.0), Verdict::Pass);
        let ratio = Finding::of_rounds("x", &[0.5, 0.9, 0.8], Some(Target::AtLeast(0.7)));
        assert_eq!((ratio.measured, ratio.verdict), (Some(0.8), Verdict::Pass));
    }
}
