//! The values of statements that list hashes.

use sea_orm::Value;

use crate::services::uploads::file::Sha256;

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
