//! Counts of a run, and the errors that nothing in it explains.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;

use super::history::*;
use super::recorder::Trouble;
use super::run::Plan;

/// A connection that broke at a kill may be noticed so long after the next start.
const NOTICED: u64 = 2_000_000;

/// Errors of which none should have been, counted by what they say.
pub(crate) fn unexpected(history: &History, troubles: &[Trouble]) -> Vec<String> {
    let mut counts: BTreeMap<String, (u64, &Trouble)> = BTreeMap::new();
    for trouble in troubles.iter().filter(|trouble| !is_explained(history, trouble)) {
        let Trouble { rpc, code, reason, .. } = trouble;
        counts.entry(format!("{rpc}: {code:?} {reason:?}")).or_insert((0, trouble)).0 += 1;
    }
    let tell = |(what, (count, first)): (String, (u64, &Trouble))| {
        format!("{count} times {what}; first at {} to {}: {}", first.from, first.to, first.message)
    };
    counts.into_iter().map(tell).collect()
}

/// Connections break when their sidecar is killed, and only then. That a worker was lost is the checker's business.
fn is_explained(history: &History, trouble: &Trouble) -> bool {
    match &trouble.reason {
        Some(reason) => reason == "WORKER_LOST",
        None => {
            let broke =
                matches!(trouble.code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
            broke
                && history
                    .starts
                    .iter()
                    .any(|start| start.killed <= trouble.to && start.killed.plus(NOTICED) >= trouble.from)
        }
    }
}

/// Prints what happened.
pub(crate) fn tell(plan: Plan, history: &History, took: Duration) {
    let count = Counts::of(history);
    println!(
        "{} workers, {} tasks in {took:?}: {} claims, {} of them again, {} outcomes recorded, {} LEASE_LOST, {} calls without an \
         answer, {} kills of sidecars, {} of workers",
        plan.workers,
        history.found.len(),
        count.claims,
        count.claims_again,
        count.recorded,
        count.lost,
        count.unknown,
        count.kills,
        plan.deaths,
    );
}

/// That enough went wrong for the run to mean anything.
pub(crate) fn assert_it_was_a_storm(plan: Plan, history: &History) {
    let count = Counts::of(history);
    assert!(history.found.len() as u64 >= plan.tasks / 2 * 2, "too few tasks");
    assert!(count.kills >= plan.kills, "too few kills");
    assert!(
        count.lost > plan.kills && count.unknown > plan.kills && count.claims_again > plan.deaths,
        "that was no storm"
    );
}

#[derive(Default)]
struct Counts {
    claims: usize,
    claims_again: u64,
    recorded: usize,
    lost: u64,
    unknown: u64,
    kills: u64,
}

impl Counts {
    fn of(history: &History) -> Self {
        let kills = history.starts.iter().filter(|start| start.killed != At::NEVER).count() as u64;
        let mut counts = Self { kills, ..Self::default() };
        for call in &history.calls {
            match &call.answer {
                Answer::Given(Reply::Worked(verdicts, claimed)) => {
                    counts.claims += claimed.len();
                    counts.claims_again += claimed.iter().filter(|got| got.token > 1).count() as u64;
                    counts.recorded += verdicts.iter().filter(|v| matches!(v, Verdict::Recorded(_))).count();
                    counts.lost += verdicts.iter().filter(|v| **v == Verdict::Lost).count() as u64;
                }
                Answer::Unknown => counts.unknown += 1,
                _ => {}
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: u64, to: u64, code: Code, reason: Option<&str>) -> usize {
        let start = Start { from: At(0), ready: At(1), killed: At(10_000_000) };
        let history = History { starts: vec![start], ..History::default() };
        let reason = reason.map(str::to_owned);
        let (from, to, message) = (At(from), At(to), String::new());
        unexpected(&history, &[Trouble { rpc: "Claim", from, to, code, reason, message }]).len()
    }

    #[test]
    fn broken_connections_are_explained_by_a_kill_and_by_nothing_else() {
        assert_eq!(found(9_999_000, 10_000_100, Code::Unavailable, None), 0);
        assert_eq!(found(11_000_000, 11_000_100, Code::Cancelled, None), 0);
        assert_eq!(found(9_998_000, 9_999_000, Code::Unavailable, None), 1);
        assert_eq!(found(13_000_000, 13_000_100, Code::Unavailable, None), 1);
        assert_eq!(found(9_999_000, 10_000_100, Code::DeadlineExceeded, None), 1);
    }

    #[test]
    fn no_error_of_the_sidecars_is_explained_by_a_kill() {
        for reason in ["STORAGE_UNAVAILABLE", "OVERLOADED", "INTERNAL", "SHUTTING_DOWN"] {
            assert_eq!(found(9_999_000, 10_000_100, Code::Unavailable, Some(reason)), 1, "{reason}");
        }
    }
}
