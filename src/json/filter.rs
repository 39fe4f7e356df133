//! Filters: conditions on the values at paths of a document.
//!
//! What a condition on a value asks for is a set of ranges of sort keys. A document is tested against them, and an index is read
//! within them: a filter means the same with an index and without one.

use super::path::Path;
use super::reader::elements;
use super::sort_key::{END, ORDER_BYTES_MAX, first_present, full_key, kind_bounds, prefix_bounds, shortened};

/// Which documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those that all of these take; without any: all.
    All(Vec<Filter>),
    /// Those that one of these takes; without any: none.
    Any(Vec<Filter>),
    /// Those that it does not take.
    Not(Box<Filter>),
    /// Those whose value at a path, or the lack of one, passes a test.
    Value(Path, Test),
}

/// What a value is tested for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Its key lies in one of these ranges, which are in order and do not meet.
    Within(Vec<Range>),
    /// It is an array that has an element with this key.
    Contains(Vec<u8>),
}

/// The keys from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least one.
    pub from: Vec<u8>,
    /// The end: the first that is not in it.
    pub to: Vec<u8>,
}

/// On which side of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `<`
    Below,
    /// `<=`
    BelowOrEqual,
    /// `>`
    Above,
    /// `>=`
    AboveOrEqual,
}

impl Range {
    /// All keys.
    pub fn all() -> Self {
        Self { from: Vec::new(), to: vec![END] }
    }

    fn one(key: Vec<u8>) -> Self {
        Self { to: after(key.clone()), from: key }
    }

    /// Whether it has a key.
    pub fn has(&self, key: &[u8]) -> bool {
        *self.from <= *key && *key < *self.to
    }

    fn overlap(&self, other: &Self) -> Option<Self> {
        let from = self.from.clone().max(other.from.clone());
        let to = self.to.clone().min(other.to.clone());
        (from < to).then_some(Self { from, to })
    }

    /// Where an index, whose keys are shortened, has the keys of this range.
    fn of_index(self) -> Self {
        let to = match self.to.len() {
            0..=ORDER_BYTES_MAX => self.to,
            // What is less than it when both are whole may be its like when both are shortened.
            _ => after(shortened(self.to)),
        };
        Self { from: shortened(self.from), to }
    }
}

/// The first key after `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

impl Test {
    /// The value is one of `values`, which hold no others.
    pub fn one_of<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut keys: Vec<_> = values.into_iter().map(|value| full_key(Some(value))).collect();
        keys.sort_unstable();
        keys.dedup();
        Self::Within(keys.into_iter().map(Range::one).collect())
    }

    /// The value is of the same kind as `value`, and on a side of it; none where the kind has no order.
    pub fn compared(side: Side, value: &str) -> Option<Self> {
        let key = full_key(Some(value));
        let (first, end) = kind_bounds(&key)?;
        let range = match side {
            Side::Below => Range { from: first, to: key },
            Side::BelowOrEqual => Range { from: first, to: after(key) },
            Side::Above => Range { from: after(key), to: end },
            Side::AboveOrEqual => Range { from: key, to: end },
        };
        Some(Self::Within(vec![range]))
    }

    /// The value is a string that begins with `prefix`.
    pub fn prefix(prefix: &str) -> Self {
        let (from, to) = prefix_bounds(prefix);
        Self::Within(vec![Range { from, to }])
    }

    /// There is a value, be it null; or there is none.
    pub fn exists(exists: bool) -> Self {
        Self::Within(vec![match exists {
            true => Range { from: first_present(), to: vec![END] },
            false => Range::one(full_key(None)),
        }])
    }

    /// There is a value, and it is not `value`, which holds no others.
    pub fn other_than(value: &str) -> Self {
        let key = full_key(Some(value));
        let (below, above) = (key.clone(), after(key));
        let ranges = [Range { from: first_present(), to: below }, Range { from: above, to: vec![END] }];
        Self::Within(ranges.into_iter().filter(|range| range.from < range.to).collect())
    }

    /// The value is an array with this element, which holds no others.
    pub fn contains(value: &str) -> Self {
        Self::Contains(full_key(Some(value)))
    }

    fn takes(&self, value: Option<&str>) -> bool {
        match self {
            Self::Within(ranges) => {
                let key = full_key(value);
                ranges.iter().any(|range| range.has(&key))
            }
            Self::Contains(key) => elements(value.unwrap_or_default()).any(|one| full_key(Some(one)) == *key),
        }
    }
}

impl Filter {
    /// Whether it takes a document.
    pub fn takes(&self, document: &str) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.takes(document)),
            Self::Any(any) => any.iter().any(|filter| filter.takes(document)),
            Self::Not(filter) => !filter.takes(document),
            Self::Value(path, test) => test.takes(path.find(document)),
        }
    }

    /// Where an index on `path` has all documents that are taken; none if they may be anywhere in it.
    pub fn ranges(&self, path: &Path) -> Option<Vec<Range>> {
        let found = self.whole_ranges(path)?;
        let mut ranges: Vec<Range> = Vec::with_capacity(found.len());
        for range in found.into_iter().map(Range::of_index) {
            match ranges.last_mut() {
                // Shortened, two may have become one.
                Some(last) if range.from < last.to => last.to = range.to.max(std::mem::take(&mut last.to)),
                _ => ranges.push(range),
            }
        }
        Some(ranges)
    }

    fn whole_ranges(&self, path: &Path) -> Option<Vec<Range>> {
        match self {
            Self::Value(of, Test::Within(ranges)) if of == path => Some(ranges.clone()),
            Self::All(all) => all.iter().filter_map(|filter| filter.whole_ranges(path)).reduce(overlap),
            _ => None,
        }
    }
}

/// What lies in both; each is in order.
fn overlap(one: Vec<Range>, other: Vec<Range>) -> Vec<Range> {
    let mut both = Vec::new();
    let (mut at, mut other_at) = (0, 0);
    while let (Some(left), Some(right)) = (one.get(at), other.get(other_at)) {
        both.extend(left.overlap(right));
        if left.to <= right.to { at += 1 } else { other_at += 1 }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::super::sort_key::order_key;
    use super::*;

    fn value(path: &str, test: Test) -> Filter {
        Filter::Value(Path::parse(path).unwrap(), test)
    }

    fn compared(side: Side, with: &str) -> Test {
        Test::compared(side, with).unwrap()
    }

    #[test]
    fn a_value_is_compared_with_its_own_kind_only() {
        let values = ["null", "false", "true", "-1", "1.0", "1", "2", "\"1\"", "\"2\"", "[1]", "{}"];
        let taken =
            |test: &Test| values.into_iter().filter(|value| test.takes(Some(value))).collect::<Vec<_>>();
        assert_eq!(taken(&compared(Side::Below, "1")), ["-1"]);
        assert_eq!(taken(&compared(Side::BelowOrEqual, "1")), ["-1", "1.0", "1"]);
        assert_eq!(taken(&compared(Side::Above, "1e0")), ["2"]);
        assert_eq!(taken(&compared(Side::AboveOrEqual, "1.0")), ["1.0", "1", "2"]);
        assert_eq!(taken(&compared(Side::Above, "\"1\"")), ["\"2\""]);
        assert_eq!(taken(&compared(Side::Above, "false")), ["true"]);
        assert_eq!(taken(&Test::one_of(["null", "1.00", "\"2\""])), ["null", "1.0", "1", "\"2\""]);
        assert_eq!(taken(&Test::exists(true)), values);
        assert_eq!(taken(&Test::contains("1e0")), ["[1]"]);
        assert_eq!(taken(&Test::other_than("1e0")).len(), values.len() - 2);
        assert_eq!(taken(&Test::other_than("null")), values[1..]);
        assert!(!Test::other_than("1").takes(None));
        assert_eq!(taken(&Test::prefix("")), ["\"1\"", "\"2\""]);
        assert!(Test::exists(false).takes(None) && !Test::exists(true).takes(None));
        assert!(!Test::one_of(["null"]).takes(None), "null is a value");
        assert!(Test::compared(Side::Below, "null").is_none() && Test::compared(Side::Below, "[]").is_none());
    }

    #[test]
    fn filters_are_put_together() {
        let document = r#"{"a":1,"b":{"c":"xyz"},"tags":["red","blue"]}"#;
        let one = value("a", Test::one_of(["1"]));
        let two = value("a", Test::one_of(["2"]));
        let prefix = value("b.c", Test::prefix("xy"));
        for (filter, expected) in [
            (Filter::All(vec![]), true),
            (Filter::Any(vec![]), false),
            (Filter::All(vec![one.clone(), prefix.clone()]), true),
            (Filter::All(vec![two.clone(), prefix.clone()]), false),
            (Filter::Any(vec![two.clone(), prefix.clone()]), true),
            (Filter::Not(Box::new(two.clone())), true),
            (Filter::Not(Box::new(value("no", Test::one_of(["1"])))), true),
            (value("tags", Test::contains("\"blue\"")), true),
            (value("tags", Test::contains("\"green\"")), false),
            (value("b.c", Test::prefix("xyzz")), false),
        ] {
            assert_eq!(filter.takes(document), expected, "{filter:?}");
        }
    }

    #[test]
    fn ranges_of_an_index_have_all_that_is_taken_and_little_else() {
        let path = Path::parse("a").unwrap();
        let long = format!("\"{}\"", "x".repeat(400));
        let longer = format!("\"{}y\"", "x".repeat(400));
        let values = ["null", "1", "2", "3", "3.5", "\"a\"", "\"ab\"", "\"b\"", &long, &longer, "[1]"];
        let between = Filter::All(vec![
            value("a", compared(Side::Above, "1")),
            value("b", Test::exists(false)),
            Filter::All(vec![value("a", compared(Side::BelowOrEqual, "3"))]),
        ]);
        let few = Filter::All(vec![
            value("a", Test::one_of(["\"ab\"", "3", "7", &long, &longer])),
            value("a", Test::exists(true)),
        ]);
        for (filter, expected) in [
            (between, vec!["2", "3"]),
            (few, vec!["3", "\"ab\"", &long, &longer]),
            (value("a", compared(Side::Below, &longer)), vec!["\"a\"", "\"ab\"", "\"b\"", &long, &longer]),
            (value("a", Test::prefix("a")), vec!["\"a\"", "\"ab\""]),
            (Filter::All(vec![value("a", Test::one_of(["1"])), value("a", Test::one_of(["2"]))]), vec![]),
        ] {
            let ranges = filter.ranges(&path).unwrap();
            let found: Vec<_> = values
                .into_iter()
                .filter(|value| ranges.iter().any(|range| range.has(&order_key(Some(value)))))
                .collect();
            assert_eq!(found, expected, "{filter:?}");
            for value in values.into_iter().filter(|value| filter.takes(&format!("{{\"a\":{value}}}"))) {
                assert!(found.contains(&value), "{filter:?} takes {value}");
            }
        }
        let anywhere = Filter::Any(vec![value("a", Test::one_of(["1"]))]);
        assert!(anywhere.ranges(&path).is_none());
        assert!(value("b", Test::one_of(["1"])).ranges(&path).is_none());
        assert!(value("a", Test::contains("1")).ranges(&path).is_none());
    }

    #[test]
    fn long_values_that_begin_alike_are_one_range_of_an_index() {
        let values = ["a", "b"].map(|end| format!("\"{}{end}\"", "x".repeat(300)));
        let filter = value("a", Test::one_of(values.iter().map(String::as_str)));
        assert_eq!(filter.ranges(&Path::parse("a").unwrap()).unwrap().len(), 1);
    }
}
