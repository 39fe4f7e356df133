//! The closed loop: N workers, each with one operation under way, for a stated time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{Fallible, proc};

/// What one in-flight worker does, call after call.
#[tonic::async_trait]
pub(crate) trait Worker: Send {
    /// Makes ready for a round.
    async fn begin(&mut self) -> Fallible<()> {
        Ok(())
    }

    /// Does its work once. Whatever is not the expected answer is a failure.
    async fn perform(&mut self) -> Fallible<Done>;

    /// Finishes what is under way at the end of a round.
    async fn rest(&mut self) -> Fallible<()> {
        Ok(())
    }

    /// That what was acknowledged is there.
    async fn verify(&mut self) -> Fallible<()> {
        Ok(())
    }
}

#[tonic::async_trait]
impl Worker for Box<dyn Worker> {
    async fn begin(&mut self) -> Fallible<()> {
        (**self).begin().await
    }

    async fn perform(&mut self) -> Fallible<Done> {
        (**self).perform().await
    }

    async fn rest(&mut self) -> Fallible<()> {
        (**self).rest().await
    }

    async fn verify(&mut self) -> Fallible<()> {
        (**self).verify().await
    }
}

/// What was done at once.
pub(crate) struct Done {
    /// Rows (keys, items, tasks) handled.
    rows: u64,
    took: Took,
}

/// The time that counts among the latencies.
enum Took {
    /// All of it.
    Whole,
    /// A part, which the worker has measured.
    Part(Duration),
    /// None: a chore.
    Nothing,
}

impl Done {
    /// So many rows; the whole time counts.
    pub(crate) fn rows(rows: u64) -> Self {
        Self { rows, took: Took::Whole }
    }

    /// So many rows; of the time, this counts.
    pub(crate) fn timed(rows: u64, part: Duration) -> Self {
        Self { rows, took: Took::Part(part) }
    }

    /// So many rows; the time does not count.
    pub(crate) fn untimed(rows: u64) -> Self {
        Self { rows, took: Took::Nothing }
    }
}

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
    /// Processor time of the server process, in microseconds a second.
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

    fn count(&mut self, window: Window, started: Instant, ended: Instant, done: &Done) -> Fallible<()> {
        let within = ended.min(window.until).saturating_duration_since(started.max(window.from));
        let took = ended.duration_since(started);
        if within.is_zero() {
            return Ok(());
        }
        let part = within.as_secs_f64() / took.as_secs_f64();
        self.calls += part;
        self.rows += part * done.rows as f64;
        // A latency has no parts: each call that touches the window counts.
        let latency = match done.took {
            Took::Whole => took,
            Took::Part(part) => part,
            Took::Nothing => return Ok(()),
        };
        Ok(self.nanoseconds.record(latency.as_nanos() as u64)?)
    }
}

/// Runs all workers, `warm_up` unmeasured and then `measured`. The first failed call ends the round with its failure.
pub(crate) async fn round(
    workers: &mut Vec<Box<dyn Worker>>,
    server: Option<u32>,
    warm_up: Duration,
    measured: Duration,
) -> Fallible<Sample> {
    let from = Instant::now() + warm_up;
    let window = Window { from, until: from + measured };
    let mut running = JoinSet::new();
    for worker in workers.drain(..) {
        running.spawn(drive(worker, window));
    }
    let counters = || (server.and_then(proc::cpu_seconds), proc::flushes());
    tokio::time::sleep_until(window.from.into()).await;
    let (cpu_before, flushes_before) = counters();
    tokio::time::sleep_until(window.until.into()).await;
    let (cpu_after, flushes_after) = counters();

    let mut total = Tally::new()?;
    while let Some(ended) = running.join_next().await {
        let (worker, tally) = ended??;
        workers.push(worker);
        total.calls += tally.calls;
        total.rows += tally.rows;
        total.nanoseconds.add(&tally.nanoseconds)?;
    }
    if total.calls == 0.0 {
        return Err("no call was under way in the time measured".into());
    }
    let seconds = measured.as_secs_f64();
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| (after - before) * 1e6 / seconds);
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

async fn drive(mut worker: Box<dyn Worker>, window: Window) -> Fallible<(Box<dyn Worker>, Tally)> {
    let mut tally = Tally::new()?;
    worker.begin().await?;
    let mut started = Instant::now();
    while started < window.until {
        let done = worker.perform().await?;
        let ended = Instant::now();
        tally.count(window, started, ended, &done)?;
        started = ended;
    }
    worker.rest().await?;
    Ok((worker, tally))
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
        tally.count(window, at(0), at(90), &Done::rows(10)).unwrap();
        assert_eq!(tally.calls, 0.0);
        tally.count(window, at(90), at(110), &Done::rows(10)).unwrap();
        tally.count(window, at(110), at(190), &Done::rows(10)).unwrap();
        tally.count(window, at(190), at(230), &Done::rows(10)).unwrap();
        assert!((tally.calls - 1.75).abs() < 1e-9 && (tally.rows - 17.5).abs() < 1e-9);
        assert_eq!(tally.nanoseconds.len(), 3);
        tally.count(window, at(110), at(190), &Done::untimed(10)).unwrap();
        assert_eq!(tally.nanoseconds.len(), 3);
        tally.count(window, at(110), at(190), &Done::timed(10, Duration::from_micros(5))).unwrap();
        assert_eq!(tally.nanoseconds.min(), 5_000);
    }
}
