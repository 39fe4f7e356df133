//! Operations by chance, the same for the same seed.

use super::operations::{
    Change, Condition, Content, Durability, Ending, Eviction, Expiry, Item, KEYS, Mark, NAMESPACES,
    Operation, PREFIXES, Read, TAGS, Terms, Write,
};
use crate::cache::items::Random;

/// Lives and windows, from less than the time between two upkeeps to more than several.
const TTLS_MS: [u64; 8] = [1, 1_000, 3_000, 10_000, 30_000, 100_000, 200_000, 3_600_000];
const STALES_MS: [u64; 5] = [0, 5_000, 20_000, 100_000, 500_000];
const LEASES_MS: [u64; 4] = [1_000, 5_000, 20_000, 100_000];
/// Texts that no etag is, the first of them like one.
const ETAGS: [&str; 3] = ["0", "FF", "nonsense"];
const PASSES_MS: [u64; 7] = [1, 500, 1_000, 2_000, 3_000, 7_000, 20_000];

/// The settings under which the sequence of a seed runs.
pub fn terms(seed: u64) -> Terms {
    let mut chance = Chance::new(seed);
    Terms {
        // All, none, and room for about twenty small entries.
        memory_bytes_max: chance.one_of(&[64 << 20, 0, 10_000]),
        delete_rows_max: chance.one_of(&[10_000, 10_000, 2]),
        entries_max: chance.one_of(&[0, 0, 4]),
        ttl_ms: chance.one_of(&[0, 5_000, 50_000, 300_000]),
        stale_ms: chance.one_of(&[0, 30_000]),
        by_ttl: chance.holds(3),
    }
}

/// The sequence of a seed: so many operations, and then everything that can be asked.
pub fn sequence(seed: u64, count: usize) -> Vec<Operation> {
    let mut chance = Chance::new(seed ^ 0x5EED);
    chance.delete_rows_max = terms(seed).delete_rows_max;
    let mut operations = Vec::with_capacity(count + 10);
    while operations.len() < count {
        let operation = chance.operation();
        let end = match &operation {
            Operation::Read(namespace, Read::GetOrLease { key, .. }) => chance.lease_end(namespace, key),
            _ => None,
        };
        operations.push(operation);
        operations.extend(end);
    }
    operations.push(Operation::Namespaces(10));
    for namespace in NAMESPACES {
        let all = Read::List { prefix: "", tag: "", page_size: 5, with_values: true };
        operations.extend([all, Read::Stats].map(|read| Operation::Read(namespace, read)));
    }
    operations
}

struct Chance {
    random: Random,
    /// What several operations in a row are mostly about, so that they meet.
    focus: (&'static str, &'static str),
    delete_rows_max: usize,
    /// Request ids given so far.
    ids: u32,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The first numbers of near seeds are near to one another.
        for _ in 0..10 {
            random.below(2);
        }
        Self { random, focus: (NAMESPACES[0], KEYS[0]), delete_rows_max: 1, ids: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    /// True once in so many times.
    fn holds(&mut self, once_in: usize) -> bool {
        self.below(once_in) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn some<T>(&mut self, count_max: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(count_max)).map(|_| one(self)).collect()
    }

    fn namespace(&mut self) -> &'static str {
        if self.holds(4) { self.one_of(&NAMESPACES) } else { self.focus.0 }
    }

    fn key(&mut self) -> &'static str {
        match self.below(5) {
            0 => self.one_of(&KEYS),
            1 | 2 => self.one_of(&KEYS[..4]),
            _ => self.focus.1,
        }
    }

    fn operation(&mut self) -> Operation {
        if self.holds(8) {
            self.focus = (self.one_of(&["n", "n", "n-1", "m"]), self.one_of(&KEYS));
        }
        let (namespace, key) = (self.namespace(), self.key());
        match self.below(1_000) {
            0..430 => {
                let write = self.write();
                let id = self.id(&write);
                Operation::Write(namespace, write, id)
            }
            430..835 => Operation::Read(namespace, self.read()),
            835..855 => {
                let ending = self.one_of(&[Ending::Release, Ending::Delete]);
                Operation::Contend { namespace, key, lease_ms: self.one_of(&LEASES_MS), ending }
            }
            855..870 => Operation::Namespaces(1 + self.below(3)),
            870..890 if self.ids > 0 => {
                Operation::Again(1 + u32::try_from(self.below(self.ids as usize)).unwrap())
            }
            870..985 => Operation::Pass { ms: self.one_of(&PASSES_MS) },
            985..997 => Operation::Upkeep,
            _ => Operation::Restart,
        }
    }

    fn read(&mut self) -> Read {
        match self.below(100) {
            0..35 => Read::Get(self.key()),
            35..52 => Read::BatchGet(self.some(4, Self::key)),
            52..59 => Read::Exists(self.some(5, Self::key)),
            59..71 => Read::List {
                prefix: if self.holds(2) { "" } else { self.one_of(&PREFIXES) },
                tag: if self.holds(2) { "" } else { self.one_of(&TAGS) },
                page_size: 1 + self.below(4),
                with_values: self.holds(2),
            },
            71..79 => Read::Stats,
            79..81 => Read::GetNamespace,
            _ => Read::GetOrLease { key: self.key(), lease_ms: self.one_of(&LEASES_MS) },
        }
    }

    fn write(&mut self) -> Write {
        match self.below(100) {
            0..40 => Write::Put(self.item(), self.durability()),
            40..58 => Write::BatchPut(self.some(4, Self::item), self.durability()),
            58..70 => Write::Delete(self.some(2, |chance| {
                let mark = if chance.holds(2) { Some(chance.mark(&ETAGS)) } else { None };
                (chance.key(), mark)
            })),
            70..74 => Write::DeleteByPrefix(self.one_of(&PREFIXES)),
            74..79 => Write::DeleteByTag(self.one_of(&TAGS)),
            79..89 => Write::Touch(self.some(3, |chance| (chance.key(), chance.expiry()))),
            89..93 => Write::Evict(1 + self.below(self.delete_rows_max.min(4))),
            93..96 => Write::Update(self.change()),
            96..97 => Write::DeleteNamespace,
            _ => Write::Release(self.key(), self.mark(&["6f1b3c52-8a0e-4f4e-9c2d-0f6a7b8c9d0e"])),
        }
    }

    /// A lease is mostly filled, given back or asked for again.
    fn lease_end(&mut self, namespace: &'static str, key: &'static str) -> Option<Operation> {
        if self.holds(4) {
            return None;
        }
        let lease = Some(Mark::OfKey(0));
        let write = match self.below(8) {
            0..3 => Write::Put(
                Item { key, lease, condition: Condition::Always, ..self.item() },
                Durability::Unsaid,
            ),
            3..5 => Write::Put(Item { key, lease, ..self.item() }, Durability::Unsaid),
            5 => Write::Release(key, Mark::OfKey(0)),
            6 => Write::Delete(vec![(key, Some(self.mark(&ETAGS)))]),
            _ => {
                let again = Read::GetOrLease { key, lease_ms: self.one_of(&LEASES_MS) };
                return Some(Operation::Read(namespace, again));
            }
        };
        Some(Operation::Write(namespace, write, None))
    }

    /// Mostly none; mostly a new one.
    fn id(&mut self, write: &Write) -> Option<u32> {
        // A repeated call does not delete what the first one left.
        let is_repeatable = match write {
            Write::DeleteByPrefix(_) | Write::DeleteByTag(_) => self.delete_rows_max > KEYS.len(),
            _ => true,
        };
        if !is_repeatable || !self.holds(6) {
            return None;
        }
        if self.ids > 0 && self.holds(6) {
            return Some(1 + u32::try_from(self.below(self.ids as usize)).unwrap());
        }
        self.ids += 1;
        Some(self.ids)
    }

    fn item(&mut self) -> Item {
        Item {
            key: self.key(),
            content: self.content(),
            content_type: self.one_of(&["", "", "text/plain"]),
            metadata: self.one_of(&["", "", "{}", r#" {"a": 1e400} "#]),
            tags: if self.holds(2) { Vec::new() } else { self.some(3, |chance| chance.one_of(&TAGS)) },
            expiry: self.expiry(),
            stale_ms: if self.holds(2) { None } else { Some(self.one_of(&STALES_MS)) },
            condition: match self.below(12) {
                0 => Condition::IfAbsent,
                1 => Condition::IfPresent,
                2 => Condition::IfEtag(self.mark(&ETAGS)),
                _ => Condition::Always,
            },
            lease: if self.holds(25) { Some(self.mark(&["nonsense"])) } else { None },
        }
    }

    fn content(&mut self) -> Content {
        match self.below(10) {
            0 => Content::Negative(self.one_of(&["E", "NOT_FOUND"]), self.one_of(&["", "not there"])),
            1 => Content::Same(60 + self.below(200), b'x'),
            2 => Content::Noise(60 + self.below(200), self.random.below(1 << 32)),
            _ => Content::Noise(self.below(12), self.random.below(1 << 32)),
        }
    }

    fn expiry(&mut self) -> Expiry {
        match self.below(6) {
            0 | 1 => Expiry::Unsaid,
            2 => Expiry::Never,
            _ => Expiry::AfterMs(self.one_of(&TTLS_MS)),
        }
    }

    fn mark(&mut self, texts: &[&'static str]) -> Mark {
        match self.below(6) {
            0 => Mark::Text(self.one_of(texts)),
            1 => Mark::OfKey(1),
            2 => Mark::OfAll(self.below(6)),
            _ => Mark::OfKey(0),
        }
    }

    fn durability(&mut self) -> Durability {
        match self.below(30) {
            0 => Durability::Full,
            1 => Durability::Relaxed,
            _ => Durability::Unsaid,
        }
    }

    fn change(&mut self) -> Change {
        let mut change = Change {
            whole: self.holds(4),
            entries_max: Some(self.one_of(&[0, 1, 3, 6])),
            bytes_max: Some(self.one_of(&[0, 0, 40, 150, 400])),
            expiry: Some(self.one_of(&[Expiry::Never, Expiry::AfterMs(5_000), Expiry::AfterMs(100_000)])),
            stale_ms: Some(self.one_of(&STALES_MS)),
            eviction: Some(self.one_of(&[Eviction::Unsaid, Eviction::Lru, Eviction::Ttl])),
            durability: Some(self.one_of(&[Durability::Relaxed, Durability::Relaxed, Durability::Full])),
        };
        if !change.whole {
            // One or two are written.
            let said = [self.below(6), self.below(6)];
            change.entries_max = change.entries_max.filter(|_| said.contains(&0));
            change.bytes_max = change.bytes_max.filter(|_| said.contains(&1));
            change.expiry = change.expiry.filter(|_| said.contains(&2));
            change.stale_ms = change.stale_ms.filter(|_| said.contains(&3));
            change.eviction = change.eviction.filter(|_| said.contains(&4));
            change.durability = change.durability.filter(|_| said.contains(&5));
        }
        change
    }
}
