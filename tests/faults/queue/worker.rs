//! A worker: claims, works, reports, beats, in all the ways there are, until somebody kills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost_types::Timestamp;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::caller::Caller;
use super::history::*;
use super::session::Session;

/// After how long without a beat a worker is dead.
pub(crate) const WORKER_TIMEOUT: u64 = 1_000_000;
/// How often it beats.
const BEAT: Duration = Duration::from_millis(150);
/// How long those hold a task that do not register.
const LEASE: u64 = 700_000;

/// What a worker and its heart both look at.
#[derive(Default)]
struct Shared {
    /// Task and token.
    held: Mutex<Vec<(i64, i64)>>,
    /// When its last beat was noted.
    noted: Mutex<Option<Timestamp>>,
    /// The same, when the claim was sent that is on its way.
    claiming: Mutex<Option<Option<Timestamp>>>,
    /// It does not beat for a while.
    stalls: AtomicBool,
    /// It was told that it is dead.
    is_lost: AtomicBool,
}

/// The beats of a worker, which end with it.
struct Heart(AbortHandle);

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One life of a worker.
pub(crate) struct Worker {
    caller: Caller,
    shared: Arc<Shared>,
    /// It works on streams only.
    streams: bool,
    registers: bool,
    registered: Option<(i64, Heart)>,
    /// What it held once. It reports for these too, now and then.
    former: Vec<(i64, i64)>,
    /// Outcomes that go with its next Exchange.
    waiting: Vec<Outcome>,
}

impl Worker {
    pub(crate) fn new(mut caller: Caller) -> Self {
        let registers = !caller.chance.once_in(3);
        let streams = caller.chance.once_in(4);
        let (shared, former, waiting) = (Arc::default(), Vec::new(), Vec::new());
        Self { caller, shared, streams, registers, registered: None, former, waiting }
    }

    /// Works until it is told to stop, and takes its leave, or not.
    pub(crate) async fn live(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if self.shared.is_lost.load(Ordering::Relaxed) {
                self.lose_all();
            }
            if self.streams {
                Session::new(&mut self.caller).work().await;
                continue;
            }
            if self.registers && self.registered.is_none() {
                self.register().await;
            }
            if self.registered.is_some() && self.caller.chance.once_in(150) {
                self.leave().await;
                continue;
            }
            self.take().await;
            self.pause().await;
            self.work().await;
        }
        if self.caller.chance.once_in(2) {
            self.leave().await;
        }
    }

    fn lose_all(&mut self) {
        self.registered = None;
        self.shared.is_lost.store(false, Ordering::Relaxed);
        self.former.append(&mut self.shared.held.lock().expect("no panic"));
    }

    async fn register(&mut self) {
        if let Answer::Given(Reply::Registered(worker)) = self.caller.register().await {
            let beats = beat_on(self.caller.beside(), Arc::clone(&self.shared), worker);
            self.registered = Some((worker, Heart(tokio::spawn(beats).abort_handle())));
        }
    }

    async fn leave(&mut self) {
        if let Some((worker, heart)) = self.registered.take() {
            drop(heart);
            self.caller.unregister(worker).await;
            self.lose_all();
        }
    }

    /// Claims, with or without outcomes.
    async fn take(&mut self) {
        let tasks_max =
            if self.caller.chance.once_in(2) { 1 } else { 1 + self.caller.chance.below(12) as u32 };
        let hold = self.registered.as_ref().map_or(Hold::Lease(LEASE), |(worker, _)| Hold::Worker(*worker));
        let claiming = Claiming { tasks_max, hold };
        let outcomes = std::mem::take(&mut self.waiting);
        let noted = *self.shared.noted.lock().expect("no panic");
        *self.shared.claiming.lock().expect("no panic") = Some(noted);
        let answer = if outcomes.is_empty() {
            self.caller.claim(claiming).await
        } else {
            self.caller.exchange(outcomes.clone(), claiming).await
        };
        self.learn(&outcomes, answer);
        *self.shared.claiming.lock().expect("no panic") = None;
    }

    /// Most work takes no time; some takes longer than a lease, some longer than a worker may be silent.
    async fn pause(&mut self) {
        let micros = match self.caller.chance.below(200) {
            0 => {
                self.shared.stalls.store(true, Ordering::Relaxed);
                WORKER_TIMEOUT + self.caller.chance.below(WORKER_TIMEOUT / 2)
            }
            1 => LEASE + self.caller.chance.below(LEASE / 2),
            2..=9 => self.caller.chance.below(LEASE / 2),
            10..=39 => self.caller.chance.below(5_000),
            _ => return,
        };
        tokio::time::sleep(Duration::from_micros(micros)).await;
        self.shared.stalls.store(false, Ordering::Relaxed);
    }

    /// Reports what became of what it holds.
    async fn work(&mut self) {
        let held = self.shared.held.lock().expect("no panic").clone();
        let mut outcomes: Vec<_> = held.into_iter().map(|held| choose(&mut self.caller, held)).collect();
        if !self.former.is_empty() && self.caller.chance.once_in(12) {
            let place = self.caller.chance.below(self.former.len() as u64) as usize;
            let stale = self.former[place];
            outcomes.push(choose(&mut self.caller, stale));
        }
        if outcomes.is_empty() {
            return;
        }
        match self.caller.chance.below(5) {
            0 | 1 => self.waiting = outcomes,
            2 => {
                let answer = self.caller.settle(outcomes.clone()).await;
                self.learn(&outcomes, answer);
            }
            _ => {
                for outcome in outcomes {
                    let answer = self.caller.report(outcome).await;
                    self.learn(&[outcome], answer);
                }
            }
        }
    }

    /// What it holds after an answer. What nobody knows it does not hold: its beats do not list it.
    fn learn(&mut self, outcomes: &[Outcome], answer: Answer) {
        let (verdicts, claimed) = match answer {
            Answer::Given(Reply::Worked(verdicts, claimed)) => (verdicts, claimed),
            Answer::Refused(reason) => {
                if reason == "WORKER_LOST" {
                    self.lose_all();
                }
                return;
            }
            _ => (vec![Verdict::Unknown; outcomes.len()], Vec::new()),
        };
        let mut held = self.shared.held.lock().expect("no panic");
        for (outcome, verdict) in outcomes.iter().zip(verdicts) {
            let goes_on = match verdict {
                Verdict::Recorded(state) => matches!(state, TaskState::Claimed | TaskState::Running),
                Verdict::Unknown => !outcome.kind.ends_the_claim(),
                _ => false,
            };
            if !goes_on {
                held.retain(|held| *held != (outcome.task, outcome.token));
                self.former.push((outcome.task, outcome.token));
            }
        }
        for got in claimed {
            // It may have lost the task and been given it again.
            held.retain(|held| held.0 != got.task);
            held.push((got.task, got.token));
        }
        let old = self.former.len().saturating_sub(20);
        self.former.drain(..old);
    }
}

/// What a worker makes of a task: mostly it is done.
pub(crate) fn choose(caller: &mut Caller, (task, token): (i64, i64)) -> Outcome {
    let chance = &mut caller.chance;
    let kind = match chance.below(100) {
        0..=3 => Kind::Start,
        4..=7 => Kind::Extend { lease: LEASE },
        8..=14 => Kind::Fail { last: false, delay: Some(chance.below(200_000)) },
        15 => Kind::Fail { last: false, delay: None },
        16 => Kind::Fail { last: true, delay: None },
        17..=19 => Kind::Release,
        20..=23 => Kind::Snooze { delay: 1 + chance.below(200_000) },
        _ => Kind::Complete,
    };
    Outcome { task, token, ticket: caller.recorder.ticket(), kind }
}

/// Beats for a worker, mostly with all that it holds, until it is told that it is dead.
async fn beat_on(mut caller: Caller, shared: Arc<Shared>, worker: i64) {
    loop {
        tokio::time::sleep(BEAT).await;
        if shared.stalls.load(Ordering::Relaxed) {
            continue;
        }
        // First the time, then the list: a claim whose answer comes between is in it.
        let claiming = *shared.claiming.lock().expect("no panic");
        let whole = claiming.unwrap_or(*shared.noted.lock().expect("no panic"));
        let held = shared.held.lock().expect("no panic").clone();
        let held = (!caller.chance.once_in(6)).then_some(held);
        match caller.beat(worker, held, whole, &shared.noted).await {
            Answer::Refused(reason) if reason == "WORKER_LOST" => {
                shared.is_lost.store(true, Ordering::Relaxed);
                return;
            }
            // Now and then it reports for what it lost nevertheless.
            Answer::Given(Reply::Beaten(lost)) if !caller.chance.once_in(3) => {
                shared.held.lock().expect("no panic").retain(|held| !lost.contains(&held.0));
            }
            _ => {}
        }
    }
}
