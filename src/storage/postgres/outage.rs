//! Whether the database can be reached, as all sessions together know it.
//!
//! While it cannot, one session at a time tries to connect and all other work fails at once: callers are told to come
//! again rather than kept waiting. A session that lost its connection has the others give theirs up too, because a network
//! that swallowed one answer will mostly swallow theirs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// What the sessions know.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Why the last attempt to connect failed, and when the next one may be made; none: the database is there.
    failed: Option<(String, Instant)>,
    /// Moves on with every lost connection; older connections are not used any more.
    generation: u64,
}

impl Outage {
    /// Which connections may be used: those opened in this generation.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Leave to connect, or why not to try now. Who gets leave during an outage keeps the others out meanwhile.
    pub(super) fn may_connect(&self) -> Result<u64, String> {
        let mut known = self.lock();
        if let Some((cause, next)) = &mut known.failed {
            let now = clock::instant();
            if now < *next {
                return Err(cause.clone());
            }
            *next = now + Duration::from_secs(3_600);
        }
        Ok(known.generation)
    }

    /// An attempt to connect failed.
    pub(super) fn failed(&self, cause: &str) {
        self.lock().failed = Some((cause.to_owned(), clock::instant() + PAUSE));
    }

    /// An attempt to connect succeeded.
    pub(super) fn ended(&self) {
        if self.lock().failed.take().is_some() {
            tracing::info!("the database can be reached again");
        }
    }

    /// A connection of `generation` was lost.
    pub(super) fn lost(&self, generation: u64) {
        let mut known = self.lock();
        if known.generation == generation {
            known.generation += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_an_outage_work_fails_at_once_and_one_session_tries() {
        let outage = Outage::default();
        assert_eq!(outage.may_connect(), Ok(0));
        outage.failed("refused");
        assert_eq!(outage.may_connect(), Err("refused".to_owned()));
        if let Some((_, next)) = &mut outage.lock().failed {
            *next = clock::instant();
        }
        assert_eq!(outage.may_connect(), Ok(0), "the pause is over: one tries");
        assert!(outage.may_connect().is_err(), "and the others do not");
        outage.ended();
        assert_eq!(outage.may_connect(), Ok(0));
    }

    #[test]
    fn one_loss_seen_by_many_sessions_is_one_loss() {
        let outage = Outage::default();
        outage.lost(0);
        outage.lost(0);
        assert_eq!(outage.generation(), 1);
    }
}
