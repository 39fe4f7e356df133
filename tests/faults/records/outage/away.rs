//! The client that is away: what it knows, what it queues, and what should become of that.

use std::collections::{BTreeMap, BTreeSet};

use pannier_proto::records::v1 as pb;
use pb::sync_mutation::{Base, What};

use super::office::{Office, group_of};
use super::{COLLECTION, CONTESTED, MUTATIONS};
use crate::chance::Chance;
use crate::records::wire::{Version, Versions, document, merged, mutation, patch, value};

/// The client.
#[derive(Default)]
pub(super) struct Away {
    pub(super) client_id: String,
    pub(super) cursor: String,
    /// What it was told, tombstones too.
    pub(super) store: Versions,
    pub(super) queued: Vec<pb::SyncMutation>,
    /// What should be made by those mutations that nothing stands against.
    pub(super) expected: BTreeMap<i64, Version>,
    /// What they should leave, by key.
    pub(super) made: Versions,
    /// Keys whose document a patch made.
    pub(super) patched: BTreeSet<String>,
}

/// One thing that it will do to a key.
#[derive(Clone, Copy)]
enum Deed {
    Put,
    /// Whatever is there.
    PutAnyway,
    Patch,
    Delete,
}

/// Things that it does to one key, one after the other.
struct Chain {
    key: String,
    deeds: Vec<Deed>,
    done: usize,
    /// The last mutation of it.
    last: Option<i64>,
    contested: bool,
}

impl Away {
    /// Takes in what a pull tells.
    pub(super) fn learn(&mut self, record: &pb::Record) {
        let version = Version::of(record);
        let known = self.store.insert(record.key.clone(), version);
        let grew = known.as_ref().is_none_or(|known| known.revision < record.revision);
        assert!(grew, "{}: {} after {known:?}", record.key, record.revision);
    }

    /// The keys of its mutations.
    pub(super) fn touched(&self) -> BTreeSet<String> {
        self.queued.iter().map(|mutation| mutation.key.clone()).collect()
    }

    /// Queues its mutations: chains of some to each key, in turns.
    pub(super) fn works(&mut self, office: &Office, chance: &mut Chance) {
        let mut chains = contested();
        let mut room = MUTATIONS - chains.iter().map(|chain| chain.deeds.len()).sum::<usize>();
        for number in 0.. {
            let mut chain = own(number, office);
            chain.deeds.truncate(room);
            room -= chain.deeds.len();
            chains.push(chain);
            if room == 0 {
                break;
            }
        }
        while !chains.is_empty() {
            let place = chance.below(chains.len() as u64) as usize;
            self.queue(&mut chains[place]);
            if chains[place].done == chains[place].deeds.len() {
                chains.swap_remove(place);
            }
        }
    }

    /// Queues the next of a chain.
    fn queue(&mut self, chain: &mut Chain) {
        let id = self.queued.len() as i64 + 1;
        let ticket = 1_000_000 + id as u64;
        let deed = chain.deeds[chain.done];
        let base = match (deed, chain.last, self.store.get(&chain.key)) {
            (Deed::PutAnyway, ..) => None,
            (_, Some(last), _) => Some(Base::AfterMutationId(last)),
            (_, None, Some(known)) => Some(Base::Revision(known.revision)),
            (_, None, None) => Some(Base::Absent(true)),
        };
        let what = match deed {
            Deed::Put | Deed::PutAnyway => What::PutJson(document(ticket)),
            Deed::Patch => What::PatchJson(patch(ticket)),
            Deed::Delete => What::Delete(true),
        };
        if !chain.contested {
            self.expect(id, &chain.key, &what);
        }
        self.queued.push(mutation(id, COLLECTION, &chain.key, base, what));
        chain.done += 1;
        chain.last = Some(id);
    }

    /// Notes what a mutation should make, if nobody else touches its key.
    fn expect(&mut self, id: i64, key: &str, what: &What) {
        let before = self.made.get(key).or_else(|| self.store.get(key)).cloned();
        let (revision, text) = before.map_or((0, None), |before| (before.revision, before.text));
        let text = match what {
            What::PutJson(text) => {
                self.patched.remove(key);
                Some(text.clone())
            }
            What::PatchJson(patch) => {
                self.patched.insert(key.to_owned());
                Some(merged(value(&text.expect("it patches what is there")), &value(patch)).to_string())
            }
            What::ReplaceJson(_) => unreachable!("no chain has one"),
            What::Delete(_) => None,
        };
        let version = Version { revision: revision + 1, text };
        self.expected.insert(id, version.clone());
        self.made.insert(key.to_owned(), version);
    }
}

/// What it does to the documents that the others touch as well.
fn contested() -> Vec<Chain> {
    let chain = |number: usize| {
        let deeds = match group_of(number) {
            (_, "put") if number.is_multiple_of(2) => vec![Deed::Put, Deed::Patch],
            (_, "put") => vec![Deed::Patch],
            (_, "delete") if number.is_multiple_of(3) => vec![Deed::Put, Deed::Patch],
            (_, "delete") => vec![Deed::Patch],
            (_, "patch") if number.is_multiple_of(2) => vec![Deed::Delete],
            (_, "patch") => vec![Deed::Put, Deed::Patch, Deed::Delete],
            (_, "create") => vec![Deed::Put],
            other => unreachable!("{other:?}"),
        };
        Chain { key: group_of(number).0, deeds, done: 0, last: None, contested: true }
    };
    (0..CONTESTED).map(chain).collect()
}

/// What it does to documents that nobody else touches: half of them were there.
fn own(number: usize, office: &Office) -> Chain {
    use Deed::{Delete, Patch, Put, PutAnyway};
    let key = format!("own/{number:04}");
    let deeds = if office.versions.contains_key(&key) {
        match number % 6 {
            0 => vec![Put],
            1 => vec![Patch],
            2 => vec![Delete],
            3 => vec![Put, Patch, Delete, Put],
            4 => vec![PutAnyway, Patch, PutAnyway],
            _ => vec![Patch, Patch, Patch, Delete],
        }
    } else {
        match number % 3 {
            0 => vec![Put],
            1 => vec![Put, Patch, Patch],
            _ => vec![Put, Delete, Put, Patch],
        }
    };
    Chain { key, deeds, done: 0, last: None, contested: false }
}
