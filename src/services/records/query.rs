//! What a query asks for, and the way in which it is answered. No I/O.

use std::fmt::Write as _;

use crate::json::{Filter, Path, Range};

/// The order of what is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// By key.
    Key,
    /// By the last change.
    Change,
    /// By what is at a path, then by the number of the record.
    Path(Path),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// Their order.
    pub order: Order,
    /// From the last to the first.
    pub is_descending: bool,
}

/// Where a record stands in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// By its key.
    Key(String),
    /// By the number of its last change.
    Change(i64),
    /// By the sort key of what is at a path, and the number of the record.
    Value(Vec<u8>, i64),
}

impl Place {
    /// As a page token has it.
    pub fn written(&self) -> String {
        match self {
            Self::Key(key) => format!("k{key}"),
            Self::Change(seq) => format!("c{seq}"),
            Self::Value(value, id) => {
                let mut text = format!("v{id}:");
                for byte in value {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
                text
            }
        }
    }

    /// Reads it.
    pub fn read(text: &str) -> Option<Self> {
        let mut rest = text.chars();
        match rest.next()? {
            'k' => Some(Self::Key(rest.as_str().to_owned())),
            'c' => rest.as_str().parse().ok().map(Self::Change),
            'v' => {
                let (id, value) = rest.as_str().split_once(':')?;
                let bytes =
                    (0..value.len()).step_by(2).map(|at| u8::from_str_radix(value.get(at..at + 2)?, 16).ok());
                Some(Self::Value(bytes.collect::<Option<_>>()?, id.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// What records are read along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Along {
    /// Their keys.
    Key,
    /// Their last changes.
    Change,
    /// The values of an index.
    Index {
        /// Its number.
        id: i64,
        /// Its path.
        path: String,
        /// Where in it, in order.
        ranges: Vec<Range>,
    },
}

/// How a query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is read.
    pub along: Along,
    /// Whether all of it is read and sorted; else it is read in the order that is asked for.
    pub is_sorted: bool,
}

/// An index that is ready, seen from a query.
#[derive(Clone, Debug)]
pub struct Usable {
    /// Its number.
    pub id: i64,
    /// Its path.
    pub path: Path,
    /// Where in it all records are that the filter takes; none: anywhere.
    pub ranges: Option<Vec<Range>>,
    /// How many values there are in that; none: it was not asked, or there are more than may be sorted.
    pub count: Option<u64>,
}

impl Usable {
    fn along(&self) -> Along {
        let ranges = self.ranges.clone().unwrap_or_else(|| vec![Range::all()]);
        Along::Index { id: self.id, path: self.path.to_string(), ranges }
    }
}

/// How much there is, and may be done.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// Records and tombstones of the collection.
    pub rows: u64,
    /// Records of a page.
    pub page_rows: u64,
    /// Records that may be sorted.
    pub sort_rows_max: u64,
}

/// The way to answer a query; none: no index has its order, and there is too much to sort.
///
/// Records are read in the order that is asked for where an index has it. They are found by another index and sorted if that has
/// fewer: a page read in order takes, if what is sought lies evenly, `page_rows × rows / count` records.
pub fn plan(query: &Query, indexes: &[Usable], amounts: Amounts) -> Option<Plan> {
    let ordered = match &query.order {
        Order::Key => Some(Along::Key),
        Order::Change => Some(Along::Change),
        Order::Path(path) => indexes.iter().find(|index| index.path == *path).map(Usable::along),
    };
    let found =
        indexes.iter().filter_map(|index| Some((index.count?, index))).min_by_key(|(count, _)| *count);
    let few = amounts.page_rows.saturating_mul(amounts.rows);
    let read_in_order = |along| Plan { along, is_sorted: false };
    let sorted = |along| Plan { along, is_sorted: true };
    match (ordered, found) {
        (Some(ordered), Some((count, index)))
            if ordered != index.along() && count.saturating_mul(count) <= few =>
        {
            Some(sorted(index.along()))
        }
        (Some(ordered), _) => Some(read_in_order(ordered)),
        (None, Some((_, index))) => Some(sorted(index.along())),
        (None, None) if amounts.rows <= amounts.sort_rows_max => Some(sorted(Along::Key)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Test;

    #[test]
    fn places_are_read_as_they_were_written() {
        for place in [
            Place::Key(String::new()),
            Place::Key("vö:1".into()),
            Place::Change(-5),
            Place::Value(vec![], 1),
            Place::Value(vec![0, 255, 16], i64::MAX),
        ] {
            assert_eq!(Place::read(&place.written()), Some(place));
        }
        for wrong in ["", "x", "c", "cx", "v1", "v1:0", "v1:zz", "v:00", "v1:é0"] {
            assert_eq!(Place::read(wrong), None, "{wrong}");
        }
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    /// What is read, and whether it is sorted: the status is sought, and an index on it has so many of it.
    fn planned(order: Order, paths: &[&str], count: Option<u64>, rows: u64) -> Option<(String, bool)> {
        let filter = Filter::Value(path("status"), Test::one_of(["1"]));
        let indexes: Vec<_> = (1..)
            .zip(paths)
            .map(|(id, text)| {
                let ranges = filter.ranges(&path(text));
                Usable { id, path: path(text), count: ranges.as_ref().and(count), ranges }
            })
            .collect();
        let query = Query { filter, order, is_descending: false };
        let plan = plan(&query, &indexes, Amounts { rows, page_rows: 10, sort_rows_max: 1_000 })?;
        let along = match plan.along {
            Along::Key => "key".into(),
            Along::Change => "change".into(),
            Along::Index { path, .. } => path,
        };
        Some((along, plan.is_sorted))
    }

    #[test]
    fn the_way_with_the_fewest_records_is_taken() {
        let by = |text| Order::Path(path(text));
        for (order, paths, count, rows, expected) in [
            (Order::Key, &[][..], None, 1 << 40, Some(("key", false))),
            (Order::Change, &["other"], None, 1 << 40, Some(("change", false))),
            (Order::Key, &["status"], Some(5), 1_000_000, Some(("status", true))),
            (Order::Key, &["status"], Some(1_000), 1_000_000, Some(("status", true))),
            // Half of all: reading them by key finds ten soon.
            (Order::Key, &["status"], Some(1_000), 2_000, Some(("key", false))),
            (Order::Key, &["status"], None, 1_000_000, Some(("key", false))),
            (by("time"), &["time"], None, 1_000_000, Some(("time", false))),
            (by("time"), &["status", "time"], Some(1_000), 2_000, Some(("time", false))),
            (by("time"), &["status", "time"], Some(10), 2_000, Some(("status", true))),
            (by("time"), &["status"], Some(1_000), 2_000, Some(("status", true))),
            (by("status"), &["status"], Some(10), 2_000, Some(("status", false))),
            (by("time"), &[], None, 1_000, Some(("key", true))),
            (by("time"), &[], None, 1_001, None),
            (by("time"), &["status"], None, 1_001, None),
        ] {
            let expected = expected.map(|(along, is_sorted): (&str, bool)| (along.to_owned(), is_sorted));
            assert_eq!(
                planned(order.clone(), paths, count, rows),
                expected,
                "{order:?} {paths:?} {count:?} {rows}"
            );
        }
    }
}
