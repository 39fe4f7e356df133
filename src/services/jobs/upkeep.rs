//! What the jobs do by themselves: remove those whose retention is over, and the results that removed ones leave behind. Always
//! in small steps, so that no write waits long.

use super::{Jobs, JobsService, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Results that one step removes.
const RESULTS_PER_STEP: i64 = 256;

/// Jobs that one step removes.
const JOBS_PER_STEP: u64 = 64;

/// Runs until `stopping` ends it.
pub async fn run(service: JobsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let jobs = &service.0;
    loop {
        tokio::select! {
            () = jobs.clock.sleep_ms(jobs.settings.jobs.sweep_ms) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            swept = jobs.sweep() => {
                if let Err(error) = swept {
                    tracing::warn!(error = %error, "the jobs' upkeep failed; it is tried again");
                }
            }
            // A step that has begun is finished by the engine; the next start goes on from there.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Jobs {
    /// Removes what has to go. Mostly that is nothing, which is found out by a read: the writer is left alone.
    async fn sweep(&self) -> Result<()> {
        let retention_ms = self.settings.jobs.retention_ms;
        let until_us = match retention_ms {
            0 => i64::MIN,
            _ => self.clock.before_us(ms_to_us(retention_ms)),
        };
        let due = self.storage.read(until_us, |db, until_us| Box::pin(store::due(db, *until_us))).await?;
        if due.has_ended {
            while self.retire_step(until_us).await? == JOBS_PER_STEP {}
        }
        if due.has_ended || due.has_remains {
            while self.remains_step().await? {}
        }
        Ok(())
    }

    async fn retire_step(&self, until_us: i64) -> Result<u64> {
        self.storage
            .write(Durability::Relaxed, until_us, |tx, until_us| {
                Box::pin(store::retire(tx, *until_us, JOBS_PER_STEP))
            })
            .await
    }

    async fn remains_step(&self) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, (), |tx, ()| Box::pin(store::remove_remains(tx, RESULTS_PER_STEP)))
            .await
    }
}
