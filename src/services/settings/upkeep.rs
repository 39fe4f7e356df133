//! What the settings do by themselves: forget deletions whose time is over, in small steps.

use super::{Settings, SettingsService, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Deletions that one step forgets.
const ROWS_PER_STEP: u64 = 256;

/// Runs until `stopping` ends it.
pub async fn run(service: SettingsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let settings = &service.0;
    loop {
        tokio::select! {
            () = settings.clock.sleep_ms(settings.configuration.settings.sweep_ms) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if let Err(error) = settings.sweep().await {
            tracing::warn!(error = %error, "the settings' upkeep failed; it is tried again");
        }
    }
}

impl Settings {
    async fn sweep(&self) -> Result<()> {
        let retention_us = ms_to_us(self.configuration.settings.deleted_retention_ms);
        let until_us = self.clock.before_us(retention_us);
        loop {
            let step = self.storage.write(Durability::Relaxed, until_us, |tx, until_us| {
                Box::pin(store::forget(tx, *until_us, ROWS_PER_STEP))
            });
            if step.await? < ROWS_PER_STEP {
                return Ok(());
            }
        }
    }
}
