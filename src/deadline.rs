//! The deadline of the call that is being served.
//!
//! The server sets it around each call; the engine reads it when work is queued, so that no handler has to hand it on
//! and none can forget to.

use std::time::Instant;

tokio::task_local! {
    static CURRENT: Instant;
}

/// Runs a call under its deadline.
pub async fn scope<F: Future>(deadline: Instant, call: F) -> F::Output {
    CURRENT.scope(deadline, call).await
}

/// The deadline of the call that this task serves; none in background work.
pub fn current() -> Option<Instant> {
    CURRENT.try_with(|deadline| *deadline).ok()
}
