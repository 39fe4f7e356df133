//! What tests put, and how they read times.

use pannier_proto::cache::v1 as pb;
use pannier_proto::errors::v1::{ErrorReason, ItemError};
use prost::Message as _;
use prost_types::{Duration, Timestamp};
use tonic::Code;

/// An item with a value and nothing else.
pub fn value_item(key: impl Into<String>, value: impl Into<Vec<u8>>) -> pb::PutItem {
    let content = pb::put_item::Content::Value(value.into().into());
    pb::PutItem { key: key.into(), content: Some(content), ..Default::default() }
}

/// An item with a failure and nothing else.
pub fn negative_item(key: &str, code: &str, message: &str) -> pb::PutItem {
    let negative = pb::NegativeEntry { error_code: code.into(), error_message: message.into() };
    let content = pb::put_item::Content::Negative(negative);
    pb::PutItem { key: key.into(), content: Some(content), ..Default::default() }
}

/// A value that expires after `ttl_s`.
pub fn short_lived(key: &str, value: &str, ttl_s: i64) -> pb::PutItem {
    pb::PutItem { expiry: ttl(ttl_s), ..value_item(key, value) }
}

/// A value that never expires.
pub fn lasting(key: &str, value: &str) -> pb::PutItem {
    pb::PutItem { expiry: Some(pb::put_item::Expiry::NeverExpires(true)), ..value_item(key, value) }
}

/// A value with tags.
pub fn tagged(key: &str, tags: &[&str]) -> pb::PutItem {
    pb::PutItem { tags: tags.iter().map(ToString::to_string).collect(), ..value_item(key, "v") }
}

/// The expiry of an item that lives for `ttl_s`.
pub fn ttl(ttl_s: i64) -> Option<pb::put_item::Expiry> {
    Some(pb::put_item::Expiry::Ttl(seconds(ttl_s)))
}

/// The wrong fields of an item that was refused, as its error tells them: relative to the item.
#[track_caller]
pub fn wrong_fields(error: Option<&ItemError>) -> Vec<String> {
    let error = error.expect("an item that was refused");
    assert_eq!((error.code, error.reason()), (Code::InvalidArgument as i32, ErrorReason::InvalidArgument));
    let of_request = error.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.BadRequest"));
    let request = tonic_types::pb::BadRequest::decode(&*of_request.expect("details").value).unwrap();
    let mut fields: Vec<String> = request.field_violations.into_iter().map(|wrong| wrong.field).collect();
    fields.sort();
    fields
}

/// A duration on the wire.
pub fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// Microseconds of a time on the wire.
pub fn us(time: Option<&Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// Asserts a time, to a millisecond: times within the sidecar may be made unique by microseconds.
#[track_caller]
pub fn assert_about(time: Option<&Timestamp>, expected_us: i64) {
    let actual_us = us(time).expect("a time");
    assert!((actual_us - expected_us).abs() < 1_000, "{} us off", actual_us - expected_us);
}

/// The value of an entry.
#[track_caller]
pub fn value_of(entry: &pb::Entry) -> &[u8] {
    match entry.content.as_ref() {
        Some(pb::entry::Content::Value(value)) => value,
        other => panic!("{} has no value: {other:?}", entry.key),
    }
}

/// `count` bytes that no compression makes smaller, the same for the same seed.
pub fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(256).to_le_bytes()[0]).collect()
}

/// A small generator of chance (xorshift64*), the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % bound
    }
}
