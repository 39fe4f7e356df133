//! A clock that tests move.

use std::time::Duration;

use tokio::sync::watch;

use super::{Clock, Hands, Source};

/// Moves the [`Clock`] it was made with.
#[derive(Debug)]
pub struct ManualClock {
    hands: watch::Sender<Hands>,
    clock: Clock,
}

impl Clock {
    /// A clock that stands at `now_us` until it is moved.
    pub fn manual(now_us: i64) -> (Self, ManualClock) {
        let (hands, receiver) = watch::channel(Hands { wall_us: now_us, steady_us: now_us });
        let clock = Self::new(Source::Manual(receiver));
        (clock.clone(), ManualClock { hands, clock })
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.hands.send_modify(|hands| {
            hands.wall_us = hands.wall_us.saturating_add(by_us);
            hands.steady_us = hands.steady_us.saturating_add(by_us);
        });
    }

    /// Lets time pass in which the process does not run, as after SIGSTOP.
    pub fn pause(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.clock.resumed_at(self.clock.steady_us().saturating_add(by_us));
        self.advance(by);
    }

    /// Sets the wall clock, forward or back; no time passes.
    pub fn set(&self, now_us: i64) {
        self.hands.send_modify(|hands| hands.wall_us = now_us);
        self.clock.look();
        // Sleepers on the serving clock look again.
        self.hands.send_modify(|_| {});
    }
}
