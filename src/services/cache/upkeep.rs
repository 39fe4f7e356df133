//! What the cache does by itself: writes gathered accesses and counts, removes what has expired, brings namespaces back
//! within limits that were lowered, finishes the deletion of namespaces. Always in small steps, so that no write waits long.

use std::sync::Arc;

use super::domain::Reads;
use super::store::{self, Access};
use super::{Cache, CacheService};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Rows that one step writes or removes.
const ROWS_PER_STEP: usize = 256;

/// Runs until it is dropped. `stopping` ends it after a last flush.
pub async fn run(service: CacheService, mut stopping: tokio::sync::watch::Receiver<bool>) {
    let cache = &service.0;
    let (flush_ms, sweep_ms) = (cache.settings.cache.access_flush_ms, cache.settings.cache.sweep_ms);
    let mut next_sweep_us = cache.clock.now_us();
    let mut next_us = next_sweep_us.saturating_add(ms_to_us(flush_ms.min(sweep_ms)));
    loop {
        let is_stopping = tokio::select! {
            () = cache.clock.sleep_until(next_us) => false,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        };
        // From its beginning to the next one's, however long it takes.
        let now_us = cache.clock.now_us();
        next_us = now_us.saturating_add(ms_to_us(flush_ms.min(sweep_ms)));
        tell(cache.flush().await);
        if is_stopping {
            return;
        }
        if now_us >= next_sweep_us {
            next_sweep_us = now_us.saturating_add(ms_to_us(sweep_ms));
            tell(cache.sweep().await);
        }
    }
}

fn tell(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(error = %error, "the cache's upkeep failed; it is tried again");
    }
}

impl Cache {
    /// Writes the accesses and counts that were gathered.
    async fn flush(self: &Arc<Self>) -> Result<()> {
        loop {
            let mut accesses = self.accesses.peek(ROWS_PER_STEP);
            if accesses.is_empty() {
                break;
            }
            accesses.sort_unstable_by_key(|access| (access.namespace_id, access.entry_id));
            for of_one in accesses.chunk_by(|a, b| a.namespace_id == b.namespace_id) {
                let written: Arc<[Access]> = of_one.into();
                let namespace_id = of_one[0].namespace_id;
                self.storage
                    .write(Durability::Relaxed, (self.clone(), written), move |tx, (cache, written)| {
                        let (cache, settled) = (cache.clone(), written.clone());
                        tx.after_commit(move || cache.accesses.settle(&settled));
                        Box::pin(store::add_accesses(tx, namespace_id, written))
                    })
                    .await?;
            }
        }
        for live in self.registry.all() {
            let _writing = live.counted.writing.lock().await;
            let (namespace_id, reads) = (live.namespace.id, live.counted.reads());
            if reads == Reads::default() {
                continue;
            }
            self.storage
                .write(Durability::Relaxed, reads, move |tx, reads| {
                    Box::pin(store::add_reads(tx, namespace_id, *reads))
                })
                .await?;
            live.counted.settle(reads);
        }
        Ok(())
    }

    /// Removes what has expired and what is over the limits, and finishes deletions.
    async fn sweep(self: &Arc<Self>) -> Result<()> {
        let (now_us, expired_us) = (self.clock.now_us(), self.clock.before_us(0));
        let due = self.storage.read((), move |db, ()| Box::pin(store::due(db, expired_us))).await?;
        for namespace in due.expired {
            while self.sweep_step(namespace, expired_us).await? {}
        }
        for namespace in due.over_limits {
            while self.trim_step(&namespace, now_us).await? {}
        }
        for name in due.provisional {
            self.remove_provisional(name).await?;
        }
        if due.has_deleted {
            let step = || {
                self.storage.write(Durability::Relaxed, (), |tx, ()| {
                    Box::pin(store::finish_deletions(tx, ROWS_PER_STEP as u64))
                })
            };
            while step().await? {}
        }
        Ok(())
    }

    async fn sweep_step(self: &Arc<Self>, namespace_id: i64, now_us: i64) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, self.clone(), move |tx, cache| {
                Box::pin(async move {
                    let gone = store::sweep(tx, namespace_id, ROWS_PER_STEP as u64, now_us).await?;
                    let more = gone.len() == ROWS_PER_STEP;
                    cache.forget_doomed(tx, namespace_id, gone);
                    Ok(more)
                })
            })
            .await
    }

    async fn remove_provisional(&self, name: String) -> Result<()> {
        self.storage
            .write(Durability::Relaxed, name, |tx, name| {
                Box::pin(async move {
                    match store::find_with_usage(tx, name).await? {
                        Some((namespace, _)) => store::remove_provisional(tx, &namespace).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }

    async fn trim_step(self: &Arc<Self>, name: &str, now_us: i64) -> Result<bool> {
        self.storage
            .write(Durability::Relaxed, (self.clone(), name.to_owned()), move |tx, (cache, name)| {
                Box::pin(async move {
                    let Some((namespace, usage)) = store::find_with_usage(tx, name).await? else {
                        return Ok(false);
                    };
                    let over = usage.over(&namespace.limits);
                    let room = store::Room {
                        over,
                        rows_max: ROWS_PER_STEP as u64,
                        recency: &cache.accesses,
                        new_from: None,
                        now_us,
                    };
                    let gone = store::make_room(tx, &namespace, room).await?;
                    let more = gone.len() == ROWS_PER_STEP;
                    cache.forget_doomed(tx, namespace.id, gone);
                    Ok(more)
                })
            })
            .await
    }
}
