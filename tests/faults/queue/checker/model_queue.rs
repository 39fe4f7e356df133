//! The queue of the model: what the promises say, done one call at a time, and a bug on demand.

use std::collections::BTreeMap;

use super::model::WORKER_TIMEOUT;
use crate::chance::Chance;
use crate::queue::history::*;

/// What goes wrong, once, at a moment of chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bug {
    /// A task vanishes after its enqueue, or while it is held.
    LoseTask,
    EnqueueTwice,
    /// A claim takes a task that another one holds.
    GiveHeld,
    /// A claim does not make the token larger.
    KeepToken,
    /// A claim makes the token smaller.
    LowerToken,
    ClaimEarly,
    /// A claim takes a task that has come to its end.
    ClaimEnded,
    /// The token of an outcome is not looked at.
    AcceptStale,
    /// An outcome that is valid is refused.
    RefuseValid,
    /// An outcome is answered, and not recorded.
    ForgetOutcome,
    /// An outcome is refused, and recorded.
    RecordRefused,
    /// A lease, or a worker, is given up long before its time.
    ExpireEarly,
    /// A failure counts twice.
    CountTwice,
    /// The log has an end twice.
    LogTwice,
    /// List tells another state than Get.
    ListWrong,
}

#[derive(Clone, Debug)]
struct Task {
    spec: Spec,
    state: TaskState,
    token: i64,
    failures: u32,
    due: At,
    holder: Option<Hold>,
    claimed: At,
    lease_end: At,
    result: Option<u64>,
    error: Option<u64>,
    log: Vec<(TaskEventKind, i64)>,
}

struct Worker {
    beat: At,
    ended: bool,
}

pub(super) struct Queue {
    chance: Chance,
    bug: Option<Bug>,
    pub(super) bug_came_to_pass: bool,
    tasks: BTreeMap<i64, Task>,
    workers: BTreeMap<i64, Worker>,
    list_wrong: Option<i64>,
}

impl Queue {
    pub(super) fn new(chance: Chance, bug: Option<Bug>) -> Self {
        let (tasks, workers) = (BTreeMap::new(), BTreeMap::new());
        Self { chance, bug, bug_came_to_pass: false, tasks, workers, list_wrong: None }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.tasks.values().all(|task| is_end(task.state))
    }

    pub(super) fn found(&self) -> BTreeMap<i64, Found> {
        let found = |(id, task): (&i64, &Task)| {
            let listed = if self.list_wrong == Some(*id) { TaskState::Blocked } else { task.state };
            let (token, failures) = (task.token, task.failures);
            let (result, error, log) = (task.result, task.error, Some(task.log.clone()));
            (
                *id,
                Found {
                    ticket: task.spec.ticket,
                    state: task.state,
                    listed,
                    token,
                    failures,
                    result,
                    error,
                    log,
                },
            )
        };
        self.tasks.iter().map(found).collect()
    }

    /// Whether the bug comes to pass at this opportunity.
    fn slips(&mut self, bug: Bug) -> bool {
        let slips = self.bug == Some(bug) && !self.bug_came_to_pass && self.chance.once_in(6);
        self.bug_came_to_pass |= slips;
        slips
    }

    pub(super) fn serve(&mut self, now: At, asked: &Asked) -> Answer {
        self.expire(now);
        match asked {
            Asked::Enqueue(specs) => Answer::Given(Reply::Enqueued(
                specs.iter().map(|spec| Ok(self.enqueue(now, *spec))).collect(),
            )),
            Asked::Register => {
                let worker = self.workers.len() as i64 + 1;
                self.workers.insert(worker, Worker { beat: now, ended: false });
                Answer::Given(Reply::Registered(worker))
            }
            Asked::Unregister { worker } => {
                self.end_worker(*worker, TaskEventKind::Released);
                Answer::Given(Reply::Unregistered)
            }
            Asked::Beat { worker, held } => self.beat(now, *worker, held.as_ref()),
            Asked::Work { outcomes, claiming } => self.work(now, outcomes, *claiming),
        }
    }

    fn enqueue(&mut self, now: At, spec: Spec) -> i64 {
        let mut id = self.tasks.len() as i64 + 1;
        let task = Task {
            spec,
            state: TaskState::Queued,
            token: 0,
            failures: 0,
            due: now.plus(spec.delay),
            holder: None,
            claimed: now,
            lease_end: At::NEVER,
            result: None,
            error: None,
            log: Vec::new(),
        };
        if self.slips(Bug::EnqueueTwice) {
            self.tasks.insert(id, task.clone());
            id += 1;
        }
        self.tasks.insert(id, task);
        if self.slips(Bug::ListWrong) {
            self.list_wrong = Some(id);
        }
        id
    }

    fn expire(&mut self, now: At) {
        let dead: Vec<i64> = self
            .workers
            .iter()
            .filter(|(_, w)| !w.ended && w.beat.plus(WORKER_TIMEOUT) <= now)
            .map(|(id, _)| *id)
            .collect();
        for worker in dead {
            self.end_worker(worker, TaskEventKind::WorkerDied);
        }
        let held: Vec<i64> =
            self.tasks.iter().filter(|(_, task)| task.holder.is_some()).map(|(id, _)| *id).collect();
        for id in held {
            let task = &self.tasks[&id];
            let timeout = task.spec.timeout.map_or(At::NEVER, |timeout| task.claimed.plus(timeout));
            if timeout <= now.min(task.lease_end) {
                self.fail(id, timeout, false, 0, None);
                continue;
            }
            let is_far = task.lease_end.0 > now.0 + 80_000 && timeout.0 > now.0 + 80_000;
            if task.lease_end <= now || (is_far && self.slips(Bug::ExpireEarly)) {
                self.requeue(id, TaskEventKind::LeaseExpired);
            }
        }
    }

    fn end_worker(&mut self, worker: i64, kind: TaskEventKind) {
        self.workers.get_mut(&worker).expect("it registered").ended = true;
        let holder = Some(Hold::Worker(worker));
        let held: Vec<i64> =
            self.tasks.iter().filter(|(_, task)| task.holder == holder).map(|(id, _)| *id).collect();
        held.into_iter().for_each(|id| self.requeue(id, kind));
    }

    fn requeue(&mut self, id: i64, kind: TaskEventKind) {
        let task = self.tasks.get_mut(&id).expect("it is held");
        task.log.push((kind, task.token));
        (task.state, task.holder) = (TaskState::Queued, None);
    }

    fn beat(&mut self, now: At, id: i64, held: Option<&Vec<(i64, i64)>>) -> Answer {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| !worker.ended) else {
            return Answer::Refused("WORKER_LOST".into());
        };
        let last = std::mem::replace(&mut worker.beat, now);
        let Some(listed) = held else { return Answer::Given(Reply::Beaten(Vec::new())) };
        let is_listed = |task: i64, token: i64| listed.contains(&(task, token));
        let mine: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.holder == Some(Hold::Worker(id)))
            .map(|(id, task)| (*id, task.token, task.claimed))
            .collect();
        let lost = listed.iter().filter(|(id, token)| !mine.iter().any(|m| (m.0, m.1) == (*id, *token)));
        let lost = lost.map(|(id, _)| *id).collect();
        for (id, token, claimed) in mine {
            if !is_listed(id, token) && claimed < last {
                self.requeue(id, TaskEventKind::Forgotten);
            }
        }
        Answer::Given(Reply::Beaten(lost))
    }

    fn work(&mut self, now: At, outcomes: &[Outcome], claiming: Option<Claiming>) -> Answer {
        let lives = |worker: &i64| self.workers.get(worker).is_some_and(|worker| !worker.ended);
        if let Some(Claiming { hold: Hold::Worker(worker), .. }) = claiming
            && !lives(&worker)
        {
            return Answer::Refused("WORKER_LOST".into());
        }
        let verdicts = outcomes.iter().map(|outcome| self.record(now, outcome)).collect();
        let claimed = claiming.map(|claiming| self.claim(now, claiming)).unwrap_or_default();
        Answer::Given(Reply::Worked(verdicts, claimed))
    }

    fn record(&mut self, now: At, outcome: &Outcome) -> Verdict {
        let Some(task) = self.tasks.get(&outcome.task) else {
            return Verdict::Refused("TASK_NOT_FOUND".into());
        };
        let is_current = task.token == outcome.token && task.holder.is_some();
        let is_stale = task.token > outcome.token && task.holder.is_some();
        let ends = outcome.kind.ends_the_claim();
        let margin = task.lease_end.0 > now.0 + 20_000 && task.spec.timeout.is_none();
        let accepts = is_current || (is_stale && self.slips(Bug::AcceptStale));
        if !accepts || (margin && self.slips(Bug::RefuseValid)) {
            return Verdict::Lost;
        }
        if is_current && ends && self.slips(Bug::ForgetOutcome) {
            return Verdict::Recorded(match outcome.kind {
                Kind::Release => TaskState::Queued,
                Kind::Complete => TaskState::Completed,
                Kind::Fail { last: true, .. } => TaskState::Failed,
                _ => TaskState::Scheduled,
            });
        }
        let state = self.apply(now, outcome);
        if outcome.kind == Kind::Complete && self.slips(Bug::RecordRefused) {
            return Verdict::Lost;
        }
        Verdict::Recorded(state)
    }

    fn apply(&mut self, now: At, outcome: &Outcome) -> TaskState {
        let doubled = outcome.kind.ends_the_claim() && self.slips(Bug::LogTwice);
        let id = outcome.task;
        let task = self.tasks.get_mut(&id).expect("it is there");
        let token = task.token;
        let (kind, state) = match outcome.kind {
            Kind::Start => {
                task.state = TaskState::Running;
                return task.state;
            }
            Kind::Extend { lease } => {
                if let Some(Hold::Lease(_)) = task.holder {
                    task.lease_end = now.plus(lease);
                }
                return task.state;
            }
            Kind::Complete => {
                task.result = Some(outcome.ticket);
                (TaskEventKind::Completed, TaskState::Completed)
            }
            Kind::Fail { last, delay } => {
                self.fail(id, now, last, delay.unwrap_or(50_000), Some(outcome.ticket));
                let task = self.tasks.get_mut(&id).expect("it is there");
                if doubled {
                    task.log.extend(task.log.last().copied());
                }
                return task.state;
            }
            Kind::Release => (TaskEventKind::Released, TaskState::Queued),
            Kind::Snooze { delay } => {
                task.due = now.plus(delay);
                (TaskEventKind::Snoozed, TaskState::Scheduled)
            }
            Kind::Held => unreachable!("no outcome"),
        };
        (task.state, task.holder) = (state, None);
        task.log.extend(std::iter::repeat_n((kind, token), if doubled { 2 } else { 1 }));
        state
    }

    fn fail(&mut self, id: i64, at: At, last: bool, delay: u64, ticket: Option<u64>) {
        let counts = if ticket.is_some() && self.slips(Bug::CountTwice) { 2 } else { 1 };
        let task = self.tasks.get_mut(&id).expect("it is held");
        task.failures += counts;
        task.error = ticket.or(task.error);
        task.due = at.plus(delay);
        let ends = last || task.failures > task.spec.max_retries;
        let (kind, state) = if ends {
            (TaskEventKind::Failed, TaskState::Failed)
        } else {
            (TaskEventKind::Retried, TaskState::Scheduled)
        };
        task.log.push((kind, task.token));
        (task.state, task.holder) = (state, None);
    }

    fn claim(&mut self, now: At, claiming: Claiming) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        for id in self.tasks.keys().copied().collect::<Vec<_>>() {
            if claimed.len() == claiming.tasks_max as usize {
                break;
            }
            if self.may_claim(now, id) {
                claimed.extend(self.give(now, id, claiming.hold));
            }
        }
        claimed
    }

    fn may_claim(&mut self, now: At, id: i64) -> bool {
        let task = &self.tasks[&id];
        let (is_held, ended) = (task.holder.is_some(), is_end(task.state));
        // The lease has a while to go, so that nobody can think it was over.
        let holds_on = match task.holder {
            Some(Hold::Worker(worker)) => self.workers[&worker].beat.plus(WORKER_TIMEOUT / 2) > now,
            _ => task.lease_end.0 > now.0 + 20_000,
        };
        let has_timeout = task.spec.timeout.is_some();
        if is_held {
            return holds_on && !has_timeout && self.slips(Bug::GiveHeld);
        }
        if ended {
            return self.slips(Bug::ClaimEnded);
        }
        now >= task.due || (task.due.0 > now.0 + 20_000 && self.slips(Bug::ClaimEarly))
    }

    fn give(&mut self, now: At, id: i64, hold: Hold) -> Option<Claimed> {
        if self.slips(Bug::LoseTask) {
            self.tasks.remove(&id);
            return None;
        }
        let claimed_before = self.tasks[&id].token > 1;
        let step = if claimed_before && self.slips(Bug::KeepToken) {
            0
        } else if claimed_before && self.slips(Bug::LowerToken) {
            -1
        } else {
            1
        };
        let task = self.tasks.get_mut(&id)?;
        task.token += step;
        (task.state, task.holder, task.claimed) = (TaskState::Claimed, Some(hold), now);
        task.lease_end = if let Hold::Lease(lease) = hold { now.plus(lease) } else { At::NEVER };
        let (token, ticket, failures) = (task.token, task.spec.ticket, task.failures);
        Some(Claimed { task: id, token, ticket, failures, lease_end: None })
    }
}

fn is_end(state: TaskState) -> bool {
    matches!(state, TaskState::Completed | TaskState::Failed | TaskState::Cancelled)
}
