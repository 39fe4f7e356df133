//! An examination of the database for `pannier doctor`: findings in words for people, with numbers for programs.
//!
//! It changes nothing and needs nothing for itself alone: a sidecar may be running. What goes wrong while looking is a
//! finding as well.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{migrate, postgres, sqlite, transfer};
use crate::settings::StorageSettings;

/// How good or bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// The sidecar runs, but somebody should know.
    Warning,
    /// The sidecar does not start, or fails at work.
    Problem,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word that stays the same.
    pub check: &'static str,
    /// How good or bad it is.
    pub grade: Grade,
    /// What is there.
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
    /// The same in numbers, each with its unit at the end of its name.
    pub measures: BTreeMap<&'static str, i64>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Grade::Ok, found, "")
    }

    /// Something that somebody should know.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Grade::Warning, found, advice)
    }

    /// Something that keeps the sidecar from its work.
    pub fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Grade::Problem, found, advice)
    }

    fn new(check: &'static str, grade: Grade, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, grade, found: found.into(), advice: advice.into(), measures: BTreeMap::new() }
    }

    /// With a number; the unit stands at the end of the name.
    pub(super) fn measure(mut self, name: &'static str, value: i64) -> Self {
        self.measures.insert(name, value);
        self
    }
}

/// Looks at the database of `settings`.
pub async fn examine(settings: &StorageSettings) -> Vec<Finding> {
    if settings.url.is_empty() { sqlite::examine(settings).await } else { postgres::examine(settings).await }
}

/// An import that was cut short.
pub(super) fn unfinished_import() -> Finding {
    Finding::problem("import", "an import was cut short: only a part of the data is there", transfer::ADVICE)
}

/// What the changes of the schema that a database has mean to this program.
pub(super) fn schema_changes(
    applied: &HashSet<String>,
    may_change_schema: bool,
    settings: &StorageSettings,
) -> Finding {
    let (known, unknown) = migrate::compare(applied);
    let missing: Vec<_> =
        known.iter().filter(|change| !change.is_applied).map(|change| change.name.as_str()).collect();
    let found = format!("{} of {} changes are applied", known.len() - missing.len(), known.len());
    let finding = if !unknown.is_empty() {
        Finding::problem(
            "migrations",
            format!("the schema is newer than this program; it does not know {}", unknown.join(", ")),
            "use the version of pannier that made it, or a later one",
        )
    } else if missing.is_empty() {
        Finding::ok("migrations", found)
    } else if !may_change_schema {
        Finding::problem(
            "migrations",
            format!("{found}; missing: {}", missing.join(", ")),
            "the role may not create in this schema: grant it that, or run `pannier migrate up` with a role that may",
        )
    } else if settings.migrate_on_start {
        Finding::warning(
            "migrations",
            format!("{found}; missing: {}", missing.join(", ")),
            "the next start applies them; if there should be data, look whether this is the right database",
        )
    } else {
        Finding::problem(
            "migrations",
            format!("{found}; missing: {}", missing.join(", ")),
            "run `pannier migrate up`, or set storage.migrate_on_start",
        )
    };
    let count = |names: usize| i64::try_from(names).unwrap_or(i64::MAX);
    finding
        .measure("applied", count(known.len() - missing.len()))
        .measure("missing", count(missing.len()))
        .measure("unknown", count(unknown.len()))
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1024.0 {
        let Some(next) = units.next() else { break };
        size /= 1024.0;
        unit = Some(next);
    }
    match unit {
        Some(unit) if bytes >= 1024 => format!("{size:.1} {unit}"),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_makes_them_short() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(5_000 << 40), "5000.0 TiB");
    }

    #[test]
    fn missing_changes_are_a_problem_only_where_nobody_will_apply_them() {
        let mut settings = StorageSettings::default();
        let all: HashSet<String> = migrate::compare(&HashSet::new()).0.into_iter().map(|c| c.name).collect();
        let grade = |applied: &HashSet<String>, may: bool, settings: &StorageSettings| {
            schema_changes(applied, may, settings).grade
        };
        assert_eq!(grade(&all, false, &settings), Grade::Ok);
        assert_eq!(grade(&HashSet::new(), true, &settings), Grade::Warning);
        assert_eq!(grade(&HashSet::new(), false, &settings), Grade::Problem);
        settings.migrate_on_start = false;
        assert_eq!(grade(&HashSet::new(), true, &settings), Grade::Problem);
        let newer = all.into_iter().chain(["m2999_x".to_owned()]).collect();
        let finding = schema_changes(&newer, true, &settings);
        assert!(finding.grade == Grade::Problem && finding.found.contains("m2999_x"), "{finding:?}");
        assert_eq!(finding.measures["unknown"], 1);
    }
}
