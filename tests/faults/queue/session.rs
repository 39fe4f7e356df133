//! A worker on a stream: gives credit, is pushed tasks, reports on the same stream, and goes on with a new stream when its
//! sidecar is killed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pannier_proto::queue::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::caller::Caller;
use super::history::*;
use super::recorder::Recorder;
use super::wire::{self, QUEUE};
use super::worker::choose;

/// Rounds of a session at most.
const ROUNDS: u64 = 60;
/// Credit that is open at once, at most.
const CREDIT: usize = 8;
/// How long a round waits for what it is waiting for.
const ROUND: Duration = Duration::from_millis(100);

/// One worker's session, which may take several streams.
pub(crate) struct Session<'c> {
    caller: &'c mut Caller,
    worker: Option<i64>,
    held: Vec<(i64, i64)>,
    /// Calls to claim, one for each credit that is open.
    credit: VecDeque<usize>,
    /// Messages with outcomes that are not answered yet.
    sent: VecDeque<Message>,
}

/// The leave that a worker takes by closing its stream, or perhaps takes when the stream is dropped. Noted before that is done,
/// so it is the first field.
struct Leave {
    worker: i64,
    actor: Actor,
    /// None: the sidecar ended the stream, which is no leave.
    recorder: Option<Arc<Recorder>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            recorder.begin(self.actor, Asked::Unregister { worker: self.worker });
        }
    }
}

/// A message with outcomes: the call that stands for it, and the verdicts so far.
struct Message {
    work: usize,
    outcomes: Vec<Outcome>,
    verdicts: Vec<Verdict>,
}

/// Both directions of a stream.
struct Stream {
    leave: Leave,
    out: mpsc::Sender<pb::WorkRequest>,
    answers: Streaming<pb::WorkResponse>,
}

impl<'c> Session<'c> {
    pub(crate) fn new(caller: &'c mut Caller) -> Self {
        Self { caller, worker: None, held: Vec::new(), credit: VecDeque::new(), sent: VecDeque::new() }
    }

    /// Works for some rounds.
    pub(crate) async fn work(mut self) {
        let mut rounds = 1 + self.caller.chance.below(ROUNDS);
        while rounds > 0 {
            let from = self.caller.recorder.now();
            let ended = match self.open().await {
                Ok(stream) => self.go_on(stream, &mut rounds).await,
                Err(status) => Err(status),
            };
            // Outcomes and credit of a stream that broke: nobody knows.
            self.sent.clear();
            self.credit.clear();
            if let Err(status) = ended {
                let is_over = self.caller.trouble("Work", from, &status).is_some();
                if is_over || self.caller.chance.once_in(2) {
                    return;
                }
            }
        }
    }

    async fn open(&mut self) -> Result<Stream, Status> {
        let mut client = self.caller.client().await;
        let (out, messages) = mpsc::channel(4);
        let worker_id = self.worker.unwrap_or_default();
        let worker_name =
            if worker_id == 0 { format!("stream of {}", self.caller.actor) } else { String::new() };
        let start = self.caller.chance.once_in(2);
        let open =
            pb::WorkOpen { queue: QUEUE.to_owned(), worker_id, worker_name, start, ..Default::default() };
        let first = pb::WorkRequest { open: Some(open), ..Default::default() };
        let call = match self.worker {
            None => self.caller.recorder.begin(self.caller.actor, Asked::Register),
            Some(worker) => self.note_beat(worker),
        };
        out.send(first).await.expect("the other end is here");
        let mut answers = client.work(ReceiverStream::new(messages)).await?.into_inner();
        let answer = answers.message().await?.ok_or_else(|| Status::unknown("the stream ended at once"))?;
        let worker = answer.opened.as_ref().expect("the first message tells the worker").worker_id;
        let (actor, recorder) = (self.caller.actor, Arc::clone(&self.caller.recorder));
        let opened =
            if self.worker.is_none() { Reply::Registered(worker) } else { Reply::Beaten(Vec::new()) };
        recorder.end(call, Answer::Given(opened));
        self.worker = Some(worker);
        let leave = Leave { worker, actor, recorder: Some(recorder) };
        Ok(Stream { leave, out, answers })
    }

    fn note_beat(&self, worker: i64) -> usize {
        self.caller.recorder.begin(self.caller.actor, Asked::Beat { worker, held: None })
    }

    async fn go_on(&mut self, mut stream: Stream, rounds: &mut u64) -> Result<(), Status> {
        while *rounds > 0 {
            *rounds -= 1;
            if stream.out.send(self.message()).await.is_err() {
                // The answers tell why.
                stream.leave.recorder = None;
                return Err(stream
                    .answers
                    .message()
                    .await
                    .err()
                    .unwrap_or_else(|| Status::unknown("it ended")));
            }
            let answered = async {
                loop {
                    let answer = stream.answers.message().await?;
                    self.learn(answer.ok_or_else(|| Status::unknown("the stream ended"))?);
                    if self.sent.is_empty() && !self.held.is_empty() {
                        return Ok::<(), Status>(());
                    }
                }
            };
            if let Ok(Err(status)) = tokio::time::timeout(ROUND, answered).await {
                stream.leave.recorder = None;
                return Err(status);
            }
        }
        Ok(())
    }

    /// The next message: outcomes for what is held, and some credit.
    fn message(&mut self) -> pb::WorkRequest {
        let worker = self.worker.expect("the stream is open");
        let room = CREDIT - self.credit.len();
        let credit = self.caller.chance.below(room as u64 + 1) as usize;
        let claiming = Claiming { tasks_max: 1, hold: Hold::Worker(worker) };
        for _ in 0..credit {
            let asked = Asked::Work { outcomes: Vec::new(), claiming: Some(claiming) };
            self.credit.push_back(self.caller.recorder.begin(self.caller.actor, asked));
        }
        let held = std::mem::take(&mut self.held);
        let outcomes: Vec<_> = held.into_iter().map(|held| choose(self.caller, held)).collect();
        let messages = outcomes.iter().map(wire::outcome).collect();
        // It counts as a beat, but not each one is noted, and nothing tells which are.
        let beat = self.note_beat(worker);
        self.caller.recorder.end(beat, Answer::Unknown);
        if !outcomes.is_empty() {
            let asked = Asked::Work { outcomes: outcomes.clone(), claiming: None };
            let work = self.caller.recorder.begin(self.caller.actor, asked);
            self.sent.push_back(Message { work, outcomes, verdicts: Vec::new() });
        }
        pb::WorkRequest { credit: credit as i32, outcomes: messages, ..Default::default() }
    }

    fn learn(&mut self, answer: pb::WorkResponse) {
        let recorder = Arc::clone(&self.caller.recorder);
        let Reply::Worked(verdicts, claimed) = wire::worked(&recorder, answer.results, answer.tasks) else {
            unreachable!("the answer to work");
        };
        for got in claimed {
            let call = self.credit.pop_front().expect("no task comes without credit");
            recorder.end(call, Answer::Given(Reply::Worked(Vec::new(), vec![got])));
            self.held.push((got.task, got.token));
        }
        for verdict in verdicts {
            let message = self.sent.front_mut().expect("no result comes without an outcome");
            let outcome = message.outcomes[message.verdicts.len()];
            if matches!(verdict, Verdict::Recorded(TaskState::Claimed | TaskState::Running)) {
                self.held.push((outcome.task, outcome.token));
            }
            message.verdicts.push(verdict);
            if message.verdicts.len() == message.outcomes.len() {
                let message = self.sent.pop_front().expect("it is there");
                recorder.end(message.work, Answer::Given(Reply::Worked(message.verdicts, Vec::new())));
            }
        }
    }
}
