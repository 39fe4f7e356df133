//! Random sequences of operations give the same answers on a model in memory and on the sidecar, whatever database it has.
//!
//! Everything is determined by a seed, so that a sequence that passes on one database and fails on another shows where they
//! differ. A failing sequence is made small before it is shown.
//!
//! `PANNIER_SEED` is the first seed, `PANNIER_MODEL_OPERATIONS` how many operations there are in all.

mod answers;
mod chance;
mod operations;
mod plainer;
mod reference;
mod replay;
mod sidecar;
mod state;
mod wire;

use reference::Fault;
use replay::{Minimal, replay, shrink};

/// Operations of one sequence.
const SEQUENCE: usize = 500;

/// Operations in all, unless the environment says otherwise.
const OPERATIONS: u64 = 20_000;

/// Sequences are dealt to so many tests, which run side by side.
const TESTS: u64 = 4;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs the sequences of one test.
async fn run(test: u64) {
    let first = number("PANNIER_SEED", 1);
    let sequences = number("PANNIER_MODEL_OPERATIONS", OPERATIONS).div_ceil(SEQUENCE as u64);
    for seed in (first..first + sequences).filter(|seed| (seed - first) % TESTS == test) {
        let (terms, operations) = (chance::terms(seed), chance::sequence(seed, SEQUENCE));
        if let Some(difference) = replay(&terms, &operations, None).await {
            let minimal = shrink(&terms, &operations, difference, None).await;
            let again = format!("PANNIER_SEED={seed} PANNIER_MODEL_OPERATIONS={SEQUENCE}");
            panic!("{}again: {again} cargo test --test it model", minimal.report(seed, &terms));
        }
    }
}

#[tokio::test]
async fn the_first_quarter_of_random_sequences_answers_as_the_model_does() {
    run(0).await;
}

#[tokio::test]
async fn the_second_quarter_of_random_sequences_answers_as_the_model_does() {
    run(1).await;
}

#[tokio::test]
async fn the_third_quarter_of_random_sequences_answers_as_the_model_does() {
    run(2).await;
}

#[tokio::test]
async fn the_last_quarter_of_random_sequences_answers_as_the_model_does() {
    run(3).await;
}

/// What is left of the first sequence in which a model with this fault differs, and how it is shown.
async fn shrunk(fault: Fault) -> (Minimal, String) {
    for seed in 1..20 {
        let (terms, operations) = (chance::terms(seed), chance::sequence(seed, SEQUENCE));
        if let Some(difference) = replay(&terms, &operations, Some(fault)).await {
            let minimal = shrink(&terms, &operations, difference, Some(fault)).await;
            let report = minimal.report(seed, &terms);
            assert!(report.contains(&format!("seed {seed},")), "{report}");
            return (minimal, report);
        }
    }
    panic!("no sequence shows {fault:?}");
}

#[tokio::test]
async fn a_lease_that_survives_a_delete_in_the_model_is_found_and_made_small() {
    let (minimal, report) = shrunk(Fault::DeletesKeepLeases).await;
    // Take the lease, delete the key, use the lease; or the three in one.
    assert!(minimal.operations.len() <= 3, "{report}");
    assert!(
        report.contains("Delete") && report.contains("expected: ") && report.contains("got: "),
        "{report}"
    );
}

#[tokio::test]
async fn a_tag_that_the_model_passes_over_is_found_and_made_small() {
    let (minimal, report) = shrunk(Fault::DeletesByTagMissSome).await;
    // Put with two tags, delete by one of them.
    assert!(minimal.operations.len() <= 2, "{report}");
    assert!(report.contains("Put") && report.contains("DeleteByTag"), "{report}");
}

#[tokio::test]
async fn a_touch_that_is_no_use_in_the_model_is_found_and_made_small() {
    let (minimal, report) = shrunk(Fault::TouchesAreNoUse).await;
    // Put, touch, list.
    assert!(minimal.operations.len() <= 3, "{report}");
    assert!(report.contains("Touch"), "{report}");
}
