//! Waits of calls: a call that waits for others to do something holds no place among the calls that run.
//!
//! Otherwise those who wait would keep out the call that ends their wait. The server sets the call around each handler; a
//! service runs its wait by [`aside`]. `server.waits_max` bounds the waits.

use std::sync::Arc;

use crate::error::Result;

/// A call that can be set aside.
pub trait Call: Send + Sync {
    /// Gives the call's place back. Error: Overloaded, when no more calls may wait.
    fn set_aside(&self) -> Result<()>;

    /// Takes a place again, whether one is free or not.
    fn resume(&self);
}

tokio::task_local! {
    static CURRENT: Arc<dyn Call>;
}

/// Runs a handler as part of a call.
pub async fn scope<F: Future>(call: Arc<dyn Call>, handler: F) -> F::Output {
    CURRENT.scope(call, handler).await
}

/// Waits without a place among the calls that run. Outside of calls, and in streams, it just waits. Error: Overloaded.
pub async fn aside<F: Future>(wait: F) -> Result<F::Output> {
    let Ok(call) = CURRENT.try_with(Arc::clone) else { return Ok(wait.await) };
    call.set_aside()?;
    let _aside = Aside(call);
    Ok(wait.await)
}

struct Aside(Arc<dyn Call>);

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.resume();
    }
}
