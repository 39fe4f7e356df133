//! A million puts into a namespace that may hold a tenth of them: what the process's memory does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pannier_proto::cache::v1::cache_service_client::CacheServiceClient;
use pannier_proto::cache::v1::namespace::DefaultExpiry;
use pannier_proto::cache::v1::{Namespace, StatsRequest, UpdateNamespaceRequest};
use pannier_proto::durability::v1::Durability;
use prost_types::FieldMask;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::bench::Bench;
use crate::material::{Material, NAMESPACE};
use crate::report::{Finding, Section, Target};
use crate::sidecar::{Sidecar, Via};
use crate::workers::cache::Caller;
use crate::{Fallible, proc};

const KEPT: i64 = 100_000;
const VALUE: usize = 256;
const BATCH: u64 = 1000;
/// Single puts after each batch: both ways in are used.
const SINGLES: u64 = 10;
const CALLERS: u32 = 4;
const MEGABYTE: f64 = 1e6;
/// How long the namespace may take to come down to its limit.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let puts = bench.arguments.memory_puts;
    let title = format!("{puts} puts of {VALUE} bytes into a namespace of at most {KEPT} entries");
    let mut section = Section { workload: "memory".to_owned(), title, ..Section::default() };
    let data = bench.folder("memory");
    let sidecar = Sidecar::start(&bench.launch(&data, &[])).await?;
    let channel = sidecar.connect(Via::Unix).await?;
    limit_namespace(&channel).await?;
    let at_start = proc::resident_bytes(sidecar.pid())?;

    let done = Arc::new(AtomicBool::new(false));
    let sampler = tokio::spawn(sample(sidecar.pid(), Arc::clone(&done)));
    let started = Instant::now();
    let made = put_all(bench, &channel, puts).await?;
    let seconds = started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    let samples = sampler.await?;

    let entries = settled_entries(&channel).await?;
    let at_end = proc::resident_bytes(sidecar.pid())?;
    let peak = proc::peak_resident_bytes(sidecar.pid())?;
    let megabytes = |what: &str, bytes: u64| Finding::number(what, bytes as f64 / MEGABYTE, "MB", None);
    let halves = samples.split_at(samples.len() / 2);
    let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
    let mut reached = Finding::number("puts made", made as f64, "", Some(Target::AtLeast(puts as f64)));
    if made < puts {
        reached.note = format!("stopped after {seconds:.0} s; --memory-seconds gives it longer");
    }
    section.findings = vec![
        reached,
        megabytes("resident at the start", at_start),
        megabytes("most in the first half", most(halves.0)),
        megabytes("most in the second half", most(halves.1)),
        megabytes("peak", peak),
        megabytes("resident at the end", at_end),
        Finding::number("entries kept", entries as f64, "", None),
        Finding::number("puts a second", made as f64 / seconds, "", None),
        megabytes("files at the end", size_of(&data)?),
    ];
    section.notes.push(format!(
        "{CALLERS} callers over the Unix socket; BatchPut of {BATCH}, then {SINGLES} single Puts; took {seconds:.1} s"
    ));
    sidecar.stop().await?;
    Ok(vec![section])
}

async fn limit_namespace(channel: &Channel) -> Fallible<()> {
    let namespace = Namespace {
        name: NAMESPACE.to_owned(),
        entries_max: KEPT,
        default_expiry: Some(DefaultExpiry::NeverExpires(true)),
        ..Namespace::default()
    };
    let update_mask = Some(FieldMask { paths: vec!["entries_max".to_owned(), "default_expiry".to_owned()] });
    let request =
        UpdateNamespaceRequest { namespace: Some(namespace), update_mask, request_id: String::new() };
    let answer = CacheServiceClient::new(channel.clone()).update_namespace(request).await;
    answer.map(drop).map_err(|status| format!("UpdateNamespace: {}", status.message()).into())
}

/// Puts them all, or as many as the time allows; gives how many.
async fn put_all(bench: &Bench, channel: &Channel, puts: u64) -> Fallible<u64> {
    let left = Arc::new(AtomicU64::new(puts));
    let until = Instant::now() + Duration::from_secs(bench.arguments.memory_seconds);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let caller = Caller::new(channel.clone(), bench.material(VALUE, 1));
        callers.spawn(put_share(caller, bench.material(VALUE, 1), Arc::clone(&left), until));
    }
    let mut shown = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(ended) => ended??,
                None => return Ok(puts - left.load(Ordering::Relaxed)),
            },
            _ = shown.tick() => {
                bench.progress(&format!("{} of {puts} puts left", left.load(Ordering::Relaxed)));
            }
        }
    }
}

/// Takes shares of what is left until nothing is, or the time is over.
async fn put_share(
    mut caller: Caller,
    mut material: Material,
    left: Arc<AtomicU64>,
    until: Instant,
) -> Fallible<()> {
    while Instant::now() < until {
        let batch = take(&left, BATCH);
        if batch == 0 {
            break;
        }
        let items = (0..batch).map(|_| material.new_item()).collect();
        caller.write_all(items).await?;
        for _ in 0..take(&left, SINGLES) {
            caller.write(material.new_item(), Durability::Full).await?;
        }
    }
    Ok(())
}

/// So many of what is left, or all that is.
fn take(left: &AtomicU64, wanted: u64) -> u64 {
    let less = |left: u64| Some(left.saturating_sub(wanted));
    // The closure never gives None: what comes back is always the former value.
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0).min(wanted)
}

/// Resident bytes, ten times a second.
async fn sample(pid: u32, done: Arc<AtomicBool>) -> Vec<u64> {
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !done.load(Ordering::Relaxed) {
        tick.tick().await;
        samples.extend(proc::resident_bytes(pid));
    }
    samples
}

/// The entries once the namespace keeps its limit, or after the time it has for that.
async fn settled_entries(channel: &Channel) -> Fallible<i64> {
    let mut client = CacheServiceClient::new(channel.clone());
    let since = Instant::now();
    loop {
        let answer = client.stats(StatsRequest { namespace: NAMESPACE.to_owned() }).await;
        let stats = answer.map_err(|status| format!("Stats: {}", status.message()))?.into_inner().stats;
        let entries = stats.ok_or("Stats answered without numbers")?.entry_count;
        if entries <= KEPT || since.elapsed() > SETTLE {
            return Ok(entries);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn size_of(folder: &std::path::Path) -> Fallible<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
