//! What the queue does by itself: what is due, counts for the statistics, removing what is over its retention. Always in small
//! steps, so that no write waits long.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Core, MINUTE_US, QueueService, RULES_TOPIC, TASKS_TOPIC, clockwork, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Runs until `stopping` ends it, after a last flush.
pub async fn run(service: QueueService, mut stopping: watch::Receiver<bool>) {
    let core = &service.0;
    tokio::select! {
        () = core.begin() => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    tokio::select! {
        () = clockwork::run(core) => {}
        () = core.listen() => {}
        () = core.keep_counts() => {}
        () = core.keep_within_retention() => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    core.stopping.send_replace(true);
    tell(core.end().await);
}

fn tell(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(error = %error, "the queue's upkeep failed; it is tried again");
    }
}

impl Core {
    /// At the start: after a crash the counts are made anew.
    async fn begin(self: &Arc<Self>) {
        let is_alone = !self.storage.is_shared();
        let begun = self
            .storage
            .write(Durability::Relaxed, (), move |tx, ()| Box::pin(store::note_begin(tx, is_alone)))
            .await;
        match begun {
            Ok(0) => {}
            Ok(_) => tell(self.recount().await),
            Err(error) => tell(Err(error)),
        }
    }

    async fn recount(self: &Arc<Self>) -> Result<()> {
        for index in 0..store::RECOUNT_STEPS {
            let _writing = self.tallies.writing.lock().await;
            self.storage
                .write(Durability::Relaxed, self.clone(), move |tx, core| {
                    Box::pin(async move {
                        let states = store::recount(tx, index).await?;
                        let core = core.clone();
                        tx.after_commit(move || core.tallies.forget(states));
                        Ok(())
                    })
                })
                .await?;
        }
        Ok(())
    }

    async fn end(self: &Arc<Self>) -> Result<()> {
        self.flush().await?;
        self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::note_end(tx))).await
    }

    /// Hears what other sidecars on the same database have done.
    async fn listen(self: &Arc<Self>) {
        if !self.storage.is_shared() {
            return std::future::pending().await;
        }
        let tasks = self.storage.wake().subscribe(TASKS_TOPIC.to_owned());
        let rules = self.storage.wake().subscribe(RULES_TOPIC.to_owned());
        loop {
            let (tasks, rules) = (tasks.next(), rules.next());
            tokio::select! {
                () = tasks => self.call_those_who_wait().await,
                () = rules => self.names.registry.forget_queues(),
            }
        }
    }

    async fn keep_counts(self: &Arc<Self>) {
        loop {
            self.clock.sleep_ms(self.settings.queue.stats_flush_ms).await;
            tell(self.flush().await);
        }
    }

    /// Writes what was tallied.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<()> {
        let _writing = self.tallies.writing.lock().await;
        let taken = Arc::new(self.tallies.take());
        if taken.is_empty() {
            return Ok(());
        }
        let written = self
            .storage
            .write(Durability::Relaxed, taken.clone(), |tx, taken| Box::pin(store::add(tx, taken)))
            .await;
        if written.is_err() {
            self.tallies.put_back(taken.to_vec());
        }
        written
    }

    async fn keep_within_retention(self: &Arc<Self>) {
        let mut last_key = 0;
        loop {
            self.clock.sleep_ms(self.settings.queue.sweep_ms).await;
            match self.sweep(last_key).await {
                Ok(key) => last_key = key,
                Err(error) => tell(Err(error)),
            }
        }
    }

    async fn sweep(self: &Arc<Self>, last_key: i64) -> Result<i64> {
        let now_us = self.clock.steady_us();
        let clock = self.clock.steady();
        let over = self.storage.read(clock.clone(), |db, clock| Box::pin(store::over(db, clock))).await?;
        for over in over {
            while self.remove_step(over).await? == clockwork::ROWS_PER_STEP as usize {}
        }
        let until_us = clock.before_us(ms_to_us(self.settings.queue.worker_retention_ms));
        self.storage
            .write(Durability::Relaxed, self.clone(), move |tx, core| {
                Box::pin(async move {
                    store::forget_minutes(tx, now_us / MINUTE_US).await?;
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    store::remove_workers(&mut step, until_us, clockwork::ROWS_PER_STEP).await?;
                    let last = store::remove_keys(&mut step, last_key, clockwork::ROWS_PER_STEP).await?;
                    core.follow(step).await?;
                    Ok(last.unwrap_or(0))
                })
            })
            .await
    }

    async fn remove_step(self: &Arc<Self>, over: store::Over) -> Result<usize> {
        self.storage
            .write(Durability::Relaxed, self.clone(), move |tx, core| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    let removed = store::remove(&mut step, over, clockwork::ROWS_PER_STEP).await?;
                    core.follow(step).await?;
                    Ok(removed)
                })
            })
            .await
    }
}
