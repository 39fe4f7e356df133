//! Small histories of one task, told step by step: each call takes ten microseconds, and a thousand lie between two.

use super::model;
use crate::queue::history::*;

/// The lease of those that are not registered.
pub(super) const LEASE: u64 = 100_000;
const TASK: i64 = 7;
const TICKET: u64 = 70;

/// A history of task 7 as far as it is told.
#[derive(Clone)]
pub(super) struct Story {
    history: History,
    now: At,
    outcomes: u64,
}

impl Story {
    pub(super) fn new() -> Self {
        let terms = Terms { worker_timeout: model::WORKER_TIMEOUT, clock_slack: 0 };
        let start = Start { from: At(0), ready: At(1), killed: At::NEVER };
        Self {
            history: History { terms, starts: vec![start], ..History::default() },
            // Long after the start, whose grace is over.
            now: At(3_000_000),
            outcomes: 0,
        }
    }

    pub(super) fn history(&self) -> History {
        self.history.clone()
    }

    pub(super) fn wait(mut self, micros: u64) -> Self {
        self.now = self.now.plus(micros);
        self
    }

    fn call(mut self, number: u32, asked: Asked, answer: Answer) -> Self {
        let from = self.now;
        let to = from.plus(10);
        self.history.calls.push(Call { by: Actor { number, life: 1 }, from, to, asked, answer });
        self.wait(1_000)
    }

    pub(super) fn enqueued(self) -> Self {
        let spec = Spec { ticket: TICKET, max_retries: 3, ..Spec::default() };
        self.call(0, Asked::Enqueue(vec![spec]), Answer::Given(Reply::Enqueued(vec![Ok(TASK)])))
    }

    pub(super) fn claimed(self, by: u32, token: i64, lease: u64) -> Self {
        self.claims(by, token, Hold::Lease(lease))
    }

    pub(super) fn claimed_by_worker(self, worker: u32, token: i64) -> Self {
        self.claims(worker, token, Hold::Worker(i64::from(worker)))
    }

    fn claims(self, by: u32, token: i64, hold: Hold) -> Self {
        let asked = Asked::Work { outcomes: Vec::new(), claiming: Some(Claiming { tasks_max: 1, hold }) };
        let got = Claimed { task: TASK, token, ticket: TICKET, failures: 0, lease_end: None };
        self.call(by, asked, Answer::Given(Reply::Worked(Vec::new(), vec![got])))
    }

    pub(super) fn claims_unheard(self, by: u32) -> Self {
        let claiming = Claiming { tasks_max: 1, hold: Hold::Lease(LEASE) };
        self.call(by, Asked::Work { outcomes: Vec::new(), claiming: Some(claiming) }, Answer::Unknown)
    }

    pub(super) fn registered(self, worker: u32) -> Self {
        self.call(worker, Asked::Register, Answer::Given(Reply::Registered(i64::from(worker))))
    }

    pub(super) fn beats(self, worker: u32, held: &[(i64, i64)]) -> Self {
        self.beat(worker, held, Vec::new())
    }

    pub(super) fn told_lost(self, worker: u32, held: (i64, i64)) -> Self {
        self.beat(worker, &[held], vec![held.0])
    }

    pub(super) fn told_dead(self, worker: u32) -> Self {
        let asked = Asked::Beat { worker: i64::from(worker), held: None };
        self.call(worker, asked, Answer::Refused("WORKER_LOST".into()))
    }

    fn beat(self, worker: u32, held: &[(i64, i64)], lost: Vec<i64>) -> Self {
        let asked = Asked::Beat { worker: i64::from(worker), held: Some(held.to_vec()) };
        self.call(worker, asked, Answer::Given(Reply::Beaten(lost)))
    }

    pub(super) fn reports(mut self, by: u32, token: i64, kind: Kind, verdict: Verdict) -> Self {
        self.outcomes += 1;
        let outcome = Outcome { task: TASK, token, ticket: self.outcomes, kind };
        let answer = match verdict {
            Verdict::Unknown => Answer::Unknown,
            verdict => Answer::Given(Reply::Worked(vec![verdict], Vec::new())),
        };
        self.call(by, Asked::Work { outcomes: vec![outcome], claiming: None }, answer)
    }

    pub(super) fn completed(self, by: u32, token: i64) -> Self {
        self.reports(by, token, Kind::Complete, Verdict::Recorded(TaskState::Completed))
    }

    /// The sidecar is killed and started again.
    pub(super) fn restarted(mut self) -> Self {
        self.history.starts.last_mut().expect("it was started").killed = self.now;
        let from = self.now.plus(10);
        self.history.starts.push(Start { from, ready: from.plus(1_000), killed: At::NEVER });
        self.wait(2_000)
    }

    /// The task is not there at the end.
    pub(super) fn gone(self) -> Self {
        self
    }

    /// The task is there at the end, with the last token that was given.
    pub(super) fn ends(self, state: TaskState) -> Self {
        let tokens = self.history.calls.iter().filter_map(|call| match &call.answer {
            Answer::Given(Reply::Worked(_, claimed)) => claimed.first().map(|got| got.token),
            _ => None,
        });
        let token = tokens.max().unwrap_or(0);
        self.ends_with(state, token)
    }

    pub(super) fn ends_with(mut self, state: TaskState, token: i64) -> Self {
        let result = (state == TaskState::Completed).then_some(self.outcomes);
        let found = Found {
            ticket: TICKET,
            state,
            listed: state,
            token,
            failures: 0,
            result,
            error: None,
            log: None,
        };
        self.history.found.insert(TASK, found);
        self
    }
}
