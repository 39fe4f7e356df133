//! Files as the uploads' workloads register them, each by its number; and what was acknowledged of them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::material::mixed;

/// The service that all files are uploaded to.
pub(crate) const SERVICE: &str = "photos";
/// The source of all sessions.
pub(crate) const SOURCE: &str = "chat-0042";
/// What all files hold.
pub(crate) const MIME_TYPE: &str = "image/jpeg";
const HASH_BYTES: usize = 32;
/// A size and a time, as a table that has them and nothing else would.
const NUMBERS_BYTES: usize = 16;

/// A file. Its number says all of it.
#[derive(Clone, Copy)]
pub(crate) struct File(pub(crate) u64);

impl File {
    /// 32 bytes as a hash has them: evenly spread, without an order.
    pub(crate) fn hash(self) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        for (part, bytes) in (0..).zip(hash.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&mixed(self.0 * 4 + part).to_le_bytes());
        }
        hash
    }

    /// The hash as it goes over the wire.
    pub(crate) fn sha256(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.hash().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }

    /// 50 bytes.
    pub(crate) fn path(self) -> String {
        format!("chats/family/2024-05/photos/photo_{:012}.jpg", self.0)
    }

    /// The id that the service gave it: 44 bytes that do not repeat.
    pub(crate) fn service_file_id(self) -> String {
        let (a, b, c) = (mixed(!self.0), mixed(!self.0 ^ 1 << 62), mixed(!self.0 ^ 1 << 61));
        format!("{a:016x}{b:016x}{:012x}", c >> 16)
    }

    pub(crate) fn size_bytes(self) -> i64 {
        500_000 + (mixed(self.0) % 4_000_000) as i64
    }

    /// What a hash takes at the least: itself and the fields that no other file shares.
    pub(crate) fn ideal_bytes(self) -> usize {
        HASH_BYTES + self.path().len() + self.service_file_id().len() + NUMBERS_BYTES
    }
}

/// The files of one database: those before `next` were given out to be registered, so many were acknowledged.
#[derive(Default)]
pub(crate) struct Shelf {
    next: AtomicU64,
    registered: AtomicU64,
}

impl Shelf {
    /// So many files that nobody has registered.
    pub(crate) fn take(&self, count: usize) -> Range<u64> {
        let from = self.next.fetch_add(count as u64, Ordering::Relaxed);
        from..from + count as u64
    }

    /// So many were acknowledged.
    pub(crate) fn add(&self, count: usize) {
        self.registered.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn registered(&self) -> u64 {
        self.registered.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_differ_and_are_as_large_as_said() {
        let (one, two) = (File(1), File(2));
        assert!(one.hash() != two.hash() && one.service_file_id() != two.service_file_id());
        assert_eq!(File(0).sha256().len(), 64);
        assert_eq!(one.sha256()[..4], format!("{:02x}{:02x}", one.hash()[0], one.hash()[1]));
        assert_eq!(one.ideal_bytes(), 32 + 50 + 44 + 16);
    }

    #[test]
    fn no_file_is_given_out_twice() {
        let shelf = Shelf::default();
        assert_eq!((shelf.take(2), shelf.take(1)), (0..2, 2..3));
        shelf.add(3);
        assert_eq!(shelf.registered(), 3);
    }
}
