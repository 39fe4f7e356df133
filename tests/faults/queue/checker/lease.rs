//! When a claim ended: between which two moments, as far as the history tells.
//!
//! A claim is taken at some moment of its call, and ends by an outcome that is recorded, by its lease, by the task's
//! timeout, or with its worker. None of these moments is known, but each lies in the span of a call or follows from one, so
//! there is an earliest and a latest end. Whoever else gets the task before the earliest end shares it; whoever reports for it
//! after the latest end is stale.

use super::book::{BeatSent, Book, Claim, Sent, Span, Timeline, Worker};
use crate::queue::history::*;

/// What asks for the end of a claim.
#[derive(Clone, Copy)]
pub(super) enum Asking<'s> {
    /// A later claim. Outcomes that finish the task cannot be what made room for it.
    Claim,
    /// This outcome, which cannot be its own reason.
    Outcome(&'s Sent),
}

/// Before this the claim has certainly not ended.
pub(super) fn earliest_end(book: &Book<'_>, line: &Timeline<'_>, claim: &Claim, asking: Asking<'_>) -> At {
    let counts = |sent: &&Sent| {
        sent.outcome.token == claim.got.token
            && sent.may_count()
            && match asking {
                Asking::Claim => sent.outcome.kind.leaves_the_task() && !sent.finished(),
                Asking::Outcome(own) => sent.outcome.kind.ends_the_claim() && !std::ptr::eq(*sent, own),
            }
    };
    let outcome = line.sent.iter().filter(counts).map(|sent| sent.span.from).min();
    let timeout = line.spec.timeout.map(|timeout| claim.span.from.plus(timeout));
    let holding = match claim.hold {
        Hold::Lease(lease) => Some(lease_kept_until(book, line, claim, lease)),
        Hold::Worker(worker) => worker_lost(book, line, claim, worker),
    };
    let by_clock = [timeout, holding].into_iter().flatten().min().unwrap_or(At::NEVER);
    outcome.unwrap_or(At::NEVER).min(by_clock.minus(book.terms.clock_slack))
}

/// A lease holds from the claim on, and from each extension on as long as that says: it may say less than what was left.
fn lease_kept_until(book: &Book<'_>, line: &Timeline<'_>, claim: &Claim, lease: u64) -> At {
    let (mut since, mut until) = (claim.span, claim.span.from.plus(lease));
    for sent in line.sent.iter().filter(|sent| sent.outcome.token == claim.got.token && sent.may_count()) {
        let Kind::Extend { lease } = sent.outcome.kind else { continue };
        let extended = sent.span.from.plus(lease);
        let kept = kept_by_starts(book, since, sent.span.from, until);
        until = if sent.recorded().is_some() { extended } else { kept.min(extended) };
        since = sent.span;
    }
    kept_by_starts(book, since, At::NEVER, until)
}

/// The earliest moment at which the worker can have lost the task: by death, by its leave, or by beats that do not list it.
fn worker_lost(book: &Book<'_>, line: &Timeline<'_>, claim: &Claim, worker: i64) -> Option<At> {
    let worker = book.workers.get(&worker)?;
    let forgotten = worker.beats.iter().enumerate().find(|(place, beat)| {
        let listed = |held: &Vec<(i64, i64)>| held.contains(&(line.task, claim.got.token));
        // "Claimed before its last beat": another beat may lie between the claim and this one.
        let beat_before = || {
            let may_lie_between = |other: &BeatSent| other.to >= claim.span.from && other.from <= beat.to;
            worker.beats.iter().enumerate().any(|(other, before)| other != *place && may_lie_between(before))
        };
        beat.to >= claim.span.from && beat.held.as_ref().is_some_and(|held| !listed(held)) && beat_before()
    });
    let forgotten = forgotten.map(|(_, beat)| beat.from);
    [Some(alive_until(book, worker)), worker.left, forgotten].into_iter().flatten().min()
}

/// Before this the worker has certainly not been taken for dead.
pub(super) fn alive_until(book: &Book<'_>, worker: &Worker) -> At {
    let until = worker.alive_until.unwrap_or(At(0));
    worker.registered.map_or(until, |since| kept_by_starts(book, since, At::NEVER, until))
}

/// What is held `until` lasts, if that is after a sidecar's end, for a worker's timeout from its next start on. Only starts
/// after `since` and `before` are looked at, and only those of a sidecar that is alone: where several share the queue, what is
/// over may be taken away by another one at that moment.
fn kept_by_starts(book: &Book<'_>, since: Span, before: At, until: At) -> At {
    let mut until = until;
    for start in book.starts.iter().filter(|start| start.from >= since.to && start.from < before) {
        let others = || book.starts.iter().filter(|other| !std::ptr::eq(*other, start));
        let is_alone = others().all(|other| other.killed <= start.from || other.from >= start.killed);
        let down_from = others().map(|other| other.killed).filter(|killed| *killed <= start.from).max();
        let down_from = down_from.unwrap_or(start.from).plus(book.terms.clock_slack);
        if start.ready != At::NEVER && is_alone && until > down_from {
            until = until.max(start.from.plus(book.terms.worker_timeout));
        }
    }
    until
}

/// After this the claim has certainly ended.
pub(super) fn latest_end(book: &Book<'_>, line: &Timeline<'_>, claim: &Claim, own: &Sent) -> At {
    let token = claim.got.token;
    let ends = |sent: &&Sent| {
        sent.outcome.token == token
            && sent.outcome.kind.ends_the_claim()
            && sent.recorded().is_some()
            && !std::ptr::eq(*sent, own)
    };
    let outcome = line.sent.iter().filter(ends).map(|sent| sent.span.to).min();
    let claimed_anew =
        line.claims.iter().filter(|other| other.got.token > token).map(|other| other.span.to).min();
    let by_clock = match claim.hold {
        Hold::Lease(lease) => lease_over_by(line, claim, lease),
        Hold::Worker(worker) => book
            .workers
            .get(&worker)
            .and_then(|worker| worker.silent_after)
            .map_or(At::NEVER, |silent| silent.plus(book.terms.worker_timeout)),
    };
    let by_clock = with_grace(book, claim, by_clock).plus(book.terms.clock_slack);
    [outcome, claimed_anew].into_iter().flatten().min().unwrap_or(At::NEVER).min(by_clock)
}

fn lease_over_by(line: &Timeline<'_>, claim: &Claim, lease: u64) -> At {
    let extensions = line.sent.iter().filter_map(|sent| match sent.outcome.kind {
        Kind::Extend { lease } if sent.outcome.token == claim.got.token && sent.may_count() => {
            Some(sent.latest().plus(lease))
        }
        _ => None,
    });
    extensions.fold(claim.span.to.plus(lease), At::max)
}

/// What is over is taken away so soon at the latest, as long as a sidecar is there.
const NOTED: u64 = 1_000_000;

/// At a start, what was not taken away has a worker's timeout to report.
fn with_grace(book: &Book<'_>, claim: &Claim, over_by: At) -> At {
    let mut over_by = over_by;
    for start in book.starts {
        let kills = book.starts.iter().map(|other| other.killed);
        let down_from = kills.filter(|killed| *killed <= start.from).max().unwrap_or(start.from);
        let given_by = start.ready.plus(NOTED).min(start.killed);
        if given_by >= claim.span.from && over_by.plus(NOTED) >= down_from {
            over_by = over_by.max(given_by.plus(book.terms.worker_timeout));
        }
    }
    over_by
}
