//! Keys and values. Each value differs from the one before it under the same key: SQLite writes nothing when a row does
//! not change, and a benchmark that repeats a value measures that.

use bytes::Bytes;
use pannier_proto::cache::v1::{PutItem, put_item};

/// The namespace that all workloads use.
pub(crate) const NAMESPACE: &str = "bench";

/// The key of a prefilled entry. All keys have this length.
pub(crate) fn stored_key(index: usize) -> String {
    format!("stored-{index:012}")
}

/// One in-flight worker's source of keys and values.
pub(crate) struct Material {
    worker: u32,
    next: u32,
    random: u64,
    value_bytes: usize,
    stored: usize,
}

impl Material {
    /// `worker` must be unique within a database; `stored` is how many entries were prefilled.
    pub(crate) fn new(worker: u32, value_bytes: usize, stored: usize) -> Self {
        let seed = 0x5EED_0000_0000_0001 ^ (u64::from(worker) << 24);
        Self { worker, next: 0, random: seed, value_bytes, stored: stored.max(1) }
    }

    /// The key of a prefilled entry, at random.
    pub(crate) fn stored_key(&mut self) -> String {
        stored_key(self.below(self.stored))
    }

    /// A key to write: turn by turn one that is new and one that replaces a prefilled entry.
    pub(crate) fn key_to_write(&mut self) -> String {
        self.next += 1;
        if self.next.is_multiple_of(2) { self.stored_key() } else { self.new_key() }
    }

    fn new_key(&self) -> String {
        format!("new{:06}-{:09}", self.worker, self.next)
    }

    /// An entry to put under a key that no other has.
    pub(crate) fn new_item(&mut self) -> PutItem {
        self.next += 1;
        self.item_of(self.new_key())
    }

    /// Random bytes, so that they neither compress nor repeat.
    pub(crate) fn value(&mut self) -> Bytes {
        let mut value = Vec::with_capacity(self.value_bytes + 8);
        while value.len() < self.value_bytes {
            value.extend_from_slice(&self.word().to_le_bytes());
        }
        value.truncate(self.value_bytes);
        value.into()
    }

    /// An entry to put, with the namespace's default expiry.
    pub(crate) fn item(&mut self) -> PutItem {
        let key = self.key_to_write();
        self.item_of(key)
    }

    /// An entry to put under this key.
    pub(crate) fn item_of(&mut self, key: String) -> PutItem {
        PutItem { key, content: Some(put_item::Content::Value(self.value())), ..PutItem::default() }
    }

    /// True once in `n` on average.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A number below `n`, at random.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // Multiply and shift instead of a division; the bias is far below what a benchmark can see.
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// splitmix64.
    fn word(&mut self) -> u64 {
        self.random = self.random.wrapping_add(GOLDEN);
        finish(self.random)
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A random number that belongs to this one: no two have the same.
pub(crate) fn mixed(number: u64) -> u64 {
    finish(number.wrapping_mul(GOLDEN).wrapping_add(GOLDEN))
}

fn finish(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_and_have_their_size() {
        let mut material = Material::new(1, 1021, 10);
        let (first, second) = (material.value(), material.value());
        assert_eq!(first.len(), 1021);
        assert_ne!(first, second);
    }

    #[test]
    fn workers_do_not_share_new_keys_and_all_keys_are_as_long() {
        let (mut one, mut two) = (Material::new(1, 8, 10), Material::new(2, 8, 10));
        let (a, b) = (one.key_to_write(), two.key_to_write());
        assert_ne!(a, b);
        assert_eq!(a.len(), one.stored_key().len());
    }
}
