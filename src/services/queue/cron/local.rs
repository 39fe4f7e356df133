//! The local times of a time zone and the instants at which its clocks show them. In seconds; no I/O.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{GapInfo, Tz};

/// When the clocks of a zone show a local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Once, at this instant.
    Once(i64),
    /// Twice: the clocks go back.
    Twice(i64, i64),
    /// Never: the clocks skip it.
    Never {
        /// The first local time that is skipped.
        gap_start: i64,
        /// The instant at which the clocks go forward.
        at: i64,
    },
}

/// Local times that come twice: from the first to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The local time at an instant.
pub(super) fn local(zone: Tz, at: i64) -> Option<i64> {
    let offset = zone.offset_from_utc_datetime(&naive(at)?).fix().local_minus_utc();
    Some(at + i64::from(offset))
}

/// When a local time is shown.
pub(super) fn shown(zone: Tz, local: i64) -> Option<Shown> {
    let local = naive(local)?;
    Some(match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Shown::Once(at.timestamp()),
        LocalResult::Ambiguous(first, second) => Shown::Twice(first.timestamp(), second.timestamp()),
        LocalResult::None => {
            let gap = GapInfo::new(&local, &zone)?;
            Shown::Never { gap_start: gap.begin?.0.and_utc().timestamp(), at: gap.end?.timestamp() }
        }
    })
}

/// The fold in which a local time is shown at both instants.
pub(super) fn fold(zone: Tz, first: i64, second: i64) -> Option<Fold> {
    let offset = |at: i64| Some(local(zone, at)? - at);
    let (before, after) = (offset(first)?, offset(second)?);
    let (mut low, mut high) = (first, second);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if offset(middle)? == before { low = middle } else { high = middle }
    }
    Some(Fold { start: high + after, end: high + before })
}

fn naive(seconds: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp(seconds, 0)?.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    #[test]
    fn local_times_are_shown_once_twice_or_never() {
        let zone = Tz::Europe__Berlin;
        let shown = |text: &str| shown(zone, at(text)).unwrap();
        assert_eq!(shown("2026-01-01T01:00:00Z"), Shown::Once(at("2026-01-01T00:00:00Z")));
        let twice = Shown::Twice(at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        assert_eq!(shown("2026-10-25T02:30:00Z"), twice);
        let never = Shown::Never { gap_start: at("2026-03-29T02:00:00Z"), at: at("2026-03-29T01:00:00Z") };
        assert_eq!(shown("2026-03-29T02:30:00Z"), never);
        let fold = fold(zone, at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")).unwrap();
        assert_eq!(fold, Fold { start: at("2026-10-25T02:00:00Z"), end: at("2026-10-25T03:00:00Z") });
    }
}
