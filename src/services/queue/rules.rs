//! The rules of a queue: retries, limits of keys, and what becomes of a task when its claim ends. No I/O.

use super::domain::{State, What};

/// Delays vary by chance up to one in so many parts either way.
const JITTER_PARTS: i64 = 5;

/// The most room of a key that is told; limits beyond that are none.
pub const ROOM_MAX: i64 = 1_000;

/// How a queue works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the newest goes first.
    pub is_lifo: bool,
    /// The wait that counts as much as a level of priority; zero: the highest priority goes first, always.
    pub ageing_us: i64,
    /// Whether a power loss may take the last tasks and claims.
    pub is_relaxed: bool,
    /// How often a failed attempt is retried.
    pub retries_max: i64,
    /// The delay before the first retry.
    pub backoff_us: i64,
    /// The longest delay.
    pub backoff_us_max: i64,
    /// How long one attempt may take; zero: no limit.
    pub timeout_us: i64,
    /// How long completed and cancelled tasks are kept; zero: for ever.
    pub retention_us: i64,
    /// How long failed tasks are kept; zero: for ever.
    pub failed_retention_us: i64,
    /// Of keys without limits of their own.
    pub key_limits: KeyLimits,
}

/// A change of rules: what is given is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of Rules")]
pub struct RulesPatch {
    pub is_lifo: Option<bool>,
    pub ageing_us: Option<i64>,
    pub is_relaxed: Option<bool>,
    pub retries_max: Option<i64>,
    pub backoff_us: Option<i64>,
    pub backoff_us_max: Option<i64>,
    pub timeout_us: Option<i64>,
    pub retention_us: Option<i64>,
    pub failed_retention_us: Option<i64>,
    pub key_limits: Option<KeyLimits>,
}

impl Rules {
    /// With what the patch gives.
    pub fn patched(self, patch: &RulesPatch) -> Self {
        Self {
            is_lifo: patch.is_lifo.unwrap_or(self.is_lifo),
            ageing_us: patch.ageing_us.unwrap_or(self.ageing_us),
            is_relaxed: patch.is_relaxed.unwrap_or(self.is_relaxed),
            retries_max: patch.retries_max.unwrap_or(self.retries_max),
            backoff_us: patch.backoff_us.unwrap_or(self.backoff_us),
            backoff_us_max: patch.backoff_us_max.unwrap_or(self.backoff_us_max),
            timeout_us: patch.timeout_us.unwrap_or(self.timeout_us),
            retention_us: patch.retention_us.unwrap_or(self.retention_us),
            failed_retention_us: patch.failed_retention_us.unwrap_or(self.failed_retention_us),
            key_limits: patch.key_limits.unwrap_or(self.key_limits),
        }
    }
}

/// Limits of the tasks with one key; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Held at once.
    pub held_max: i64,
    /// Claims in a period.
    pub claims_max: i64,
    /// The period.
    pub claims_period_us: i64,
}

impl Rules {
    /// The delay before a task is tried again that has failed `failures` times, with `chance` deciding the jitter.
    pub fn retry_delay_us(&self, failures: i64, chance: u64) -> i64 {
        let doublings = u32::try_from(failures.clamp(1, 63) - 1).unwrap_or(0);
        let exact = self.backoff_us.saturating_mul(1_i64 << doublings.min(62)).min(self.backoff_us_max);
        let spread = exact / JITTER_PARTS;
        // The remainder's bias is far below a microsecond's worth.
        let part = i64::try_from(chance % 1_000_001).unwrap_or(0);
        let jitter = i128::from(2 * spread) * i128::from(part) / 1_000_000;
        exact - spread + i64::try_from(jitter).unwrap_or(0)
    }
}

/// What counts against the limits of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Tasks that are held.
    pub held_count: i64,
    /// When the claims so far would be over if they were spaced evenly.
    pub claims_us: i64,
}

impl KeyLimits {
    /// How many more tasks may be claimed now, at most [`ROOM_MAX`].
    pub fn room(&self, used: KeyUse, now_us: i64) -> i64 {
        let by_held = if self.held_max > 0 { self.held_max - used.held_count } else { ROOM_MAX };
        let by_rate = if self.claims_max > 0 {
            let spent_us = (used.claims_us - now_us).max(0);
            (self.claims_period_us - spent_us) / self.interval_us()
        } else {
            ROOM_MAX
        };
        by_held.min(by_rate).clamp(0, ROOM_MAX)
    }

    /// The use after `count` more claims.
    pub fn claim(&self, used: KeyUse, count: i64, now_us: i64) -> KeyUse {
        let claims_us = if self.claims_max > 0 {
            used.claims_us.max(now_us).saturating_add(count.saturating_mul(self.interval_us()))
        } else {
            used.claims_us
        };
        KeyUse { held_count: used.held_count + count, claims_us }
    }

    /// When the rate has room for a claim; none if it is not the rate that is in the way.
    pub fn rate_us(&self, used: KeyUse, now_us: i64) -> Option<i64> {
        let room_us = used.claims_us.saturating_sub(self.claims_period_us).saturating_add(self.interval_us());
        (self.claims_max > 0 && room_us > now_us).then_some(room_us)
    }

    fn interval_us(&self) -> i64 {
        (self.claims_period_us / self.claims_max.max(1)).max(1)
    }
}

/// What decides what becomes of a held task.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Failed attempts so far.
    pub failure_count: i64,
    /// How many are allowed before it is given up.
    pub retries_max: i64,
    /// How long the attempt may take; zero: no limit.
    pub timeout_us: i64,
    /// When it was claimed.
    pub claim_us: i64,
    /// When the lease ends, if it has an end.
    pub expire_us: Option<i64>,
    /// Whether its cancel was asked for.
    pub is_cancelling: bool,
    /// Whether a registered worker holds it.
    pub has_worker: bool,
}

/// What becomes of a held task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is held on, as RUNNING.
    Running,
    /// It is held on, until then or as long as its worker beats.
    Held(Option<i64>),
    /// It has come to its end.
    Finished(State),
    /// It takes its old place.
    Queued,
    /// It is tried again after a delay.
    Scheduled(i64),
}

impl Hold {
    /// What an outcome makes of the task at `now_us`.
    pub fn settle(&self, what: &What, rules: &Rules, now_us: i64, chance: u64) -> Next {
        match what {
            What::Start => Next::Running,
            What::Extend(_) if self.has_worker => Next::Held(self.expire_us),
            What::Extend(lease_us) => Next::Held(Some(self.within_timeout(now_us.saturating_add(*lease_us)))),
            What::Report(_) => Next::Held(self.expire_us),
            What::Complete(_) => Next::Finished(State::Completed),
            _ if self.is_cancelling => Next::Finished(State::Cancelled),
            What::Fail { is_final, delay_us, .. } => {
                let failures = self.failure_count + 1;
                if *is_final || failures > self.retries_max {
                    return Next::Finished(State::Failed);
                }
                match delay_us.unwrap_or_else(|| rules.retry_delay_us(failures, chance)) {
                    0 => Next::Queued,
                    delay_us => Next::Scheduled(delay_us),
                }
            }
            What::Release => Next::Queued,
            What::Snooze(delay_us) => Next::Scheduled(*delay_us),
        }
    }

    /// Whether the attempt has taken longer than it may.
    pub fn is_timed_out(&self, now_us: i64) -> bool {
        self.timeout_us > 0 && now_us >= self.claim_us.saturating_add(self.timeout_us)
    }

    fn within_timeout(&self, until_us: i64) -> i64 {
        if self.timeout_us > 0 {
            until_us.min(self.claim_us.saturating_add(self.timeout_us))
        } else {
            until_us
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    pub(in crate::services::queue) fn rules() -> Rules {
        Rules {
            is_lifo: false,
            ageing_us: 0,
            is_relaxed: false,
            retries_max: 3,
            backoff_us: S,
            backoff_us_max: 60 * S,
            timeout_us: 0,
            retention_us: 0,
            failed_retention_us: 0,
            key_limits: KeyLimits::default(),
        }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_vary_by_a_fifth() {
        for (failures, exact_s) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (64, 60), (1_000, 60)]
        {
            let exact = exact_s * S;
            assert_eq!(rules().retry_delay_us(failures, 0), exact - exact / 5);
            assert_eq!(rules().retry_delay_us(failures, 1_000_000), exact + exact / 5);
            assert_eq!(rules().retry_delay_us(failures, 500_000), exact);
        }
        assert_eq!(Rules { backoff_us: 0, ..rules() }.retry_delay_us(3, 7), 0);
    }

    #[test]
    fn a_bucket_of_claims_fills_evenly() {
        let limits = KeyLimits { held_max: 0, claims_max: 10, claims_period_us: S };
        let fresh = KeyUse { held_count: 0, claims_us: 0 };
        assert_eq!(limits.room(fresh, 5 * S), 10);
        let empty = limits.claim(fresh, 10, 5 * S);
        assert_eq!(limits.room(empty, 5 * S), 0);
        assert_eq!(limits.rate_us(empty, 5 * S), Some(5 * S + S / 10));
        assert_eq!(limits.room(empty, 5 * S + S / 10), 1);
        assert_eq!(limits.room(empty, 5 * S + S / 2), 5);
        assert_eq!(limits.room(empty, 6 * S), 10);
        assert_eq!(limits.rate_us(fresh, 5 * S), None);
    }

    #[test]
    fn the_smaller_of_both_limits_counts() {
        let limits = KeyLimits { held_max: 2, claims_max: 10, claims_period_us: S };
        assert_eq!(limits.room(KeyUse { held_count: 1, claims_us: 0 }, S), 1);
        assert_eq!(limits.room(KeyUse { held_count: 5, claims_us: 0 }, S), 0);
        assert_eq!(KeyLimits::default().room(KeyUse { held_count: 5, claims_us: 0 }, S), ROOM_MAX);
    }

    #[test]
    fn a_cancelled_task_ends_with_any_outcome_and_is_completed_if_it_was() {
        let hold = Hold {
            failure_count: 0,
            retries_max: 3,
            timeout_us: 0,
            claim_us: 0,
            expire_us: Some(S),
            is_cancelling: true,
            has_worker: false,
        };
        let settle = |what: &What| hold.settle(what, &rules(), 0, 0);
        for what in [What::Release, What::Snooze(S)] {
            assert_eq!(settle(&what), Next::Finished(State::Cancelled));
        }
        assert_eq!(settle(&What::Complete(None)), Next::Finished(State::Completed));
        assert_eq!(settle(&What::Extend(5 * S)), Next::Held(Some(5 * S)));
    }
}
