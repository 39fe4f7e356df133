//! The cases for SQLite alone, each with its reason, in `exceptions.tsv`: case, reason. A run on PostgreSQL leaves them out by
//! `tests/exceptions.sh`. Cases for PostgreSQL alone are ignored, with their reason, unless a run includes them.

use crate::harness::is_postgres;

const EXCEPTIONS: &str = include_str!("exceptions.tsv");

fn exceptions() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXCEPTIONS.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{line:?}")))
}

/// Fails on PostgreSQL, and where the case that asks is not among the exceptions.
pub fn sqlite_only() {
    // A test's thread has its name, and tokio's tests run on that thread.
    let thread = std::thread::current();
    let case = thread.name().expect("a test has a name");
    assert!(exceptions().any(|(listed, _)| listed == case), "{case} is not in exceptions.tsv");
    assert!(!is_postgres(), "for SQLite alone: leave it out by -- $(sh tests/exceptions.sh)");
}

#[test]
fn every_exception_names_a_case_that_is_there_and_says_why() {
    for (listed, reason) in exceptions() {
        let (module, case) = listed.rsplit_once("::").unwrap();
        let file = format!("{}/tests/it/{}.rs", env!("CARGO_MANIFEST_DIR"), module.replace("::", "/"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {case}(")) && text.contains("sqlite_only()"), "{listed}");
        assert!(!reason.is_empty());
    }
}
