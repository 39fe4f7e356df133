//! A bounded amount that all connections share, of which no connection can take all.
//!
//! The rule is the dynamic threshold by which switches share a buffer: once half of the amount is used, a connection may hold
//! at most twice what is left. One connection holds two thirds at most, two hold two fifths each, and some is always left for
//! a further one. Example, of 300: alone up to 200; with three connections 85 each and 45 left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Below this maximum there is nothing to share: a connection may take all.
const SHARED_FROM: u64 = 16;

/// An amount of calls or bytes.
pub(super) struct Share {
    max: u64,
    used: Mutex<u64>,
    freed: Notify,
}

/// The part of one connection.
#[derive(Default)]
pub(super) struct Part(AtomicU64);

/// Something taken; given back when dropped.
pub(super) struct Taken {
    share: Arc<Share>,
    part: Arc<Part>,
    amount: u64,
}

impl Share {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, used: Mutex::new(0), freed: Notify::new() })
    }

    /// The amount in use.
    pub(super) fn used(&self) -> u64 {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an amount for a connection, if the connection may have it.
    pub(super) fn take(self: &Arc<Self>, part: &Arc<Part>, amount: u64) -> Option<Taken> {
        let mut taken = Taken { share: self.clone(), part: part.clone(), amount: 0 };
        taken.grow(amount).then_some(taken)
    }

    /// Takes an amount whether it is free or not.
    pub(super) fn take_anyway(self: &Arc<Self>, part: &Arc<Part>, amount: u64) -> Taken {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) += amount;
        part.0.fetch_add(amount, Ordering::Relaxed);
        Taken { share: self.clone(), part: part.clone(), amount }
    }

    /// Takes an amount, and waits for it until then.
    pub(super) async fn take_by(
        self: &Arc<Self>,
        part: &Arc<Part>,
        amount: u64,
        until: Instant,
    ) -> Option<Taken> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(taken) = self.take(part, amount) {
                return Some(taken);
            }
            tokio::time::timeout_at(until.into(), freed).await.ok()?;
        }
    }

    /// Waits until nothing is used.
    pub(super) async fn unused(&self) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.used() == 0 {
                return;
            }
            freed.await;
        }
    }
}

impl Taken {
    /// Takes more; false: the connection may not have it.
    pub(super) fn grow(&mut self, by: u64) -> bool {
        let mut used = self.share.used.lock().unwrap_or_else(PoisonError::into_inner);
        let (max, held) = (self.share.max, self.part.0.load(Ordering::Relaxed).saturating_add(by));
        let all = used.saturating_add(by);
        let is_fair = max < SHARED_FROM || all <= max / 2 || held <= (max.saturating_sub(all)) * 2;
        if all > max || !is_fair {
            return false;
        }
        *used = all;
        self.part.0.store(held, Ordering::Relaxed);
        self.amount += by;
        true
    }

    /// Gives some of it back.
    pub(super) fn shrink(&mut self, by: u64) {
        let by = by.min(self.amount);
        if by == 0 {
            // A refused caller that woke the others would wake itself.
            return;
        }
        self.amount -= by;
        let mut used = self.share.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(by);
        let held = self.part.0.load(Ordering::Relaxed);
        self.part.0.store(held.saturating_sub(by), Ordering::Relaxed);
        drop(used);
        self.share.freed.notify_waiters();
    }

    /// The amount that is taken.
    pub(super) fn amount(&self) -> u64 {
        self.amount
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn take_all(share: &Arc<Share>, part: &Arc<Part>) -> Vec<Taken> {
        std::iter::from_fn(|| share.take(part, 1)).collect()
    }

    #[test]
    fn one_connection_never_has_all_and_a_further_one_finds_some() {
        let share = Share::new(300);
        let parts: Vec<Arc<Part>> = (0..4).map(|_| Arc::default()).collect();
        let first = take_all(&share, &parts[0]);
        assert_eq!(first.len(), 200);
        let second = take_all(&share, &parts[1]);
        assert!(second.len() >= 60, "{}", second.len());
        assert!(!take_all(&share, &parts[2]).is_empty());
        drop(first);
        assert!(take_all(&share, &parts[3]).len() >= 100);
        drop(second);
        assert_eq!(share.used(), 0);
    }

    #[test]
    fn all_of_a_small_amount_can_be_taken_and_no_more() {
        let (share, part) = (Share::new(3), Arc::default());
        assert_eq!(take_all(&share, &part).len(), 3);
        let all = [share.take(&part, 3).unwrap()];
        assert!(share.take(&part, 1).is_none());
        let more = share.take_anyway(&part, 1);
        assert_eq!((share.used(), more.amount()), (4, 1));
        drop((all, more));
        assert_eq!(share.used(), 0);
    }

    #[tokio::test]
    async fn what_is_given_back_wakes_who_waits_and_a_wait_has_an_end() {
        let (share, part) = (Share::new(1), Arc::<Part>::default());
        let taken = share.take(&part, 1).unwrap();
        assert!(share.take_by(&part, 1, clock::instant()).await.is_none());
        let until = clock::instant() + std::time::Duration::from_secs(60);
        let waiting = share.take_by(&part, 1, until);
        let (got, ()) = tokio::join!(waiting, async { drop(taken) });
        drop(got.expect("it was given back"));
        share.unused().await;
    }
}
