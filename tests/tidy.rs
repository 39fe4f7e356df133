//! The walls of the house: who may know whom. docs/architecture.md says why.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

/// A source file: its path from the root, and its code without comments and test modules.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources(roots: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for root in roots {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root), &mut found);
    }
    assert!(!found.is_empty(), "there are no sources under {roots:?}");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = without_tests(&text);
            let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            found.push(Source { path: path.display().to_string().replace('\\', "/"), text, code });
        }
    }
}

/// The code of a formatted file without comments and without the items that are built for tests alone.
fn without_tests(text: &str) -> String {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        if line.trim_start() != "#[cfg(test)]" {
            code.push(line);
            continue;
        }
        // The item ends where it began, or on the line of a semicolon at the same depth.
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = [format!("{indent}}}"), format!("{indent}}};"), format!("{indent});")];
        for (number, line) in lines.by_ref().enumerate() {
            let is_attribute = line.trim_start().starts_with("#[");
            let is_one_line = number == 0 && !is_attribute && (line.ends_with(';') || line.ends_with('}'));
            if is_one_line || ends.iter().any(|end| end == line) {
                break;
            }
        }
    }
    code.join("\n")
}

/// Fails with every file that uses `word` and does not lie under one of `allowed`.
fn only_in(word: &str, allowed: &[&str]) {
    let breaches: Vec<String> = sources(&["src"])
        .into_iter()
        .filter(|source| uses(&source.code, word) && !allowed.iter().any(|wall| lies_in(&source.path, wall)))
        .map(|source| source.path)
        .collect();
    assert!(breaches.is_empty(), "{word} may be used in {allowed:?} only, and is in {breaches:?}");
}

/// Whether `code` has `word` as a whole word.
fn uses(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Whether `path` matches `wall`, in which `*` stands for one folder's or file's name.
fn lies_in(path: &str, wall: &str) -> bool {
    let mut path = path.split('/');
    wall.split('/').all(|part| path.next().is_some_and(|name| part == "*" || part == name))
}

#[test]
fn the_checks_themselves_find_what_they_look_for() {
    assert!(uses("use tonic::Status;", "tonic") && !uses("use tonic_types::X;", "tonic"));
    assert!(lies_in("src/services/cache/store/put.rs", "src/services/*/store"));
    assert!(!lies_in("src/services/cache/api/put.rs", "src/services/*/store"));
}

#[test]
fn code_behind_an_item_for_tests_is_seen() {
    let text = "mod a;\n#[cfg(test)]\nmod b;\nmod c;\nimpl D {\n    #[cfg(test)]\n    fn e() {\n        if f {}\n    }\n    fn g() {}\n}\n\
        #[cfg(test)]\n#[allow(h)]\nmod i {\n    fn j() {}\n}\nfn k() {} // l\n";
    assert_eq!(without_tests(text), "mod a;\nmod c;\nimpl D {\n    fn g() {}\n}\nfn k() {} // l");
}

#[test]
fn each_layer_knows_only_those_below_it() {
    let layers = ["cli", "server", "services", "storage"];
    for source in sources(&["src"]) {
        let depth = layers.iter().position(|layer| lies_in(&source.path, &format!("src/{layer}")));
        let is_root = matches!(source.path.as_str(), "src/lib.rs" | "src/main.rs");
        let depth = if is_root { 0 } else { depth.unwrap_or(layers.len()) };
        for above in &layers[..depth.min(layers.len())] {
            let reaches_up = source.code.contains(&format!("crate::{above}::"))
                || source.code.contains(&format!("use crate::{above};"));
            assert!(!reaches_up, "{} knows {above}, which is above it", source.path);
        }
    }
}

#[test]
fn a_service_knows_no_other_service() {
    for source in sources(&["src/services"]) {
        let own = source.path.split('/').nth(2).unwrap();
        // It composes them: what it calls is what they offer it.
        if own == "transaction" {
            continue;
        }
        for (at, _) in source.code.match_indices("crate::services::") {
            let named = &source.code[at + "crate::services::".len()..];
            let named: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // The queue tells jobs of the ends of their tasks, in one transaction.
            let is_allowed = source.path == "src/services/queue/store/job_results.rs" && named == "jobs";
            assert!(named == own || is_allowed, "{} knows another service", source.path);
        }
    }
}

#[test]
fn protobuf_types_stay_at_the_edge() {
    let edge = [
        "src/services/*/api",
        "src/services/*/api.rs",
        "src/services/*/convert",
        "src/services/*/convert.rs",
        // What the services' converts have in common.
        "src/convert.rs",
        // Tells the encoder the limit of the answer.
        "src/answer.rs",
        "src/status.rs",
        "src/status",
        "src/server",
        "src/cli",
    ];
    only_in("pannier_proto", &edge);
    only_in("prost_types", &edge);
}

#[test]
fn the_transport_stays_at_the_edge() {
    let edge = [
        "src/services/*/api",
        "src/services/*/api.rs",
        // How the requests of a stream end: by a goodbye, or by a reset.
        "src/request_end.rs",
        "src/status.rs",
        "src/status",
        "src/server",
        "src/cli",
    ];
    only_in("tonic", &edge);
    only_in("axum", &["src/server"]);
}

#[test]
fn sql_stays_in_the_stores_and_the_engine() {
    let below =
        ["src/services/*/store", "src/services/*/store.rs", "src/services/*/entity.rs", "src/storage"];
    only_in("sea_query", &below);
    // The error's text is all that is known of the database elsewhere.
    only_in("sea_orm", &[&below[..], &["src/error.rs"]].concat());
}

#[test]
fn only_the_engine_knows_which_database_there_is() {
    only_in("rusqlite", &["src/storage/sqlite"]);
    for source in sources(&["src/services", "src/server", "src/cli"]) {
        // Tests that ask a database for its plans, and read its names in them.
        if lies_in(&source.path, "src/services/*/store/plans.rs") {
            continue;
        }
        assert!(!source.code.to_lowercase().contains("sqlite"), "{} knows SQLite", source.path);
    }
}

#[test]
fn domains_do_no_input_or_output() {
    for source in sources(&["src/services"]) {
        if !lies_in(&source.path, "src/services/*/domain.rs") {
            continue;
        }
        let imports = source.code.lines().filter(|line| line.starts_with("use "));
        for import in imports {
            let allowed = ["use std::", "use bytes::", "use uuid::", "use crate::settings::"];
            let is_allowed = allowed.iter().any(|start| import.starts_with(start));
            assert!(is_allowed, "{}: {import}", source.path);
        }
        assert!(!source.code.contains("async "), "{} waits", source.path);
    }
}

#[test]
fn integers_in_entities_are_i64() {
    // SeaORM's proxy rows read an integer of another width as NULL.
    let stores = sources(&["src/services", "src/storage"]).into_iter().filter(|source| {
        [
            "src/services/*/entity.rs",
            "src/services/*/store",
            "src/services/*/store.rs",
            "src/storage/idempotency.rs",
        ]
        .iter()
        .any(|wall| lies_in(&source.path, wall))
    });
    for source in stores {
        for narrow in ["i8", "i16", "i32", "u16", "u32"] {
            assert!(!uses(&source.code, narrow), "{} has a column of type {narrow}", source.path);
        }
    }
}

#[test]
fn times_and_random_numbers_come_from_the_clock() {
    for word in ["SystemTime::now", "Instant::now", "Uuid::new_v4", "Uuid::now_v7"] {
        only_in(word, &["src/clock"]);
    }
}

#[test]
fn every_file_says_what_it_owns_and_has_a_name_that_means_something() {
    let all = sources(&["src", "migration/src", "proto/src", "benches/src", "tests"]);
    for source in all {
        assert!(source.text.starts_with("//!"), "{} does not begin with //!", source.path);
        for empty in ["util", "utils", "common", "helpers", "manager", "misc"] {
            let means_nothing = source.path.split(['/', '.']).any(|part| part == empty);
            assert!(!means_nothing, "{}: {empty} says nothing", source.path);
        }
        let lines = source.text.lines().count();
        assert!(lines <= 450, "{} has {lines} lines: more than one subject?", source.path);
    }
}
