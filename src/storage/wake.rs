//! Wake-ups: who waits for a change under a topic is woken by who made it, after the commit.
//!
//! [`Tx::wake`](super::Tx::wake) wakes those in every process on the same database, [`Wake::notify`] those in this one.
//! A wake-up is a hint: the waiter looks again at the database. Waiters also bound their wait, so that a lost hint costs
//! time and never correctness.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The wake-ups of one process, cheap to clone.
#[derive(Clone, Default)]
pub struct Wake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// How many topics have waiters: the common wake-up finds zero and takes no lock.
    topics: AtomicUsize,
    waiters: Mutex<HashMap<String, Topic>>,
}

#[derive(Default)]
struct Topic {
    notify: Arc<Notify>,
    waiters: usize,
}

/// A place in the queue of those who wait for a topic. Wake-ups since it was taken are not missed.
pub struct Wakened {
    wake: Wake,
    topic: String,
    notify: Arc<Notify>,
}

impl Wake {
    /// Takes a place among those who wait for `topic`. Take it first, then look, then wait.
    pub fn subscribe(&self, topic: String) -> Wakened {
        let mut waiters = self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = waiters.entry(topic.clone()).or_default();
        entry.waiters += 1;
        let notify = entry.notify.clone();
        self.0.topics.store(waiters.len(), Ordering::SeqCst);
        Wakened { wake: self.clone(), topic, notify }
    }

    /// Wakes all who wait for the topic; `topic` is asked for only when anybody waits for anything.
    pub fn notify(&self, topic: impl FnOnce() -> String) {
        if self.0.topics.load(Ordering::SeqCst) == 0 {
            return;
        }
        let waiters = self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiters.get(&topic()) {
            entry.notify.notify_waiters();
        }
    }

    /// Wakes all who wait for anything: wake-ups may have been lost.
    pub(super) fn notify_all(&self) {
        for entry in self.0.waiters.lock().unwrap_or_else(PoisonError::into_inner).values() {
            entry.notify.notify_waiters();
        }
    }
}

impl Wakened {
    /// The next wake-up. Create the future before looking at the database: it holds the place from its creation.
    pub fn next(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Wakened {
    fn drop(&mut self) {
        let mut waiters = self.wake.0.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiters.get_mut(&self.topic) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                waiters.remove(&self.topic);
            }
        }
        self.wake.0.topics.store(waiters.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_looking_and_waiting_is_not_lost() {
        let wake = Wake::default();
        let place = wake.subscribe("a".into());
        let next = place.next();
        wake.notify(|| "a".into());
        next.await;
        drop(place);
        assert!(wake.0.waiters.lock().unwrap().is_empty());
    }
}
