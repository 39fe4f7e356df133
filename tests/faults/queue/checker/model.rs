//! A queue in memory, with workers that die and answers that get lost: it makes histories that are right, and, with one
//! seeded bug, histories that are wrong in one known way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::model_queue::{Bug, Queue};
use crate::chance::Chance;
use crate::queue::history::*;

/// What the queue of the model is set to, in microseconds.
pub(super) const WORKER_TIMEOUT: u64 = 400_000;
const LEASE: u64 = 150_000;
/// A call and its answer take up to so long each.
const TRANSIT: u64 = 3_000;

/// A caller of the model.
#[derive(Default)]
struct Caller {
    life: u32,
    /// Whether it registers; otherwise it claims for a lease.
    registers: bool,
    worker: Option<i64>,
    held: Vec<(i64, i64)>,
    /// What it held once; it reports for these too, now and then.
    former: Vec<(i64, i64)>,
}

/// A call on its way: when it was made, and what becomes of it.
struct Flight {
    caller: usize,
    from: At,
    fate: Fate,
    asked: Asked,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// Done, and nobody knows.
    Unheard,
    /// Not done, and nobody knows.
    Undone,
    /// Done, but its caller is killed.
    Orphaned,
}

/// What happens next.
enum Step {
    Decide(usize),
    Land(Flight),
}

struct Model {
    chance: Chance,
    queue: Queue,
    callers: Vec<Caller>,
    agenda: BinaryHeap<Reverse<(At, u64)>>,
    steps: BTreeMap<u64, Step>,
    history: History,
    tickets: u64,
}

/// The history of a run of so many tasks, and whether the bug came to pass.
pub(super) fn run(seed: u64, tasks: u64, bug: Option<Bug>) -> (History, bool) {
    let mut chance = Chance::new(seed);
    let mut model = Model {
        queue: Queue::new(chance.fork(), bug),
        chance,
        callers: (0..6).map(|number| Caller { registers: number % 2 == 0, ..Caller::default() }).collect(),
        agenda: BinaryHeap::new(),
        steps: BTreeMap::new(),
        history: History {
            terms: Terms { worker_timeout: WORKER_TIMEOUT, clock_slack: 0 },
            ..History::default()
        },
        tickets: 0,
    };
    while model.tickets < tasks {
        model.enqueue();
    }
    for caller in 0..model.callers.len() {
        model.plan(At(1_000), Step::Decide(caller));
    }
    model.go();
    model.history.found = model.queue.found();
    (model.history, model.queue.bug_came_to_pass)
}

impl Model {
    fn plan(&mut self, at: At, step: Step) {
        let number = self.steps.last_key_value().map_or(0, |(last, _)| last + 1);
        self.agenda.push(Reverse((at, number)));
        self.steps.insert(number, step);
    }

    /// Until all tasks have ended, or a while has passed: some histories end with tasks that are still there.
    fn go(&mut self) {
        let end = At(5_000_000 + self.chance.below(30_000_000));
        while let Some(Reverse((now, number))) = self.agenda.pop() {
            if now > end || self.queue.is_drained() {
                return;
            }
            match self.steps.remove(&number).expect("it was planned") {
                Step::Decide(caller) => self.decide(now, caller),
                Step::Land(flight) => self.land(now, flight),
            }
        }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn enqueue(&mut self) {
        let spec = Spec {
            ticket: self.ticket(),
            max_retries: self.chance.below(3) as u32,
            timeout: self.chance.once_in(8).then_some(100_000),
            delay: if self.chance.once_in(4) { self.chance.below(300_000) } else { 0 },
        };
        let flight =
            Flight { caller: 0, from: At(0), fate: Fate::Answered, asked: Asked::Enqueue(vec![spec]) };
        let answer = self.queue.serve(At(0), &flight.asked);
        self.note(flight, At(1), answer);
    }

    fn note(&mut self, flight: Flight, to: At, answer: Answer) {
        let actor = Actor { number: flight.caller as u32, life: self.callers[flight.caller].life };
        self.history.calls.push(Call { by: actor, from: flight.from, to, asked: flight.asked, answer });
    }

    fn decide(&mut self, now: At, number: usize) {
        // Some pause for so long that they lose what they hold.
        if self.chance.once_in(25) {
            let pause = self.chance.below(2 * WORKER_TIMEOUT);
            return self.plan(now.plus(pause), Step::Decide(number));
        }
        let asked = self.choose(number);
        let fate = match self.chance.below(40) {
            0 => Fate::Unheard,
            1 => Fate::Undone,
            2 => Fate::Orphaned,
            _ => Fate::Answered,
        };
        let lands = now.plus(1 + self.chance.below(TRANSIT));
        self.plan(lands, Step::Land(Flight { caller: number, from: now, fate, asked }));
    }

    fn choose(&mut self, number: usize) -> Asked {
        let registers = self.callers[number].registers;
        let (hold, worker) = match self.callers[number].worker {
            Some(worker) => (Hold::Worker(worker), worker),
            None if registers => return Asked::Register,
            None => (Hold::Lease(LEASE), 0),
        };
        if registers && self.chance.once_in(60) {
            return Asked::Unregister { worker };
        }
        if registers && self.chance.once_in(3) {
            let held = (!self.chance.once_in(3)).then(|| self.callers[number].held.clone());
            return Asked::Beat { worker, held };
        }
        let mut outcomes = Vec::new();
        for (task, token) in self.callers[number].held.clone() {
            if self.chance.once_in(2) {
                outcomes.push(self.outcome(task, token));
            }
        }
        if self.chance.once_in(4) && !self.callers[number].former.is_empty() {
            let place = self.chance.below(self.callers[number].former.len() as u64) as usize;
            let (task, token) = self.callers[number].former[place];
            outcomes.push(self.outcome(task, token));
        }
        let claims = outcomes.is_empty() || self.chance.once_in(2);
        let tasks_max = 1 + self.chance.below(3) as u32;
        Asked::Work { outcomes, claiming: claims.then_some(Claiming { tasks_max, hold }) }
    }

    fn outcome(&mut self, task: i64, token: i64) -> Outcome {
        let kind = match self.chance.below(12) {
            0 => Kind::Start,
            1 | 2 => Kind::Extend { lease: LEASE },
            3 => Kind::Fail { last: true, delay: None },
            4 | 5 => Kind::Fail { last: false, delay: Some(self.chance.below(200_000)) },
            6 => Kind::Release,
            7 => Kind::Snooze { delay: 1 + self.chance.below(200_000) },
            _ => Kind::Complete,
        };
        Outcome { task, token, ticket: self.ticket(), kind }
    }

    fn land(&mut self, now: At, flight: Flight) {
        let answer =
            if flight.fate == Fate::Undone { Answer::Unknown } else { self.queue.serve(now, &flight.asked) };
        let number = flight.caller;
        let back = now.plus(1 + self.chance.below(TRANSIT));
        let next = back.plus(self.chance.below(20_000));
        match flight.fate {
            Fate::Answered => {
                self.learn(number, &flight.asked, &answer);
                self.note(flight, back, answer);
            }
            Fate::Unheard | Fate::Undone => self.note(flight, back, Answer::Unknown),
            Fate::Orphaned => {
                self.note(flight, At::NEVER, Answer::Unknown);
                let caller = &mut self.callers[number];
                *caller = Caller { life: caller.life + 1, registers: caller.registers, ..Caller::default() };
            }
        }
        self.plan(next, Step::Decide(number));
    }

    /// What the caller knows after an answer.
    fn learn(&mut self, number: usize, asked: &Asked, answer: &Answer) {
        let caller = &mut self.callers[number];
        match (asked, answer) {
            (_, Answer::Given(Reply::Registered(worker))) => caller.worker = Some(*worker),
            (_, Answer::Given(Reply::Unregistered)) | (_, Answer::Refused(_)) => {
                caller.worker = None;
                caller.former.append(&mut caller.held);
            }
            (Asked::Work { outcomes, .. }, Answer::Given(Reply::Worked(verdicts, claimed))) => {
                for (outcome, verdict) in outcomes.iter().zip(verdicts) {
                    let goes_on =
                        matches!(verdict, Verdict::Recorded(TaskState::Claimed | TaskState::Running));
                    if !goes_on {
                        caller.held.retain(|held| held.0 != outcome.task);
                        caller.former.push((outcome.task, outcome.token));
                    }
                }
                caller.held.extend(claimed.iter().map(|got| (got.task, got.token)));
            }
            _ => {}
        }
    }
}
