//! Sort keys: bytes whose order is the order of JSON values, the same in memory and in either database.
//!
//! Missing < null < false < true < numbers < strings < arrays < objects. Numbers are exact decimals, so that 1, 1.0 and 1e0
//! are one, and no two that differ are taken for one. Strings are ordered by the bytes of their UTF-8. All arrays are one,
//! and so are all objects.

use super::number::decimal;
use super::reader::{Container, Event, Reader, Scalar, unescaped};

const MISSING: u8 = 0x10;
const NULL: u8 = 0x20;
const FALSE: u8 = 0x30;
const TRUE: u8 = 0x31;
const NUMBER: u8 = 0x40;
const STRING: u8 = 0x50;
const ARRAY: u8 = 0x60;
const OBJECT: u8 = 0x70;

/// The second byte of a number's key.
const NEGATIVE: u8 = 0x01;
const ZERO: u8 = 0x02;
const POSITIVE: u8 = 0x03;

/// Not less than any byte that continues a key: the end of all keys that begin alike.
pub(super) const END: u8 = 0xFF;

/// What puts documents in order is at most so many bytes of a value's key. Values that begin alike for longer than that are one
/// in the order, though no condition takes them for one.
pub const ORDER_BYTES_MAX: usize = 256;

/// The whole key of a value, as it is written; none: there is no such value.
pub fn full_key(value: Option<&str>) -> Vec<u8> {
    let Some(value) = value else { return vec![MISSING] };
    match Reader::new(value).next() {
        Ok(Some(Event::Scalar(kind, written))) => scalar_key(kind, written),
        Ok(Some(Event::Open(Container::Array))) => vec![ARRAY],
        Ok(Some(Event::Open(Container::Object))) => vec![OBJECT],
        // No JSON: no such text is stored.
        _ => vec![MISSING],
    }
}

/// The key by which a value is put in order and found in an index.
pub fn order_key(value: Option<&str>) -> Vec<u8> {
    shortened(full_key(value))
}

/// The part of a key that decides the order: whoever is less is not greater when both are shortened.
pub(super) fn shortened(mut key: Vec<u8>) -> Vec<u8> {
    key.truncate(ORDER_BYTES_MAX);
    key
}

/// The key of null, the first of the values that are there.
pub(super) fn first_present() -> Vec<u8> {
    vec![NULL]
}

/// The first key of a value of the same kind as that of `key`, and the end of all; none where the kind has no order.
pub(super) fn kind_bounds(key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match *key.first()? {
        FALSE | TRUE => Some((vec![FALSE], vec![TRUE, END])),
        kind @ (NUMBER | STRING) => Some((vec![kind], vec![kind, END])),
        _ => None,
    }
}

/// The first key of the strings that begin with `prefix`, and the end of all.
pub(super) fn prefix_bounds(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let first = string_key(prefix);
    let mut last = first.clone();
    last.push(END);
    (first, last)
}

fn scalar_key(kind: Scalar, written: &str) -> Vec<u8> {
    match kind {
        Scalar::Null => vec![NULL],
        Scalar::False => vec![FALSE],
        Scalar::True => vec![TRUE],
        Scalar::Number => number_key(written),
        Scalar::String => string_key(&unescaped(written)),
    }
}

fn string_key(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 1);
    key.push(STRING);
    key.extend_from_slice(text.as_bytes());
    key
}

/// Sign, exponent, digits by twos. A number that goes on where another ends is farther from zero, so a negative one, of which every
/// byte is turned around, has an end that is greater than all digits.
fn number_key(written: &str) -> Vec<u8> {
    let Some(decimal) = decimal(written) else { return vec![NUMBER, ZERO] };
    let sign = if decimal.is_negative { NEGATIVE } else { POSITIVE };
    let mut key = vec![NUMBER, sign];
    // `check` lets no exponent pass that would not fit.
    let exponent = decimal.exponent.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    let biased = u32::try_from(exponent - i64::from(i32::MIN)).unwrap_or(u32::MAX);
    key.extend_from_slice(&biased.to_be_bytes());
    for pair in decimal.digits.chunks(2) {
        let tens = pair[0] - b'0';
        let ones = pair.get(1).map_or(0, |digit| digit - b'0');
        key.push(tens * 10 + ones + 1);
    }
    if decimal.is_negative {
        key[2..].iter_mut().for_each(|byte| *byte = !*byte);
        key.push(END);
    }
    key
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    /// Values from the least to the greatest; those in one row are one.
    const ORDERED: &[&[&str]] = &[
        &["null"],
        &["false"],
        &["true"],
        &["-1e999999999"],
        &["-123456789012345678901234567890.5"],
        &["-9007199254740993"],
        &["-9007199254740992", "-9007199254740992.0"],
        &["-100"],
        &["-12.3"],
        &["-12"],
        &["-1.234"],
        &["-1.23"],
        &["-1.2", "-12e-1"],
        &["-1"],
        &["-0.001"],
        &["-1e-999999999"],
        &["0", "-0", "0.00", "0e7"],
        &["1e-999999999"],
        &["0.001"],
        &["0.5", "5e-1", "0.50"],
        &["0.51"],
        &["1", "1.0", "1e0", "10e-1"],
        &["1.01"],
        &["2"],
        &["10", "1e1"],
        &["100"],
        &["9007199254740992"],
        &["9007199254740993"],
        &["1e400"],
        &["1e999999999"],
        &[r#""""#],
        &[r#""\u0000""#],
        &[r#""A""#],
        &[r#""a""#, r#""\u0061""#],
        &[r#""a\u0000""#],
        &[r#""ab""#],
        &[r#""b""#],
        &[r#""é""#, r#""\u00e9""#],
        &[r#""\uffff""#],
        &[r#""😀""#, r#""\ud83d\ude00""#],
        &["[]", "[1]"],
        &["{}", r#"{"a":1}"#],
    ];

    #[test]
    fn bytes_of_keys_are_in_the_order_of_values() {
        assert!(full_key(None) < full_key(Some("null")));
        let all: Vec<_> =
            ORDERED.iter().enumerate().flat_map(|(rank, row)| row.iter().map(move |v| (rank, v))).collect();
        for (rank, value) in &all {
            for (other_rank, other) in &all {
                let found = full_key(Some(value)).cmp(&full_key(Some(other)));
                assert_eq!(found, rank.cmp(other_rank), "{value} and {other}");
            }
        }
    }

    /// Numbers with few digits, as ten-thousandths.
    fn written(ten_thousandths: i64) -> String {
        let (whole, rest) = (ten_thousandths.abs() / 10_000, ten_thousandths.abs() % 10_000);
        format!("{}{whole}.{rest:04}", if ten_thousandths < 0 { "-" } else { "" })
    }

    #[test]
    fn keys_of_numbers_are_in_the_order_of_numbers() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state >> 33;
            i64::try_from(bits % 200_001).unwrap() - 100_000
        };
        for _ in 0..20_000 {
            let (one, other) = (next(), next() / 37);
            let found = full_key(Some(&written(one))).cmp(&full_key(Some(&written(other))));
            assert_eq!(found, one.cmp(&other), "{one} and {other}");
        }
    }

    #[test]
    fn shortened_keys_never_turn_an_order_around() {
        let long = |end: &str| format!("\"{}{end}\"", "x".repeat(300));
        assert_eq!(order_key(Some(&long("a"))), order_key(Some(&long("b"))));
        assert_eq!(order_key(Some(&long("a"))).len(), ORDER_BYTES_MAX);
        assert_eq!(full_key(Some(&long("a"))).cmp(&full_key(Some(&long("b")))), Ordering::Less);
        let digits = "7".repeat(2_000);
        for (less, more) in
            [(digits.clone(), format!("{digits}.1")), (format!("-{digits}.1"), format!("-{digits}"))]
        {
            assert!(full_key(Some(&less)) < full_key(Some(&more)));
            assert!(order_key(Some(&less)) <= order_key(Some(&more)));
        }
    }

    #[test]
    fn a_kind_and_a_prefix_have_ends() {
        let strings = prefix_bounds("ab");
        for (value, is_within) in
            [(r#""ab""#, true), (r#""ab😀""#, true), (r#""aa""#, false), (r#""ac""#, false), ("1", false)]
        {
            let key = full_key(Some(value));
            assert_eq!(strings.0 <= key && key <= strings.1, is_within, "{value}");
        }
        let numbers = kind_bounds(&full_key(Some("5"))).unwrap();
        for (value, is_within) in
            [("-1e999999999", true), ("1e999999999", true), ("true", false), (r#""""#, false)]
        {
            let key = full_key(Some(value));
            assert_eq!(numbers.0 <= key && key <= numbers.1, is_within, "{value}");
        }
        assert!(kind_bounds(&full_key(Some("null"))).is_none());
    }
}
