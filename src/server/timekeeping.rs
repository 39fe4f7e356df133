//! Keeps the clocks: continues them at a start, looks for steps of the wall clock, stores the stamp for the next start.

use tokio::sync::watch;

use crate::clock::{Clock, SECOND_US, Step, ms_to_us};
use crate::error::Result;
use crate::settings::{ClockSettings, Durability};
use crate::storage::Storage;

/// Continues the clocks from what is stored.
pub(super) async fn resume(storage: &Storage, clock: &Clock, settings: &ClockSettings) -> Result<()> {
    storage.ask_for_time(clock).await?;
    let (last, steps) = storage.clock_stamp().await?;
    if let (Some(last), Some(step)) = (last, clock.resume(last, steps, settings.limits())) {
        tell(step, last.at);
    }
    if let Err(error) = store(storage, clock, settings, Some(clock.last_step()), false).await {
        // A database that is full or may not be written serves reads.
        tracing::warn!(error = %error, "the clocks' stamp was not stored at the start; it is tried again");
    }
    Ok(())
}

/// Runs until `stopping` ends it.
pub(super) async fn run(
    storage: Storage,
    clock: Clock,
    settings: ClockSettings,
    mut stopping: watch::Receiver<bool>,
) {
    let mut keeper = Keeper {
        writes: storage.stats().writes,
        stored_us: clock.steady_us(),
        asked_us: clock.steady_us(),
        step: clock.last_step(),
        has_failed: false,
    };
    loop {
        tokio::select! {
            () = clock.sleep_ms(settings.stamp_ms) => {}
            () = clock.stepped() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        clock.running_since_us();
        if let Err(error) = keeper.tick(&storage, &clock, &settings).await {
            if !keeper.has_failed {
                tracing::warn!(error = %error, "the clocks' stamp was not stored; it is tried again");
            }
            keeper.has_failed = true;
        } else {
            keeper.has_failed = false;
        }
    }
}

/// Stores the last stamp before the database is closed.
pub(super) async fn end(storage: &Storage, clock: &Clock, settings: &ClockSettings) {
    if let Err(error) = store(storage, clock, settings, Some(clock.last_step()), true).await {
        tracing::warn!(error = %error, "the clocks' last stamp was not stored; the next start continues from the one before");
    }
}

struct Keeper {
    /// Writes of the engine when the stamp was stored.
    writes: u64,
    stored_us: i64,
    asked_us: i64,
    /// The last step that was seen.
    step: Step,
    has_failed: bool,
}

impl Keeper {
    async fn tick(&mut self, storage: &Storage, clock: &Clock, settings: &ClockSettings) -> Result<()> {
        let now_us = clock.steady_us();
        if now_us >= self.asked_us.saturating_add(ms_to_us(settings.database_ms)) {
            storage.ask_for_time(clock).await?;
            self.asked_us = now_us;
        }
        clock.look();
        let step = Some(clock.last_step()).filter(|step| *step != self.step);
        if let Some(step) = step {
            tell(step, self.step);
            self.step = step;
        }
        let is_idle = storage.stats().writes == self.writes;
        let is_old = now_us >= self.stored_us.saturating_add(ms_to_us(settings.idle_stamp_ms));
        if step.is_none() && is_idle && !is_old {
            return Ok(());
        }
        store(storage, clock, settings, step, false).await?;
        self.writes = storage.stats().writes;
        self.stored_us = now_us;
        Ok(())
    }
}

async fn store(
    storage: &Storage,
    clock: &Clock,
    settings: &ClockSettings,
    step: Option<Step>,
    is_final: bool,
) -> Result<()> {
    if storage.is_read_only() {
        return Ok(());
    }
    let new = (clock.stamp(is_final), step);
    let stored = storage.store_clock(Durability::Relaxed, new, settings.steps_max).await?;
    if storage.is_shared() {
        clock.agree(stored);
    }
    Ok(())
}

fn tell(step: Step, before: Step) {
    let by_s = step.offset_us().saturating_sub(before.offset_us()) / SECOND_US;
    tracing::warn!(by_s, "the wall clock was set: docs/time.md says what that changes");
}
