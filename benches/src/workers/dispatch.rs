//! How long a task takes to a worker that waits for it: one who adds tasks at a steady pace, and those who wait.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use pannier_proto::queue::v1::Task;
use serde::{Deserialize, Serialize};

use super::stream::Stream;
use crate::Fallible;
use crate::lane::Lane;
use crate::load::{Done, Worker};
use crate::queue::{Held, Queue};

/// How long a waiting worker waits: no longer than a round ends late by it.
const WAIT: Duration = Duration::from_millis(100);

/// All times in parameters are since this one.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a task carries: when its Enqueue began.
#[derive(Serialize, Deserialize)]
struct Sent {
    sent_ns: u64,
}

/// How long ago the Enqueue of this task began.
fn since_sent(task: &Task) -> Fallible<Duration> {
    let sent: Sent = serde_json::from_str(&task.parameters_json)?;
    Ok(START.elapsed().saturating_sub(Duration::from_nanos(sent.sent_ns)))
}

/// Adds a task every so often.
pub(crate) struct Pacer {
    lane: Lane,
    pace: Duration,
    next: Instant,
}

impl Pacer {
    pub(crate) fn new(lane: Lane, pace: Duration) -> Self {
        Self { lane, pace, next: *START }
    }
}

#[tonic::async_trait]
impl Worker for Pacer {
    async fn perform(&mut self) -> Fallible<Done> {
        // After a pause, or a call that took longer than the pace, it does not catch up: the queue is to be empty.
        self.next = (self.next + self.pace).max(Instant::now());
        tokio::time::sleep_until(self.next.into()).await;
        let sent = Sent { sent_ns: START.elapsed().as_nanos() as u64 };
        self.lane.enqueue_one(serde_json::to_string(&sent)?).await?;
        Ok(Done::untimed(0))
    }
}

/// Waits with Claim, completes what comes, waits again.
pub(crate) struct WaitingClaimer {
    pub(crate) lane: Lane,
}

#[tonic::async_trait]
impl Worker for WaitingClaimer {
    async fn begin(&mut self) -> Fallible<()> {
        self.lane.arrive().await
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let Some(task) = self.lane.claim_waiting(WAIT).await? else { return Ok(Done::untimed(0)) };
        let took = since_sent(&task)?;
        self.lane.complete(&[Held { id: task.id, token: task.token }]).await?;
        Ok(Done::timed(1, took))
    }

    async fn rest(&mut self) -> Fallible<()> {
        // What was added last.
        while let Some(task) = self.lane.claim_waiting(WAIT).await? {
            self.lane.complete(&[Held { id: task.id, token: task.token }]).await?;
        }
        self.lane.leave().await
    }
}

/// Waits with a stream that has credit for one task.
pub(crate) struct WaitingStream {
    lane: Lane,
    stream: Option<Stream>,
}

impl WaitingStream {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, stream: None }
    }
}

#[tonic::async_trait]
impl Worker for WaitingStream {
    async fn begin(&mut self) -> Fallible<()> {
        self.stream = Some(Stream::open(&self.lane, 1).await?);
        Ok(())
    }

    async fn perform(&mut self) -> Fallible<Done> {
        let stream = self.stream.as_mut().ok_or("the stream is not open")?;
        let Some(message) = stream.next(WAIT).await? else { return Ok(Done::untimed(0)) };
        self.lane.count_completed(message.results.len(), &message.results)?;
        let [task] = &message.tasks[..] else { return Ok(Done::untimed(0)) };
        let took = since_sent(task)?;
        stream.report(&message.tasks, 1).await?;
        Ok(Done::timed(1, took))
    }

    async fn rest(&mut self) -> Fallible<()> {
        let mut stream = self.stream.take().ok_or("the stream is not open")?;
        while let Some(message) = stream.next(WAIT).await? {
            self.lane.count_completed(message.results.len(), &message.results)?;
            if !message.tasks.is_empty() {
                stream.report(&message.tasks, 0).await?;
            }
        }
        stream.close().await
    }
}
