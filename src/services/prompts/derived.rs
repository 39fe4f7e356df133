//! What is derived from prompts and is kept up in the background: numbers that are added up for statistics, and the index of words
//! where it is not filled, as after an import of a whole database. Always in small steps, so that no write waits long.

use super::{Prompts, PromptsService, store};
use crate::error::Result;
use crate::storage::Durability;

/// Runs until `stopping` ends it.
pub async fn run(service: PromptsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let prompts = &service.0;
    loop {
        tokio::select! {
            derived = prompts.derive() => {
                if let Err(error) = derived {
                    tracing::warn!(error = %error, "the prompts' numbers or their index could not be kept up; it is tried again");
                }
            }
            // A step that has begun is finished by the engine; the next start goes on from there.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            () = prompts.clock.sleep_ms(prompts.settings.prompts.stats_interval_ms) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Prompts {
    /// Does what there is to do. Mostly that is nothing, which is found out by a read: the writer is left alone.
    async fn derive(&self) -> Result<()> {
        let look = self.storage.read((), |db, ()| {
            Box::pin(async move { Ok((store::has_changes(db).await?, store::is_filling(db).await?)) })
        });
        let (has_changes, is_filling) = look.await?;
        if has_changes {
            while self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::add_up(tx))).await? {}
        }
        if is_filling {
            tracing::info!("prompts are put into the index of words");
            while self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::fill(tx))).await? {}
            tracing::info!("all prompts are in the index of words");
        }
        Ok(())
    }
}
