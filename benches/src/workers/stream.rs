//! A worker with a stream: tasks are pushed to it, as many as it has given credit for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pannier_proto::queue::v1::{Task, WorkOpen, WorkRequest, WorkResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::refused;
use crate::Fallible;
use crate::lane::{Lane, TYPE, outcomes};
use crate::load::{Done, Worker};
use crate::queue::Held;

/// How long a stream may say nothing before that is a failure.
const SILENCE: Duration = Duration::from_secs(5);

/// An open stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<WorkRequest>,
    responses: Streaming<WorkResponse>,
}

impl Stream {
    /// Registers a worker that takes so many tasks at once.
    pub(crate) async fn open(lane: &Lane, credit: usize) -> Fallible<Self> {
        let (requests, receiver) = mpsc::channel(1024);
        let open = WorkOpen {
            queue: lane.queue.clone(),
            types: vec![TYPE.to_owned()],
            worker_name: "bench".to_owned(),
            ..WorkOpen::default()
        };
        let first = WorkRequest { open: Some(open), credit: credit as i32, ..WorkRequest::default() };
        requests.send(first).await?;
        let answer = lane.client.clone().work(ReceiverStream::new(receiver)).await.map_err(refused)?;
        let mut stream = Self { requests, responses: answer.into_inner() };
        let opened = stream.next(SILENCE).await?.ok_or("a stream did not open")?;
        opened.opened.ok_or("a stream began with something else than its worker")?;
        Ok(stream)
    }

    /// The next message; none if none came for so long.
    pub(crate) async fn next(&mut self, patience: Duration) -> Fallible<Option<WorkResponse>> {
        match tokio::time::timeout(patience, self.responses.message()).await {
            Ok(message) => {
                message.map_err(refused)?.ok_or_else(|| "the stream ended by itself".into()).map(Some)
            }
            Err(_) => Ok(None),
        }
    }

    /// Reports tasks as done and gives so much credit more.
    pub(crate) async fn report(&mut self, tasks: &[Task], credit: usize) -> Fallible<()> {
        let held: Vec<Held> = tasks.iter().map(|task| Held { id: task.id, token: task.token }).collect();
        let outcomes = outcomes(&held);
        let request = WorkRequest { credit: credit as i32, outcomes, ..WorkRequest::default() };
        Ok(self.requests.send(request).await?)
    }

    /// Takes leave; what was pushed and not reported goes back.
    pub(crate) async fn close(self) -> Fallible<()> {
        let Self { requests, mut responses } = self;
        drop(requests);
        while responses.message().await.map_err(refused)?.is_some() {}
        Ok(())
    }
}

/// Reports every task as done as soon as it comes. What counts is the time from an outcome to its answer.
pub(crate) struct StreamWorker {
    lane: Lane,
    credit: usize,
    stream: Option<Stream>,
    /// When the outcomes were sent that are not answered yet, in their order.
    reported: VecDeque<Instant>,
}

impl StreamWorker {
    pub(crate) fn new(lane: Lane, credit: usize) -> Self {
        Self { lane, credit, stream: None, reported: VecDeque::new() }
    }

    /// Takes note of a message's results; gives how many there were, and how long the first took.
    fn count(&mut self, message: &WorkResponse) -> Fallible<(u64, Duration)> {
        let done = message.results.len();
        self.lane.count_completed(done, &message.results)?;
        let first = self.reported.front().map(Instant::elapsed).unwrap_or_default();
        self.reported.drain(..done);
        Ok((done as u64, first))
    }
}

#[tonic::async_trait]
impl Worker for StreamWorker {
    async fn begin(&mut self) -> Fallible<()> {
        self.stream = Some(Stream::open(&self.lane, self.credit).await?);
        Ok(())
    }

    async fn perform(&mut self) -> Fallible<Done> {
        loop {
            let stream = self.stream.as_mut().ok_or("the stream is not open")?;
            let message = stream.next(SILENCE).await?.ok_or("no task and no answer came by the stream")?;
            if !message.tasks.is_empty() {
                let now = Instant::now();
                self.reported.extend(message.tasks.iter().map(|_| now));
                stream.report(&message.tasks, message.tasks.len()).await?;
            }
            if !message.results.is_empty() {
                let (done, took) = self.count(&message)?;
                return Ok(Done::timed(done, took));
            }
        }
    }

    async fn rest(&mut self) -> Fallible<()> {
        let mut stream = self.stream.take().ok_or("the stream is not open")?;
        // Tasks that still come are left alone: they go back with the stream.
        while !self.reported.is_empty() {
            let message = stream.next(SILENCE).await?.ok_or("an outcome was not answered")?;
            self.count(&message)?;
        }
        stream.close().await
    }
}
