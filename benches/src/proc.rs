//! What Linux tells of a process and of the disks: memory, processor time, completed flushes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::time::Instant;

use crate::Fallible;

/// Clock ticks a second in /proc/<pid>/stat: 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Resident memory in bytes, exact (the figure in /proc/<pid>/status lags behind by up to some pages a thread).
pub(crate) fn resident_bytes(pid: u32) -> Fallible<u64> {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// The most resident memory that the process ever had.
pub(crate) fn peak_resident_bytes(pid: u32) -> Fallible<u64> {
    kibibytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn kibibytes(path: &str, field: &str) -> Fallible<u64> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    number.map(|n| n * 1024).ok_or_else(|| format!("{path} has no {field}").into())
}

/// Processor seconds of all threads, past ones included; in steps of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; utime and stime are the 12th and 13th after it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (user, system) = (fields.get(11)?.parse::<f64>().ok()?, fields.get(12)?.parse::<f64>().ok()?);
    Some((user + system) / TICKS)
}

/// Processor time of a process to the nanosecond, for one that uses less than a tick. Linux tells it by thread, and forgets
/// threads that end: ask often, so that little is lost with them.
pub(crate) struct FineCpu {
    pid: u32,
    threads: HashMap<OsString, u64>,
    nanoseconds: u64,
}

impl FineCpu {
    /// Counts from now.
    pub(crate) fn start(pid: u32) -> Fallible<Self> {
        Ok(Self { pid, threads: thread_nanoseconds(pid)?, nanoseconds: 0 })
    }

    /// Seconds used so far.
    pub(crate) fn seconds(&mut self) -> Fallible<f64> {
        let now = thread_nanoseconds(self.pid)?;
        let since = |thread, used: &u64| used.saturating_sub(self.threads.get(thread).copied().unwrap_or(0));
        self.nanoseconds += now.iter().map(|(thread, used)| since(thread, used)).sum::<u64>();
        self.threads = now;
        Ok(self.nanoseconds as f64 / 1e9)
    }
}

fn thread_nanoseconds(pid: u32) -> Fallible<HashMap<OsString, u64>> {
    let mut threads = HashMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // A thread that ended in between has no file any more.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let used = text.split_whitespace().next().and_then(|n| n.parse().ok());
        threads.insert(task.file_name(), used.ok_or("schedstat is not what it was")?);
    }
    Ok(threads)
}

/// Flushes that the busiest block device has completed, where the kernel counts them (5.5 and later).
pub(crate) fn flushes() -> Option<u64> {
    let text = fs::read_to_string("/proc/diskstats").ok()?;
    text.lines().filter_map(|line| line.split_whitespace().nth(18)?.parse::<u64>().ok()).max()
}

/// Measures how busy the machine was with what is no part of the benchmark.
pub(crate) struct Others {
    since: Instant,
    ticks: f64,
}

impl Others {
    /// Counts from now; None where Linux does not tell.
    pub(crate) fn start() -> Option<Self> {
        Some(Self { since: Instant::now(), ticks: foreign_ticks()? })
    }

    /// The part of the machine's processors, 0 to 1, that other processes (or other guests of the host) took.
    pub(crate) fn share(&self) -> Option<f64> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = self.since.elapsed().as_secs_f64() * TICKS * cores;
        Some(((foreign_ticks()? - self.ticks) / all).clamp(0.0, 1.0))
    }
}

/// Busy and stolen ticks of the machine, less those of this process and of the children that it has waited for.
fn foreign_ticks() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    // user nice system idle iowait irq softirq steal
    let fields: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let busy: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum();
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let own: f64 = fields.get(11..15)?.iter().filter_map(|n| n.parse::<f64>().ok()).sum();
    Some(busy - own)
}

/// A line about the machine for the head of the report.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).is_ok_and(|bytes| bytes > 100_000));
        assert!(peak_resident_bytes(pid).is_ok_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds(pid).is_some());
        assert!(Others::start().is_some_and(|others| others.share().is_some()));
        assert!(FineCpu::start(pid).is_ok_and(|mut cpu| cpu.seconds().is_ok_and(|seconds| seconds >= 0.0)));
    }
}
