//! A second implementation of cron with time zones, which looks at every minute of five years, against the first.

use chrono::{DateTime, Datelike as _, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use super::Cron;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// Zones with and without changes of their clocks, of an hour and of half an hour, in both halves of the earth.
const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "America/St_Johns",
    "Africa/Cairo",
];

/// Numbers by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// A field and what it matches, of the numbers from `start` to before `end`.
    fn field(&mut self, start: u64, end: u64, kind: u64) -> (String, Vec<bool>) {
        let number = |chance: &mut Self| start + chance.below(end - start);
        let (text, is_in): (String, Box<dyn Fn(u64) -> bool>) = match kind {
            0 => ("*".into(), Box::new(|_| true)),
            1 => {
                let step = 2 + self.below((end - start) / 2 - 1);
                (format!("*/{step}"), Box::new(move |n| (n - start).is_multiple_of(step)))
            }
            2 => {
                let (a, b) = (number(self), number(self));
                let (a, b) = (a.min(b), a.max(b));
                (format!("{a}-{b}"), Box::new(move |n| (a..=b).contains(&n)))
            }
            3 => {
                let (a, b, c) = (number(self), number(self), number(self));
                (format!("{a},{b},{c}"), Box::new(move |n| [a, b, c].contains(&n)))
            }
            _ => {
                let a = number(self);
                (a.to_string(), Box::new(move |n| n == a))
            }
        };
        (text, (0..end).map(|n| n >= start && is_in(n)).collect())
    }
}

struct Pattern {
    text: String,
    fields: [Vec<bool>; 5],
    is_hourly: bool,
}

impl Pattern {
    fn by_chance(chance: &mut Chance) -> Self {
        let (minute_kind, hour_kind) = (1 + chance.below(4), chance.below(5));
        let minute = chance.field(0, 60, minute_kind);
        // Mostly in the hours in which clocks change.
        let hours_end = if hour_kind > 1 && chance.below(3) > 0 { 5 } else { 24 };
        let (hour_text, mut hours) = chance.field(0, hours_end, hour_kind);
        hours.resize(24, false);
        let day_kind = [0, 0, 0, 3][chance.below(4) as usize];
        let days = chance.field(1, 32, day_kind);
        let month_kind = [0, 0, 2][chance.below(3) as usize];
        let months = chance.field(1, 13, month_kind);
        let weekday_kind = if day_kind == 0 { [0, 0, 2][chance.below(3) as usize] } else { 0 };
        let weekdays = chance.field(0, 7, weekday_kind);
        let text = format!("{} {hour_text} {} {} {}", minute.0, days.0, months.0, weekdays.0);
        let is_hourly = hour_kind < 2 || hours.iter().all(|is_in| *is_in);
        Self { text, fields: [minute.1, hours, days.1, months.1, weekdays.1], is_hourly }
    }

    /// Whether it matches a minute of a day.
    fn matches(&self, minute: i64, day: [usize; 3]) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        minutes[(minute % 60) as usize]
            && hours[(minute / 60) as usize]
            && days[day[0]]
            && months[day[1]]
            && weekdays[day[2]]
    }
}

/// Day of the month, month and weekday of a local time.
fn day_of(local: i64) -> [usize; 3] {
    let date = DateTime::from_timestamp(local, 0).unwrap();
    [date.day() as usize, date.month() as usize, date.weekday().num_days_from_sunday() as usize]
}

fn offset(zone: Tz, at: i64) -> i64 {
    let at = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&at).fix().local_minus_utc())
}

/// The runs of patterns, found by looking at every minute of a span.
fn walk(zone: Tz, patterns: &[Pattern], start: i64, end: i64) -> Vec<Vec<i64>> {
    let mut runs = vec![Vec::new(); patterns.len()];
    let mut latest = start + offset(zone, start) - MINUTE;
    let mut of_zone = 0;
    let (mut day_number, mut day) = (i64::MIN, [0; 3]);
    for at in (start..end).step_by(60) {
        // Clocks change at quarters of an hour.
        if at % (15 * MINUTE) == 0 {
            of_zone = offset(zone, at);
        }
        let local = at + of_zone;
        if local.div_euclid(DAY) != day_number {
            day_number = local.div_euclid(DAY);
            day = day_of(local);
        }
        for (pattern, runs) in patterns.iter().zip(&mut runs) {
            let is_new = local > latest;
            let mut is_run =
                pattern.matches(local.rem_euclid(DAY) / MINUTE, day) && (is_new || pattern.is_hourly);
            if local > latest + MINUTE && !pattern.is_hourly {
                is_run |= (latest + MINUTE..local)
                    .step_by(60)
                    .any(|skipped| pattern.matches(skipped.rem_euclid(DAY) / MINUTE, day_of(skipped)));
            }
            if is_run {
                runs.push(at);
            }
        }
        latest = latest.max(local);
    }
    runs
}

#[test]
fn runs_are_those_that_a_look_at_every_minute_of_five_years_finds() {
    let mut chance = Chance(12);
    for zone in ZONES {
        let tz: Tz = zone.parse().unwrap();
        // Two patterns for each half year, so that every change of the clocks is met by other ones.
        for half in 0..10 {
            let start = 1_672_531_200 + half * 182 * DAY + half * DAY / 2;
            let end = start + 183 * DAY;
            let patterns = [Pattern::by_chance(&mut chance), Pattern::by_chance(&mut chance)];
            for (pattern, expected) in patterns.iter().zip(walk(tz, &patterns, start, end)) {
                let cron = Cron::parse(&pattern.text, zone).unwrap();
                let at = |us: Option<i64>| us.map(|us| us / 1_000_000);
                let mut after = start - 1;
                for (index, run) in expected.iter().enumerate() {
                    let context = || format!("{} in {zone} after {after}", pattern.text);
                    assert_eq!(at(cron.next_after(after * 1_000_000)), Some(*run), "{}", context());
                    if index > 0 {
                        let last = at(cron.last_until(*run * 1_000_000 - 1));
                        assert_eq!(last, Some(expected[index - 1]), "before {run}: {}", context());
                    }
                    after = *run;
                }
                let next = at(cron.next_after(after * 1_000_000));
                assert!(next.is_none_or(|next| next >= end), "{} in {zone} after {after}", pattern.text);
            }
        }
    }
}
