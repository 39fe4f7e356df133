//! Filters and orders by chance, with indexes and without, against a plain model that knows nothing of sort keys.

use std::cmp::Ordering;

use pannier_proto::records::v1 as pb;
use pb::Comparator as C;

use super::asking::{all, any, by_path, compare, keys, not, query};
use crate::harness::{Pannier, pannier_with};

/// What a document has at a path.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Missing,
    Null,
    Bool(bool),
    /// In hundredths.
    Number(i64),
    Text(String),
    Array(Vec<Value>),
    Object,
}

/// Numbers by chance, always the same ones.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn scalar(&mut self) -> Value {
        match self.below(8) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 1),
            2..=4 => Value::Number(i64::try_from(self.below(13)).unwrap() * 50 - 300),
            _ => Value::Text(["", "a", "ab", "b", "é", "😀", "a\u{0}"][self.below(7)].into()),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(10) {
            0 => Value::Missing,
            1 => Value::Array((0..self.below(3)).map(|_| self.scalar()).collect()),
            2 => Value::Object,
            _ => self.scalar(),
        }
    }

    /// One of the ways in which a value can be written.
    fn written(&mut self, value: &Value) -> String {
        match value {
            Value::Missing => unreachable!("what is missing is not written"),
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Number(0) => ["0", "-0.0", "0e5"][self.below(3)].into(),
            Value::Number(hundredths) => match self.below(3) {
                0 => format!("{hundredths}e-2"),
                1 if hundredths % 100 == 0 => (hundredths / 100).to_string(),
                _ => {
                    let sign = if *hundredths < 0 { "-" } else { "" };
                    format!("{sign}{}.{:02}E0", hundredths.abs() / 100, hundredths.abs() % 100)
                }
            },
            Value::Text(text) => match self.below(2) {
                0 => serde_json::to_string(text).unwrap(),
                _ => {
                    text.encode_utf16().fold("\"".to_owned(), |text, unit| format!("{text}\\u{unit:04x}"))
                        + "\""
                }
            },
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(|value| self.written(value)).collect();
                format!("[ {} ]", values.join(" , "))
            }
            Value::Object => "{}".into(),
        }
    }

    /// A filter, and whether it takes a document with these values at `a` and `b.c`.
    fn filter(&mut self, depth: usize) -> (pb::Filter, Taking) {
        match self.below(if depth == 0 { 1 } else { 5 }) {
            3 => {
                let (filters, takings) =
                    (0..=self.below(2)).map(|_| self.filter(depth - 1)).collect::<(Vec<_>, Vec<_>)>();
                (all(filters), Box::new(move |value| takings.iter().all(|takes| takes(value))))
            }
            4 if self.below(2) == 0 => {
                let (filters, takings) =
                    (0..=self.below(2)).map(|_| self.filter(depth - 1)).collect::<(Vec<_>, Vec<_>)>();
                (any(filters), Box::new(move |value| takings.iter().any(|takes| takes(value))))
            }
            4 => {
                let (filter, takes) = self.filter(depth - 1);
                (not(filter), Box::new(move |value| !takes(value)))
            }
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> (pb::Filter, Taking) {
        let at = self.below(2);
        let path = ["a", "b.c"][at];
        let with = self.scalar();
        let written = self.written(&with);
        let text = match &with {
            Value::Text(text) => text.clone(),
            _ => "a".into(),
        };
        let has_order = !matches!(with, Value::Null);
        let (comparator, operand, takes): (C, String, Passing) = match self.below(10) {
            0 | 1 => (C::Equal, written, Box::new(move |value| *value == with)),
            2 => (C::NotEqual, written, Box::new(move |value| *value != Value::Missing && *value != with)),
            3 if has_order => {
                (C::Less, written, Box::new(move |value| compared(value, &with) == Some(Ordering::Less)))
            }
            4 if has_order => (
                C::GreaterOrEqual,
                written,
                Box::new(move |value| compared(value, &with).is_some_and(Ordering::is_ge)),
            ),
            5 if has_order => (
                C::Greater,
                written,
                Box::new(move |value| compared(value, &with) == Some(Ordering::Greater)),
            ),
            6 if has_order => (
                C::LessOrEqual,
                written,
                Box::new(move |value| compared(value, &with).is_some_and(Ordering::is_le)),
            ),
            7 => {
                let others = [self.scalar(), self.scalar(), with];
                let list: Vec<_> = others.iter().map(|value| self.written(value)).collect();
                (C::In, format!("[{}]", list.join(",")), Box::new(move |value| others.contains(value)))
            }
            8 => {
                let prefix = serde_json::to_string(&text).unwrap();
                (
                    C::Prefix,
                    prefix,
                    Box::new(move |value| matches!(value, Value::Text(found) if found.starts_with(&text))),
                )
            }
            9 => (
                C::Contains,
                written,
                Box::new(move |value| matches!(value, Value::Array(values) if values.contains(&with))),
            ),
            _ => (C::Exists, String::new(), Box::new(|value| *value != Value::Missing)),
        };
        (compare(path, comparator, &operand), Box::new(move |values| takes(&values[at])))
    }
}

/// Whether a value passes a comparison.
type Passing = Box<dyn Fn(&Value) -> bool>;

/// Whether a document with these values is taken.
type Taking = Box<dyn Fn(&[Value; 2]) -> bool>;

/// How two values of one kind compare.
fn compared(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => Some(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
        _ => None,
    }
}

fn rank(value: &Value) -> usize {
    match value {
        Value::Missing => 0,
        Value::Null => 1,
        Value::Bool(_) => 2,
        Value::Number(_) => 3,
        Value::Text(_) => 4,
        Value::Array(_) => 5,
        Value::Object => 6,
    }
}

fn in_order(one: &Value, other: &Value) -> Ordering {
    rank(one).cmp(&rank(other)).then(compared(one, other).unwrap_or(Ordering::Equal))
}

/// The keys of all pages, and the indexes that were used.
async fn pages(pannier: &Pannier, mut request: pb::QueryRequest) -> (Vec<String>, Vec<String>) {
    let (mut found, mut used) = (Vec::new(), Vec::new());
    loop {
        let page = pannier.try_ask(request.clone()).await.unwrap();
        found.extend(keys(&page.records));
        used.push(page.plan.unwrap().index_path);
        if page.next_page_token.is_empty() {
            return (found, used);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_filter_and_an_order_mean_the_same_with_indexes_and_without() {
    let pannier = pannier_with(|settings| settings.records.query_scan_rows_max = 100).await;
    let collections: [(&str, &[&str]); 4] =
        [("none", &[]), ("a", &["a"]), ("c", &["b.c"]), ("both", &["a", "b.c"])];
    let mut dice = Dice(7);
    let mut model: Vec<(String, [Value; 2])> = Vec::new();
    let mut documents = Vec::new();
    for n in 0..120 {
        let values = [dice.value(), dice.value()];
        let mut members = Vec::new();
        if values[0] != Value::Missing {
            members.push(format!("\"a\" : {}", dice.written(&values[0])));
        }
        if values[1] != Value::Missing {
            members.push(format!("\"b\":{{\"c\":{}}}", dice.written(&values[1])));
        }
        documents.push((format!("k{:03}", n * 37 % 120), format!("{{{}}}", members.join(","))));
        model.push((documents[n].0.clone(), values));
    }
    for (name, paths) in collections {
        pannier.collection_with_indexes(name, paths).await;
        pannier.store_all(name, &documents).await;
    }
    let mut used_any = 0;
    for round in 0..60 {
        let (filter, takes) = dice.filter(2);
        let by = dice.below(3);
        let descending = dice.below(2) == 1;
        let mut expected: Vec<&(String, [Value; 2])> =
            model.iter().filter(|(_, values)| takes(values)).collect();
        match by {
            // The documents stand in the order in which they were made, which decides where values are one.
            0 | 1 => expected.sort_by(|one, other| in_order(&one.1[by], &other.1[by])),
            _ => expected.sort_by(|one, other| one.0.cmp(&other.0)),
        }
        if descending {
            expected.reverse();
        }
        let expected: Vec<_> = expected.into_iter().map(|(key, _)| key.clone()).collect();
        for (name, _) in collections {
            let mut request = query(name, filter.clone());
            request.page_size = [7, 50, 200][dice.below(3)];
            request.order = match by {
                0 | 1 => Some(by_path(["a", "b.c"][by], descending)),
                _ => Some(pb::QueryOrder { by: None, descending }),
            };
            let what = format!("round {round}, {name}: {request:?}");
            let (found, used) = pages(&pannier, request).await;
            assert_eq!(found, expected, "{what}");
            used_any += usize::from(used.iter().any(|path| !path.is_empty()));
        }
    }
    assert!(used_any > 60, "indexes were used {used_any} times");
}
