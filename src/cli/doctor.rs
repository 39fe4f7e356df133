//! `pannier doctor`: what is there, and what is wrong.

use clap::Args;

use super::{Failure, Sources, print, runtime};
use crate::settings::{Loaded, Origin};
use crate::storage::examine::{self, Finding, Grade};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    sources: Sources,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = match self.sources.load(&[]) {
            Ok(loaded) => loaded,
            Err(Failure::Configuration(problems)) => {
                let advice = "mend it; what the database is like cannot be said before";
                let finding = |problem: &crate::settings::Problem| {
                    Finding::problem("settings", problem.to_string(), advice)
                };
                let findings: Vec<_> = problems.iter().map(finding).collect();
                self.tell(&findings)?;
                return Err(Failure::Unconfigured);
            }
            Err(other) => return Err(other),
        };
        let mut findings = vec![settings(&loaded)];
        findings.extend(runtime()?.block_on(examine::examine(&loaded.settings.storage)));
        self.tell(&findings)?;
        match worst(&findings) {
            Grade::Problem => Err(Failure::Silent),
            Grade::Ok | Grade::Warning => Ok(()),
        }
    }

    fn tell(&self, findings: &[Finding]) -> Result<(), Failure> {
        print(&if self.json { json(findings) } else { text(findings) })
    }
}

fn settings(loaded: &Loaded) -> Finding {
    let said = loaded.origins.values().filter(|origin| **origin != Origin::Default).count();
    Finding::ok("settings", format!("right ({said} of {} are not defaults)", loaded.origins.len()))
}

fn worst(findings: &[Finding]) -> Grade {
    findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok)
}

fn count(findings: &[Finding], grade: Grade) -> usize {
    findings.iter().filter(|finding| finding.grade == grade).count()
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Warning => "warning",
        Grade::Problem => "problem",
    }
}

/// A line for each finding, below it what to do, at the end how many are bad.
fn text(findings: &[Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for Finding { check, grade, found, advice, .. } in findings {
        let found = found.replace('\n', " ");
        lines.push(format!("{:<7}  {check:<widest$}  {found}", word(*grade)));
        if !advice.is_empty() {
            lines.push(format!("{:7}  {:widest$}  -> {advice}", "", ""));
        }
    }
    let number = |grade: Grade| match count(findings, grade) {
        0 => format!("no {}s", word(grade)),
        1 => format!("1 {}", word(grade)),
        many => format!("{many} {}s", word(grade)),
    };
    lines.push(String::new());
    lines.push(format!("{}, {}", number(Grade::Problem), number(Grade::Warning)));
    lines.join("\n")
}

fn json(findings: &[Finding]) -> String {
    let report = serde_json::json!({
        "pannier": env!("CARGO_PKG_VERSION"),
        "grade": worst(findings),
        "problems": count(findings, Grade::Problem),
        "warnings": count(findings, Grade::Warning),
        "findings": findings,
    });
    format!("{report:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_in_lines_that_align() {
        let findings = [
            Finding::ok("version", "1"),
            Finding::warning("file_system", "odd", "move"),
            Finding::problem("lock", "a\nb", ""),
        ];
        let expected = "ok       version      1\n\
                        warning  file_system  odd\n\
                        \x20                     -> move\n\
                        problem  lock         a b\n\n\
                        1 problem, 1 warning";
        assert_eq!(text(&findings), expected);
        assert_eq!(worst(&findings), Grade::Problem);
        assert!(text(&findings[..1]).ends_with("no problems, no warnings"));
    }
}
