//! A history sorted by tasks and workers: what the rules look at.

use std::collections::{BTreeMap, HashMap};

use crate::queue::history::*;

/// A history, sorted.
pub(super) struct Book<'h> {
    pub(super) terms: Terms,
    pub(super) starts: &'h [Start],
    pub(super) tasks: BTreeMap<i64, Timeline<'h>>,
    pub(super) workers: HashMap<i64, Worker>,
    pub(super) tickets: HashMap<u64, Ticket>,
    /// Claims whose answer nobody knows: when they were made, and how many tasks they may have taken.
    pub(super) unseen_claims: Vec<(At, u32)>,
}

/// All that concerns one task.
#[derive(Default)]
pub(super) struct Timeline<'h> {
    pub(super) task: i64,
    pub(super) spec: Spec,
    /// The acknowledged enqueue. The task may be there without: then its answer is not known.
    pub(super) enqueued: Option<Span>,
    /// By token.
    pub(super) claims: Vec<Claim>,
    /// In the order they were sent.
    pub(super) sent: Vec<Sent>,
    pub(super) found: Option<&'h Found>,
}

/// Who called, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) by: Actor,
    pub(super) from: At,
    pub(super) to: At,
}

/// A claim that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) span: Span,
    pub(super) hold: Hold,
    pub(super) got: Claimed,
}

/// An outcome and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) span: Span,
    pub(super) outcome: Outcome,
    pub(super) verdict: Verdict,
}

impl Sent {
    pub(super) fn recorded(&self) -> Option<TaskState> {
        if let Verdict::Recorded(state) = self.verdict { Some(state) } else { None }
    }

    /// The latest moment at which it was recorded, if it was.
    pub(super) fn latest(&self) -> At {
        latest(self.span, self.verdict == Verdict::Unknown)
    }

    /// Recorded, or perhaps.
    pub(super) fn may_count(&self) -> bool {
        matches!(self.verdict, Verdict::Recorded(_) | Verdict::Unknown)
    }

    /// Whether the task came to its end by it.
    pub(super) fn finished(&self) -> bool {
        matches!(self.recorded(), Some(TaskState::Completed | TaskState::Failed | TaskState::Cancelled))
    }
}

/// A registered worker.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) registered: Option<Span>,
    /// It was certainly not dead before this.
    pub(super) alive_until: Option<At>,
    /// It has certainly given no sign of life after this.
    pub(super) silent_after: Option<At>,
    /// Its leave, if it may have taken it.
    pub(super) left: Option<At>,
    pub(super) beats: Vec<BeatSent>,
    /// Calls that were refused because it was taken for dead.
    pub(super) told_lost: Vec<Span>,
}

/// A beat that may have been taken.
pub(super) struct BeatSent {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) held: Option<Vec<(i64, i64)>>,
}

/// A task that was to be added.
#[derive(Default)]
pub(super) struct Ticket {
    pub(super) spec: Spec,
    pub(super) refused: bool,
    /// The task that its enqueue was acknowledged with.
    pub(super) acknowledged: Option<i64>,
    /// The tasks that have it.
    pub(super) tasks: Vec<i64>,
}

impl<'h> Book<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let mut book = Self {
            terms: history.terms,
            starts: &history.starts,
            tasks: BTreeMap::new(),
            workers: HashMap::new(),
            tickets: HashMap::new(),
            unseen_claims: Vec::new(),
        };
        for call in &history.calls {
            book.enter(call);
        }
        for (task, found) in &history.found {
            book.task(*task).found = Some(found);
            book.tickets.entry(found.ticket).or_default().tasks.push(*task);
        }
        book.sort();
        book
    }

    fn task(&mut self, task: i64) -> &mut Timeline<'h> {
        self.tasks.entry(task).or_insert_with(|| Timeline { task, ..Timeline::default() })
    }

    fn enter(&mut self, call: &Call) {
        let span = Span { by: call.by, from: call.from, to: call.to };
        match &call.asked {
            Asked::Enqueue(specs) => self.enter_enqueue(span, specs, &call.answer),
            Asked::Register => {
                if let Answer::Given(Reply::Registered(worker)) = &call.answer {
                    self.enter_life(*worker, span, &call.answer, self.terms.worker_timeout);
                    self.workers.entry(*worker).or_default().registered = Some(span);
                }
            }
            Asked::Unregister { worker } => {
                if !matches!(call.answer, Answer::Refused(_)) {
                    let left = &mut self.workers.entry(*worker).or_default().left;
                    *left = Some(left.map_or(span.from, |earlier| earlier.min(span.from)));
                }
            }
            Asked::Beat { worker, held } => self.enter_beat(span, *worker, held.as_ref(), &call.answer),
            Asked::Work { outcomes, claiming } => {
                self.enter_outcomes(span, outcomes, &call.answer);
                if let Some(claiming) = claiming {
                    self.enter_claim(span, *claiming, &call.answer);
                }
            }
        }
    }

    fn enter_enqueue(&mut self, span: Span, specs: &[Spec], answer: &Answer) {
        for (place, spec) in specs.iter().enumerate() {
            let ticket = self.tickets.entry(spec.ticket).or_default();
            ticket.spec = *spec;
            match answer {
                Answer::Given(Reply::Enqueued(results)) => match &results[place] {
                    Ok(task) => {
                        ticket.acknowledged = Some(*task);
                        let line = self.task(*task);
                        line.spec = *spec;
                        line.enqueued = Some(span);
                    }
                    Err(_) => ticket.refused = true,
                },
                Answer::Refused(_) => ticket.refused = true,
                _ => {}
            }
        }
    }

    /// A sign of life: one that was taken keeps the worker for `keeps`, one that may have been at least does not end it.
    fn enter_life(&mut self, worker: i64, span: Span, answer: &Answer, keeps: u64) {
        let worker = self.workers.entry(worker).or_default();
        if matches!(answer, Answer::Refused(reason) if reason == "WORKER_LOST") {
            worker.told_lost.push(span);
        }
        if matches!(answer, Answer::Given(_)) {
            worker.alive_until = worker.alive_until.max(Some(span.from.plus(keeps)));
        }
        if !matches!(answer, Answer::Refused(_)) {
            worker.silent_after =
                worker.silent_after.max(Some(latest(span, matches!(answer, Answer::Unknown))));
        }
    }

    fn enter_beat(&mut self, span: Span, worker: i64, held: Option<&Vec<(i64, i64)>>, answer: &Answer) {
        self.enter_life(worker, span, answer, self.terms.worker_timeout);
        if !matches!(answer, Answer::Refused(_)) {
            let beat = BeatSent {
                from: span.from,
                to: latest(span, matches!(answer, Answer::Unknown)),
                held: held.cloned(),
            };
            self.workers.entry(worker).or_default().beats.push(beat);
        }
        for (task, token) in held.into_iter().flatten() {
            let is_listed_twice =
                held.is_some_and(|held| held.iter().filter(|other| other.0 == *task).count() > 1);
            let verdict = match answer {
                // The answer names tasks, not tokens.
                Answer::Given(_) if is_listed_twice => Verdict::Refused("listed twice".into()),
                Answer::Given(Reply::Beaten(lost)) if lost.contains(task) => Verdict::Lost,
                Answer::Given(_) => Verdict::Recorded(TaskState::Unspecified),
                Answer::Refused(reason) if reason == "WORKER_LOST" => Verdict::Lost,
                Answer::Refused(reason) => Verdict::Refused(reason.clone()),
                Answer::Unknown => Verdict::Unknown,
            };
            let outcome = Outcome { task: *task, token: *token, ticket: 0, kind: Kind::Held };
            self.task(*task).sent.push(Sent { span, outcome, verdict });
        }
    }

    fn enter_outcomes(&mut self, span: Span, outcomes: &[Outcome], answer: &Answer) {
        for (place, outcome) in outcomes.iter().enumerate() {
            let verdict = match answer {
                Answer::Given(Reply::Worked(verdicts, _)) => verdicts[place].clone(),
                Answer::Refused(reason) => Verdict::Refused(reason.clone()),
                _ => Verdict::Unknown,
            };
            self.task(outcome.task).sent.push(Sent { span, outcome: *outcome, verdict });
        }
    }

    fn enter_claim(&mut self, span: Span, claiming: Claiming, answer: &Answer) {
        if let Hold::Worker(worker) = claiming.hold {
            // That it could claim shows that it lived; whether a claim keeps it alive is not promised.
            self.enter_life(worker, span, answer, 0);
        }
        match answer {
            Answer::Given(Reply::Worked(_, claimed)) => {
                for got in claimed {
                    self.task(got.task).claims.push(Claim { span, hold: claiming.hold, got: *got });
                }
            }
            Answer::Unknown => self.unseen_claims.push((span.from, claiming.tasks_max)),
            _ => {}
        }
    }

    fn sort(&mut self) {
        self.unseen_claims.sort_unstable();
        for worker in self.workers.values_mut() {
            worker.beats.sort_by_key(|beat| beat.from);
        }
        for line in self.tasks.values_mut() {
            line.claims.sort_by_key(|claim| (claim.got.token, claim.span.from));
            line.sent.sort_by_key(|sent| sent.span.from);
            if let (None, Some(found)) = (line.enqueued, line.found) {
                line.spec = self.tickets.get(&found.ticket).map(|ticket| ticket.spec).unwrap_or_default();
            }
        }
    }
}

/// The latest moment at which a call was done. One that failed may be done a little after its failure showed.
fn latest(span: Span, is_unknown: bool) -> At {
    const AFTER_FAILURE: u64 = 5_000_000;
    if is_unknown { span.to.plus(AFTER_FAILURE) } else { span.to }
}
