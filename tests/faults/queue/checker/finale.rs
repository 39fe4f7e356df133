//! What is found at the end, held against what was answered on the way.

use super::book::{Book, Sent, Timeline};
use super::{Fault, Found as Wrong};
use crate::queue::history::*;

/// All rules, on one task that is there at the end.
pub(super) fn judge(line: &Timeline<'_>) -> Vec<Wrong> {
    let Some(found) = line.found else { return Vec::new() };
    let mut wrong = Vec::new();
    let mut disagree =
        |words: Option<String>| wrong.extend(words.map(|w| Wrong::of(Fault::StateDisagrees, w)));
    disagree(listed(found));
    disagree(ended(line, found));
    disagree(unfinished(line, found));
    disagree(failures(line, found));
    disagree(same_parameters(line, found));
    wrong.extend(found.log.iter().flat_map(|log| super::log::judge(line, found, log)));
    wrong
}

fn listed(found: &Found) -> Option<String> {
    let (got, listed) = (found.state.as_str_name(), found.listed.as_str_name());
    (got != listed).then(|| format!("Get says {got}, List says {listed}"))
}

/// A task that came to its end says by which outcome, and that outcome was recorded, or nobody knows whether it was.
fn ended(line: &Timeline<'_>, found: &Found) -> Option<String> {
    let state = found.state.as_str_name();
    if let Some(end) = line.sent.iter().find(|sent| sent.finished()) {
        let recorded = end.recorded()?;
        if found.state != recorded {
            return Some(format!("{} was answered, and it is {state}", recorded.as_str_name()));
        }
    }
    let (ticket, kinds): (_, fn(Kind) -> bool) = match found.state {
        TaskState::Completed => (found.result, |kind| kind == Kind::Complete),
        TaskState::Failed => (found.error, |kind| matches!(kind, Kind::Fail { .. })),
        _ => return None,
    };
    // Tasks that are given up by their timeout have no outcome.
    if found.state == TaskState::Failed && line.spec.timeout.is_some() {
        return None;
    }
    let Some(by) =
        line.sent.iter().find(|sent| Some(sent.outcome.ticket) == ticket && kinds(sent.outcome.kind))
    else {
        return Some(format!("it is {state}, by outcome {ticket:?}, which nobody reported"));
    };
    if !by.may_count() {
        return Some(format!("it is {state} by outcome {}, which was refused", by.outcome.ticket));
    }
    if by.recorded().is_some_and(|answered| answered != found.state) {
        return Some(format!("it is {state} by outcome {}, which was answered otherwise", by.outcome.ticket));
    }
    (by.outcome.token != found.token)
        .then(|| format!("it is {state} by token {}, and its token is {}", by.outcome.token, found.token))
}

/// A task that did not come to its end is not one whose end was answered; one that is held is held by the last claim.
fn unfinished(line: &Timeline<'_>, found: &Found) -> Option<String> {
    let is_held = matches!(found.state, TaskState::Claimed | TaskState::Running);
    let ended = |sent: &&Sent| {
        sent.recorded().is_some()
            && !sent.finished()
            && sent.outcome.kind.ends_the_claim()
            && sent.outcome.token == found.token
    };
    let end = line.sent.iter().find(ended).filter(|_| is_held)?;
    Some(format!(
        "it is {}, and {:?} of its last token was recorded",
        found.state.as_str_name(),
        end.outcome.kind
    ))
}

/// Failures are counted once each, and a task is given up when they are used up, not before.
fn failures(line: &Timeline<'_>, found: &Found) -> Option<String> {
    let (least, most) = failures_before(line, i64::MAX);
    if !(least..=most).contains(&found.failures) {
        return Some(format!("{} failures are counted; {least} to {most} were reported", found.failures));
    }
    let is_last = |kind| matches!(kind, Kind::Fail { last: true, .. });
    let by_outcome = line.sent.iter().any(|sent| {
        is_last(sent.outcome.kind) && sent.may_count() && Some(sent.outcome.ticket) == found.error
    });
    let used_up = found.failures > line.spec.max_retries;
    match found.state {
        TaskState::Failed => (!used_up && !by_outcome).then(|| {
            format!(
                "it was given up after {} failures, with {} retries",
                found.failures, line.spec.max_retries
            )
        }),
        TaskState::Completed => None,
        _ => used_up.then(|| {
            format!(
                "it was not given up after {} failures, with {} retries",
                found.failures, line.spec.max_retries
            )
        }),
    }
}

/// How many failures can be counted when a token is given: the fewest and the most.
pub(super) fn failures_before(line: &Timeline<'_>, token: i64) -> (u32, u32) {
    let last = line.found.map_or(token - 1, |found| found.token.min(token - 1));
    let (mut least, mut most) = (0, 0);
    for token in 1..=last {
        let ends =
            || line.sent.iter().filter(|s| s.outcome.token == token && s.outcome.kind.ends_the_claim());
        let fails = |sent: &Sent| matches!(sent.outcome.kind, Kind::Fail { .. });
        if let Some(end) = ends().find(|sent| sent.recorded().is_some()) {
            least += u32::from(fails(end));
            most += u32::from(fails(end));
        } else {
            // A timeout is a failure that nobody reports.
            let may_fail = line.spec.timeout.is_some() || ends().any(|sent| sent.may_count() && fails(sent));
            most += u32::from(may_fail);
        }
    }
    (least, most)
}

/// Every claim carried the parameters and the failures of its task.
fn same_parameters(line: &Timeline<'_>, found: &Found) -> Option<String> {
    for claim in &line.claims {
        if claim.got.ticket != found.ticket {
            return Some(format!(
                "token {} came with the parameters of ticket {}",
                claim.got.token, claim.got.ticket
            ));
        }
        let (least, most) = failures_before(line, claim.got.token);
        if !(least..=most).contains(&claim.got.failures) {
            return Some(format!(
                "token {} came with {} failures; {least} to {most} were reported",
                claim.got.token, claim.got.failures
            ));
        }
    }
    None
}

/// Each ticket has the one task that its enqueue was acknowledged with, and a refused one has none.
pub(super) fn tickets(book: &Book<'_>) -> Vec<(Option<i64>, Wrong)> {
    let mut wrong = Vec::new();
    for ticket in book.tickets.values() {
        let number = ticket.spec.ticket;
        if ticket.tasks.len() > 1 {
            let words = format!("ticket {number} was enqueued once and has the tasks {:?}", ticket.tasks);
            wrong.push((ticket.tasks.last().copied(), Wrong::of(Fault::EnqueuedTwice, words)));
        }
        let Some(task) = ticket.tasks.first() else { continue };
        if ticket.acknowledged.is_some_and(|acknowledged| !ticket.tasks.contains(&acknowledged)) {
            let words = format!("ticket {number} was acknowledged as task {:?}", ticket.acknowledged);
            wrong.push((Some(*task), Wrong::of(Fault::EnqueuedTwice, words)));
        }
        if ticket.refused {
            let words = format!("ticket {number} was refused, and is there");
            wrong.push((Some(*task), Wrong::of(Fault::FromNowhere, words)));
        }
    }
    for (task, line) in &book.tasks {
        let known = line.found.is_none_or(|found| {
            book.tickets.get(&found.ticket).is_some_and(|t| t.spec.ticket == found.ticket)
        });
        if !known || (line.found.is_none() && line.enqueued.is_none()) {
            let words = "nobody enqueued it, or it was claimed and is not there".to_owned();
            wrong.push((Some(*task), Wrong::of(Fault::FromNowhere, words)));
        }
    }
    wrong
}

/// Tokens that were given to nobody must have gone to claims whose answers nobody knows, of which there are only so many.
pub(super) fn unseen_tokens(book: &Book<'_>) -> Option<(Option<i64>, Wrong)> {
    let mut gaps: Vec<(At, i64, i64)> = Vec::new();
    for (task, line) in &book.tasks {
        let mut last = 0;
        for claim in &line.claims {
            gaps.push((claim.span.to, *task, claim.got.token - last - 1));
            last = last.max(claim.got.token);
        }
        gaps.extend(line.found.map(|found| (At::NEVER, *task, found.token - last)));
    }
    gaps.retain(|(_, _, tokens)| *tokens > 0);
    gaps.sort_unstable();
    let mut unseen = book.unseen_claims.iter().peekable();
    let (mut taken, mut possible) = (0, 0);
    for (by, task, tokens) in gaps {
        while let Some((_, tasks)) = unseen.next_if(|(from, _)| *from <= by) {
            possible += i64::from(*tasks);
        }
        taken += tokens;
        if taken > possible {
            let words = format!(
                "by {by}, {taken} tokens were given to nobody, and claims without an answer took {possible} at most"
            );
            return Some((Some(task), Wrong::of(Fault::FromNowhere, words)));
        }
    }
    None
}
