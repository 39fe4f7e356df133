//! The checker, checked: histories that are right pass, and each kind of fault that is put into one is found.

use super::model;
use super::model_queue::Bug;
use super::story::{LEASE, Story};
use super::{Fault, check};
use crate::queue::history::*;

/// Histories that the model makes for each question.
const HISTORIES: u64 = 80;

fn passes(story: Story) {
    let findings = check(&story.history());
    assert!(findings.is_empty(), "{}", findings[0]);
}

/// That exactly this is found, of task 7.
fn finds(fault: Fault, story: Story) {
    let findings = check(&story.history());
    let faults: Vec<Fault> = findings.iter().map(|finding| finding.fault).collect();
    assert_eq!(faults, [fault], "{findings:#?}");
    assert_eq!(findings[0].task, Some(7));
    let told = findings[0].to_string();
    assert!(told.contains("task 7") && told.contains("at the end"), "{told}");
}

#[test]
fn right_histories_pass() {
    for seed in 0..HISTORIES {
        let (history, _) = model::run(seed, 40, None);
        let findings = check(&history);
        assert!(findings.is_empty(), "seed {seed}: {}", findings[0]);
    }
}

#[test]
fn the_model_runs_into_all_that_the_rules_are_about() {
    let (mut finished, mut lost, mut unknown, mut retaken) = (0, 0, 0, 0);
    for seed in 0..HISTORIES {
        let (history, _) = model::run(seed, 40, None);
        for call in &history.calls {
            unknown += u32::from(matches!(call.answer, Answer::Unknown));
            if let Answer::Given(Reply::Worked(verdicts, claimed)) = &call.answer {
                lost += verdicts.iter().filter(|verdict| **verdict == Verdict::Lost).count();
                retaken += claimed.iter().filter(|claimed| claimed.token > 1).count();
            }
        }
        finished += history.found.values().filter(|found| found.state == TaskState::Completed).count();
    }
    assert!(
        finished > 500 && lost > 500 && unknown > 500 && retaken > 500,
        "{finished} {lost} {unknown} {retaken}"
    );
}

/// A bug that came to pass is found, under one of these names, in so many of a hundred histories: in the others nobody
/// could have seen it, because the answer that would have shown it got lost.
fn finds_bug(bug: Bug, percent_min: u64, names: &[Fault]) {
    let (mut came, mut found) = (0, 0);
    for seed in 0..HISTORIES {
        let (history, came_to_pass) = model::run(seed, 40, Some(bug));
        let findings = check(&history);
        assert!(came_to_pass || findings.is_empty(), "{bug:?} did not come to pass: {}", findings[0]);
        came += u64::from(came_to_pass);
        found += u64::from(findings.iter().any(|finding| names.contains(&finding.fault)));
    }
    assert!(came > HISTORIES / 3, "{bug:?} came to pass {came} times in {HISTORIES} histories");
    assert!(found * 100 >= came * percent_min, "{bug:?} was found in {found} of {came} histories");
}

#[test]
fn a_lost_task_is_found() {
    finds(Fault::Lost, Story::new().enqueued());
    finds(Fault::Lost, Story::new().enqueued().claimed(1, 1, LEASE).completed(1, 1).gone());
    finds_bug(Bug::LoseTask, 100, &[Fault::Lost]);
}

#[test]
fn an_item_that_became_two_tasks_is_found() {
    finds_bug(Bug::EnqueueTwice, 100, &[Fault::EnqueuedTwice]);
}

#[test]
fn a_task_held_twice_is_found() {
    let twice = Story::new().enqueued().claimed(1, 1, LEASE).claimed(2, 2, LEASE);
    finds(Fault::HeldTwice, twice.clone().completed(2, 2).ends(TaskState::Completed));
    finds_bug(Bug::GiveHeld, 90, &[Fault::HeldTwice, Fault::WronglyRefused]);
    finds_bug(Bug::ExpireEarly, 50, &[Fault::HeldTwice, Fault::WronglyRefused]);
}

#[test]
fn a_claim_after_the_earlier_one_ended_passes() {
    let first = || Story::new().enqueued().claimed(1, 1, LEASE);
    let done = |story: Story| passes(story.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
    done(first().wait(LEASE));
    done(first().reports(1, 1, Kind::Release, Verdict::Recorded(TaskState::Queued)));
    done(first().reports(1, 1, Kind::Release, Verdict::Unknown));
}

#[test]
fn what_finishes_a_task_does_not_excuse_the_next_claim() {
    let story = Story::new().enqueued().claimed(1, 1, LEASE).reports(1, 1, Kind::Complete, Verdict::Unknown);
    finds(Fault::HeldTwice, story.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
}

#[test]
fn a_worker_holds_as_long_as_it_beats() {
    let story = |beats: u64| {
        let mut story = Story::new().enqueued().registered(1).claimed_by_worker(1, 1);
        for _ in 0..beats {
            story = story.wait(model::WORKER_TIMEOUT / 2).beats(1, &[(7, 1)]);
        }
        story.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed)
    };
    finds(Fault::HeldTwice, story(0));
    finds(Fault::HeldTwice, story(5));
    let silent = Story::new().enqueued().registered(1).claimed_by_worker(1, 1).wait(model::WORKER_TIMEOUT);
    passes(silent.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
}

#[test]
fn a_worker_loses_what_it_does_not_list_at_its_second_beat() {
    let unlisted = |beats: u64| {
        let mut story =
            Story::new().enqueued().registered(1).wait(10_000).claimed_by_worker(1, 1).wait(10_000);
        for _ in 0..beats {
            story = story.beats(1, &[]).wait(10_000);
        }
        story.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed)
    };
    finds(Fault::HeldTwice, unlisted(1));
    passes(unlisted(2));
}

#[test]
fn a_token_that_comes_again_or_goes_back_is_found() {
    let story = |second| Story::new().enqueued().claimed(1, 2, LEASE).wait(LEASE).claimed(2, second, LEASE);
    let faults = |story: Story| {
        check(&story.ends(TaskState::Claimed).history()).into_iter().map(|f| f.fault).collect::<Vec<_>>()
    };
    assert!(faults(story(2)).contains(&Fault::TokenBack));
    assert!(faults(story(1)).contains(&Fault::TokenBack));
    assert!(!faults(story(3)).contains(&Fault::TokenBack));
    finds_bug(Bug::KeepToken, 90, &[Fault::TokenBack, Fault::RecordedTwice]);
    finds_bug(Bug::LowerToken, 90, &[Fault::TokenBack]);
}

#[test]
fn a_token_that_nobody_asked_for_is_found() {
    let story = Story::new().enqueued().claimed(1, 2, LEASE).completed(1, 2).ends(TaskState::Completed);
    finds(Fault::FromNowhere, story);
    let unheard = Story::new().enqueued().claims_unheard(3).wait(LEASE).claimed(1, 2, LEASE);
    passes(unheard.completed(1, 2).ends(TaskState::Completed));
}

#[test]
fn a_second_outcome_is_found() {
    let story = Story::new().enqueued().claimed(1, 1, LEASE).completed(1, 1).completed(1, 1);
    let findings = check(&story.ends(TaskState::Completed).history());
    assert!(findings.iter().any(|finding| finding.fault == Fault::RecordedTwice), "{findings:?}");
    finds_bug(Bug::LogTwice, 100, &[Fault::RecordedTwice, Fault::LogDisagrees]);
}

#[test]
fn an_outcome_with_a_stale_token_that_is_recorded_is_found() {
    let first = || Story::new().enqueued().claimed(1, 1, LEASE);
    let start = |story: Story| story.reports(1, 1, Kind::Start, Verdict::Recorded(TaskState::Running));
    let end = |story: Story, token| story.ends_with(TaskState::Claimed, token);
    finds(Fault::StaleAccepted, end(start(first().wait(LEASE).claimed(2, 2, LEASE)), 2));
    finds(Fault::StaleAccepted, end(start(first().wait(LEASE)), 1));
    let released = first().reports(1, 1, Kind::Release, Verdict::Recorded(TaskState::Queued));
    finds(Fault::StaleAccepted, start(released).ends_with(TaskState::Queued, 1));
    passes(end(start(first()), 1));
    finds_bug(Bug::AcceptStale, 90, &[Fault::StaleAccepted]);
}

#[test]
fn a_lease_that_a_start_lengthens_is_not_stale() {
    let story = Story::new().enqueued().claimed(1, 1, LEASE).restarted();
    let late = story.wait(model::WORKER_TIMEOUT / 2);
    passes(late.clone().completed(1, 1).ends(TaskState::Completed));
    finds(
        Fault::StaleAccepted,
        late.wait(4 * model::WORKER_TIMEOUT).completed(1, 1).ends(TaskState::Completed),
    );
}

#[test]
fn an_outcome_that_is_refused_though_its_claim_lasts_is_found() {
    let story = Story::new().enqueued().claimed(1, 1, LEASE).reports(1, 1, Kind::Complete, Verdict::Lost);
    finds(Fault::WronglyRefused, story.completed(1, 1).ends(TaskState::Completed));
    let told = Story::new().enqueued().registered(1).claimed_by_worker(1, 1).told_lost(1, (7, 1));
    finds(Fault::WronglyRefused, told.completed(1, 1).ends(TaskState::Completed));
    finds_bug(Bug::RefuseValid, 75, &[Fault::WronglyRefused]);
}

#[test]
fn a_worker_that_is_taken_for_dead_while_it_beats_is_found() {
    let faults =
        |story: Story| check(&story.history()).into_iter().map(|found| found.fault).collect::<Vec<_>>();
    let silent_for = |micros: u64| Story::new().registered(1).wait(micros).told_dead(1);
    assert_eq!(faults(silent_for(model::WORKER_TIMEOUT / 2)), [Fault::WorkerLost]);
    assert_eq!(faults(silent_for(model::WORKER_TIMEOUT)), []);
    let alive_again = silent_for(model::WORKER_TIMEOUT).beats(1, &[]);
    assert_eq!(faults(alive_again), [Fault::WorkerLost]);
}

#[test]
fn an_extension_says_how_long_the_lease_lasts_from_then_on() {
    let extend = |story: Story, lease| {
        story.reports(1, 1, Kind::Extend { lease }, Verdict::Recorded(TaskState::Claimed))
    };
    let taken = |story: Story| story.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed);
    let first = || Story::new().enqueued().claimed(1, 1, LEASE);
    passes(taken(extend(first(), LEASE / 4).wait(LEASE / 2)));
    finds(Fault::HeldTwice, taken(extend(first().wait(LEASE / 2), LEASE).wait(LEASE / 2)));
    passes(taken(extend(first().restarted(), LEASE).wait(LEASE)));
}

#[test]
fn what_lasts_until_a_kill_lasts_for_a_while_from_the_next_start_on() {
    let held = Story::new().enqueued().claimed(1, 1, LEASE).restarted().wait(model::WORKER_TIMEOUT / 2);
    finds(Fault::HeldTwice, held.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
    let over = Story::new().enqueued().claimed(1, 1, LEASE).wait(LEASE).restarted();
    passes(over.claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
}

#[test]
fn a_claim_before_its_time_or_after_the_end_is_found() {
    let first = || Story::new().enqueued().claimed(1, 1, LEASE);
    let snoozed =
        || first().reports(1, 1, Kind::Snooze { delay: 50_000 }, Verdict::Recorded(TaskState::Scheduled));
    finds(Fault::TooEarly, snoozed().claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
    passes(snoozed().wait(50_000).claimed(2, 2, LEASE).completed(2, 2).ends(TaskState::Completed));
    finds_bug(Bug::ClaimEarly, 75, &[Fault::TooEarly]);
    finds_bug(Bug::ClaimEnded, 75, &[Fault::ClaimedAfterEnd, Fault::HeldTwice]);
}

#[test]
fn a_state_that_disagrees_is_found() {
    let done = || Story::new().enqueued().claimed(1, 1, LEASE).completed(1, 1);
    passes(done().ends(TaskState::Completed));
    finds(Fault::StateDisagrees, done().ends(TaskState::Queued));
    finds(Fault::StateDisagrees, done().ends(TaskState::Running));
    let refused =
        Story::new().enqueued().claimed(1, 1, LEASE).wait(LEASE).reports(1, 1, Kind::Complete, Verdict::Lost);
    finds(Fault::StateDisagrees, refused.ends(TaskState::Completed));
    // The task is still there, so it is claimed, reported or lost once more.
    let later = [Fault::StateDisagrees, Fault::HeldTwice, Fault::LogDisagrees, Fault::RecordedTwice];
    finds_bug(Bug::ForgetOutcome, 90, &later);
    finds_bug(Bug::RecordRefused, 90, &[Fault::StateDisagrees, Fault::WronglyRefused]);
    finds_bug(Bug::CountTwice, 100, &[Fault::StateDisagrees]);
    finds_bug(Bug::ListWrong, 100, &[Fault::StateDisagrees]);
}
