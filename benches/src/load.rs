//! The closed loop: N workers, each with one operation under way, for a stated time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::operations::Operation;
use crate::{Fallible, proc};

/// What one side did in one round.
pub(crate) struct Sample {
    /// Calls completed a second.
    pub(crate) calls_per_second: f64,
    /// Rows (keys, items) handled a second; for single calls the same.
    pub(crate) rows_per_second: f64,
    /// Of calls, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    /// Processor time of the server process per call, in microseconds.
    pub(crate) server_cpu: Option<f64>,
    /// Flushes a second that the disk completed meanwhile.
    pub(crate) flushes_per_second: Option<f64>,
}

/// A call that is under way at an edge of the window counts by the part of its time that lies within: else a few long
/// calls in a short window would make steps.
struct Tally {
    calls: f64,
    rows: f64,
    nanoseconds: Histogram<u64>,
}

/// The time that counts.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Tally {
    fn new() -> Fallible<Self> {
        Ok(Self { calls: 0.0, rows: 0.0, nanoseconds: Histogram::new(3)? })
    }

    fn count(&mut self, window: Window, started: Instant, ended: Instant, rows: u64) -> Fallible<()> {
        let within = ended.min(window.until).saturating_duration_since(started.max(window.from));
        let took = ended.duration_since(started);
        if within.is_zero() {
            return Ok(());
        }
        let part = within.as_secs_f64() / took.as_secs_f64();
        self.calls += part;
        self.rows += part * rows as f64;
        // A latency has no parts: each call that touches the window counts.
        Ok(self.nanoseconds.record(took.as_nanos() as u64)?)
    }
}

/// Runs all workers, `warm_up` unmeasured and then `measured`. The first failed call ends the round with its failure.
pub(crate) async fn round(
    workers: &mut Vec<Operation>,
    server: Option<u32>,
    warm_up: Duration,
    measured: Duration,
) -> Fallible<Sample> {
    let from = Instant::now() + warm_up;
    let window = Window { from, until: from + measured };
    let mut running = JoinSet::new();
    for operation in workers.drain(..) {
        running.spawn(drive(operation, window));
    }
    let counters = || (server.and_then(proc::cpu_seconds), proc::flushes());
    tokio::time::sleep_until(window.from.into()).await;
    let (cpu_before, flushes_before) = counters();
    tokio::time::sleep_until(window.until.into()).await;
    let (cpu_after, flushes_after) = counters();

    let mut total = Tally::new()?;
    while let Some(ended) = running.join_next().await {
        let (operation, tally) = ended??;
        workers.push(operation);
        total.calls += tally.calls;
        total.rows += tally.rows;
        total.nanoseconds.add(&tally.nanoseconds)?;
    }
    if total.nanoseconds.is_empty() {
        return Err("no call was under way in the time measured".into());
    }
    let seconds = measured.as_secs_f64();
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| (after - before) * 1e6 / total.calls);
    let flushes = flushes_before.zip(flushes_after).map(|(before, after)| (after - before) as f64 / seconds);
    let microseconds = |quantile| total.nanoseconds.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Sample {
        calls_per_second: total.calls / seconds,
        rows_per_second: total.rows / seconds,
        p50: microseconds(0.50),
        p95: microseconds(0.95),
        p99: microseconds(0.99),
        server_cpu: cpu,
        flushes_per_second: flushes,
    })
}

async fn drive(mut operation: Operation, window: Window) -> Fallible<(Operation, Tally)> {
    let mut tally = Tally::new()?;
    let mut started = Instant::now();
    while started < window.until {
        let rows = operation.perform().await?;
        let ended = Instant::now();
        tally.count(window, started, ended, rows)?;
        started = ended;
    }
    Ok((operation, tally))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_across_the_edge_counts_in_part() {
        let from = Instant::now();
        let at = |milliseconds| from + Duration::from_millis(milliseconds);
        let window = Window { from: at(100), until: at(200) };
        let mut tally = Tally::new().unwrap();
        tally.count(window, at(0), at(90), 10).unwrap();
        assert_eq!(tally.calls, 0.0);
        tally.count(window, at(90), at(110), 10).unwrap();
        tally.count(window, at(110), at(190), 10).unwrap();
        tally.count(window, at(190), at(230), 10).unwrap();
        assert!((tally.calls - 1.75).abs() < 1e-9 && (tally.rows - 17.5).abs() < 1e-9);
        assert_eq!(tally.nanoseconds.len(), 3);
    }
}
