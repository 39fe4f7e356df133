//! Does what is due when it is due: one loop that sleeps until the next time that anything said, and looks by itself now and then.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Core;
use super::effects::Times;
use super::store::{self, Now};
use crate::clock::{self, ms_to_us};
use crate::error::Result;
use crate::storage::Durability;

/// Rows that one step changes.
pub(super) const ROWS_PER_STEP: i64 = 256;

/// What another sidecar is doing is looked at again after so long.
const OTHERS_US: i64 = 20_000;

/// After a failure.
const PAUSE_US: i64 = 1_000_000;

/// When the next thing is due, as far as is known; never later than it is.
pub(super) struct Due {
    times: Mutex<Known>,
    /// Wakes the loop when it sleeps for too long.
    changed: Notify,
    /// Held by the one who does what is due; who finds something due waits for it.
    working: tokio::sync::Mutex<()>,
    /// The step of the wall clock by which the next runs of schedules were computed.
    followed: Mutex<Option<clock::Step>>,
}

struct Known {
    next: Times,
    /// What was noted since a step has begun, which may not have seen it.
    noted: Times,
}

impl Default for Due {
    fn default() -> Self {
        // At first it has to be looked.
        let times = Known { next: Times::ALWAYS, noted: Times::NEVER };
        Self {
            times: Mutex::new(times),
            changed: Notify::new(),
            working: tokio::sync::Mutex::default(),
            followed: Mutex::default(),
        }
    }
}

impl Due {
    /// Notes that something is due.
    pub(super) fn note(&self, times: Times) {
        let mut known = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        known.noted = known.noted.min(times);
        let next = known.next.min(times);
        if next != known.next {
            known.next = next;
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Times {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    fn is_due(&self, now: Now) -> bool {
        let next = self.next();
        next.due_us <= now.us || next.run_us <= now.wall_us
    }

    fn begin(&self) -> Begun<'_> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).noted = Times::NEVER;
        Begun { due: self, next: Times::ALWAYS }
    }
}

/// A step that was begun. At its end, also one by an error or because a caller has left, the next times are noted; until then
/// others find that something is due, and wait.
struct Begun<'d> {
    due: &'d Due,
    next: Times,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut known = self.due.times.lock().unwrap_or_else(PoisonError::into_inner);
        known.next = known.noted.min(self.next);
        self.due.changed.notify_one();
    }
}

/// Runs until it is dropped.
pub(super) async fn run(core: &Arc<Core>) {
    let mut look_us = core.next_look_us();
    loop {
        if let Err(error) = core.do_what_is_due().await {
            tracing::warn!(error = %error, "what is due could not be done; it is tried again");
            core.clock.sleep_until_steady(core.clock.steady_us().saturating_add(PAUSE_US)).await;
            continue;
        }
        let next = core.due.next();
        tokio::select! {
            () = core.clock.sleep_until_steady(next.due_us.min(look_us)) => {}
            () = core.clock.sleep_until(next.run_us) => {}
            () = core.clock.stepped() => {}
            () = core.due.changed.notified() => {}
        }
        if core.clock.steady_us() >= look_us {
            // Something that nobody told of may have become due, or a wake-up was lost.
            look_us = core.next_look_us();
            core.due.note(Times::ALWAYS);
            core.call_those_who_wait().await;
        }
    }
}

impl Core {
    fn next_look_us(&self) -> i64 {
        self.clock.steady_us().saturating_add(ms_to_us(self.settings.queue.due_ms_max))
    }

    /// Does all that is due now, if anything is.
    pub(in crate::services) async fn do_what_is_due(self: &Arc<Self>) -> Result<()> {
        self.follow_clock().await?;
        if !self.due.is_due(self.now()) {
            return Ok(());
        }
        let _working = self.due.working.lock().await;
        while self.due.is_due(self.now()) {
            let mut begun = self.due.begin();
            let now = self.now();
            let (next, count) = self.step().await?;
            begun.next = next;
            if count == 0 {
                // What was due and still is, is being done by another sidecar.
                let later =
                    |us: i64, now_us: i64| if us <= now_us { now_us.saturating_add(OTHERS_US) } else { us };
                begun.next =
                    Times { due_us: later(next.due_us, now.us), run_us: later(next.run_us, now.wall_us) };
            }
        }
        Ok(())
    }

    /// Computes the next runs of schedules again after a step of the wall clock, which may have come before the start.
    async fn follow_clock(self: &Arc<Self>) -> Result<()> {
        let last = Some(self.clock.last_step());
        let has_followed = || *self.due.followed.lock().unwrap_or_else(PoisonError::into_inner) == last;
        if has_followed() {
            return Ok(());
        }
        let _working = self.due.working.lock().await;
        let mut after = 0;
        while !has_followed() {
            let looked_at = self.storage.write(Durability::Relaxed, self.clone(), move |tx, core| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    let last = store::compute_schedules_again(&mut step, after).await?;
                    core.follow(step).await?;
                    Ok(last)
                })
            });
            match looked_at.await? {
                Some(last) => after = last,
                None => *self.due.followed.lock().unwrap_or_else(PoisonError::into_inner) = last,
            }
        }
        Ok(())
    }

    /// One step of what is due; answers with when the next thing is, and how many rows it took on.
    async fn step(self: &Arc<Self>) -> Result<(Times, usize)> {
        let chance = self.clock.chance();
        let stepped = self
            .storage
            .write(Durability::Relaxed, self.clone(), move |tx, core| {
                Box::pin(async move {
                    let mut step = store::Step::new(tx, &core.names, core.now());
                    let hold_until_us = step.now.hold_until_us;
                    let count = store::due(&mut step, &core.limits, chance).await?;
                    core.follow(step).await?;
                    let next = store::next_due(tx, core.limits.worker_timeout_us, hold_until_us).await?;
                    Ok((next, count))
                })
            })
            .await?;
        Ok(stepped)
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
