//! What the queue does by itself: what is due, counts for the statistics, removing what is over its retention. Always in small
//! steps, so that no write waits long.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Core, MINUTE_US, QueueService, RULES_TOPIC, TASKS_TOPIC, clockwork, store};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::{Durability, Tx};

/// Runs until `stopping` ends it.
pub async fn run(service: QueueService, mut stopping: watch::Receiver<bool>) {
    let core = &service.0;
    tokio::select! {
        () = clockwork::run(core) => {}
        () = core.listen() => {}
        () = core.keep_counts() => {}
        () = core.keep_within_retention() => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    core.stopping.send_replace(true);
}

fn tell(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(error = %error, "the queue's upkeep failed; it is tried again");
    }
}

impl Core {
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
                () = rules => self.names.registry.forget_all(),
            }
        }
    }

    async fn keep_counts(self: &Arc<Self>) {
        loop {
            self.clock.sleep_ms(self.settings.queue.stats_fold_ms).await;
            tell(self.fold().await);
        }
    }

    /// Folds what transactions have noted into the counts, in small steps.
    async fn fold(self: &Arc<Self>) -> Result<()> {
        while self.storage.write(Durability::Relaxed, (), |tx, ()| Box::pin(store::fold(tx))).await? {}
        Ok(())
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
        self.remove_unused_types().await?;
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

    /// Removes types that no task and no schedule has, a step's worth.
    async fn remove_unused_types(self: &Arc<Self>) -> Result<()> {
        let unused = self.storage.read((), |db, ()| Box::pin(store::unused_types(db))).await?;
        if unused.is_empty() {
            return Ok(());
        }
        self.storage
            .write(Durability::Relaxed, (self.clone(), unused), |tx, (core, unused)| {
                Box::pin(async move {
                    store::remove_types(tx, unused).await?;
                    core.note_removal(tx);
                    Ok(())
                })
            })
            .await
    }

    /// Has what is remembered of queues and types forgotten after the commit, here and in other sidecars.
    pub(super) fn note_removal(self: &Arc<Self>, tx: &Tx<'_>) {
        let core = self.clone();
        tx.after_commit(move || core.names.registry.forget_all());
        tx.wake(RULES_TOPIC.to_owned());
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
