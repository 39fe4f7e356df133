//! Time and randomness: the only place that asks the system for either.
//!
//! Times are Unix microseconds in an `i64`. Tests hold a [`ManualClock`] and move it; nothing sleeps.
//!
//! There are three clocks, and docs/time.md says which decides what. The *wall clock* is the calendar; somebody may set it. The
//! *steady clock* only counts, and continues over a start from the last [`Stamp`]. The *serving clock* is the steady clock, but it
//! follows a jump of the wall clock forward: what either of them says has expired is expired on the serving clock.
//! A [`Clock`] shows one of them; [`Clock::steady`] and [`Clock::serving`] return the others.

mod history;
mod manual;
mod resume;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use uuid::Uuid;

use history::{History, STEP_US};
pub use history::{Limits, Step};
pub use manual::ManualClock;

/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;

/// Revisions of one microsecond and the next are so far apart; an `i64` holds them until the year 2255.
pub const REVISION_STEP: i64 = 1_024;

/// Milliseconds, as settings have them, in microseconds.
pub fn ms_to_us(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// The default of `clock.jump_max_ms`.
pub const JUMP_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The default of `clock.grace_ms`.
pub const GRACE_MS: u64 = 60 * 60 * 1_000;

/// The default of `clock.steps_max`.
pub const STEPS_MAX: u64 = 64;

/// The default of `clock.pause_max_ms`.
pub const PAUSE_MS_MAX: u64 = 3_000;

/// Unique times of so long ahead are stored as given, so that none is given again after a crash.
const ORDER_AHEAD_US: i64 = 10 * SECOND_US;

/// Stamps may be so old at a crash: the steady clock continues at least so much later.
const STAMP_AGE_US: i64 = 2 * SECOND_US;

/// No sleep is longer without a look at the clock.
const SLEEP_US_MAX: i64 = 60 * SECOND_US;

/// The wall clock is the system's own.
const SYSTEM: i64 = i64::MIN;

/// A source of times and ids, cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Inner>,
    frame: Frame,
}

/// Which clock a [`Clock`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Wall,
    Steady,
    Serving,
}

#[derive(Debug)]
struct Inner {
    source: Source,
    /// What the steady clock is ahead of the source's monotonic one.
    steady_shift_us: AtomicI64,
    /// What the serving clock is ahead of the source's monotonic one.
    serving_shift_us: AtomicI64,
    /// What the wall clock is ahead of the source's monotonic one; [`SYSTEM`]: it is the system's.
    wall_shift_us: AtomicI64,
    last_unique_us: AtomicI64,
    last_steady_us: AtomicI64,
    history: RwLock<History>,
    /// When this process was last known to run, and since when it runs without a pause; on the steady clock.
    last_tick_us: AtomicI64,
    running_since_us: AtomicI64,
    /// Wakes all sleepers when a clock has stepped.
    stepped: watch::Sender<()>,
    /// Random bits that tell this process's revisions from those of another that had the same time.
    nonce: i64,
}

#[derive(Debug)]
enum Source {
    System {
        /// What the monotonic clock showed when it was taken for the wall clock, and what that showed.
        start_us: i64,
        wall_us: i64,
    },
    Manual(watch::Receiver<Hands>),
}

/// Where a manual clock stands.
#[derive(Clone, Copy, Debug)]
struct Hands {
    wall_us: i64,
    steady_us: i64,
}

/// What the clocks showed, as it is stored for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What the clocks showed.
    pub at: Step,
    /// Unique times up to this one may have been given.
    pub order_us: i64,
    /// Whether it is the last one before a stop.
    pub is_final: bool,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::new(Source::System { start_us: counted_us(), wall_us: system_us() })
    }

    fn new(source: Source) -> Self {
        let nonce = i64::from(random().as_bytes()[0]) << 2 | i64::from(random().as_bytes()[0] & 3);
        let hands = source.hands();
        let first = Step { steady_us: hands.steady_us, serving_us: hands.steady_us, wall_us: hands.wall_us };
        let limits = Limits {
            jump_max_us: ms_to_us(JUMP_MS_MAX),
            grace_us: ms_to_us(GRACE_MS),
            steps_max: usize::try_from(STEPS_MAX).unwrap_or(usize::MAX),
            pause_max_us: ms_to_us(PAUSE_MS_MAX),
        };
        let inner = Inner {
            source,
            steady_shift_us: AtomicI64::new(0),
            serving_shift_us: AtomicI64::new(0),
            wall_shift_us: AtomicI64::new(SYSTEM),
            last_unique_us: AtomicI64::new(0),
            last_steady_us: AtomicI64::new(0),
            history: RwLock::new(History::new(first, limits)),
            last_tick_us: AtomicI64::new(hands.steady_us),
            running_since_us: AtomicI64::new(hands.steady_us),
            stepped: watch::Sender::new(()),
            nonce,
        };
        Self { inner: Arc::new(inner), frame: Frame::Wall }
    }

    /// The same clocks, of which the steady one is shown.
    #[must_use]
    pub fn steady(&self) -> Self {
        Self { inner: self.inner.clone(), frame: Frame::Steady }
    }

    /// The same clocks, of which the serving one is shown.
    #[must_use]
    pub fn serving(&self) -> Self {
        Self { inner: self.inner.clone(), frame: Frame::Serving }
    }

    /// Unix microseconds of the clock that is shown.
    pub fn now_us(&self) -> i64 {
        let shift = |shift: &AtomicI64| self.monotonic_us().saturating_add(shift.load(Ordering::Relaxed));
        match self.frame {
            Frame::Wall => self.inner.wall_us(),
            Frame::Steady => shift(&self.inner.steady_shift_us),
            Frame::Serving => shift(&self.inner.serving_shift_us),
        }
    }

    /// Unix microseconds of the wall clock.
    pub fn wall_us(&self) -> i64 {
        self.inner.wall_us()
    }

    /// Unix microseconds of the steady clock.
    pub fn steady_us(&self) -> i64 {
        self.monotonic_us().saturating_add(self.inner.steady_shift_us.load(Ordering::Relaxed))
    }

    fn serving_us(&self) -> i64 {
        self.monotonic_us().saturating_add(self.inner.serving_shift_us.load(Ordering::Relaxed))
    }

    fn monotonic_us(&self) -> i64 {
        match &self.inner.source {
            Source::System { start_us, wall_us } => since(*start_us, *wall_us),
            Source::Manual(hands) => hands.borrow().steady_us,
        }
    }

    /// The time of the wall clock when the clock that is shown showed `us`, or will show it.
    pub fn wall_of(&self, us: i64) -> i64 {
        match self.frame {
            Frame::Wall => us,
            frame => self.inner.read().wall_of(frame, us),
        }
    }

    /// How long ago the wall clock first showed `stamp_us`, in time that has passed.
    pub fn age_us(&self, stamp_us: i64) -> i64 {
        self.steady_us().saturating_sub(self.inner.read().steady_of(stamp_us))
    }

    /// What is stamped with an earlier time of the clock that is shown is at least `age_us` old, though the wall clock may have
    /// stepped. Nothing is that old during the grace that follows a jump.
    pub fn before_us(&self, age_us: i64) -> i64 {
        let (steady_us, history) = (self.steady_us(), self.inner.read());
        if steady_us < history.grace_until_us {
            return i64::MIN;
        }
        match self.frame {
            Frame::Wall => history.wall_cut(steady_us.saturating_sub(age_us)),
            Frame::Steady | Frame::Serving => self.now_us().saturating_sub(age_us),
        }
    }

    /// The first of `count` steady times that follow one another and that this process has not been given before.
    pub fn steady_range_us(&self, count: usize) -> i64 {
        next_range(&self.inner.last_steady_us, self.steady_us(), count)
    }

    /// Unix microseconds that were not given before: later than all earlier ones, even when the wall clock stands still or is
    /// set back, and after a start.
    pub fn unique_us(&self) -> i64 {
        self.unique_range_us(1)
    }

    /// The first of `count` unique times that follow one another.
    pub fn unique_range_us(&self, count: usize) -> i64 {
        next_range(&self.inner.last_unique_us, self.serving_us(), count)
    }

    /// The first of `count` revisions, [`REVISION_STEP`] apart: each larger than all before it, those of earlier processes on the
    /// same database included, and not one that another process has given.
    pub fn revisions(&self, count: usize) -> i64 {
        self.unique_range_us(count).saturating_mul(REVISION_STEP).saturating_add(self.inner.nonce)
    }

    /// Waits until the clock that is shown shows `until_us`; returns at once when that has passed. A step of the wall clock
    /// counts as soon as it is seen.
    pub async fn sleep_until(&self, until_us: i64) {
        match &self.inner.source {
            Source::System { .. } => loop {
                let mut stepped = self.inner.stepped.subscribe();
                let wait_us = until_us.saturating_sub(self.now_us());
                if wait_us <= 0 {
                    return;
                }
                tokio::select! {
                    () = sleep_us(wait_us.min(SLEEP_US_MAX)) => {}
                    _ = stepped.changed() => {}
                }
            },
            Source::Manual(hands) => {
                reached(hands, |hands| self.inner.at(self.frame, hands) >= until_us).await
            }
        }
    }

    /// Waits until the steady clock shows `until_us`.
    pub async fn sleep_until_steady(&self, until_us: i64) {
        self.steady().sleep_until(until_us).await;
    }

    /// Leaves others `length` of time, as between two steps of maintenance. A manual clock only lets them run.
    pub async fn rest(&self, length: Duration) {
        match &self.inner.source {
            Source::System { .. } => tokio::time::sleep(length).await,
            Source::Manual(_) => tokio::task::yield_now().await,
        }
    }

    /// Waits for `milliseconds`, whatever the wall clock does.
    pub async fn sleep_ms(&self, milliseconds: u64) {
        self.sleep_until_steady(self.steady_us().saturating_add(ms_to_us(milliseconds))).await;
    }

    /// Waits for the next step of the wall clock that is seen.
    pub async fn stepped(&self) {
        // The sender lives as long as the clock.
        let _ = self.inner.stepped.subscribe().changed().await;
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

fn since(start_us: i64, wall_us: i64) -> i64 {
    wall_us.saturating_add(counted_us().saturating_sub(start_us))
}

/// Microseconds of a clock that only counts, and also does while the machine is suspended.
#[cfg(target_os = "linux")]
fn counted_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.saturating_mul(SECOND_US).saturating_add(now.tv_nsec / 1_000)
}

/// Microseconds of a clock that only counts.
#[cfg(not(target_os = "linux"))]
fn counted_us() -> i64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    i64::try_from(FIRST.get_or_init(instant).elapsed().as_micros()).unwrap_or(i64::MAX)
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
        assert_eq!(clock.unique_range_us(3), 103);
        manual.advance(Duration::from_micros(900));
        assert_eq!(clock.unique_us(), 1_000);
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
