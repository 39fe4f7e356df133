//! A task's events in words, in the order in which they began.

use super::book::{BeatSent, Book, Claim, Sent, Span, Timeline};
use super::lease::alive_until;
use crate::queue::history::*;

pub(super) fn tell(book: &Book<'_>, line: &Timeline<'_>) -> Vec<String> {
    let mut events: Vec<(At, String)> = Vec::new();
    if let Some(span) = line.enqueued {
        events.push((span.from, format!("{}enqueued, ticket {}", when(span), line.spec.ticket)));
    }
    events.extend(line.claims.iter().map(|claim| (claim.span.from, claimed(book, claim))));
    events.extend(line.sent.iter().map(|sent| (sent.span.from, reported(sent))));
    for claim in &line.claims {
        let beats = unlisting_beats(book, line, claim);
        events.extend(beats.map(|beat| {
            (
                beat.from,
                format!(
                    "{} to {}: a beat of its worker that does not list token {}",
                    beat.from, beat.to, claim.got.token
                ),
            )
        }));
    }
    let first = events.iter().map(|event| event.0).min().unwrap_or(At::NEVER);
    let last = events.iter().map(|event| event.0).max().unwrap_or(At::NEVER);
    for start in book.starts {
        let near = |at: &At| *at >= first && *at <= last;
        events.extend(Some(start.killed).filter(near).map(|at| (at, format!("{at} a sidecar was killed"))));
        events.extend(Some(start.ready).filter(near).map(|at| (at, format!("{at} a sidecar was there"))));
    }
    events.sort_by_key(|event| event.0);
    let found = line.found.map_or_else(|| "it is not there at the end".to_owned(), at_the_end);
    events.into_iter().map(|event| event.1).chain([found]).collect()
}

/// Beats of a claim's worker that do not list it, and may have been taken before anybody else had the task.
fn unlisting_beats<'b>(
    book: &'b Book<'_>,
    line: &'b Timeline<'_>,
    claim: &'b Claim,
) -> impl Iterator<Item = &'b BeatSent> {
    let token = claim.got.token;
    let next =
        line.claims.iter().find(|other| other.got.token > token).map_or(claim.span.to, |next| next.span.to);
    let worker = if let Hold::Worker(worker) = claim.hold { book.workers.get(&worker) } else { None };
    let unlisting = move |beat: &&BeatSent| {
        let lists = beat.held.as_ref().is_none_or(|held| held.contains(&(line.task, token)));
        !lists && beat.to >= claim.span.from && beat.from <= next
    };
    worker.into_iter().flat_map(|worker| &worker.beats).filter(unlisting)
}

fn when(span: Span) -> String {
    if span.to == At::NEVER {
        return format!("{} to no answer, by {}: ", span.from, span.by);
    }
    format!("{} to {}, by {}: ", span.from, span.to, span.by)
}

fn claimed(book: &Book<'_>, claim: &Claim) -> String {
    let hold = match claim.hold {
        Hold::Lease(lease) => format!("for {} ms", lease / 1_000),
        Hold::Worker(worker) => {
            let alive = book.workers.get(&worker).map_or(At(0), |worker| alive_until(book, worker));
            format!("by worker {worker}, which lived until {alive} at least")
        }
    };
    let told = claim.got.lease_end.map(|end| format!(", told until {end}")).unwrap_or_default();
    format!("{}claimed with token {} {hold}{told}", when(claim.span), claim.got.token)
}

fn reported(sent: &Sent) -> String {
    let Outcome { token, ticket, kind, .. } = sent.outcome;
    let verdict = match &sent.verdict {
        Verdict::Recorded(TaskState::Unspecified) => "is held".to_owned(),
        Verdict::Recorded(state) => format!("recorded, {}", state.as_str_name()),
        Verdict::Lost => "LEASE_LOST".to_owned(),
        Verdict::Refused(reason) => reason.clone(),
        Verdict::Unknown => "not known".to_owned(),
    };
    format!("{}{kind:?} with token {token}, outcome {ticket}: {verdict}", when(sent.span))
}

fn at_the_end(found: &Found) -> String {
    let Found { ticket, state, token, failures, result, error, log, .. } = found;
    let state = state.as_str_name();
    let log = log.as_ref().map(|log| {
        let events = log.iter().map(|(kind, token)| format!("{} {token}", kind.as_str_name()));
        format!(", log: {}", events.collect::<Vec<_>>().join(", "))
    });
    format!(
        "at the end: {state}, ticket {ticket}, token {token}, {failures} failures, result {result:?}, error {error:?}{}",
        log.unwrap_or_default()
    )
}
