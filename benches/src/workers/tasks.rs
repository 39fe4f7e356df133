//! Workers of a queue, and those who give them tasks, a call after the other.

use std::time::Instant;

use crate::Fallible;
use crate::lane::Lane;
use crate::load::{Done, Worker};
use crate::queue::{Held, Queue};

/// Adds so many tasks with each call.
pub(crate) struct Enqueuer<Q> {
    pub(crate) queue: Q,
    pub(crate) count: usize,
}

#[tonic::async_trait]
impl<Q: Queue> Worker for Enqueuer<Q> {
    async fn perform(&mut self) -> Fallible<Done> {
        self.queue.enqueue(self.count).await?;
        Ok(Done::rows(self.count as u64))
    }
}

/// Claims so many tasks with one call and completes them with another.
pub(crate) struct Claimer<Q> {
    pub(crate) queue: Q,
    pub(crate) count: usize,
}

#[tonic::async_trait]
impl<Q: Queue> Worker for Claimer<Q> {
    async fn begin(&mut self) -> Fallible<()> {
        self.queue.arrive().await
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let held = self.queue.claim(self.count).await?;
        self.queue.complete(&held).await?;
        Ok(Done::rows(held.len() as u64))
    }

    async fn rest(&mut self) -> Fallible<()> {
        self.queue.leave().await
    }
}

/// Claims a task and completes it, and adds as many as it has taken every so often: the queue stays as long as it is. What counts
/// is the time of the claim.
pub(crate) struct Steady<Q> {
    queue: Q,
    every: usize,
    taken: usize,
}

impl<Q> Steady<Q> {
    pub(crate) fn new(queue: Q, every: usize) -> Self {
        Self { queue, every, taken: 0 }
    }
}

#[tonic::async_trait]
impl<Q: Queue> Worker for Steady<Q> {
    async fn begin(&mut self) -> Fallible<()> {
        self.queue.arrive().await
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let since = Instant::now();
        let held = self.queue.claim(1).await?;
        let took = since.elapsed();
        self.queue.complete(&held).await?;
        self.taken += 1;
        if self.taken == self.every {
            self.queue.enqueue(self.every).await?;
            self.taken = 0;
        }
        Ok(Done::timed(1, took))
    }

    async fn rest(&mut self) -> Fallible<()> {
        self.queue.leave().await
    }
}

/// Reports the tasks it has as done and takes as many, in one call.
pub(crate) struct Exchanger {
    lane: Lane,
    count: usize,
    held: Vec<Held>,
}

impl Exchanger {
    pub(crate) fn new(lane: Lane, count: usize) -> Self {
        Self { lane, count, held: Vec::new() }
    }
}

#[tonic::async_trait]
impl Worker for Exchanger {
    async fn begin(&mut self) -> Fallible<()> {
        self.lane.arrive().await?;
        self.held = self.lane.claim(self.count).await?;
        Ok(())
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let done = self.held.len() as u64;
        self.held = self.lane.exchange(&self.held, self.count).await?;
        Ok(Done::rows(done))
    }

    async fn rest(&mut self) -> Fallible<()> {
        self.lane.complete(&std::mem::take(&mut self.held)).await?;
        self.lane.leave().await
    }
}
