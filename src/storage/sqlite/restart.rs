//! When the WAL is tried to be started over: readers of other processes can hold it up for as long as they like.
//!
//! Each attempt waits for readers for `storage.wal_wait_ms` at most. After one that failed the next comes later and later.

use std::time::{Duration, Instant};

use super::connection::Place;
use super::wal_readers;

/// The first pause after a failed attempt; each further one is twice as long, up to `storage.wal_retry_ms_max`.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Between two warnings.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The attempts so far.
#[derive(Debug, Default)]
pub(super) struct Restart {
    pause: Option<Duration>,
    not_before: Option<Instant>,
    warned: Option<Instant>,
}

impl Restart {
    /// Whether an attempt may be made.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Notes an attempt.
    pub(super) fn tried(&mut self, has_restarted: bool, now: Instant, pause_max: Duration) {
        if has_restarted {
            (self.pause, self.not_before) = (None, None);
            return;
        }
        let pause = self.pause.map_or(PAUSE_MIN, |pause| pause.saturating_mul(2)).min(pause_max);
        (self.pause, self.not_before) = (Some(pause), now.checked_add(pause));
    }

    /// Warns of the readers that hold the WAL up, once a minute.
    pub(super) fn warn(&mut self, place: &Place, wal_bytes: u64, now: Instant) {
        if self.warned.is_some_and(|warned| now.duration_since(warned) < WARNING_PAUSE) {
            return;
        }
        self.warned = Some(now);
        let readers = wal_readers::others(&place.shm());
        let readers = wal_readers::named(&readers).unwrap_or_else(|| {
            format!("not known: look which program has {} open", place.database().display())
        });
        tracing::warn!(
            wal.bytes = wal_bytes,
            wal.bytes_max = place.settings.wal_bytes_max,
            readers = %readers,
            "a reader keeps the WAL from starting over, and it grows beyond storage.wal_bytes_max"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn failed_attempts_come_later_and_later_up_to_the_bound() {
        let (mut restart, mut now) = (Restart::default(), clock::instant());
        let pause_max = Duration::from_millis(500);
        for pause in [100, 200, 400, 500, 500] {
            assert!(restart.is_due(now));
            restart.tried(false, now, pause_max);
            now += Duration::from_millis(pause - 1);
            assert!(!restart.is_due(now), "{pause}");
            now += Duration::from_millis(1);
        }
        restart.tried(true, now, pause_max);
        assert!(restart.is_due(now));
        restart.tried(false, now, pause_max);
        assert!(restart.is_due(now + PAUSE_MIN), "it begins with the short pause");
    }
}
