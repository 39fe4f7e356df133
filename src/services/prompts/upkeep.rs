//! What the prompts do by themselves: retention by age and by count, of whole prompts or of their bodies, and deletion of names without
//! prompts, at the start and from time to time. Always in small steps, so that no write waits long.

use super::domain::{Cut, Goes};
use super::{Prompts, PromptsService, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Runs until `stopping` ends it.
pub async fn run(service: PromptsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let prompts = &service.0;
    loop {
        tokio::select! {
            retained = prompts.maintain() => {
                if let Err(error) = retained {
                    tracing::warn!(error = %error, "the prompts' retention failed; it is tried again");
                }
            }
            // A step that has begun is finished by the engine; the next start goes on from there.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            () = prompts.clock.sleep_ms(prompts.settings.prompts.retention_interval_ms) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Prompts {
    async fn maintain(&self) -> Result<()> {
        self.retain().await?;
        self.free_names().await
    }

    /// Deletes names that no prompt has any more, a few at a time.
    async fn free_names(&self) -> Result<()> {
        let mut after = Some(0);
        while let Some(from) = after {
            let read = self.storage.read((), move |db, ()| Box::pin(store::unused_names(db, from)));
            let (unused, last) = read.await?;
            if !unused.is_empty() {
                let free = self.storage.write(Durability::Relaxed, unused, |tx, unused| {
                    Box::pin(async move { store::free_names(tx, unused).await })
                });
                free.await?;
            }
            after = last;
        }
        self.names.reset();
        Ok(())
    }

    /// Has everything go whose time is over by the settings.
    async fn retain(&self) -> Result<()> {
        let settings = &self.settings.prompts;
        let before = |age_ms: u64| (age_ms > 0).then(|| Cut::before(self.clock.before_us(ms_to_us(age_ms))));
        let count_max = settings.retention_count_max;
        let keep = (count_max > 0).then(|| i64::try_from(count_max).unwrap_or(i64::MAX));
        let of_age = before(settings.retention_age_ms);
        let prompts = self.prune_to(of_age, keep, Goes::All, Durability::Relaxed).await?;
        let of_age = before(settings.retention_bodies_age_ms);
        let bodies = self.prune_to(of_age, None, Goes::Bodies, Durability::Relaxed).await?;
        if prompts > 0 || bodies > 0 {
            tracing::info!(prompts, bodies, "prompts whose retention is over were deleted");
        }
        Ok(())
    }
}
