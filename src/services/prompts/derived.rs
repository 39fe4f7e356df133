//! What is derived from prompts and is kept up in the background: numbers that are added up for statistics, and the index of words
//! where it is not filled, as after an import of a whole database. Always in small steps, so that no write waits long.

use super::api::REST_MAX;
use super::{Prompts, PromptsService, store};
use crate::clock;
use crate::convert::prepared;
use crate::error::{Error, Result};
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
            self.add_up().await?;
            self.merge().await?;
        }
        if is_filling {
            tracing::info!("prompts are put into the index of words");
            self.fill().await?;
            tracing::info!("all prompts are in the index of words");
        }
        Ok(())
    }

    async fn add_up(&self) -> Result<()> {
        loop {
            let began = clock::instant();
            let length = self.step_length();
            let step = self
                .storage
                .write(Durability::Relaxed, (), move |tx, ()| Box::pin(store::add_up(tx, length)));
            if !step.await? {
                return Ok(());
            }
            self.rest(began).await;
        }
    }

    /// Merges segments of the full-text index that saves and deletions have left, for a fifth of the time: after a large import the merges
    /// take seconds, and reads share the processors with them.
    async fn merge(&self) -> Result<()> {
        loop {
            let length = self.step_length();
            let step =
                self.storage.write(Durability::Relaxed, (), move |tx, ()| Box::pin(store::merge(tx, length)));
            if !step.await? {
                return Ok(());
            }
            self.clock.rest(REST_MAX).await;
        }
    }

    /// Reads texts and cuts their words beside the writer, which only puts them in.
    async fn fill(&self) -> Result<()> {
        while let Some(unfilled) = self.storage.read((), |db, ()| Box::pin(store::unfilled(db))).await? {
            let bytes = unfilled.bytes();
            let filling = prepared(bytes, move || Ok::<_, Error>(unfilled.cut())).await?;
            let began = clock::instant();
            let length = self.step_length();
            let step = self.storage.write(Durability::Relaxed, filling, move |tx, filling| {
                Box::pin(store::fill(tx, filling, length))
            });
            step.await?;
            self.rest(began).await;
        }
        Ok(())
    }
}
