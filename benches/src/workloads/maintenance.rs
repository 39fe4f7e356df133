//! Saves beside a Prune of 10,000 prompts: how long a step of maintenance keeps the writer from others.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use pannier_proto::prompts::v1::PruneRequest;

use super::prompts::{Server, Size, filled};
use crate::Fallible;
use crate::bench::Bench;
use crate::report::{Finding, Section, Target};
use crate::sidecar::Via;
use crate::workers::prompts::Prompter;

const PRUNED: i64 = 10_000;
const SIZE: Size = Size { name: "12k", prompts: 12_000 };
/// How long saves are measured without a Prune.
const QUIET: Duration = Duration::from_secs(3);
/// A step of maintenance holds the writer for at most this time.
const STEP_MS: f64 = 10.0;

pub(super) async fn run(bench: &Bench) -> Fallible<Vec<Section>> {
    let launch = bench.launch(&bench.folder("maintenance"), &[]);
    let mut sections = vec![beside_prune(bench, "pannier", &launch).await?];
    if let Some(launch) = bench.launch_on_postgres("maintenance", &[]).await? {
        sections.push(beside_prune(bench, "PostgreSQL", &launch).await?);
    }
    Ok(sections)
}

async fn beside_prune(bench: &Bench, name: &str, launch: &crate::sidecar::Launch) -> Fallible<Section> {
    let start_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let Server { sidecar, history, .. } = filled(bench, name, launch, SIZE, start_us).await?;
    let mut saver = Prompter::new(sidecar.connect(Via::Tcp).await?, &history);
    let (quiet, ()) = saves_during(&mut saver, async {
        tokio::time::sleep(QUIET).await;
        Ok(())
    })
    .await?;
    let mut pruner = Prompter::new(sidecar.connect(Via::Tcp).await?, &history);
    let began = Instant::now();
    let (beside, pruned) = saves_during(&mut saver, async {
        // Of those that were there; each save meanwhile pushes one more out, and is not waited for.
        let keep = SIZE.prompts as i64 + quiet.len() as i64 - PRUNED;
        let request = PruneRequest { keep_newest: Some(keep), ..PruneRequest::default() };
        let answer = pruner.client.prune(request).await.map_err(|status| status.message().to_owned())?;
        Ok(answer.into_inner().pruned_count)
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    sidecar.stop().await?;
    if pruned < PRUNED {
        return Err(format!("{pruned} of {PRUNED} prompts were pruned").into());
    }
    let ms = |saves: &Histogram<u64>, quantile| saves.value_at_quantile(quantile) as f64 / 1_000.0;
    let finding = |what: &str, value, target| Finding::number(what, value, "ms", target);
    let longer = ms(&beside, 0.95) - ms(&quiet, 0.95);
    Ok(Section {
        workload: "maintenance".to_owned(),
        title: format!("{name}: a save beside a Prune of {PRUNED} prompts, 1 in flight"),
        notes: vec![format!(
            "{} saves before, {} beside it; the Prune took {seconds:.1} s",
            quiet.len(),
            beside.len()
        )],
        findings: vec![
            finding("p50 before", ms(&quiet, 0.5), None),
            finding("p95 before", ms(&quiet, 0.95), None),
            finding("p50 beside it", ms(&beside, 0.5), None),
            finding("p95 beside it", ms(&beside, 0.95), None),
            finding("p95 beside it, longer than before", longer, Some(Target::Below(STEP_MS))),
            finding("the longest beside it", ms(&beside, 1.0), None),
        ],
        ..Section::default()
    })
}

/// The times of saves, one after the other, until the other is done, in microseconds.
async fn saves_during<T>(
    saver: &mut Prompter,
    other: impl Future<Output = Fallible<T>>,
) -> Fallible<(Histogram<u64>, T)> {
    let mut took = Histogram::new(3)?;
    let mut other = std::pin::pin!(other);
    loop {
        let began = Instant::now();
        let save = saver.save();
        let mut save = std::pin::pin!(save);
        let (saved, ended) = tokio::select! {
            saved = &mut save => (saved, None),
            ended = &mut other => (save.await, Some(ended?)),
        };
        saved?;
        took.record(began.elapsed().as_micros() as u64)?;
        if let Some(ended) = ended {
            return Ok((took, ended));
        }
    }
}
