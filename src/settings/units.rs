//! Durations and sizes as people write them: `30d`, `1.5h`, `500MB`, `64KiB`.
//!
//! Settings are whole milliseconds and whole bytes. A number without a unit counts in those.

use std::time::Duration;

/// The unit in which a setting counts, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Bytes,
}

/// Milliseconds of each unit of time.
const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Bytes of each unit of size, in lower case. `k` alone is ambiguous and left out.
const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl Unit {
    /// The unit of the setting `section.key`: `_ms` or `_bytes` is a part of the key.
    pub(super) fn of(key: &str) -> Option<Self> {
        let (_, name) = key.split_once('.')?;
        name.split('_').find_map(|part| match part {
            "ms" => Some(Self::Milliseconds),
            "bytes" => Some(Self::Bytes),
            _ => None,
        })
    }

    /// The forms that [`Self::parse`] understands.
    pub(super) fn forms(self) -> &'static str {
        match self {
            Self::Milliseconds => {
                "give milliseconds as a number, or a number with ms, s, m, h, d or w, such as 90s or 30d"
            }
            Self::Bytes => {
                "give bytes as a number, or a number with B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB or TiB (powers of 1024), such as 500MB"
            }
        }
    }

    /// The number in the largest unit in which it is whole, such as `30s` or `64MiB`; none in the setting's own.
    pub(super) fn spell(self, number: u64) -> Option<String> {
        let units: &[(&str, u64)] = match self {
            Self::Milliseconds => &TIMES[1..],
            Self::Bytes => &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)],
        };
        let (name, factor) =
            units.iter().rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor))?;
        Some(format!("{}{name}", number / factor))
    }

    /// Parses a number with or without a unit. The result is a whole number of the unit.
    pub(super) fn parse(self, text: &str) -> Option<u64> {
        let text = text.trim();
        let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim_start();
        let factor = match self {
            _ if unit.is_empty() => 1,
            Self::Milliseconds => TIMES.iter().find(|(name, _)| *name == unit)?.1,
            Self::Bytes => SIZES.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?.1,
        };
        scale(number, factor)
    }
}

/// `number` times `factor`, if that is whole. At most six decimals.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 6 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
    let part = decimals.parse::<u64>().ok()?.checked_mul(factor)?;
    if part % scale != 0 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part / scale)
}

/// A duration of a command-line flag, such as `5s`. Error: the forms that are understood.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit = Unit::Milliseconds;
    unit.parse(text).map(Duration::from_millis).ok_or_else(|| unit.forms().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_with_units_are_whole_milliseconds_and_bytes() {
        let times = [
            ("250", 250),
            ("250ms", 250),
            ("90s", 90_000),
            ("1.5h", 5_400_000),
            ("30d", 2_592_000_000),
            (" 2 w ", 1_209_600_000),
        ];
        for (text, ms) in times {
            assert_eq!(Unit::Milliseconds.parse(text), Some(ms), "{text}");
        }
        let sizes = [
            ("4096", 4_096),
            ("500MB", 500_000_000),
            ("500mb", 500_000_000),
            ("64KiB", 65_536),
            ("0.5GiB", 536_870_912),
            ("1 TB", 1_000_000_000_000),
        ];
        for (text, bytes) in sizes {
            assert_eq!(Unit::Bytes.parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_duration_and_no_size() {
        for text in
            ["", "s", "-1s", "1.5", "1.5ms", "1h30m", "soon", "1.s", "1MB", "30D", "99999999999999999d"]
        {
            assert_eq!(Unit::Milliseconds.parse(text), None, "{text}");
        }
        for text in ["", "MB", "1k", "1 h", "0.3B", "1e3", "many"] {
            assert_eq!(Unit::Bytes.parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_spelled_in_the_largest_unit_in_which_it_is_whole() {
        assert_eq!(Unit::Milliseconds.spell(30_000).as_deref(), Some("30s"));
        assert_eq!(Unit::Milliseconds.spell(604_800_000).as_deref(), Some("1w"));
        assert_eq!(Unit::Milliseconds.spell(50), None);
        assert_eq!(Unit::Bytes.spell(32 << 20).as_deref(), Some("32MiB"));
        assert_eq!(Unit::Bytes.spell(0), None);
    }

    #[test]
    fn the_unit_of_a_setting_is_a_part_of_its_name() {
        assert_eq!(Unit::of("jobs.retention_ms"), Some(Unit::Milliseconds));
        assert_eq!(Unit::of("server.deadline_ms_max"), Some(Unit::Milliseconds));
        assert_eq!(Unit::of("storage.wal_bytes_max"), Some(Unit::Bytes));
        assert_eq!(Unit::of("server.calls_max"), None);
    }
}
