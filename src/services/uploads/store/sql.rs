//! The placeholders and values of statements that list hashes.

use std::fmt::Write as _;

use sea_orm::Value;

use crate::services::uploads::file::Sha256;

/// `$first, …`, so many.
pub(super) fn places(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for place in first..first + count {
        let comma = if place == first { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}${place}");
    }
    text
}

/// The values of a statement that begins with a service and lists hashes.
pub(super) fn of_hashes(service_number: i64, hashes: &[Sha256]) -> Vec<Value> {
    let mut values = Vec::with_capacity(hashes.len() + 1);
    values.push(service_number.into());
    values.extend(hashes.iter().map(bytes));
    values
}

/// A hash as it is stored.
pub(super) fn bytes(hash: &Sha256) -> Value {
    hash.0.to_vec().into()
}
