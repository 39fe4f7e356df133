//! What the records do by themselves: build indexes that were declared; remove tombstones whose time is over, what deleted collections and dropped indexes leave
//! behind, and clients that were not seen for long. Always in small steps, so that no write waits long.

use super::{Records, RecordsService, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Runs until `stopping` ends it.
pub async fn run(service: RecordsService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let records = &service.0;
    loop {
        tokio::select! {
            () = records.clock.sleep_ms(records.settings.records.sweep_ms) => {}
            () = records.indexing.notified() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            swept = records.sweep() => {
                if let Err(error) = swept {
                    tracing::warn!(error = %error, "the records' upkeep failed; it is tried again");
                }
            }
            // A step that has begun is finished by the engine; the next start goes on from there.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Records {
    /// Who was not seen since then is forgotten.
    pub(super) fn unseen_since_us(&self) -> i64 {
        self.clock.before_us(ms_to_us(self.settings.records.client_retention_ms))
    }

    /// Builds what is to be there and removes what has to go. Mostly that is nothing, which is found out by a read: the writer is left alone.
    async fn sweep(&self) -> Result<()> {
        let unseen_since_us = self.unseen_since_us();
        let retention_us = self.context.bounds.tombstone_retention_us;
        let due = self
            .storage
            .read(self.clock.clone(), move |db, clock| {
                Box::pin(store::due(db, clock, retention_us, unseen_since_us))
            })
            .await?;
        for (collection_id, until_us) in due.collections {
            while self.purge_step(collection_id, until_us).await? {}
        }
        if due.has_remains {
            while self.remains_step().await? {}
        }
        if due.has_unbuilt {
            while self.build_step().await? {}
        }
        if due.has_clients {
            while self.client_step(unseen_since_us).await? {}
        }
        Ok(())
    }

    async fn purge_step(&self, collection_id: i64, until_us: i64) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, (), move |tx, ()| Box::pin(store::purge(tx, collection_id, until_us)))
            .await
    }

    async fn remains_step(&self) -> Result<bool> {
        self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::remove_remains(tx))).await
    }

    async fn build_step(&self) -> Result<bool> {
        self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::build_index(tx))).await
    }

    async fn client_step(&self, unseen_since_us: i64) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, (), move |tx, ()| Box::pin(store::forget_client(tx, unseen_since_us)))
            .await
    }
}
