//! When a schedule runs: a cron expression in a time zone. No I/O.

use std::str::FromStr as _;

use chrono::DateTime;
use chrono_tz::Tz;

use super::schedule::MissedRuns;

/// A run that is late by less was not missed.
pub const LATE_US: i64 = 60_000_000;

/// When a schedule runs.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: croner::Cron,
    zone: Tz,
}

/// What is wrong with a schedule's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CronError {
    /// The expression, and why.
    Pattern(String),
    /// The time zone.
    Zone,
}

impl Cron {
    /// An expression in a time zone; an empty one is UTC.
    pub fn parse(pattern: &str, zone: &str) -> Result<Self, CronError> {
        let zone = if zone.is_empty() { Tz::UTC } else { Tz::from_str(zone).map_err(|_| CronError::Zone)? };
        let pattern =
            croner::Cron::from_str(pattern).map_err(|error| CronError::Pattern(error.to_string()))?;
        Ok(Self { pattern, zone })
    }

    /// The first run after a time of the wall clock; none if there is none any more.
    pub fn next_after(&self, us: i64) -> Option<i64> {
        let after = DateTime::from_timestamp_micros(us)?.with_timezone(&self.zone);
        let next = self.pattern.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp_micros()).filter(|next_us| *next_us > us)
    }

    /// The last run at or before a time of the wall clock.
    fn last_until(&self, us: i64) -> Option<i64> {
        let until = DateTime::from_timestamp_micros(us)?.with_timezone(&self.zone);
        let last = self.pattern.find_previous_occurrence(&until, true).ok()?;
        // Runs are at whole seconds; a time within a second counts as its beginning.
        Some(last.timestamp() * 1_000_000).filter(|last_us| *last_us <= us)
    }

    /// The runs to be made up for at `now_us`, the first of which was due at `first_us`: those that are hardly late, and of those
    /// that were missed as many as is said.
    pub fn due(&self, first_us: i64, now_us: i64, missed: MissedRuns, most: usize) -> Vec<i64> {
        let mut runs = Vec::new();
        let mut until_us = now_us;
        while runs.len() < most
            && let Some(run_us) = self.last_until(until_us).filter(|run_us| *run_us >= first_us)
        {
            let is_missed = now_us - run_us >= LATE_US;
            if is_missed && missed == MissedRuns::Skip {
                break;
            }
            runs.push(run_us);
            if is_missed && missed == MissedRuns::One {
                break;
            }
            until_us = run_us - 1;
        }
        runs.reverse();
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    fn runs(cron: &Cron, from: &str, count: usize) -> Vec<String> {
        let mut at = us(from);
        let mut found = Vec::new();
        for _ in 0..count {
            at = cron.next_after(at).unwrap();
            found.push(DateTime::from_timestamp_micros(at).unwrap().to_rfc3339());
        }
        found
    }

    #[test]
    fn runs_follow_the_time_zone_through_both_changes_of_the_clock() {
        let cron = Cron::parse("30 2 * * *", "Europe/Berlin").unwrap();
        // 02:30 does not exist on 29 March 2026: just after the gap, 03:00 CEST.
        let expected =
            ["2026-03-28T01:30:00+00:00", "2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"];
        assert_eq!(runs(&cron, "2026-03-27T12:00:00Z", 3), expected);
        // It comes twice on 25 October 2026: the first counts.
        let expected =
            ["2026-10-24T00:30:00+00:00", "2026-10-25T00:30:00+00:00", "2026-10-26T01:30:00+00:00"];
        assert_eq!(runs(&cron, "2026-10-23T12:00:00Z", 3), expected);
    }

    #[test]
    fn seconds_and_special_days_are_understood_and_nonsense_is_not() {
        let cron = Cron::parse("*/20 * * * * *", "").unwrap();
        let expected =
            ["2026-01-01T00:00:20+00:00", "2026-01-01T00:00:40+00:00", "2026-01-01T00:01:00+00:00"];
        assert_eq!(runs(&cron, "2026-01-01T00:00:00Z", 3), expected);
        let last_friday = Cron::parse("0 12 * * FRI#L", "UTC").unwrap();
        assert_eq!(runs(&last_friday, "2026-01-01T00:00:00Z", 1), ["2026-01-30T12:00:00+00:00"]);
        for wrong in ["", "* * * *", "61 * * * *", "a b c d e", "* * * * * * * *"] {
            assert!(matches!(Cron::parse(wrong, ""), Err(CronError::Pattern(_))), "{wrong:?}");
        }
        assert_eq!(Cron::parse("@daily", "Europe/Atlantis").unwrap_err(), CronError::Zone);
    }

    #[test]
    fn a_pattern_that_never_comes_has_no_next_run() {
        let never = Cron::parse("0 0 30 2 *", "").unwrap();
        assert_eq!(never.next_after(us("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn missed_runs_are_made_up_for_as_is_said() {
        let cron = Cron::parse("0 * * * *", "").unwrap();
        let (first, now) = (us("2026-01-01T01:00:00Z"), us("2026-01-01T05:00:30Z"));
        let hour = |hour: i64| us("2026-01-01T00:00:00Z") + hour * 3_600_000_000;
        let due = |missed| cron.due(first, now, missed, 3);
        assert_eq!(due(MissedRuns::Skip), [hour(5)]);
        assert_eq!(due(MissedRuns::One), [hour(4), hour(5)]);
        assert_eq!(due(MissedRuns::All), [hour(3), hour(4), hour(5)]);
        let later = us("2026-01-01T05:30:00Z");
        assert_eq!(cron.due(first, later, MissedRuns::Skip, 3), [0; 0]);
        assert_eq!(cron.due(first, later, MissedRuns::One, 3), [hour(5)]);
    }
}
