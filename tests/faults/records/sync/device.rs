//! A client that is sometimes offline: a store of its own, a queue of numbered mutations, a cursor for each collection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pannier_proto::records::v1 as pb;
use pb::{SyncOutcome, sync_mutation};
use tonic::Status;

use super::history::*;
use super::run::Ground;
use crate::chance::Chance;
use crate::records::wire::{self, Client, Version, document, mutation, patch};
use crate::sidecar::LONG;

/// Mutations that it makes at once, at most.
const BURST: u64 = 8;
/// Changes of a page, at most.
const PAGE_MAX: u64 = 20;

/// The client.
pub(super) struct Device {
    number: usize,
    ground: Arc<Ground>,
    chance: Chance,
    client: Option<Client>,
    client_id: String,
    made: Vec<Mutation>,
    /// Outcomes up to this mutation were received.
    received: i64,
    /// Up to this one the server was told so.
    acknowledged: i64,
    /// What the server has told of, tombstones too.
    pub(super) store: BTreeMap<Name, Version>,
    /// Own mutations that were applied and made more than the store has: the last for each record.
    ahead: BTreeMap<Name, (i64, i64)>,
    cursors: BTreeMap<String, String>,
}

/// What it does about a conflict.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Resolving {
    /// It takes what the server has, or makes another mutation of it.
    Any,
    /// It takes what the server has.
    Server,
}

impl Device {
    pub(super) fn new(number: usize, ground: &Arc<Ground>, chance: Chance) -> Self {
        let cursors = ground.collections.iter().map(|name| (name.clone(), String::new())).collect();
        Self {
            number,
            ground: Arc::clone(ground),
            chance,
            client: None,
            client_id: String::new(),
            made: Vec::new(),
            received: 0,
            acknowledged: 0,
            store: BTreeMap::new(),
            ahead: BTreeMap::new(),
            cursors,
        }
    }

    /// Works on its store and syncs, now and then.
    pub(super) async fn work(&mut self, steps: u64) {
        for _ in 0..steps {
            if self.chance.once_in(2) {
                for _ in 0..=self.chance.below(BURST) {
                    self.mutate();
                }
            } else {
                self.sync(Resolving::Any).await;
            }
            self.ground.books.stepped();
        }
    }

    /// Pushes until all it made was answered.
    pub(super) async fn settle(&mut self) {
        while self.received < self.made.len() as i64 {
            self.sync(Resolving::Server).await;
        }
    }

    /// Pulls until there is no more.
    pub(super) async fn pull_all(&mut self) {
        while self.sync(Resolving::Server).await != Some(false) {}
    }

    /// Makes a mutation of what it has.
    fn mutate(&mut self) {
        let name = self.ground.name(&mut self.chance);
        let pending = self.made[self.received as usize..].iter().rfind(|mutation| mutation.name == name);
        let stored = self.store.get(&name);
        let (base, is_there) = match (pending, self.ahead.get(&name), stored) {
            (Some(last), ..) => (Base::After(last.id), last.deed != Deed::Delete),
            (None, Some((id, revision)), _) => {
                let last = &self.made[*id as usize - 1];
                let by_id = self.chance.once_in(2) || last.deed == Deed::Delete;
                let base = if by_id { Base::After(*id) } else { Base::Revision(*revision) };
                (base, last.deed != Deed::Delete)
            }
            (None, None, Some(Version { revision, text: Some(_) })) => (Base::Revision(*revision), true),
            _ => (Base::Absent, false),
        };
        let base = if self.chance.once_in(7) { Base::Any } else { base };
        self.make(name, base, is_there);
    }

    fn make(&mut self, name: Name, base: Base, is_there: bool) {
        let ticket = self.ground.books.ticket();
        let deed = match self.chance.below(20) {
            // A document must be an object.
            0 => Deed::Put(format!("[{ticket}]")),
            1..=7 if is_there => Deed::Patch(patch(ticket)),
            8..=11 if is_there => Deed::Delete,
            _ => Deed::Put(document(ticket)),
        };
        let mutation = Mutation { id: self.made.len() as i64 + 1, name, base, deed };
        self.ground.books.history().mutations[self.number].push(mutation.clone());
        self.made.push(mutation);
    }

    /// One call of Sync: some of the queue, in whatever parts, some of it perhaps once more. Tells whether there is more to pull; None: it
    /// has no answer.
    async fn sync(&mut self, resolving: Resolving) -> Option<bool> {
        let request = self.request();
        let ids: Vec<i64> = request.mutations.iter().map(|mutation| mutation.mutation_id).collect();
        self.acknowledged = request.last_mutation_id;
        let (from, acknowledged) = (self.ground.books.moment(), self.acknowledged);
        let push = Push { client: self.number, from, acknowledged, ids, answer: None };
        let place = {
            let mut history = self.ground.books.history();
            history.pushes.push(push);
            history.pushes.len() - 1
        };
        let mut client = self.client().await;
        // It goes away in the middle, now and then: nobody knows what becomes of the call, nor when.
        let patience =
            if self.chance.once_in(9) { Duration::from_micros(self.chance.below(4_000)) } else { LONG };
        let answer = match tokio::time::timeout(patience, client.sync(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                self.failed(&status);
                return None;
            }
            Err(_) => {
                assert!(patience < LONG, "a Sync hangs");
                return None;
            }
        };
        self.note(place, &answer);
        // The answer is lost on its way, now and then.
        if self.chance.once_in(6) {
            return None;
        }
        Some(self.learn(answer, resolving))
    }

    /// What it asks for.
    fn request(&mut self) -> pb::SyncRequest {
        let made = self.made.len() as i64;
        let span = (self.received - self.acknowledged) as u64;
        let acknowledged = self.acknowledged + self.chance.below(span + 1) as i64;
        // From a mutation whose outcome it need not know any more, up to the first that it has none of.
        let from = if self.chance.once_in(3) {
            acknowledged + 1 + self.chance.below((self.received - acknowledged) as u64 + 1) as i64
        } else {
            self.received + 1
        };
        let room = (made - from + 1).max(0) as u64;
        let count = if self.chance.once_in(3) { room } else { self.chance.below(room.min(12) + 1) };
        let page_size = 1 + self.chance.below(PAGE_MAX) as i32;
        if self.client_id.is_empty() {
            return pb::SyncRequest { page_size, ..Default::default() };
        }
        let pulls = if self.chance.once_in(6) { Vec::new() } else { self.pulls() };
        let parts = &self.made[from as usize - 1..from as usize - 1 + count as usize];
        pb::SyncRequest {
            client_id: self.client_id.clone(),
            last_mutation_id: acknowledged,
            mutations: parts.iter().map(sent).collect(),
            pulls,
            page_size,
        }
    }

    /// All collections, in any order.
    fn pulls(&mut self) -> Vec<pb::SyncPull> {
        let mut pulls: Vec<_> = self
            .cursors
            .iter()
            .map(|(name, cursor)| pb::SyncPull { collection: name.clone(), cursor: cursor.clone() })
            .collect();
        let turn = self.chance.below(pulls.len() as u64) as usize;
        pulls.rotate_left(turn);
        pulls
    }

    async fn client(&mut self) -> Client {
        // On whichever sidecar.
        if self.client.is_none() || self.chance.once_in(4) {
            let post = self.chance.below(self.ground.fleet.size() as u64) as usize;
            self.client = Some(wire::client(self.ground.fleet.channel(post).await));
        }
        self.client.clone().expect("it is there")
    }

    fn failed(&mut self, status: &Status) {
        self.client = None;
        if !self.ground.books.is_cut_off(status) {
            self.ground.books.unexpected(format!("client {}: {status:?}", self.number));
            panic!("client {}: {status:?}", self.number);
        }
    }

    /// Writes down what was answered, whether it gets to the client or not.
    fn note(&self, place: usize, answer: &pb::SyncResponse) {
        let results = answer.results.iter().map(|result| (result.mutation_id, outcome(result))).collect();
        let answered = Answer { to: self.ground.books.moment(), last: answer.last_mutation_id, results };
        self.ground.books.history().pushes[place].answer = Some(answered);
        for result in &answer.results {
            if let Some(record) = &result.record {
                let collection = &self.made[result.mutation_id as usize - 1].name.0;
                self.ground.books.saw(collection, record, "a conflict");
            }
        }
        for page in &answer.pulls {
            page.changes.iter().for_each(|record| self.ground.books.saw(&page.collection, record, "a pull"));
        }
    }

    /// Takes an answer in.
    fn learn(&mut self, answer: pb::SyncResponse, resolving: Resolving) -> bool {
        if self.client_id.is_empty() {
            self.client_id = answer.client_id;
            return true;
        }
        assert_eq!(answer.client_id, self.client_id);
        for result in &answer.results {
            if result.mutation_id > self.received {
                self.received = result.mutation_id;
                self.take(result, resolving);
            }
        }
        let mut more = answer.pulls.is_empty();
        for page in answer.pulls {
            assert_eq!(page.error, None, "a pull of {}", page.collection);
            self.pulled(&page);
            more |= page.more;
            self.cursors.insert(page.collection, page.cursor);
        }
        more
    }

    /// Takes in the outcome of a mutation that it had none of.
    fn take(&mut self, result: &pb::SyncResult, resolving: Resolving) {
        let name = self.made[result.mutation_id as usize - 1].name.clone();
        match result.outcome() {
            SyncOutcome::Applied if result.revision > 0 => {
                let known = self.store.get(&name).map_or(0, |version| version.revision);
                if result.revision > known {
                    self.ahead.insert(name, (result.mutation_id, result.revision));
                }
            }
            SyncOutcome::Conflict => {
                if let Some(record) = &result.record {
                    self.see(&name, Version::of(record));
                }
                let is_last =
                    !self.made[result.mutation_id as usize..].iter().any(|later| later.name == name);
                if resolving == Resolving::Any && is_last && self.chance.once_in(2) {
                    // Once more, of what is there now.
                    let alive = result.record.as_ref().filter(|record| !record.deleted);
                    let base = alive.map_or(Base::Absent, |record| Base::Revision(record.revision));
                    self.make(name, base, alive.is_some());
                }
            }
            _ => {}
        }
    }

    /// Takes in a page: what is told of a record never is older than what was told before.
    fn pulled(&mut self, page: &pb::SyncChanges) {
        for record in &page.changes {
            let name = (page.collection.clone(), record.key.clone());
            let known = self.store.get(&name).map_or(0, |version| version.revision);
            if record.revision < known {
                self.ground.books.unexpected(format!("{name:?}: {} is told after {known}", record.revision));
            }
            self.see(&name, Version::of(record));
        }
    }

    fn see(&mut self, name: &Name, version: Version) {
        if self.ahead.get(name).is_some_and(|(_, revision)| *revision <= version.revision) {
            self.ahead.remove(name);
        }
        if self.store.get(name).is_none_or(|known| known.revision <= version.revision) {
            self.store.insert(name.clone(), version);
        }
    }
}

fn sent(made: &Mutation) -> pb::SyncMutation {
    use sync_mutation::{Base as B, What};
    let base = match made.base {
        Base::Any => None,
        Base::Absent => Some(B::Absent(true)),
        Base::Revision(revision) => Some(B::Revision(revision)),
        Base::After(id) => Some(B::AfterMutationId(id)),
    };
    let what = match &made.deed {
        Deed::Put(text) => What::PutJson(text.clone()),
        Deed::Patch(text) => What::PatchJson(text.clone()),
        Deed::Delete => What::Delete(true),
    };
    mutation(made.id, &made.name.0, &made.name.1, base, what)
}

fn outcome(result: &pb::SyncResult) -> Outcome {
    match result.outcome() {
        SyncOutcome::Applied => Outcome::Applied(result.revision),
        SyncOutcome::Conflict => Outcome::Conflict,
        SyncOutcome::Rejected => {
            Outcome::Rejected(result.error.as_ref().expect("it says why").reason().as_str_name().to_owned())
        }
        SyncOutcome::Unspecified => panic!("no outcome: {result:?}"),
    }
}
