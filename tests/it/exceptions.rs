//! The cases that hold on one database only, each with its reason. All others hold on both.

use std::thread;

use crate::harness::is_postgres;

/// About one file in one process.
const SQLITE_ONLY: [(&str, &str); 4] = [
    (
        "storage::a_second_sidecar_on_the_same_data_is_refused_and_the_first_goes_on",
        "PostgreSQL is there to be shared: cache::shared shows that it is",
    ),
    ("tables::every_table_is_listed_with_its_key_behind_those_it_refers_to", "reads SQLite's catalogue"),
    (
        "records::sizes::results_of_2_kib_take_little_more_than_their_payload_and_their_indexes_a_small_share",
        "reads SQLite's page statistics",
    ),
    ("storage::the_file_of_a_stopped_sidecar_is_whole", "looks into the database's file"),
];

/// About several sidecars on one database.
const POSTGRES_ONLY: [(&str, &str); 8] = [
    ("cache::shared::", "an SQLite file belongs to one process"),
    ("jobs::shared::", "an SQLite file belongs to one process"),
    ("prompts::shared::", "about PostgreSQL's plans, and an SQLite file belongs to one process"),
    ("queue::shared::", "an SQLite file belongs to one process"),
    ("records::shared::", "an SQLite file belongs to one process"),
    ("settings::shared::", "an SQLite file belongs to one process"),
    ("transaction::shared::", "an SQLite file belongs to one process"),
    ("uploads::shared::", "about PostgreSQL's plans; uploads::store::plans asserts SQLite's"),
];

/// Whether the case that asks holds on this run's database; a case that asks without being listed fails.
pub fn holds_here() -> bool {
    // A test's thread has its name, and tokio's tests run on that thread.
    let thread = thread::current();
    let case = thread.name().expect("a test has a name");
    let is_in = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| case.starts_with(listed));
    match (is_in(&SQLITE_ONLY), is_in(&POSTGRES_ONLY)) {
        (true, false) => !is_postgres(),
        (false, true) => is_postgres(),
        _ => panic!("{case} is not among the exceptions, or twice"),
    }
}

#[test]
fn every_exception_names_a_case_that_is_there_and_says_why() {
    for (listed, reason) in SQLITE_ONLY.iter().chain(&POSTGRES_ONLY) {
        let (module, case) = listed.rsplit_once("::").unwrap();
        let file = format!("{}/tests/it/{}.rs", env!("CARGO_MANIFEST_DIR"), module.replace("::", "/"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {case}")) && text.contains("holds_here()"), "{listed}");
        assert!(!reason.is_empty());
    }
}
