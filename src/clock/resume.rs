//! How the clocks continue over a start, notice steps of the wall clock, and agree with other sidecars.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLockReadGuard};

use super::{
    Clock, Frame, Hands, History, Inner, Limits, ORDER_AHEAD_US, SECOND_US, STAMP_AGE_US, STEP_US, SYSTEM,
    Source, Stamp, Step, since, system_us,
};

/// Sidecars on one database differ by less, unless a clock has stepped between two stamps.
const DRIFT_US_MAX: i64 = 5 * SECOND_US;

impl Source {
    pub(super) fn hands(&self) -> Hands {
        match self {
            Self::System { start_us, wall_us } => {
                Hands { wall_us: system_us(), steady_us: since(*start_us, *wall_us) }
            }
            Self::Manual(hands) => *hands.borrow(),
        }
    }
}

impl Inner {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wall_us(&self) -> i64 {
        match self.wall_shift_us.load(Ordering::Relaxed) {
            SYSTEM => match &self.source {
                Source::System { .. } => system_us(),
                Source::Manual(hands) => hands.borrow().wall_us,
            },
            shift_us => self.source.hands().steady_us.saturating_add(shift_us),
        }
    }

    pub(super) fn at(&self, frame: Frame, hands: &Hands) -> i64 {
        match frame {
            Frame::Wall => hands.wall_us,
            Frame::Steady => hands.steady_us.saturating_add(self.steady_shift_us.load(Ordering::Relaxed)),
            Frame::Serving => hands.steady_us.saturating_add(self.serving_shift_us.load(Ordering::Relaxed)),
        }
    }
}

impl Clock {
    /// What the clocks show.
    fn step(&self) -> Step {
        Step { steady_us: self.steady_us(), serving_us: self.serving_us(), wall_us: self.wall_us() }
    }

    /// Whether the clock is the system's: then a shared database's clock is the wall clock.
    pub fn is_system(&self) -> bool {
        matches!(self.inner.source, Source::System { .. })
    }

    /// Sets the wall clock by the clock of the database, which showed `database_us` between two readings of [`Clock::mark_us`].
    pub fn follow_database(&self, before_us: i64, database_us: i64, after_us: i64) {
        let middle_us = before_us.midpoint(after_us);
        self.inner.wall_shift_us.store(database_us.saturating_sub(middle_us), Ordering::Relaxed);
    }

    /// A reading of the monotonic clock for [`Clock::follow_database`].
    pub fn mark_us(&self) -> i64 {
        self.monotonic_us()
    }

    /// Continues from the last stamp: the steady clock by the time that has passed on the wall clock since, but not by more than
    /// `limits.jump_max_us`; the serving clock by all of it. Answers with the step that this is, if it is one.
    pub fn resume(&self, last: Option<Stamp>, steps: Vec<Step>, limits: Limits) -> Option<Step> {
        let (monotonic_us, wall_us) = (self.monotonic_us(), self.wall_us());
        {
            let mut history = self.inner.history.write().unwrap_or_else(PoisonError::into_inner);
            history.limits = limits;
            history.restore(steps);
            if let Some(last) = last {
                let gap_us = wall_us.saturating_sub(last.at.wall_us);
                // Only where the wall clock does not say how much: sidecars that share a database go on from each other's stamps.
                let passed_us = if gap_us < 0 && !last.is_final { STAMP_AGE_US } else { gap_us.max(0) };
                let steady_us = last.at.steady_us.saturating_add(passed_us.min(limits.jump_max_us));
                let serving_us = last.at.serving_us.saturating_add(passed_us);
                self.inner.steady_shift_us.store(steady_us.saturating_sub(monotonic_us), Ordering::Relaxed);
                self.inner.serving_shift_us.store(serving_us.saturating_sub(monotonic_us), Ordering::Relaxed);
                self.inner.last_unique_us.fetch_max(last.order_us, Ordering::Relaxed);
                self.inner.last_steady_us.fetch_max(steady_us, Ordering::Relaxed);
                if gap_us.saturating_abs() > limits.jump_max_us {
                    history.grace_until_us = steady_us.saturating_add(limits.grace_us);
                }
            }
        }
        self.resumed_at(self.steady_us());
        self.note_step(0)
    }

    pub(super) fn resumed_at(&self, steady_us: i64) {
        self.inner.last_tick_us.store(steady_us, Ordering::Relaxed);
        self.inner.running_since_us.store(steady_us, Ordering::Relaxed);
    }

    /// Since when this process runs without a pause, on the steady clock: a pause is a time without a call of this function, which
    /// somebody calls every second.
    pub fn running_since_us(&self) -> i64 {
        let now_us = self.steady_us();
        let last_us = self.inner.last_tick_us.fetch_max(now_us, Ordering::Relaxed);
        if self.is_system() && now_us.saturating_sub(last_us) > self.inner.read().limits.pause_max_us {
            self.inner.running_since_us.fetch_max(now_us, Ordering::Relaxed);
        }
        self.inner.running_since_us.load(Ordering::Relaxed)
    }

    /// The last step that is remembered.
    pub fn last_step(&self) -> Step {
        self.inner.read().last()
    }

    /// Looks whether the wall clock has stepped; answers with the step, which sleepers are told of.
    pub fn look(&self) -> Option<Step> {
        let (now, limits) = (self.step(), self.inner.read().limits);
        let by_us = now.offset_us().saturating_sub(self.inner.read().last().offset_us());
        if by_us.saturating_abs() > limits.jump_max_us {
            let grace_until_us = now.steady_us.saturating_add(limits.grace_us);
            let mut history = self.inner.history.write().unwrap_or_else(PoisonError::into_inner);
            history.grace_until_us = history.grace_until_us.max(grace_until_us);
        }
        self.note_step(if by_us > limits.jump_max_us { by_us } else { 0 })
    }

    /// Remembers a step if there was one, by which the serving clock goes ahead by `ahead_us`.
    fn note_step(&self, ahead_us: i64) -> Option<Step> {
        let mut history = self.inner.history.write().unwrap_or_else(PoisonError::into_inner);
        let by_us = self.step().offset_us().saturating_sub(history.last().offset_us());
        if by_us.saturating_abs() < STEP_US {
            return None;
        }
        self.inner.serving_shift_us.fetch_add(ahead_us, Ordering::Relaxed);
        let step = self.step();
        history.push(step);
        drop(history);
        self.inner.stepped.send_replace(());
        Some(step)
    }

    /// What is stored for the next start.
    pub fn stamp(&self, is_final: bool) -> Stamp {
        let mut at = self.step();
        at.steady_us = at.steady_us.max(self.inner.last_steady_us.load(Ordering::Relaxed));
        let last_us = self.inner.last_unique_us.load(Ordering::Relaxed);
        let order_us = if is_final {
            last_us.saturating_add(1)
        } else {
            last_us.max(at.serving_us).saturating_add(ORDER_AHEAD_US)
        };
        Stamp { at, order_us, is_final }
    }

    /// Goes on with the steady clock of the sidecar that is furthest ahead, whose stamp is `other`: sidecars that share a database
    /// read each other's times.
    pub fn agree(&self, other: Stamp) {
        let now = self.step();
        let passed_us = now.wall_us.saturating_sub(other.at.wall_us);
        let behind_us = other.at.steady_us.saturating_add(passed_us).saturating_sub(now.steady_us);
        if (1..DRIFT_US_MAX).contains(&behind_us) {
            self.inner.steady_shift_us.fetch_add(behind_us, Ordering::Relaxed);
        }
        let lead_us = |step: &Step| step.serving_us.saturating_sub(step.steady_us);
        let steady_shift_us = self.inner.steady_shift_us.load(Ordering::Relaxed);
        let serving_shift_us = steady_shift_us.saturating_add(lead_us(&other.at));
        self.inner.serving_shift_us.fetch_max(serving_shift_us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ManualClock, ms_to_us};
    use super::*;

    const HOUR_US: i64 = 3_600 * SECOND_US;
    const LIMITS: Limits =
        Limits { jump_max_us: 24 * HOUR_US, grace_us: HOUR_US, steps_max: 8, pause_max_us: SECOND_US };

    /// A clock that starts at `now_us` after one that stopped with the stamp.
    fn started(now_us: i64, last: Stamp) -> (Clock, ManualClock) {
        let (clock, manual) = Clock::manual(now_us);
        clock.resume(Some(last), vec![last.at], LIMITS);
        (clock, manual)
    }

    fn last(is_final: bool) -> Stamp {
        let (clock, manual) = Clock::manual(1_000 * HOUR_US);
        clock.resume(None, Vec::new(), LIMITS);
        clock.unique_range_us(50);
        manual.advance(std::time::Duration::from_secs(3_600));
        clock.stamp(is_final)
    }

    #[test]
    fn elapsed_time_goes_on_over_a_start_by_what_the_wall_clock_says_within_reason() {
        let gap_us =
            |hours: i64| started((1_001 + hours) * HOUR_US, last(true)).0.steady_us() - 1_001 * HOUR_US;
        assert_eq!([3, 0, -1, -8_760].map(gap_us), [3 * HOUR_US, 0, 0, 0]);
        assert_eq!([40 * 24, 8_760].map(gap_us), [24 * HOUR_US, 24 * HOUR_US]);
        // After a crash some time may be missing in the stamp.
        let (clock, _manual) = started(1_000 * HOUR_US, last(false));
        assert_eq!(clock.steady_us(), 1_001 * HOUR_US + STAMP_AGE_US);
    }

    #[test]
    fn no_unique_time_is_given_again_after_a_start_with_the_clock_behind() {
        for is_final in [true, false] {
            let last = last(is_final);
            let (clock, _manual) = started(900 * HOUR_US, last);
            let first_us = clock.unique_us();
            assert!(first_us > 1_000 * HOUR_US + 50 && first_us > last.order_us, "{first_us}");
        }
    }

    #[test]
    fn what_either_clock_says_has_expired_is_expired_on_the_serving_clock() {
        let (clock, manual) = Clock::manual(0);
        clock.resume(None, Vec::new(), LIMITS);
        let serving = clock.serving();
        manual.set(2 * HOUR_US);
        assert_eq!((serving.now_us(), clock.steady_us()), (0, 0), "no jump: only time that passes counts");
        manual.set(100 * HOUR_US);
        assert_eq!((serving.now_us(), clock.steady_us()), (98 * HOUR_US, 0));
        manual.set(0);
        assert_eq!(serving.now_us(), 98 * HOUR_US, "it does not go back");
        manual.advance(std::time::Duration::from_secs(5));
        assert_eq!(serving.now_us(), 98 * HOUR_US + ms_to_us(5_000));
        assert_eq!(serving.wall_of(serving.now_us()), ms_to_us(5_000), "it is shown as the wall clock");
    }

    #[test]
    fn nothing_is_old_for_a_while_after_a_jump() {
        let (clock, manual) = Clock::manual(1_000 * HOUR_US);
        clock.resume(None, Vec::new(), LIMITS);
        manual.set(5_000 * HOUR_US);
        assert_eq!((clock.before_us(HOUR_US), clock.steady().before_us(HOUR_US)), (i64::MIN, i64::MIN));
        manual.advance(std::time::Duration::from_secs(3_600));
        // What was stamped an hour before the jump, two hours ago, and nothing later.
        assert_eq!(clock.before_us(2 * HOUR_US), 999 * HOUR_US);
        assert_eq!(clock.steady().before_us(2 * HOUR_US), 999 * HOUR_US);
    }

    #[test]
    fn sidecars_on_one_database_go_on_with_the_clock_that_is_furthest_ahead() {
        let (one, _manual) = Clock::manual(1_000 * HOUR_US);
        let mut other = one.stamp(false);
        other.at.steady_us += 2 * SECOND_US;
        other.at.serving_us += HOUR_US;
        one.agree(other);
        assert_eq!(one.steady_us(), 1_000 * HOUR_US + 2 * SECOND_US);
        assert_eq!(one.serving().now_us(), 1_001 * HOUR_US);
        other.at.wall_us -= HOUR_US;
        one.agree(other);
        assert_eq!(one.steady_us(), 1_000 * HOUR_US + 2 * SECOND_US, "the database's clock has stepped");
    }
}
