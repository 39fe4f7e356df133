//! What the uploads do by themselves: remove reservations that ran out, and the errors that deleted sessions leave behind. Always
//! in small steps, so that no write waits long.

use super::{Uploads, UploadsService, store};
use crate::error::Result;
use crate::storage::Durability;

/// Runs until `stopping` ends it.
pub async fn run(service: UploadsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let uploads = &service.0;
    loop {
        tokio::select! {
            () = uploads.clock.sleep_ms(uploads.settings.uploads.sweep_ms) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            swept = uploads.sweep() => {
                if let Err(error) = swept {
                    tracing::warn!(error = %error, "the uploads' upkeep failed; it is tried again");
                }
            }
            // A step that has begun is finished by the engine; the next start goes on from there.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Uploads {
    /// Removes what has to go. Mostly that is nothing, which is found out by a read: the writer is left alone.
    async fn sweep(&self) -> Result<()> {
        let now_us = self.clock.steady().before_us(0);
        let due = self.storage.read(now_us, |db, now_us| Box::pin(store::due(db, *now_us))).await?;
        if due.has_expired {
            while self.expired_step(now_us).await? {}
        }
        if due.has_remains {
            while self.remains_step().await? {}
        }
        Ok(())
    }

    async fn expired_step(&self, now_us: i64) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, now_us, |tx, now_us| Box::pin(store::remove_expired(tx, *now_us)))
            .await
    }

    async fn remains_step(&self) -> Result<bool> {
        self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::remove_remains(tx))).await
    }
}
