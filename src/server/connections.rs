//! The connections that are open: at most `server.connections_max`.
//!
//! When all places are taken, the oldest connection that never made a call is closed for a new one. Sockets that say nothing
//! therefore keep nobody out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::share::Part;
use crate::clock;

/// A full house is told this often at most.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that takes none of so many answers in a row is closed.
const UNTAKEN_MAX: u64 = 64;

/// All connections.
pub(super) struct Connections {
    max: usize,
    open: Mutex<Open>,
    freed: Notify,
    /// How often a connection found no place.
    full: AtomicU64,
    /// Connections closed because their handshake did not end in time.
    unshaken: AtomicU64,
    /// Connections closed for a new one.
    replaced: AtomicU64,
}

#[derive(Default)]
struct Open {
    by_number: BTreeMap<u64, Arc<Connection>>,
    next_number: u64,
    warned: Option<Instant>,
}

/// One connection.
#[derive(Default)]
pub(super) struct Connection {
    number: u64,
    /// Its calls that run.
    pub(super) calls: Arc<Part>,
    /// Its calls that wait.
    pub(super) waits: Arc<Part>,
    /// Its bytes in flight.
    pub(super) bytes: Arc<Part>,
    /// Its answers that wait for bytes.
    pub(super) waiting_bytes: Arc<Part>,
    /// The usual size of its answers.
    answer_bytes: AtomicU64,
    /// Answers in a row that were not taken by their deadline.
    untaken: AtomicU64,
    has_called: AtomicBool,
    is_closing: AtomicBool,
    closing: Notify,
}

impl Connection {
    /// Notes a call: from now on the connection is not closed for another.
    pub(super) fn note_call(&self) {
        self.has_called.store(true, Ordering::Relaxed);
    }

    /// The usual size of its answers: it follows larger ones fast and smaller ones slowly.
    pub(super) fn usual_answer_bytes(&self) -> u64 {
        self.answer_bytes.load(Ordering::Relaxed)
    }

    /// Notes an answer that is to be sent.
    pub(super) fn note_answer(&self, bytes: u64) {
        let usual = self.usual_answer_bytes();
        let usual = if bytes > usual { (usual + bytes) / 2 } else { usual - (usual - bytes) / 8 };
        self.answer_bytes.store(usual, Ordering::Relaxed);
    }

    /// Notes a call that has ended.
    pub(super) fn note_taken(&self) {
        self.untaken.store(0, Ordering::Relaxed);
    }

    /// Notes an answer that was not taken by its deadline. HTTP/2 keeps a piece of it while the connection lives: one that goes
    /// on so is closed.
    pub(super) fn note_untaken(&self) {
        if self.untaken.fetch_add(1, Ordering::Relaxed) + 1 >= UNTAKEN_MAX {
            self.close();
        }
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.closing.notify_one();
    }

    /// Comes when the connection is to be closed.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }

    fn is_replaceable(&self) -> bool {
        !self.has_called.load(Ordering::Relaxed) && !self.is_closing.load(Ordering::Relaxed)
    }
}

/// A place among the connections; free when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    pub(super) connection: Arc<Connection>,
}

impl Connections {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            open: Mutex::default(),
            freed: Notify::new(),
            full: AtomicU64::new(0),
            unshaken: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        })
    }

    /// Connections that are open.
    pub(super) fn count(&self) -> u64 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).by_number.len() as u64
    }

    /// How often a connection found no place, and the connections that were closed: without a handshake, and for a new one.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.full), count(&self.unshaken), count(&self.replaced))
    }

    /// Notes a connection that was closed because its handshake did not end in time.
    pub(super) fn note_unshaken(&self) {
        self.unshaken.fetch_add(1, Ordering::Relaxed);
    }

    /// A place for a new connection: a free one, or that of the oldest connection that never made a call. Waits where all
    /// have made calls.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        let mut is_first = true;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(place) = self.free_place() {
                return place;
            }
            if std::mem::take(&mut is_first) {
                self.note_full();
            }
            freed.await;
        }
    }

    fn free_place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.by_number.len() >= self.max {
            let victim = open.by_number.values().find(|connection| connection.is_replaceable());
            if let Some(victim) = victim {
                victim.close();
                self.replaced.fetch_add(1, Ordering::Relaxed);
            }
            return None;
        }
        let number = open.next_number;
        open.next_number += 1;
        let connection = Arc::new(Connection { number, ..Connection::default() });
        open.by_number.insert(number, connection.clone());
        Some(Place { connections: self.clone(), connection })
    }

    fn note_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::instant();
        if open.warned.is_none_or(|warned| now.duration_since(warned) >= WARNING_INTERVAL) {
            open.warned = Some(now);
            tracing::warn!(
                connections_max = self.max,
                "connection limit reached (server.connections_max): connections that made no call are closed for new ones"
            );
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_number.remove(&self.connection.number);
        drop(open);
        self.connections.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_makes_place_and_one_that_called_does_not() {
        let connections = Connections::new(2);
        let (first, second) = (connections.place().await, connections.place().await);
        first.connection.note_call();
        let mut third = std::pin::pin!(connections.place());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(second.connection.closing().now_or_never().is_some());
        assert!(first.connection.closing().now_or_never().is_none());
        drop(second);
        let third = third.await;
        third.connection.note_call();
        let mut fourth = std::pin::pin!(connections.place());
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(first.connection.closing().now_or_never().is_none());
        drop(third);
        drop(fourth.await);
        assert_eq!((connections.count(), connections.counts()), (1, (2, 0, 1)));
    }
}
