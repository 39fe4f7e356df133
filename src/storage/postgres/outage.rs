//! Whether the database can be reached, as all sessions together know it.
//!
//! While it cannot, work that has no connection fails at once: callers are told to come again rather than kept waiting. One
//! task tries to connect meanwhile, so that no caller waits for its attempts. A session that lost its connection has the
//! others give theirs up too, because a network that swallowed one answer will mostly swallow theirs.
//!
//! A network that hangs looks like a statement that takes long. So when an answer is late, that task finds out whether the
//! database says anything at all to a new connection; if not, nobody waits any longer for statements either.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::connection::Place;
use super::failure::{Failure, FailureKind};

/// Between two attempts to connect.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// What the sessions know.
#[derive(Debug)]
pub(super) struct Outage {
    known: watch::Sender<Known>,
    spare: Mutex<Option<Fresh>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Why the last attempt to connect failed; none: the database is there.
    cause: Option<String>,
    /// Moves on with every lost connection; older connections are not used any more.
    generation: u64,
    /// Sessions that have a connection of this generation.
    connected: usize,
    /// An answer is late.
    is_suspect: bool,
    /// A new connection got no answer either.
    is_silent: bool,
    is_closing: bool,
}

/// A connection that nobody has used yet, and its generation.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) connection: PgConnection,
    pub(super) generation: u64,
}

/// Held by a session that has a connection of this generation.
#[derive(Debug)]
pub(super) struct Connected(Arc<Outage>, u64);

impl Outage {
    /// None, as the connection shows that was opened just now.
    pub(super) fn none(first: PgConnection) -> Self {
        let spare = Mutex::new(Some(Fresh { connection: first, generation: 0 }));
        Self { known: watch::Sender::default(), spare }
    }

    /// Which connections may be used: those opened in this generation.
    pub(super) fn generation(&self) -> u64 {
        self.known.borrow().generation
    }

    /// Leave to connect, and in which generation; or why it is not tried now.
    pub(super) fn may_connect(&self) -> Result<u64, Failure> {
        let known = self.known.borrow();
        match &known.cause {
            None => Ok(known.generation),
            Some(cause) => Err(Failure { kind: FailureKind::Lost, message: cause.clone() }),
        }
    }

    /// An attempt to connect failed.
    pub(super) fn failed(&self, failure: &Failure) {
        self.known.send_modify(|known| {
            known.cause = Some(failure.message.clone());
            known.is_silent = failure.kind == FailureKind::Silent;
        });
    }

    /// An attempt to connect succeeded; tells whether there was an outage.
    pub(super) fn ended(&self) -> bool {
        let mut was_one = false;
        self.known.send_if_modified(|known| {
            was_one = known.cause.take().is_some();
            let was_suspect = std::mem::take(&mut known.is_suspect);
            let was_silent = std::mem::take(&mut known.is_silent);
            was_one || was_suspect || was_silent
        });
        if was_one {
            tracing::info!("the database can be reached again");
        }
        was_one
    }

    /// A connection of `generation` was lost.
    pub(super) fn lost(&self, generation: u64) {
        self.known.send_if_modified(|known| {
            let is_news = known.generation == generation;
            if is_news {
                known.generation += 1;
                known.connected = 0;
            }
            is_news
        });
    }

    /// Whether the database is known to be out of reach.
    fn is_known(&self) -> bool {
        self.known.borrow().cause.is_some()
    }

    /// An answer is late.
    pub(super) fn suspect(&self) {
        self.known.send_modify(|known| known.is_suspect = true);
    }

    /// Waits until it is known that the database gives no answer to anybody.
    pub(super) async fn until_silent(&self) {
        self.wait(|known| known.is_silent).await;
    }

    /// The connection that was opened in advance, if there is one.
    pub(super) fn take_spare(&self) -> Option<Fresh> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.filter(|spare| spare.generation == self.generation())
    }

    /// A session has a connection of `generation`, until it drops what it is given.
    pub(super) fn connected(self: &Arc<Self>, generation: u64) -> Connected {
        self.count(generation, |connected| connected + 1);
        Connected(self.clone(), generation)
    }

    fn count(&self, generation: u64, change: impl FnOnce(usize) -> usize) {
        self.known.send_if_modified(|known| {
            let is_current = known.generation == generation;
            if is_current {
                known.connected = change(known.connected);
            }
            is_current
        });
    }

    /// Whether there are sessions that have a connection.
    pub(super) fn is_anyone_connected(&self) -> bool {
        self.known.borrow().connected > 0
    }

    /// For a session that has no connection: waits while it could only fail what another session can do.
    pub(super) async fn leave_work_to_others(&self) {
        self.wait(|known| known.cause.is_none() || known.connected == 0 || known.is_closing).await;
    }

    /// Waits until connections of `generation` may not be used any more.
    pub(super) async fn until_after(&self, generation: u64) {
        self.wait(|known| known.generation != generation).await;
    }

    /// Waits until the database is there, as far as is known.
    pub(super) async fn until_over(&self) {
        self.wait(|known| known.cause.is_none()).await;
    }

    /// The engine is closing: nobody waits for a connection any more.
    pub(super) fn close(&self) {
        self.known.send_modify(|known| known.is_closing = true);
    }

    async fn wait(&self, until: impl FnMut(&Known) -> bool) {
        // There is a sender as long as there is an outage to ask.
        let _ = self.known.subscribe().wait_for(until).await;
    }

    /// Tries to connect while the database cannot be reached, or perhaps cannot. Runs until it is aborted.
    pub(super) async fn seek_end(self: Arc<Self>, place: Place) {
        loop {
            self.wait(|known| known.cause.is_some() || known.is_suspect).await;
            let generation = self.generation();
            // Were this task to end, so would all hope.
            let opened = AssertUnwindSafe(place.open()).catch_unwind().await;
            match opened {
                Ok(Ok(connection)) => {
                    let spare = self.is_known().then_some(Fresh { connection, generation });
                    *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = spare;
                    if self.ended() {
                        continue;
                    }
                }
                Ok(Err(failure)) => self.note(&failure),
                Err(_) => tracing::error!("an attempt to connect panicked"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What a failed attempt of the seeker's says.
    fn note(&self, failure: &Failure) {
        if self.is_known() {
            tracing::debug!(cause = failure.message, "still no connection");
            self.failed(failure);
        } else if failure.kind == FailureKind::Silent {
            tracing::warn!(cause = failure.message, "an answer is late, and a new connection gets none");
            self.failed(failure);
            self.lost(self.generation());
        }
        // Whoever refuses a connection is there: what is late will come.
        self.known.send_modify(|known| known.is_suspect = false);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.count(self.1, |connected| connected - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> Arc<Outage> {
        Arc::new(Outage { known: watch::Sender::default(), spare: Mutex::default() })
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure { kind, message: "refused".to_owned() }
    }

    #[test]
    fn during_an_outage_nobody_is_kept_waiting_for_a_connection() {
        let outage = outage();
        assert_eq!(outage.may_connect().unwrap(), 0);
        outage.failed(&failure(FailureKind::Lost));
        assert_eq!(outage.may_connect().unwrap_err().message, "refused");
        outage.ended();
        assert_eq!(outage.may_connect().unwrap(), 0);
    }

    #[test]
    fn one_loss_seen_by_many_sessions_is_one_loss() {
        let outage = outage();
        outage.lost(0);
        outage.lost(0);
        assert_eq!(outage.generation(), 1);
    }

    #[tokio::test]
    async fn a_session_without_a_connection_waits_only_while_others_can_work() {
        let outage = outage();
        outage.leave_work_to_others().await;
        let other = outage.connected(0);
        outage.leave_work_to_others().await;
        outage.failed(&failure(FailureKind::Lost));
        assert!(outage.leave_work_to_others().now_or_never().is_none(), "another can work");
        drop(other);
        outage.leave_work_to_others().await;
        let older = outage.connected(0);
        outage.lost(0);
        outage.leave_work_to_others().await;
        let _newer = outage.connected(1);
        drop(older);
        assert!(outage.leave_work_to_others().now_or_never().is_none(), "another can work");
        outage.close();
        outage.leave_work_to_others().await;
    }

    #[test]
    fn statements_are_given_up_when_a_new_connection_gets_no_answer_either() {
        let outage = outage();
        for (kind, is_silent) in [(FailureKind::Lost, false), (FailureKind::Silent, true)] {
            outage.suspect();
            outage.note(&failure(kind));
            assert_eq!(outage.until_silent().now_or_never().is_some(), is_silent, "{kind:?}");
            assert_eq!(outage.may_connect().is_err(), is_silent, "{kind:?}");
        }
        assert_eq!(outage.generation(), 1);
        outage.ended();
        assert!(outage.until_silent().now_or_never().is_none());
    }
}
