//! The results for people, on stdout.

use std::fmt::Write as _;

use crate::report::{Finding, OnBoth, Report, Section, SideReport, Verdict};

/// The part of the processors that others may take before the numbers are worth little.
const QUIET: f64 = 0.05;

/// The whole report as text.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let head = format!(
        "pannier-bench: {} on {}\n{} rounds of {} s a side, interleaved; {} connection(s) a side; medians\n",
        report.pannier_version,
        report.machine,
        report.rounds,
        report.seconds_a_round,
        report.connections_a_side
    );
    text.push_str(&head);
    if let Some(facts) = &report.postgres {
        let _ = writeln!(text, "{}", facts.line());
    }
    if let Some(share) = report.others_share {
        let judgement =
            if share > QUIET { "; too much for a fair picture, run it again on a quiet machine" } else { "" };
        let _ = writeln!(
            text,
            "other processes took {:.0} % of the processors meanwhile{judgement}",
            share * 100.0
        );
    }
    for section in &report.sections {
        text.push('\n');
        text.push_str(&section_text(section));
    }
    text.push_str(&on_both(&report.on_both));
    text.push('\n');
    text.push_str(&targets(&report.sections));
    text.push_str("\nHow it was measured\n");
    for note in &report.notes {
        let _ = writeln!(text, "- {note}");
    }
    let _ = writeln!(text, "- the run took {:.0} s", report.took_seconds);
    text
}

fn section_text(section: &Section) -> String {
    let mut text = format!("{}: {}\n", section.workload, section.title);
    if let Some(failure) = &section.failure {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    if !section.sides.is_empty() {
        let head =
            ["", "in flight", "per second", "p50 µs", "p95 µs", "p99 µs", "server CPU µs each", "flushes/s"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(section.sides.iter().map(side_cells));
        text.push_str(&aligned(&rows));
    }
    if !section.findings.is_empty() {
        let rows: Vec<_> = section.findings.iter().map(finding_cells).collect();
        text.push_str(&aligned(&rows));
    }
    for note in &section.notes {
        let _ = writeln!(text, "  ({note})");
    }
    text
}

fn side_cells(side: &SideReport) -> Vec<String> {
    let optional = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| grouped(number, 0));
    vec![
        side.side.clone(),
        side.in_flight.to_string(),
        format!("{} {}", grouped(side.per_second, 0), side.unit),
        grouped(side.p50, 0),
        grouped(side.p95, 0),
        grouped(side.p99, 0),
        optional(side.server_cpu_each),
        optional(side.flushes_per_second),
    ]
}

fn finding_cells(finding: &Finding) -> Vec<String> {
    let number = |number: f64| grouped(number, if number.abs() >= 1000.0 { 0 } else { 2 });
    let measured =
        finding.measured.map_or_else(|| "-".to_owned(), |n| format!("{} {}", number(n), finding.unit));
    let spread = finding.spread.map(|(low, high)| format!("({} to {})", number(low), number(high)));
    vec![
        finding.what.clone(),
        measured.trim_end().to_owned(),
        spread.unwrap_or_default(),
        finding
            .target
            .map(|target| format!("{target} {}", finding.unit).trim_end().to_owned())
            .unwrap_or_default(),
        verdict(finding),
    ]
}

fn verdict(finding: &Finding) -> String {
    let word = match finding.verdict {
        Verdict::Pass => "pass",
        Verdict::Below => "BELOW",
        Verdict::Info => "",
        Verdict::NotMeasured => "not measured:",
    };
    format!("{word} {}", finding.note).trim().to_owned()
}

/// The sidecar on SQLite and on PostgreSQL side by side.
fn on_both(all: &[OnBoth]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let head = ["", "SQLite", "PostgreSQL", "ratio", "", "p50 µs", "", "p99 µs", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|both| {
        let rate = |number: f64| format!("{} {}/s", grouped(number, 0), both.unit);
        vec![
            both.title.clone(),
            rate(both.sqlite_per_second),
            rate(both.postgres_per_second),
            grouped(both.ratio, 2),
            format!("({} to {})", grouped(both.spread.0, 2), grouped(both.spread.1, 2)),
            grouped(both.sqlite_p50, 0),
            grouped(both.postgres_p50, 0),
            grouped(both.sqlite_p99, 0),
            grouped(both.postgres_p99, 0),
        ]
    }));
    format!(
        "\nSQLITE AND POSTGRESQL: the sidecar over TCP on each; of times, SQLite's first\n{}",
        aligned(&rows)
    )
}

/// All findings with a target, once more, together.
fn targets(sections: &[Section]) -> String {
    let with_target = |section: &Section| {
        section
            .findings
            .iter()
            .filter(|finding| finding.target.is_some())
            .map(finding_cells)
            .collect::<Vec<_>>()
    };
    let count = |verdict: Verdict| {
        let findings = sections.iter().flat_map(|section| &section.findings);
        findings.filter(|finding| finding.target.is_some() && finding.verdict == verdict).count()
    };
    let failed = sections.iter().filter(|section| section.failure.is_some()).count();
    let mut text = format!(
        "TARGETS: {} pass, {} below, {} not measured; {failed} tables with a failure\n",
        count(Verdict::Pass),
        count(Verdict::Below),
        count(Verdict::NotMeasured),
    );
    // All rows in one, so that the columns line up across the workloads.
    let rows: Vec<_> = sections.iter().flat_map(with_target).collect();
    let lines = aligned(&rows);
    let mut lines = lines.lines();
    for section in sections {
        let own = with_target(section).len();
        if own > 0 {
            let _ = writeln!(text, "  {}: {}", section.workload, section.title);
        }
        for line in lines.by_ref().take(own) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Columns padded to their widest cell; the first to the left, numbers to the right, the last as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let numeric: Vec<bool> = (0..columns)
        .map(|column| rows.iter().skip(1).any(|row| row.get(column).is_some_and(|c| is_number(c))))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            let (before, after) = if numeric[column] && column > 0 {
                (padding, String::new())
            } else {
                (String::new(), padding)
            };
            let _ = write!(line, " {before}{cell}{after} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A number with its thousands apart.
fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if fraction.is_empty() { out } else { format!("{out}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        assert_eq!(grouped(1_234_567.4, 0), "1,234,567");
        assert_eq!(grouped(-1234.5, 1), "-1,234.5");
        assert_eq!(grouped(0.851, 2), "0.85");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "per s".into()], vec!["long".into(), "10".into()]];
        assert_eq!(aligned(&rows), "  a     per s\n  long     10\n");
    }
}
