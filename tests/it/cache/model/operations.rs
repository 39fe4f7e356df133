//! What is done to a cache, as values: drawn by chance, applied to the model and to a sidecar, taken out one by one when a
//! sequence shrinks.
//!
//! Etags and lease tokens are opaque and differ from run to run, so an operation says which one it means (the key's newest,
//! the third newest of all) and is resolved when it is applied. So it stays sensible when operations before it are gone.

/// Few names, so that operations meet.
pub const NAMESPACES: [&str; 3] = ["n", "n-1", "m"];

/// Prefixes of one another, wildcards of LIKE, capitals, and characters of several bytes.
pub const KEYS: [&str; 11] = ["a", "aa", "ab", "b", "B", "é", "é1", "%", "a%", "_", "\u{10FFFF}"];

/// Likewise.
pub const TAGS: [&str; 4] = ["t", "tt", "T", "%"];

/// Of none, one or several keys.
pub const PREFIXES: [&str; 7] = ["a", "aa", "é", "%", "_", "none", "\u{10FFFF}"];

/// How often the sidecar does its upkeep.
pub const UPKEEP_MS: u64 = 60_000;

/// How long the answer to a request id is kept.
pub const RETENTION_MS: u64 = 120_000;

/// Values from this size on are compressed.
pub const COMPRESS_BYTES_MIN: usize = 64;

/// One thing that is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A call that reads.
    Read(&'static str, Read),
    /// A call that takes a request id, with the one that it is given.
    Write(&'static str, Write, Option<u32>),
    /// The write that first had this request id, once more.
    Again(u32),
    /// The names and limits of all namespaces, in pages of this size.
    Namespaces(usize),
    /// One caller gets the lease, a second waits for it, the first ends it without filling it.
    Contend { namespace: &'static str, key: &'static str, lease_ms: u64, ending: Ending },
    /// Time passes, too little for upkeep to begin.
    Pass { ms: u64 },
    /// Time passes until upkeep begins, and upkeep ends.
    Upkeep,
    /// The sidecar stops and starts again, a second later.
    Restart,
}

/// A call that reads, in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Get(&'static str),
    BatchGet(Vec<&'static str>),
    Exists(Vec<&'static str>),
    /// All pages of this size; an empty prefix or tag is none.
    List {
        prefix: &'static str,
        tag: &'static str,
        page_size: usize,
        with_values: bool,
    },
    Stats,
    GetNamespace,
    /// Without waiting.
    GetOrLease {
        key: &'static str,
        lease_ms: u64,
    },
}

/// A call that writes, in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Put(Item, Durability),
    BatchPut(Vec<Item>, Durability),
    Delete(Vec<(&'static str, Option<Mark>)>),
    /// Without a request id again and again until nothing is left to delete.
    DeleteByPrefix(&'static str),
    /// Likewise.
    DeleteByTag(&'static str),
    Touch(Vec<(&'static str, Expiry)>),
    Evict(usize),
    Update(Change),
    DeleteNamespace,
    Release(&'static str, Mark),
}

/// An entry to store.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub key: &'static str,
    pub content: Content,
    pub content_type: &'static str,
    pub metadata: &'static str,
    pub tags: Vec<&'static str>,
    pub expiry: Expiry,
    pub stale_ms: Option<u64>,
    pub condition: Condition,
    pub lease: Option<Mark>,
}

/// A value or a cached failure.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes that no compression makes smaller, the same for the same seed.
    Noise(usize, u64),
    /// One byte again and again.
    Same(usize, u8),
    /// A code and a message.
    Negative(&'static str, &'static str),
}

/// By what is put, not by how it was made: whether two requests have one body depends on it.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Negative(code, message), Self::Negative(other, another)) => {
                (code, message) == (other, another)
            }
            _ => self.value() == other.value(),
        }
    }
}

impl Content {
    /// The bytes, unless it is a failure.
    pub fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Noise(bytes, seed) => Some(crate::cache::items::noise(*bytes, *seed)),
            Self::Same(bytes, byte) => Some(vec![*byte; *bytes]),
            Self::Negative(..) => None,
        }
    }
}

/// When an entry expires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expiry {
    /// A put: as the namespace says. A touch: as it is.
    Unsaid,
    AfterMs(u64),
    Never,
}

/// What must hold for a put.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Always,
    IfAbsent,
    IfPresent,
    IfEtag(Mark),
}

/// An etag or a lease token.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// The one given for the key so many before its newest.
    OfKey(usize),
    /// The one given so many before the newest of all.
    OfAll(usize),
    /// The one that was given as the so-manieth. Only in operations that are resolved.
    Given(usize),
    /// One that was never given.
    Text(&'static str),
}

/// What a write survives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Durability {
    Unsaid,
    Full,
    Relaxed,
}

/// Limits of a namespace to write; those that are not said stay, or are the defaults in a new namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The mask is empty: those that are not said are written as well, as what their absence stands for.
    pub whole: bool,
    pub entries_max: Option<i64>,
    pub bytes_max: Option<i64>,
    /// `Expiry::Never` or after so long.
    pub expiry: Option<Expiry>,
    pub stale_ms: Option<u64>,
    pub eviction: Option<Eviction>,
    pub durability: Option<Durability>,
}

/// Which entries go first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Eviction {
    /// As the settings say.
    Unsaid,
    Lru,
    Ttl,
}

/// What the holder of a contended lease does.
///
/// It does not fill it: a caller that comes while a put is committed reads the entry before memory has it, and such a read may
/// be missing in `access_count`. Callers that surely wait for a fill are in lease_waits.rs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    Release,
    Delete,
}

impl Ending {
    /// What ends the lease on `key` that was given as the so-manieth.
    pub fn write(self, key: &'static str, token: usize) -> Write {
        match self {
            Self::Release => Write::Release(key, Mark::Given(token)),
            Self::Delete => Write::Delete(vec![(key, None)]),
        }
    }
}

/// Under what settings a sequence runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub memory_bytes_max: u64,
    pub delete_rows_max: usize,
    pub entries_max: i64,
    pub ttl_ms: u64,
    pub stale_ms: u64,
    pub by_ttl: bool,
}
