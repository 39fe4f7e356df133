//! What the cache is about: entries, namespaces, conditions. No I/O.

use bytes::Bytes;
use uuid::Uuid;

use crate::settings::{Durability, Eviction};

/// Times, counts and framing of an entry in an answer.
const ENTRY_OVERHEAD_BYTES: usize = 100;

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value.
    Value(Bytes),
    /// A failure that was cached.
    Negative {
        /// The application's code.
        code: String,
        /// The application's message.
        message: String,
    },
}

impl Content {
    /// Bytes as given.
    pub fn size_bytes(&self) -> i64 {
        let bytes = match self {
            Self::Value(value) => value.len(),
            Self::Negative { code, message } => code.len() + message.len(),
        };
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The row.
    pub id: i64,
    /// The key.
    pub key: String,
    /// What it holds.
    pub content: Content,
    /// The content type, or empty.
    pub content_type: String,
    /// A JSON object as given, or empty.
    pub metadata_json: String,
    /// Sorted, each once.
    pub tags: Vec<String>,
    /// Bytes of the content as given.
    pub size_bytes: i64,
    /// Bytes charged against the namespace's limit.
    pub stored_bytes: i64,
    /// Changes with every put; the etag is made of it.
    pub revision: i64,
    /// When the key was first put since it was last absent.
    pub create_us: i64,
    /// When it was last put.
    pub update_us: i64,
    /// When it expires, if it does.
    pub expire_us: Option<i64>,
    /// Until when it may be served stale.
    pub stale_until_us: Option<i64>,
    /// When it was last used.
    pub access_us: i64,
    /// Reads plus one.
    pub access_count: i64,
}

impl Entry {
    /// What it takes in an answer, about.
    pub fn answer_bytes(&self) -> usize {
        let value = match &self.content {
            Content::Value(value) => value.len(),
            Content::Negative { code, message } => code.len() + message.len(),
        };
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 2).sum();
        let texts = self.key.len() + self.content_type.len() + self.metadata_json.len();
        value + texts + tags + ENTRY_OVERHEAD_BYTES
    }

    /// Whether it has not expired.
    pub fn is_live(&self, now_us: i64) -> bool {
        self.expire_us.is_none_or(|expire_us| now_us < expire_us)
    }

    /// Whether it has expired and may still be served.
    pub fn is_stale(&self, now_us: i64) -> bool {
        !self.is_live(now_us) && self.stale_until_us.is_some_and(|until_us| now_us < until_us)
    }
}

/// The etag that stands for a revision.
pub fn etag(revision: i64) -> String {
    format!("{revision:x}")
}

/// The revision that an etag stands for; none for a text that no etag is.
pub fn revision_of(etag: &str) -> Option<i64> {
    i64::from_str_radix(etag, 16).ok().filter(|revision| self::etag(*revision) == etag)
}

/// When an entry that is put expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the namespace says.
    Default,
    /// After so many microseconds.
    After(i64),
    /// Never.
    Never,
}

/// What must hold for a put to happen. An expired entry counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// No live entry.
    IfAbsent,
    /// A live entry.
    IfPresent,
    /// The live entry has this revision; none: an etag that cannot be any entry's.
    IfRevision(Option<i64>),
}

/// The right to fill a key, as a put names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// An ordinary put: takes any lease away.
    Unleased,
    /// With the lease of this token; none: a text that no token is.
    Leased(Option<Uuid>),
}

/// An entry to store.
#[derive(Clone, Debug)]
pub struct PutItem {
    /// The key.
    pub key: String,
    /// What it shall hold.
    pub content: Content,
    /// The value compressed, where that is smaller.
    pub compressed: Option<Vec<u8>>,
    /// The content type, or empty.
    pub content_type: String,
    /// A JSON object, or empty.
    pub metadata_json: String,
    /// Sorted, each once.
    pub tags: Vec<String>,
    /// When it expires.
    pub expiry: Expiry,
    /// For how long after that it may be served; none: as the namespace says.
    pub stale_window_us: Option<i64>,
    /// What must hold.
    pub condition: Condition,
    /// The lease that it fills.
    pub fill: Fill,
}

impl PutItem {
    /// Bytes charged for it.
    pub fn stored_bytes(&self) -> i64 {
        let content = match &self.compressed {
            Some(compressed) => i64::try_from(compressed.len()).unwrap_or(i64::MAX),
            None => self.content.size_bytes(),
        };
        let texts = [&self.key, &self.content_type, &self.metadata_json];
        let rest: usize = texts.iter().map(|text| text.len()).sum::<usize>()
            + self.tags.iter().map(String::len).sum::<usize>();
        content.saturating_add(i64::try_from(rest).unwrap_or(i64::MAX))
    }

    /// For how long after its expiry it may be served stale, in a namespace with `limits`.
    pub fn window_us(&self, limits: &Limits) -> i64 {
        self.stale_window_us.unwrap_or(limits.stale_window_us)
    }

    /// When it expires and until when it may be served stale, if it is put at `now_us` into a namespace with `limits`.
    pub fn times(&self, limits: &Limits, now_us: i64) -> (Option<i64>, Option<i64>) {
        let ttl_us = match self.expiry {
            Expiry::Default => Some(limits.ttl_us).filter(|ttl_us| *ttl_us > 0),
            Expiry::After(ttl_us) => Some(ttl_us),
            Expiry::Never => None,
        };
        let expire_us = ttl_us.map(|ttl_us| now_us.saturating_add(ttl_us));
        let window_us = self.window_us(limits);
        (expire_us, stale_until(expire_us, window_us))
    }
}

/// Until when an entry may be served stale that expires at `expire_us`; none: not at all.
pub fn stale_until(expire_us: Option<i64>, window_us: i64) -> Option<i64> {
    expire_us.filter(|_| window_us > 0).map(|expire_us| expire_us.saturating_add(window_us))
}

/// What a put did.
#[derive(Clone, Debug)]
pub struct Put {
    /// The entry as it is now.
    pub entry: Entry,
    /// Whether no live entry had the key before.
    pub created: bool,
    /// Whether somebody may have waited for the key to be filled.
    pub ends_lease: bool,
    /// Whether one of its tags was deleted while its lease was held: nothing is stored.
    pub invalidated: bool,
}

/// Limits and defaults of a namespace. Zero: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries_max: i64,
    /// Bytes.
    pub bytes_max: i64,
    /// Time to live of entries put without an expiry.
    pub ttl_us: i64,
    /// Stale window of entries put without one.
    pub stale_window_us: i64,
    /// Which entries go first.
    pub eviction: Eviction,
    /// What acknowledged writes survive.
    pub durability: Durability,
}

/// How a namespace came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By UpdateNamespace.
    Configured,
    /// By its first put. Once it is empty it may be removed.
    Implicit,
    /// By a lease on a key of it. No caller sees it before its first put.
    Provisional,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The row.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Limits and defaults.
    pub limits: Limits,
    /// How it came to be.
    pub origin: Origin,
    /// Number of calls of DeleteByTag, as of the transaction that read it.
    pub tag_deletions: i64,
    /// When it was made.
    pub create_us: i64,
    /// When its limits were last changed.
    pub update_us: i64,
}

/// Which limits to write; the others stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsPatch {
    /// Entries.
    pub entries_max: Option<i64>,
    /// Bytes.
    pub bytes_max: Option<i64>,
    /// Time to live.
    pub ttl_us: Option<i64>,
    /// Stale window.
    pub stale_window_us: Option<i64>,
    /// Which entries go first.
    pub eviction: Option<Eviction>,
    /// What acknowledged writes survive.
    pub durability: Option<Durability>,
}

impl LimitsPatch {
    /// `limits` with what is said here.
    pub fn apply(&self, limits: Limits) -> Limits {
        Limits {
            entries_max: self.entries_max.unwrap_or(limits.entries_max),
            bytes_max: self.bytes_max.unwrap_or(limits.bytes_max),
            ttl_us: self.ttl_us.unwrap_or(limits.ttl_us),
            stale_window_us: self.stale_window_us.unwrap_or(limits.stale_window_us),
            eviction: self.eviction.unwrap_or(limits.eviction),
            durability: self.durability.unwrap_or(limits.durability),
        }
    }
}

/// How much a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entry_count: i64,
    /// Bytes charged.
    pub stored_bytes: i64,
}

impl Usage {
    /// Entries and bytes beyond `limits`.
    pub fn over(&self, limits: &Limits) -> Self {
        let over = |is: i64, max: i64| if max > 0 { (is - max).max(0) } else { 0 };
        Self {
            entry_count: over(self.entry_count, limits.entries_max),
            stored_bytes: over(self.stored_bytes, limits.bytes_max),
        }
    }

    /// Both together.
    pub fn with(&self, other: Self) -> Self {
        Self {
            entry_count: self.entry_count + other.entry_count,
            stored_bytes: self.stored_bytes + other.stored_bytes,
        }
    }

    /// What is left of it when `other` is taken off.
    pub fn without(&self, other: Self) -> Self {
        Self {
            entry_count: (self.entry_count - other.entry_count).max(0),
            stored_bytes: (self.stored_bytes - other.stored_bytes).max(0),
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// Numbers of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// What it holds.
    pub usage: Usage,
    /// Creation of the oldest entry.
    pub oldest_us: Option<i64>,
    /// Creation of the newest entry.
    pub newest_us: Option<i64>,
    /// Reads by their outcome.
    pub reads: Reads,
    /// Entries evicted.
    pub evicted_count: i64,
    /// Entries removed after their expiry.
    pub expired_count: i64,
}

/// Reads by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Found live.
    pub hits: i64,
    /// Not found.
    pub misses: i64,
    /// Answered with a stale entry.
    pub stales: i64,
}

impl Reads {
    /// Hits among hits and misses.
    pub fn hit_rate(&self) -> f64 {
        let all = self.hits + self.misses;
        if all == 0 { 0.0 } else { self.hits as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_etag_itself_stands_for_its_revision() {
        assert_eq!(revision_of(&etag(255)), Some(255));
        for other in ["", "0xff", "FF", "0ff", "+ff", "zz", "ffffffffffffffffff"] {
            assert_eq!(revision_of(other), None, "{other}");
        }
    }
}
