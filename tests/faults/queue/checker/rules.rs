//! What may not happen to one task.

use super::book::{Book, Claim, Sent, Timeline};
use super::lease::{Asking, alive_until, earliest_end, latest_end};
use super::{Fault, Found as Wrong};
use crate::queue::history::*;

/// All rules, on one task.
pub(super) fn judge(book: &Book<'_>, line: &Timeline<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    wrong.extend(lost(line));
    wrong.extend(tokens(line));
    wrong.extend(held_twice(book, line));
    wrong.extend(too_early(book, line));
    wrong.extend(recorded_twice(line));
    wrong.extend(claimed_after_its_end(line));
    wrong.extend(line.sent.iter().filter_map(|sent| stale_accepted(book, line, sent)));
    wrong.extend(line.sent.iter().filter_map(|sent| wrongly_refused(book, line, sent)));
    wrong.extend(line.sent.iter().filter_map(answered_wrongly));
    wrong
}

fn lost(line: &Timeline<'_>) -> Option<Wrong> {
    let enqueued = line.enqueued?;
    let gone = line.found.is_none();
    gone.then(|| {
        Wrong::of(
            Fault::Lost,
            format!("its enqueue was acknowledged at {}, and it is not there", enqueued.to),
        )
    })
}

/// Tokens only grow, and no two claims have the same.
fn tokens(line: &Timeline<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for pair in line.claims.windows(2) {
        let (earlier, later) = (&pair[0], &pair[1]);
        let (low, high) = (earlier.got.token, later.got.token);
        if low == high {
            wrong.push(Wrong::of(Fault::TokenBack, format!("token {low} was given to two claims")));
        } else if later.span.to < earlier.span.from {
            let words = format!(
                "token {low} was given after token {high}: the claim that got {high} was over at {}, the one that got {low} began at {}",
                later.span.to, earlier.span.from
            );
            wrong.push(Wrong::of(Fault::TokenBack, words));
        }
    }
    if let (Some(last), Some(found)) = (line.claims.last(), line.found)
        && found.token < last.got.token
    {
        let words =
            format!("token {} was given, and its token is {} at the end", last.got.token, found.token);
        wrong.push(Wrong::of(Fault::TokenBack, words));
    }
    wrong
}

/// No claim is given while an earlier one lasts.
fn held_twice(book: &Book<'_>, line: &Timeline<'_>) -> Vec<Wrong> {
    let overlap = |earlier: &Claim, later: &Claim| {
        let end = earliest_end(book, line, earlier, Asking::Claim);
        (later.got.token > earlier.got.token && later.span.to < end).then(|| {
            let words = format!(
                "token {} was given by {}, but token {} of {} was held until {end} at least",
                later.got.token, later.span.to, earlier.got.token, earlier.span.by
            );
            Wrong::of(Fault::HeldTwice, words)
        })
    };
    line.claims.windows(2).filter_map(|pair| overlap(&pair[0], &pair[1])).collect()
}

/// A task is not claimed before the delay that it was enqueued, retried or snoozed with.
fn too_early(book: &Book<'_>, line: &Timeline<'_>) -> Vec<Wrong> {
    let mut delays: Vec<(i64, At, u64)> = Vec::new();
    delays.extend(line.enqueued.map(|span| (1, span.from, line.spec.delay)));
    delays.extend(line.sent.iter().filter(|sent| sent.recorded().is_some()).filter_map(|sent| {
        match sent.outcome.kind {
            Kind::Snooze { delay } | Kind::Fail { last: false, delay: Some(delay) } => {
                Some((sent.outcome.token + 1, sent.span.from, delay))
            }
            _ => None,
        }
    }));
    let early = |claim: &Claim| {
        let (_, from, delay) = delays.iter().find(|(token, ..)| *token == claim.got.token)?;
        let due = from.plus(*delay).minus(book.terms.clock_slack);
        let words = || format!("token {} was given by {}, before {due}", claim.got.token, claim.span.to);
        (claim.span.to < due).then(|| Wrong::of(Fault::TooEarly, words()))
    };
    line.claims.iter().filter_map(early).collect()
}

/// A claim ends by one outcome, and a task comes to its end once.
fn recorded_twice(line: &Timeline<'_>) -> Vec<Wrong> {
    let ends: Vec<&Sent> =
        line.sent.iter().filter(|s| s.outcome.kind.ends_the_claim() && s.recorded().is_some()).collect();
    let mut wrong = Vec::new();
    for (place, first) in ends.iter().enumerate() {
        for second in &ends[place + 1..] {
            let same_claim = first.outcome.token == second.outcome.token;
            if same_claim || (first.finished() && second.finished()) {
                let words = format!(
                    "two outcomes were recorded: {:?} with token {} and {:?} with token {}",
                    first.outcome.kind, first.outcome.token, second.outcome.kind, second.outcome.token
                );
                wrong.push(Wrong::of(Fault::RecordedTwice, words));
            }
        }
    }
    wrong
}

fn claimed_after_its_end(line: &Timeline<'_>) -> Option<Wrong> {
    let end = line.sent.iter().find(|sent| sent.finished())?;
    let seen = line.claims.iter().map(|claim| claim.got.token);
    let last = seen.chain(line.found.map(|found| found.token)).max()?;
    (last > end.outcome.token).then(|| {
        let words =
            format!("it came to its end with token {}, and token {last} was given", end.outcome.token);
        Wrong::of(Fault::ClaimedAfterEnd, words)
    })
}

/// Nothing is recorded for a claim that is over, nor for one that never was.
fn stale_accepted(book: &Book<'_>, line: &Timeline<'_>, sent: &Sent) -> Option<Wrong> {
    sent.recorded()?;
    let token = sent.outcome.token;
    let last = line.found.map(|found| found.token);
    if last.is_some_and(|last| token > last) || token < 1 {
        let words =
            format!("{:?} with token {token} was recorded; that token was never given", sent.outcome.kind);
        return Some(Wrong::of(Fault::StaleAccepted, words));
    }
    // A token whose claim was not answered to anybody: what is known is that a later one is stale proof.
    let later = line.claims.iter().filter(|claim| claim.got.token > token).map(|claim| claim.span.to).min();
    let over = match line.claims.iter().find(|claim| claim.got.token == token) {
        Some(claim) => latest_end(book, line, claim, sent),
        None => later.unwrap_or(At::NEVER),
    };
    (sent.span.from > over).then(|| {
        let words = format!(
            "{:?} with token {token}, sent at {}, was recorded; that claim was over by {over}",
            sent.outcome.kind, sent.span.from
        );
        Wrong::of(Fault::StaleAccepted, words)
    })
}

/// What is reported for a claim that lasts is not refused, nor is its worker told that it is lost.
fn wrongly_refused(book: &Book<'_>, line: &Timeline<'_>, sent: &Sent) -> Option<Wrong> {
    let lost = match &sent.verdict {
        Verdict::Lost => true,
        Verdict::Refused(reason) => reason == "TASK_NOT_FOUND",
        _ => false,
    };
    let claim = line.claims.iter().find(|claim| claim.got.token == sent.outcome.token).filter(|_| lost)?;
    let end = earliest_end(book, line, claim, Asking::Outcome(sent));
    (sent.span.to < end).then(|| {
        let words = format!(
            "{:?} with token {} was refused by {}; that claim lasted until {end} at least",
            sent.outcome.kind, claim.got.token, sent.span.to
        );
        Wrong::of(Fault::WronglyRefused, words)
    })
}

/// The state in the answer is one that the outcome leads to.
fn answered_wrongly(sent: &Sent) -> Option<Wrong> {
    use TaskState::*;
    let state = sent.recorded()?;
    let fits = match sent.outcome.kind {
        Kind::Held => true,
        Kind::Start => state == Running,
        Kind::Extend { .. } => matches!(state, Claimed | Running),
        Kind::Complete => state == Completed,
        Kind::Fail { last: true, .. } => state == Failed,
        Kind::Fail { last: false, .. } => matches!(state, Scheduled | Queued | Blocked | Failed),
        Kind::Release => matches!(state, Queued | Blocked),
        Kind::Snooze { .. } => state == Scheduled,
    };
    let words = || format!("{:?} was answered with {}", sent.outcome.kind, state.as_str_name());
    (!fits).then(|| Wrong::of(Fault::StateDisagrees, words()))
}

/// No worker is taken for dead while it beats.
pub(super) fn workers(book: &Book<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (number, worker) in &book.workers {
        let until = alive_until(book, worker).minus(book.terms.clock_slack);
        for span in &worker.told_lost {
            if span.to < until && worker.left.is_none_or(|left| left > span.to) {
                let words = format!(
                    "worker {number} was told by {} that it is lost, and lived until {until} at least",
                    span.to
                );
                wrong.push(Wrong::of(Fault::WorkerLost, words));
            }
        }
    }
    wrong
}
