//! Runs the calls of a connection, and ends one whose answer is not taken by its deadline.
//!
//! HTTP/2 asks for more of an answer only when its peer has opened a window. The body of an answer that nobody reads is never
//! polled, so it cannot end itself: the task that holds it is dropped, which resets the stream and frees the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::connections::Connection;

/// Spawns the task of each call of one connection.
///
/// hyper calls the service and hands its future to the executor in one step: the end that the service sets is that of the
/// future which comes next.
#[derive(Clone)]
pub(super) struct Executor {
    end: CallEnd,
    connection: Arc<Connection>,
}

/// When the task of a call ends at the latest, whatever it waits for.
#[derive(Clone, Default)]
pub(super) struct CallEnd(Arc<Mutex<Option<Instant>>>);

impl CallEnd {
    /// Ends the call that is being begun at that time; none: it may last.
    pub(super) fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Executor {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { end: CallEnd::default(), connection }
    }

    /// Where the service sets the end of the call that it begins.
    pub(super) fn end(&self) -> CallEnd {
        self.end.clone()
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, call: F) {
        let Some(end) = self.end.take() else {
            tokio::spawn(call);
            return;
        };
        let connection = self.connection.clone();
        tokio::spawn(async move {
            match tokio::time::timeout_at(end.into(), call).await {
                Ok(_) => connection.note_taken(),
                Err(_) => connection.note_untaken(),
            }
        });
    }
}
