//! `[clock]`: how steps of the wall clock are dealt with.

use serde::{Deserialize, Serialize};

use super::within;
use crate::clock::{GRACE_MS, JUMP_MS_MAX, Limits, PAUSE_MS_MAX, STEPS_MAX, ms_to_us};

/// How steps of the wall clock are dealt with; docs/time.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockSettings {
    /// A step of the wall clock beyond this is a jump: a cache entry that either clock says has expired is not served. A start counts at
    /// most this much of the time since the last stamp.
    pub jump_max_ms: u64,
    /// After a jump nothing is deleted for so long.
    pub grace_ms: u64,
    /// Steps of the wall clock that are remembered, for the times that are shown and for retention.
    pub steps_max: u64,
    /// How often the wall clock is looked at and, after writes, the stamp is stored from which a start continues.
    pub stamp_ms: u64,
    /// How often an idle sidecar stores the stamp.
    pub idle_stamp_ms: u64,
    /// How often the clock of a PostgreSQL database is asked for the time.
    pub database_ms: u64,
    /// A process that did nothing for longer was paused: workers get the time that a start gives them.
    pub pause_max_ms: u64,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            jump_max_ms: JUMP_MS_MAX,
            grace_ms: GRACE_MS,
            steps_max: STEPS_MAX,
            stamp_ms: 1_000,
            idle_stamp_ms: 60 * 60 * 1_000,
            database_ms: 10_000,
            pause_max_ms: PAUSE_MS_MAX,
        }
    }
}

impl ClockSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        within(found, "clock.jump_max_ms", self.jump_max_ms, 60_000..=super::TTL_MS_MAX);
        within(found, "clock.grace_ms", self.grace_ms, 0..=super::TTL_MS_MAX);
        within(found, "clock.steps_max", self.steps_max, 2..=1_024);
        within(found, "clock.stamp_ms", self.stamp_ms, 100..=1_000);
        within(found, "clock.idle_stamp_ms", self.idle_stamp_ms, 1_000..=self.jump_max_ms / 2);
        within(found, "clock.database_ms", self.database_ms, 1_000..=600_000);
        within(found, "clock.pause_max_ms", self.pause_max_ms, 2_000..=600_000);
    }

    /// As the clock takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            jump_max_us: ms_to_us(self.jump_max_ms),
            grace_us: ms_to_us(self.grace_ms),
            steps_max: usize::try_from(self.steps_max).unwrap_or(usize::MAX),
            pause_max_us: ms_to_us(self.pause_max_ms),
        }
    }
}
