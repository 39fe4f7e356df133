//! `[transaction]`: limits of one commit.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits of one commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransactionSettings {
    /// Mutations of one commit.
    pub mutations_max: u64,
    /// Items of all mutations of one commit: each item of a batch is one, every other mutation is one.
    pub items_max: u64,
    /// Bytes of one commit. It is one message, so `server.message_bytes_max` bounds it as well.
    pub bytes_max: u64,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self { mutations_max: 1_000, items_max: 10_000, bytes_max: 16 * 1024 * 1024 }
    }
}

impl TransactionSettings {
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>) {
        within(found, "transaction.mutations_max", self.mutations_max, 1..=100_000);
        within(found, "transaction.items_max", self.items_max, 1..=1_000_000);
        within(found, "transaction.bytes_max", self.bytes_max, 1..=1 << 30);
    }
}
