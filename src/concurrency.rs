//! How much of a kind may go on at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// A bound on what goes on at once, such as streams of a kind: who comes when it is reached is refused and does not wait.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    setting: &'static str,
}

impl ConcurrencyLimit {
    /// `max` at once, as `setting` says.
    pub fn new(setting: &'static str, max: u64) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(max)), setting }
    }

    /// Lets one more go on, for as long as the permit is held. Error: Overloaded.
    pub fn acquire(&self) -> Result<OwnedSemaphorePermit> {
        let permit = self.permits.clone().try_acquire_owned();
        permit.map_err(|_| Error::Overloaded { setting: self.setting })
    }
}
