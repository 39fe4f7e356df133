//! Time and randomness: the only place that asks the system for either.
//!
//! Times are Unix microseconds in an `i64`. Tests hold a [`ManualClock`] and move it; nothing sleeps.
//!
//! There are two: the *wall clock*, which somebody may set, and the *steady clock*, which starts at the wall clock's time
//! and from then on only counts. What must neither end nor last because a clock was set runs on the steady one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use uuid::Uuid;

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;

/// Revisions of one microsecond and the next are so far apart; an `i64` holds them until the year 2255.
pub const REVISION_STEP: i64 = 1_024;

/// Milliseconds, as settings have them, in microseconds.
pub fn ms_to_us(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// A source of times and ids, cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    last_unique_us: AtomicI64,
    last_steady_us: AtomicI64,
    /// Random bits that tell this process's revisions from those of another that had the same time.
    nonce: i64,
}

#[derive(Debug)]
enum Source {
    System {
        /// What both clocks showed when they were last the same.
        start: Instant,
        start_us: i64,
    },
    Manual(watch::Receiver<Hands>),
}

/// Where a manual clock stands.
#[derive(Clone, Copy, Debug)]
struct Hands {
    wall_us: i64,
    steady_us: i64,
}

/// Moves the [`Clock`] it was made with.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Hands>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::new(Source::System { start: instant(), start_us: system_us() })
    }

    /// A clock that stands at `now_us` until it is moved.
    pub fn manual(now_us: i64) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(Hands { wall_us: now_us, steady_us: now_us });
        (Self::new(Source::Manual(receiver)), ManualClock(sender))
    }

    fn new(source: Source) -> Self {
        let nonce = i64::from(random().as_bytes()[0]) << 2 | i64::from(random().as_bytes()[0] & 3);
        let (last_unique_us, last_steady_us) = (AtomicI64::new(0), AtomicI64::new(0));
        Self(Arc::new(Inner { source, last_unique_us, last_steady_us, nonce }))
    }

    /// Unix microseconds of the wall clock.
    pub fn now_us(&self) -> i64 {
        match &self.0.source {
            Source::System { .. } => system_us(),
            Source::Manual(hands) => hands.borrow().wall_us,
        }
    }

    /// Unix microseconds of the steady clock.
    pub fn steady_us(&self) -> i64 {
        match &self.0.source {
            Source::System { start, start_us } => {
                start_us.saturating_add(i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(hands) => hands.borrow().steady_us,
        }
    }

    /// The first of `count` steady times that follow one another and that this process has not been given before.
    pub fn steady_range_us(&self, count: usize) -> i64 {
        next_range(&self.0.last_steady_us, self.steady_us(), count)
    }

    /// Unix microseconds that this process has not been given before: later than all earlier ones, even when the clock
    /// stands still or is set back.
    pub fn unique_us(&self) -> i64 {
        self.unique_range_us(1)
    }

    /// The first of `count` unique times that follow one another.
    pub fn unique_range_us(&self, count: usize) -> i64 {
        next_range(&self.0.last_unique_us, self.now_us(), count)
    }

    /// The first of `count` revisions, [`REVISION_STEP`] apart: each larger than all before it in this process, and not
    /// one that another process has given, though the clock were set back.
    pub fn revisions(&self, count: usize) -> i64 {
        self.unique_range_us(count).saturating_mul(REVISION_STEP).saturating_add(self.0.nonce)
    }

    /// Waits until the wall clock shows `until_us`; returns at once when that has passed. A clock that is set meanwhile is
    /// not noticed.
    pub async fn sleep_until(&self, until_us: i64) {
        match &self.0.source {
            Source::System { .. } => sleep_us(until_us.saturating_sub(self.now_us())).await,
            Source::Manual(hands) => reached(hands, |hands| hands.wall_us >= until_us).await,
        }
    }

    /// Waits until the steady clock shows `until_us`.
    pub async fn sleep_until_steady(&self, until_us: i64) {
        match &self.0.source {
            Source::System { .. } => sleep_us(until_us.saturating_sub(self.steady_us())).await,
            Source::Manual(hands) => reached(hands, |hands| hands.steady_us >= until_us).await,
        }
    }

    /// Waits for `milliseconds`.
    pub async fn sleep_ms(&self, milliseconds: u64) {
        self.sleep_until(self.now_us().saturating_add(ms_to_us(milliseconds))).await;
    }

    /// A UUIDv7, for ids: later than all earlier ones of this process, with the clock's time in it.
    ///
    /// The 12 bits behind the milliseconds are their fraction (RFC 9562, 6.2, method 3), of times that are unique.
    pub fn uuid_v7(&self) -> Uuid {
        let us = u64::try_from(self.unique_us()).unwrap_or(0);
        let fraction = us % 1_000 * 4_096 / 1_000;
        let mut rest = [0; 10];
        rest[..2].copy_from_slice(&u16::try_from(fraction).unwrap_or(0).to_be_bytes());
        // The half of a random UUID that is random but for its variant, which is this one's as well.
        rest[2..].copy_from_slice(&random().as_bytes()[8..]);
        uuid::Builder::from_unix_timestamp_millis(us / 1_000, &rest).into_uuid()
    }

    /// A random UUID, for tokens.
    pub fn token(&self) -> Uuid {
        random()
    }

    /// A random number, for delays that vary by chance.
    pub fn chance(&self) -> u64 {
        random().as_u64_pair().1
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the place")]
fn system_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

async fn sleep_us(wait_us: i64) {
    tokio::time::sleep(Duration::from_micros(u64::try_from(wait_us).unwrap_or(0))).await;
}

async fn reached(hands: &watch::Receiver<Hands>, there: impl FnMut(&Hands) -> bool) {
    // The sender is dropped at the end of a test: then nothing will come any more.
    if hands.clone().wait_for(there).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The first of `count` numbers, none below `now_us`, that were not given before; `last` is the last that was.
fn next_range(last: &AtomicI64, now_us: i64, count: usize) -> i64 {
    let rest = i64::try_from(count).unwrap_or(i64::MAX).saturating_sub(1);
    let next = |last: i64| now_us.max(last.saturating_add(1));
    let reserve = |last: i64| Some(next(last).saturating_add(rest));
    last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).map_or(now_us, next)
}

/// A random number of milliseconds up to `max`, to spread those who try again.
pub fn jitter_ms(max: u64) -> u64 {
    let (_, low) = random().as_u64_pair();
    low % max.saturating_add(1)
}

/// A random UUID.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn random() -> Uuid {
    Uuid::new_v4()
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.send_modify(|hands| {
            hands.wall_us = hands.wall_us.saturating_add(by_us);
            hands.steady_us = hands.steady_us.saturating_add(by_us);
        });
    }

    /// Sets the wall clock, forward or back; no time passes.
    pub fn set(&self, now_us: i64) {
        self.0.send_modify(|hands| hands.wall_us = now_us);
    }
}

/// A reading of the monotonic clock, for deadlines and for measuring.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn instant() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_times_increase_while_the_clock_stands_or_goes_back() {
        let (clock, manual) = Clock::manual(100);
        assert_eq!([clock.unique_us(), clock.unique_us()], [100, 101]);
        manual.set(50);
        assert_eq!(clock.unique_us(), 102);
        manual.set(500);
        assert_eq!(clock.unique_range_us(3), 500);
        assert_eq!(clock.unique_us(), 503);
    }

    #[test]
    fn ids_increase_with_the_clock_and_while_it_stands() {
        let (clock, manual) = Clock::manual(1_767_225_600_000_000);
        let mut ids: Vec<Uuid> = (0..5_000).map(|_| clock.uuid_v7()).collect();
        manual.advance(Duration::from_secs(1));
        ids.push(clock.uuid_v7());
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        let (seconds, _) = ids[0].get_timestamp().unwrap().to_unix();
        assert_eq!((ids[0].get_version_num(), seconds), (7, 1_767_225_600));
    }

    #[test]
    fn the_steady_clock_does_not_mind_that_the_wall_clock_is_set() {
        let (clock, manual) = Clock::manual(100);
        manual.set(1_000_000);
        assert_eq!((clock.now_us(), clock.steady_us()), (1_000_000, 100));
        manual.advance(Duration::from_micros(5));
        assert_eq!((clock.now_us(), clock.steady_us()), (1_000_005, 105));
        assert_eq!([clock.steady_range_us(2), clock.steady_range_us(1)], [105, 107]);
    }

    #[tokio::test]
    async fn sleepers_on_a_manual_clock_wake_when_it_is_moved() {
        let (clock, manual) = Clock::manual(0);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(10_000).await }
        });
        manual.advance(Duration::from_millis(10));
        sleeper.await.unwrap();
        assert_eq!(clock.now_us(), 10_000);
    }
}
