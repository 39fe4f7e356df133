//! What statistics are made of: numbers of prompts that can be added and taken away, and the hours, days and months that a range
//! consists of.

use std::collections::BTreeMap;
use std::ops::Range;

use super::domain::Measures;
use super::sketch::Sketch;

/// Microseconds of an hour.
pub const HOUR_US: i64 = 3_600_000_000;

/// Microseconds of a day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// Lengths of time for which numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
    /// Thirty days, counted from 1970: as long as any other, so that no calendar is needed.
    Month,
}

impl Span {
    /// All, the shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    fn us(self) -> i64 {
        match self {
            Self::Hour => HOUR_US,
            Self::Day => DAY_US,
            Self::Month => 30 * DAY_US,
        }
    }
}

/// What a number of prompts have in common. Zero stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// When the span that their time is in begins.
    pub start_us: i64,
    /// The number of their backend.
    pub backend_id: i64,
    /// That of their model.
    pub model_id: i64,
    /// That of their framework.
    pub framework_id: i64,
}

impl Key {
    /// The same over a span.
    pub fn over(self, span: Span) -> Self {
        Self { start_us: floor(self.start_us, span.us()), ..self }
    }
}

/// A prompt as it is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Where it is counted: `start_us` is its own time.
    pub key: Key,
    /// Whether it failed.
    pub is_failed: bool,
    /// What was measured of it.
    pub measures: Measures,
}

/// Numbers of prompts. Sums are whole numbers: prompts that are added and taken away again, in whatever order, leave no trace. Sums of what
/// callers measure have 128 bits: 2^50 is a cost that is accepted, and 9,000 of them exceed 64 bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How many.
    pub prompts: i64,
    /// How many of them failed.
    pub failed: i64,
    /// How many have a confidence.
    pub confidences: i64,
    /// The sum of these, in millionths.
    pub confidence_micros: i64,
    /// How many have a latency.
    pub latencies: i64,
    /// The sum of these.
    pub latency_us: i128,
    /// Tokens that went in.
    pub prompt_tokens: i128,
    /// Tokens that came out.
    pub completion_tokens: i128,
    /// What they cost.
    pub cost_micros: i128,
    /// How the latencies are distributed.
    pub sketch: Sketch,
}

impl Numbers {
    /// Adds a prompt (`sign` 1) or takes it away (-1).
    pub fn count(&mut self, prompt: &Counted, sign: i64) {
        let measures = &prompt.measures;
        let confidence = |share: f64| (share * 1e6).round() as i64;
        let sum = |value: Option<i64>| i128::from(value.unwrap_or(0)) * i128::from(sign);
        self.add_sums(&Self {
            prompts: sign,
            failed: if prompt.is_failed { sign } else { 0 },
            confidences: measures.confidence.map_or(0, |_| sign),
            confidence_micros: measures.confidence.map_or(0, confidence) * sign,
            latencies: measures.latency_us.map_or(0, |_| sign),
            latency_us: sum(measures.latency_us),
            prompt_tokens: sum(measures.prompt_tokens),
            completion_tokens: sum(measures.completion_tokens),
            cost_micros: sum(measures.cost_micros),
            sketch: Sketch::default(),
        });
        if let Some(latency_us) = measures.latency_us {
            self.sketch.add(latency_us, sign);
        }
    }

    /// Whether nothing is counted: what was added was taken away.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds all of others.
    pub fn merge(&mut self, other: &Self) {
        self.add_sums(other);
        self.sketch.merge(&other.sketch);
    }

    fn add_sums(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.prompts, other.prompts),
            (&mut self.failed, other.failed),
            (&mut self.confidences, other.confidences),
            (&mut self.confidence_micros, other.confidence_micros),
            (&mut self.latencies, other.latencies),
        ] {
            *sum = sum.wrapping_add(more);
        }
        for (sum, more) in [
            (&mut self.latency_us, other.latency_us),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.cost_micros, other.cost_micros),
        ] {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Numbers by key: what a transaction changes.
#[derive(Clone, Debug, Default)]
pub struct Changes(pub BTreeMap<Key, Numbers>);

impl Changes {
    /// Notes a prompt that is saved (`sign` 1) or deleted (-1), at its hour.
    pub fn count(&mut self, prompt: &Counted, sign: i64) {
        let key = Key { start_us: floor(prompt.key.start_us, HOUR_US), ..prompt.key };
        self.0.entry(key).or_default().count(prompt, sign);
    }
}

/// What a range of time consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// Whole spans, of as few numbers as may be.
    pub whole: Vec<(Span, Range<i64>)>,
    /// What is less than an hour, at either end.
    pub cuts: Vec<Range<i64>>,
}

/// Cuts a range of time, in microseconds, at its hours, days and months, with no piece of longer spans than `longest`.
pub fn pieces(range: Range<i64>, longest: Span) -> Pieces {
    let mut pieces = Pieces::default();
    let (mut rest, mut shorter) = (range, None);
    for span in Span::ALL.into_iter().filter(|span| *span <= longest) {
        let (whole, left) = cut(rest, span.us());
        match shorter {
            Some(shorter) => pieces.whole.extend(left.into_iter().map(|left| (shorter, left))),
            None => pieces.cuts = left,
        }
        let Some(whole) = whole else { return pieces };
        (rest, shorter) = (whole, Some(span));
    }
    pieces.whole.extend(shorter.map(|longest| (longest, rest)));
    pieces
}

/// The whole units of a range, and what is left at its ends. What is whole by necessity, since there is no time beyond it, is a unit's end.
fn cut(range: Range<i64>, unit_us: i64) -> (Option<Range<i64>>, Vec<Range<i64>>) {
    let first = if range.start == i64::MIN { range.start } else { ceiling(range.start, unit_us) };
    let end = if range.end == i64::MAX { range.end } else { floor(range.end, unit_us) };
    let filled = |ranges: Vec<Range<i64>>| ranges.into_iter().filter(|range| !range.is_empty()).collect();
    if first >= end {
        return (None, filled(vec![range]));
    }
    (Some(first..end), filled(vec![range.start..first, end..range.end]))
}

fn floor(time_us: i64, unit_us: i64) -> i64 {
    time_us.saturating_sub(time_us.rem_euclid(unit_us))
}

fn ceiling(time_us: i64, unit_us: i64) -> i64 {
    match time_us.rem_euclid(unit_us) {
        0 => time_us,
        over => time_us.saturating_add(unit_us - over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(number: i64) -> Counted {
        let some = |is: bool, value: i64| is.then_some(value);
        Counted {
            key: Key { start_us: number * 7_919_000_000, backend_id: number % 3, ..Key::default() },
            is_failed: number % 5 == 0,
            measures: Measures {
                confidence: (number % 4 != 0).then_some(number as f64 / 1_000.0),
                latency_us: some(number % 7 != 0, number * number * 31),
                prompt_tokens: some(number % 2 == 0, number),
                completion_tokens: some(number % 2 == 1, number),
                cost_micros: some(number % 3 == 1, i64::MAX / 3),
            },
        }
    }

    #[test]
    fn what_is_added_and_taken_away_leaves_what_is_left() {
        let all: Vec<Counted> = (0..500).map(prompt).collect();
        let mut expected = Numbers::default();
        all[200..].iter().for_each(|prompt| expected.count(prompt, 1));
        let mut numbers = Numbers::default();
        all[..200].iter().rev().for_each(|prompt| numbers.count(prompt, -1));
        let mut whole = Numbers::default();
        all.iter().for_each(|prompt| whole.count(prompt, 1));
        numbers.merge(&whole);
        assert_eq!(numbers, expected);
        assert_eq!((numbers.prompts, numbers.failed), (300, 60));
        all[200..].iter().for_each(|prompt| numbers.count(prompt, -1));
        assert_eq!(numbers, Numbers::default());
    }

    #[test]
    fn changes_are_kept_by_hour() {
        let mut changes = Changes::default();
        for start_us in [0, HOUR_US - 1, HOUR_US, -1] {
            let key = Key { start_us, backend_id: 4, ..Key::default() };
            changes.count(&Counted { key, ..prompt(1) }, 1);
        }
        let hours: Vec<_> = changes.0.iter().map(|(key, numbers)| (key.start_us, numbers.prompts)).collect();
        assert_eq!(hours, [(-HOUR_US, 1), (0, 2), (HOUR_US, 1)]);
        assert!(
            changes
                .0
                .keys()
                .all(|key| key.over(Span::Day).start_us == if key.start_us < 0 { -DAY_US } else { 0 })
        );
    }

    #[test]
    fn the_pieces_of_a_range_are_the_range() {
        let times = [
            i64::MIN,
            -3 * DAY_US - 5,
            -DAY_US,
            -1,
            0,
            1,
            HOUR_US,
            HOUR_US + 1,
            DAY_US - 1,
            DAY_US,
            DAY_US + HOUR_US,
            40 * DAY_US + 9,
            i64::MAX,
        ];
        for start in times {
            for end in times {
                for longest in Span::ALL {
                    let Pieces { whole, cuts } = pieces(start..end, longest);
                    let mut all: Vec<_> =
                        whole.iter().map(|(_, piece)| piece).chain(&cuts).cloned().collect();
                    all.sort_by_key(|piece| piece.start);
                    assert!(all.iter().all(|piece| !piece.is_empty()));
                    assert!(
                        all.windows(2).all(|pair| pair[0].end == pair[1].start),
                        "{start}..{end}: {all:?}"
                    );
                    let covered = all.first().map(|first| first.start..all[all.len() - 1].end);
                    assert_eq!(covered, (start < end).then_some(start..end));
                    assert!(cuts.len() <= 2);
                    assert!(cuts.iter().all(|cut| cut.end.saturating_sub(cut.start) < 2 * HOUR_US));
                    for (span, piece) in &whole {
                        let is_bounded =
                            |time: i64| [i64::MIN, i64::MAX].contains(&time) || time % span.us() == 0;
                        assert!(*span <= longest && is_bounded(piece.start) && is_bounded(piece.end));
                    }
                    // What holds a whole longer span is that.
                    let are_shorter_than = |span, longer: Span| {
                        let mut of = whole.iter().filter(|(of, _)| *of == span);
                        longest < longer
                            || of.all(|(_, piece)| piece.end.saturating_sub(piece.start) < 2 * longer.us())
                    };
                    assert!(
                        are_shorter_than(Span::Hour, Span::Day) && are_shorter_than(Span::Day, Span::Month)
                    );
                }
            }
        }
        let Pieces { whole, cuts } = pieces(1..70 * DAY_US, Span::Month);
        let month = Span::Month.us();
        let expected = [
            (Span::Hour, HOUR_US..DAY_US),
            (Span::Day, DAY_US..month),
            (Span::Day, 2 * month..70 * DAY_US),
            (Span::Month, month..2 * month),
        ];
        assert_eq!(whole, expected);
        assert_eq!((cuts.len(), cuts.first()), (1, Some(&(1..HOUR_US))));
    }
}
