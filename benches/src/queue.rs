//! A queue as the workloads use it, be it the sidecar's, the floor's or the ceiling's; and the supply of tasks that workers use up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::contest::Supply;

/// Tasks that one call of the supply adds.
const FILL: usize = 5_000;
/// More than all workers hold at once.
const AT_ONCE: u64 = 10_000;
/// How long what the queue says may lag behind: a stream's last tasks go back when its end has reached the sidecar.
const SETTLE: Duration = Duration::from_secs(5);

/// A task that is held.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) token: i64,
}

/// How many tasks are in which state, as the queue itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct States {
    pub(crate) queued: u64,
    pub(crate) completed: u64,
    pub(crate) others: u64,
}

/// What was acknowledged, by this program's own count; all workers of a queue share it.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) enqueued: AtomicU64,
    pub(crate) completed: AtomicU64,
}

impl Counts {
    /// What the queue should say when nobody holds anything.
    fn states(&self) -> States {
        let completed = self.completed.load(Ordering::Relaxed);
        States { queued: self.enqueued.load(Ordering::Relaxed) - completed, completed, others: 0 }
    }
}

/// A way to a queue. Whatever is not the expected answer is a failure.
#[tonic::async_trait]
pub(crate) trait Queue: Send {
    fn counts(&self) -> &Arc<Counts>;
    /// Adds so many tasks in one call.
    async fn enqueue(&mut self, count: usize) -> Fallible<()>;
    /// Begins to claim: registers as a worker, where there is such a thing.
    async fn arrive(&mut self) -> Fallible<()>;
    /// Takes so many tasks in one call, which must be there.
    async fn claim(&mut self, count: usize) -> Fallible<Vec<Held>>;
    /// Completes them in one call.
    async fn complete(&mut self, held: &[Held]) -> Fallible<()>;
    /// Claims no more.
    async fn leave(&mut self) -> Fallible<()>;
    async fn states(&mut self) -> Fallible<States>;
}

/// The parameters of a task: about 30 bytes of JSON.
pub(crate) fn parameters(number: u64) -> String {
    format!(r#"{{"video":"v{number:011}","part":{}}}"#, number % 10)
}

/// Keeps more tasks queued than a round can use up, and checks the counts at the end.
pub(crate) struct Stock<Q> {
    queue: Q,
    /// What may be expected at most, or the most that was completed in a second of a round so far, if that is more.
    /// None: nothing is to be there.
    per_second: Option<f64>,
    /// What was completed when the last round began, and how long that was.
    before: Option<(u64, f64)>,
}

impl<Q: Queue> Stock<Q> {
    pub(crate) fn new(queue: Q, per_second_expected: f64) -> Self {
        Self { queue, per_second: Some(per_second_expected), before: None }
    }

    /// For sides that bring their tasks with them: only the counts are checked.
    pub(crate) fn untouched(queue: Q) -> Self {
        Self { queue, per_second: None, before: None }
    }

    /// Has some tasks there before the first round, for a database that is to take note of what its tables hold.
    pub(crate) async fn begun(mut self) -> Fallible<Self> {
        self.fill(AT_ONCE).await?;
        Ok(self)
    }

    /// Adds tasks until so many are queued.
    async fn fill(&mut self, wanted: u64) -> Fallible<()> {
        let queued = self.queue.counts().states().queued;
        let mut missing = wanted.saturating_sub(queued) as usize;
        while missing > 0 {
            let count = missing.min(FILL);
            self.queue.enqueue(count).await?;
            missing -= count;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl<Q: Queue> Supply for Stock<Q> {
    async fn prepare(&mut self, seconds: f64) -> Fallible<()> {
        let Some(mut per_second) = self.per_second else { return Ok(()) };
        let completed = self.queue.counts().states().completed;
        if let Some((before, seconds)) = self.before {
            per_second = per_second.max((completed - before) as f64 / seconds);
        }
        self.per_second = Some(per_second);
        self.before = Some((completed, seconds));
        // Twice as many, and some for those that hold many at once.
        self.fill((2.0 * per_second * seconds) as u64 + AT_ONCE).await
    }

    async fn check(&mut self) -> Fallible<()> {
        agree(&mut self.queue).await
    }
}

/// That the queue says what was counted.
pub(crate) async fn agree(queue: &mut impl Queue) -> Fallible<()> {
    agree_beside(queue, 0).await
}

/// The same, where so many tasks more were completed before the counting began.
pub(crate) async fn agree_beside(queue: &mut impl Queue, completed_before: u64) -> Fallible<()> {
    let mut expected = queue.counts().states();
    expected.completed += completed_before;
    let since = Instant::now();
    loop {
        let states = queue.states().await?;
        if states == expected {
            return Ok(());
        }
        if since.elapsed() > SETTLE {
            return Err(format!("the queue says {states:?}, counted were {expected:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
