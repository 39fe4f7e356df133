//! When a schedule runs: a cron expression in a time zone. No I/O.
//!
//! The expression is matched against local times, and the local times are turned into instants here. An expression whose hour is
//! fixed (`30 2`, `0,30 2`, `*/10 1-3`) runs once for each local time: a time that the clocks skip just after the gap, one that comes
//! twice the first time. An expression for every hour (`0 *`, `*/5 */2`) runs whenever the clocks show a time that it matches.
//!
//! Example, Europe/Berlin: on 2026-03-29 the clocks skip 02:00 to 02:59. `0,30 2` runs once, at 03:00 (01:00Z). On 2026-10-25 they
//! show 02:00 to 02:59 twice: `0,30 2` runs at 00:00Z and 00:30Z, `0 *` at 00:00Z and at 01:00Z.

mod local;
#[cfg(test)]
mod oracle;

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use self::local::Shown;
use super::schedule::MissedRuns;
use crate::clock::SECOND_US;

/// A run that is late by less was not missed.
pub const LATE_US: i64 = 60_000_000;

/// When a schedule runs.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: croner::Cron,
    zone: Tz,
    is_hourly: bool,
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
        let parsed =
            croner::Cron::from_str(pattern).map_err(|error| CronError::Pattern(error.to_string()))?;
        let is_hourly = is_hourly(pattern, &parsed);
        Ok(Self { pattern: parsed, zone, is_hourly })
    }

    /// The first run after a time of the wall clock; none if there is none any more.
    pub fn next_after(&self, us: i64) -> Option<i64> {
        let after = us.div_euclid(SECOND_US);
        let next = if self.is_hourly { self.next_hourly(after) } else { self.next_fixed(after) };
        next?.checked_mul(SECOND_US)
    }

    /// The last run at or before a time of the wall clock.
    fn last_until(&self, us: i64) -> Option<i64> {
        let until = us.div_euclid(SECOND_US);
        let last = if self.is_hourly { self.last_hourly(until) } else { self.last_fixed(until) };
        last?.checked_mul(SECOND_US)
    }

    fn next_fixed(&self, after: i64) -> Option<i64> {
        let mut local = self.latest_local(after)?;
        loop {
            local = self.next_match(local)?;
            let at = self.first(local)?;
            if at > after {
                return Some(at);
            }
        }
    }

    fn last_fixed(&self, until: i64) -> Option<i64> {
        self.first(self.last_match(self.latest_local(until)?)?)
    }

    fn next_hourly(&self, after: i64) -> Option<i64> {
        let mut local = local::local(self.zone, after)?;
        // Times that the clocks show again are still to come, though they are not later ones.
        let again = match local::shown(self.zone, local)? {
            Shown::Twice(first, second) if first == after => {
                let fold = local::fold(self.zone, first, second)?;
                let again = self.next_match(fold.start - 1).filter(|local| *local < fold.end);
                again.and_then(|local| self.second(local))
            }
            _ => None,
        };
        let later = loop {
            let Some(next) = self.next_match(local) else { break None };
            match local::shown(self.zone, next)? {
                Shown::Once(at) => break Some(at),
                Shown::Twice(first, second) => break Some(if first > after { first } else { second }),
                Shown::Never { at, .. } => local = local::local(self.zone, at)? - 1,
            }
        };
        again.into_iter().chain(later).min()
    }

    fn last_hourly(&self, until: i64) -> Option<i64> {
        let mut local = local::local(self.zone, until)?;
        // Times that the clocks have shown before they went back, though they are later ones.
        let before = match local::shown(self.zone, local)? {
            Shown::Twice(first, second) if second == until => {
                let fold = local::fold(self.zone, first, second)?;
                let before = self.last_match(fold.end - 1).filter(|local| *local >= fold.start);
                before.and_then(|local| self.first(local))
            }
            _ => None,
        };
        let earlier = loop {
            let Some(last) = self.last_match(local) else { break None };
            match local::shown(self.zone, last)? {
                Shown::Once(at) => break Some(at),
                Shown::Twice(first, second) => break Some(if second <= until { second } else { first }),
                Shown::Never { gap_start, .. } => local = gap_start - 1,
            }
        };
        before.into_iter().chain(earlier).max()
    }

    /// The latest local time that was shown for the first time up to an instant.
    fn latest_local(&self, at: i64) -> Option<i64> {
        let local = local::local(self.zone, at)?;
        Some(match local::shown(self.zone, local)? {
            Shown::Twice(first, second) if second == at => local::fold(self.zone, first, second)?.end - 1,
            _ => local,
        })
    }

    /// When a local time is first shown, or the end of the gap in which it lies.
    fn first(&self, local: i64) -> Option<i64> {
        Some(match local::shown(self.zone, local)? {
            Shown::Once(at) | Shown::Twice(at, _) | Shown::Never { at, .. } => at,
        })
    }

    fn second(&self, local: i64) -> Option<i64> {
        match local::shown(self.zone, local)? {
            Shown::Twice(_, second) => Some(second),
            _ => None,
        }
    }

    /// The first local time after another that the expression matches.
    fn next_match(&self, local: i64) -> Option<i64> {
        let from: DateTime<Utc> = DateTime::from_timestamp(local, 0)?;
        let next = self.pattern.find_next_occurrence(&from, false).ok()?.timestamp();
        Some(next).filter(|next| *next > local)
    }

    /// The last local time up to another that the expression matches.
    fn last_match(&self, local: i64) -> Option<i64> {
        let until: DateTime<Utc> = DateTime::from_timestamp(local, 0)?;
        let last = self.pattern.find_previous_occurrence(&until, true).ok()?.timestamp();
        Some(last).filter(|last| *last <= local)
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

/// Whether an expression says no hour: `*`, `*/2`, or all of them.
fn is_hourly(text: &str, pattern: &croner::Cron) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let hour = match fields.len() {
        0..5 => "",
        5 => fields[1],
        _ => fields[2],
    };
    let matches = |hour: u32| pattern.pattern.hour_match(hour).unwrap_or(false);
    hour.contains(['*', '?']) || (0..24).all(matches)
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
    fn runs_of_several_times_are_neither_left_out_nor_doubled_where_the_clocks_change() {
        let of_day = |pattern: &str, day: &str| {
            let cron = Cron::parse(pattern, "Europe/Berlin").unwrap();
            let (mut at, end) = (us(day) - 1, us(day) + 25 * 3_600_000_000);
            let mut found = Vec::new();
            while let Some(next) = cron.next_after(at).filter(|next| *next < end) {
                found.push(DateTime::from_timestamp_micros(next).unwrap().format("%H:%M").to_string());
                at = next;
            }
            found
        };
        let (spring, autumn) = ("2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z");
        assert_eq!(of_day("0 2,14 * * *", spring)[..2], ["01:00", "12:00"]);
        assert_eq!(of_day("0,30 2 * * *", spring)[..1], ["01:00"]);
        assert_eq!(of_day("0,30 2 * * *", autumn), ["00:00", "00:30"]);
        assert_eq!(of_day("15 1,2,3 * * *", autumn), ["23:15", "00:15", "02:15"]);
        assert_eq!(of_day("0 * * * *", autumn).len(), 25);
    }

    #[test]
    fn every_hour_that_was_missed_is_made_up_for_where_the_clocks_go_back() {
        let missed = |zone: &str, from: &str, to: &str| {
            let cron = Cron::parse("0 * * * *", zone).unwrap();
            let first = cron.next_after(us(from)).unwrap();
            cron.due(first, us(to), MissedRuns::All, 100).len()
        };
        assert_eq!(missed("Europe/Berlin", "2026-10-24T20:00:30Z", "2026-10-25T06:00:30Z"), 10);
        assert_eq!(missed("America/New_York", "2026-11-01T00:00:30Z", "2026-11-01T10:00:30Z"), 10);
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
