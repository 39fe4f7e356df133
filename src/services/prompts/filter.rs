//! Which prompts are listed and in which order; what metadata a filter asks for. No I/O.

use super::domain::{Measures, Names, Status};
use super::search::substring::Needle;
use crate::json;

/// Which prompts. What is empty or none holds for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Of these names.
    pub names: Names,
    /// Of this conversation.
    pub conversation_id: String,
    /// With each of these tags, each once.
    pub tags: Vec<String>,
    /// Of this status.
    pub status: Option<Status>,
    /// Made then or later.
    pub start_us: Option<i64>,
    /// Made before.
    pub end_us: Option<i64>,
    /// At least so sure.
    pub confidence_min: Option<f64>,
    /// At most so sure.
    pub confidence_max: Option<f64>,
    /// Took at least so long.
    pub latency_us_min: Option<i64>,
    /// Took at most so long.
    pub latency_us_max: Option<i64>,
    /// With such metadata.
    pub metadata: Vec<json::Filter>,
    /// With this in a text that is searched.
    pub substring: Option<Needle>,
}

impl Filter {
    /// Whether it takes a prompt made at that time.
    pub fn takes_time(&self, prompt_us: i64) -> bool {
        self.start_us.is_none_or(|start| prompt_us >= start) && self.end_us.is_none_or(|end| prompt_us < end)
    }

    /// Whether it takes a prompt of which that was measured.
    pub fn takes_measures(&self, measures: &Measures) -> bool {
        within(measures.confidence, self.confidence_min, self.confidence_max)
            && within(measures.latency_us, self.latency_us_min, self.latency_us_max)
    }

    /// Whether it looks into bodies.
    pub fn needs_body(&self) -> bool {
        !self.metadata.is_empty() || self.substring.is_some()
    }

    /// Whether it takes a prompt with that metadata, as it was given.
    pub fn takes_metadata(&self, metadata_json: &str) -> bool {
        self.metadata.is_empty()
            || (!metadata_json.is_empty() && self.metadata.iter().all(|filter| filter.takes(metadata_json)))
    }
}

fn within<T: PartialOrd>(value: Option<T>, min: Option<T>, max: Option<T>) -> bool {
    match value {
        Some(value) => min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max),
        None => min.is_none() && max.is_none(),
    }
}

/// In which order prompts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By time, the newest first.
    Newest,
    /// By time, the oldest first.
    Oldest,
    /// By latency, the longest first.
    Slowest,
    /// By latency, the shortest first.
    Fastest,
    /// By confidence, the surest first.
    MostConfident,
    /// By confidence, the least sure first.
    LeastConfident,
}

/// What prompts are put in order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// When they were made.
    Time,
    /// How long they took.
    Latency,
    /// How sure the model was.
    Confidence,
}

impl Order {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 6] =
        [Self::Newest, Self::Oldest, Self::Slowest, Self::Fastest, Self::MostConfident, Self::LeastConfident];

    /// What it goes by.
    pub fn by(self) -> OrderBy {
        match self {
            Self::Newest | Self::Oldest => OrderBy::Time,
            Self::Slowest | Self::Fastest => OrderBy::Latency,
            Self::MostConfident | Self::LeastConfident => OrderBy::Confidence,
        }
    }

    /// Whether the smallest comes first.
    pub fn is_ascending(self) -> bool {
        matches!(self, Self::Oldest | Self::Fastest | Self::LeastConfident)
    }

    /// Its name in page tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Slowest => "slowest",
            Self::Fastest => "fastest",
            Self::MostConfident => "most confident",
            Self::LeastConfident => "least confident",
        }
    }
}

/// Where a list goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    /// Behind this row.
    pub after: Key,
    /// Prompts that are still to be left out.
    pub skip: usize,
}

impl Next {
    /// As a page token has it: `us:id`, or `us:id:skip`.
    pub fn text(self) -> String {
        match self.skip {
            0 => self.after.text(),
            skip => format!("{}:{skip}", self.after.text()),
        }
    }

    /// Where the list of a token of this order goes on, unless it is none.
    pub fn parse(text: &str, by: OrderBy) -> Option<Self> {
        let (key, skip) = match text.rsplit_once(':')? {
            (key, skip) if key.contains(':') => (key, skip.parse().ok()?),
            _ => (text, 0),
        };
        Some(Self { after: Key::parse(key, by)?, skip })
    }
}

/// Where a row stands in an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// The value that it is put in order by.
    pub value: KeyValue,
    /// Its number.
    pub id: i64,
}

/// A value that rows are put in order by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyValue {
    /// A time or a latency, in microseconds.
    Us(i64),
    /// A confidence.
    Share(f64),
}

impl Key {
    /// As a page token has it.
    pub fn text(self) -> String {
        match self.value {
            KeyValue::Us(us) => format!("{us}:{}", self.id),
            KeyValue::Share(share) => format!("{}:{}", share.to_bits(), self.id),
        }
    }

    /// The key that a token of this order has, unless it is none.
    pub fn parse(text: &str, by: OrderBy) -> Option<Self> {
        let (value, id) = text.split_once(':')?;
        let value = match by {
            OrderBy::Time | OrderBy::Latency => KeyValue::Us(value.parse().ok()?),
            OrderBy::Confidence => {
                let share = f64::from_bits(value.parse().ok()?);
                KeyValue::Share(Some(share).filter(|share| share.is_finite())?)
            }
        };
        Some(Self { value, id: id.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_taken_where_all_of_it_is_as_asked() {
        let filter = |path: &str, value: &str| {
            json::Filter::Value(json::Path::parse(path).unwrap(), json::Test::one_of([value]))
        };
        let both = vec![filter("user.plan", r#""pro""#), filter("user.seats", "3")];
        let both = Filter { metadata: both, ..Default::default() };
        assert!(both.takes_metadata(r#"{"user": {"plan": "pro", "seats": 3.0}}"#));
        assert!(!both.takes_metadata(r#"{"user": {"plan": "pro", "seats": 4}}"#));
        let null = Filter { metadata: vec![filter("a", "null")], ..Default::default() };
        assert!(null.takes_metadata(r#"{"a": null}"#));
        assert!(!null.takes_metadata("{}") && !null.takes_metadata(""));
        assert!(Filter::default().takes_metadata(""));
    }

    #[test]
    fn what_is_not_known_lies_within_no_bounds() {
        assert!(within(None::<i64>, None, None));
        assert!(!within(None, Some(1), None));
        assert!(within(Some(1), Some(1), Some(1)));
        assert!(!within(Some(2), None, Some(1)));
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_damaged_ones_are_none() {
        for (by, value) in [
            (OrderBy::Time, KeyValue::Us(-5)),
            (OrderBy::Latency, KeyValue::Us(i64::MAX)),
            (OrderBy::Confidence, KeyValue::Share(0.1)),
        ] {
            let key = Key { value, id: 7 };
            assert_eq!(Key::parse(&key.text(), by), Some(key));
            for skip in [0, 7] {
                let next = Next { after: key, skip };
                assert_eq!(Next::parse(&next.text(), by), Some(next));
            }
        }
        for text in ["", "1", "a:1", "1:", "1:b"] {
            assert_eq!(Key::parse(text, OrderBy::Time), None, "{text}");
            assert_eq!(Next::parse(text, OrderBy::Time), None, "{text}");
        }
        assert_eq!(Key::parse(&format!("{}:1", f64::NAN.to_bits()), OrderBy::Confidence), None);
    }
}
