//! Does what is due when it is due: one loop that sleeps until the next time that anything said, and looks by itself now and then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::store::{self, NextDue};
use super::{Core, Due};
use crate::clock::ms_to_us;
use crate::error::Result;
use crate::storage::Durability;

/// Rows that one step changes.
pub(super) const ROWS_PER_STEP: i64 = 256;

/// What another sidecar is doing is looked at again after so long.
const OTHERS_US: i64 = 20_000;

/// After a failure.
const PAUSE_US: i64 = 1_000_000;

/// Runs until it is dropped.
pub(super) async fn run(core: &Arc<Core>) {
    let look_us = ms_to_us(core.settings.queue.due_ms_max);
    loop {
        let pause_us = match core.do_what_is_due().await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(error = %error, "what is due could not be done; it is tried again");
                Some(PAUSE_US)
            }
        };
        let now = core.now();
        let next_us = core.due.due_us.load(Ordering::SeqCst);
        let run_us = core.due.run_us.load(Ordering::SeqCst);
        let look_us = now.us.saturating_add(look_us);
        if let Some(pause_us) = pause_us {
            core.clock.sleep_until_steady(now.us.saturating_add(pause_us)).await;
            continue;
        }
        tokio::select! {
            () = core.clock.sleep_until_steady(next_us.min(look_us)) => {}
            () = core.clock.sleep_until(run_us) => {}
            () = core.due.earlier.notified() => continue,
        }
        if core.clock.steady_us() >= look_us {
            // Something that nobody told of may have become due, or a wake-up was lost.
            core.due.note(i64::MIN, i64::MIN);
            core.call_those_who_wait().await;
        }
    }
}

/// A step that was begun: at its end, also one by an error or because the caller has left, the next times are noted.
struct Begun<'d> {
    due: &'d Due,
    next: (i64, i64),
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.due.note(self.next.0, self.next.1);
    }
}

impl Core {
    /// Does all that is due now, if anything is.
    pub(super) async fn do_what_is_due(self: &Arc<Self>) -> Result<()> {
        if !self.due.is_due(self.now()) {
            return Ok(());
        }
        let _working = self.due.working.lock().await;
        while self.due.is_due(self.now()) {
            // What is noted from here on is noted again after the step.
            self.due.due_us.store(i64::MAX, Ordering::SeqCst);
            self.due.run_us.store(i64::MAX, Ordering::SeqCst);
            let mut begun = Begun { due: &self.due, next: (i64::MIN, i64::MIN) };
            let (next, count) = self.step().await?;
            begun.next = (next.due_us, next.run_us);
            if count == 0 {
                // What is still due is being done by another sidecar.
                let now = self.now();
                let later = |us: i64, now_us: i64| us.max(now_us.saturating_add(OTHERS_US));
                begun.next = (later(next.due_us, now.us), later(next.run_us, now.wall_us));
            }
        }
        Ok(())
    }

    /// One step of what is due; answers with when the next thing is, and how many rows it took on.
    async fn step(self: &Arc<Self>) -> Result<(NextDue, usize)> {
        let chance = self.clock.chance();
        self.storage
            .write(Durability::Relaxed, self.clone(), move |tx, core| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    let count = store::due(&mut step, &core.limits, chance).await?;
                    core.follow(step).await?;
                    let next = store::next_due(tx, core.limits.worker_timeout_us).await?;
                    Ok((next, count))
                })
            })
            .await
    }

    /// Calls those who wait for tasks that are there, though nobody called them: another sidecar queued them, or had them locked
    /// for a moment.
    pub(super) async fn call_those_who_wait(self: &Arc<Self>) {
        for queue in self.waiting.queues() {
            let found = self
                .storage
                .read((self.clone(), queue.clone()), |db, (core, queue)| {
                    Box::pin(store::queued(db, &core.names, queue))
                })
                .await;
            match found {
                Ok(found) => {
                    for (type_name, count) in found {
                        self.waiting.call(&queue, &type_name, count);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "those who wait for tasks could not be called");
                }
            }
        }
    }
}
