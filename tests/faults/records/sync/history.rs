//! What happened in a run, as plain values: what clients and a direct writer did, what they were answered, and what was seen.

use std::collections::BTreeMap;

use crate::records::wire::Version;

/// A record: its collection and its key.
pub(super) type Name = (String, String);

/// A moment: a number that is larger than those of all moments before.
pub(super) type Moment = u64;

/// What a client saw when it made a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// It does not matter.
    Any,
    /// No record.
    Absent,
    /// The record with this revision.
    Revision(i64),
    /// What this earlier mutation had made.
    After(i64),
}

/// What is done to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Put(String),
    Patch(String),
    Delete,
}

/// One mutation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutation {
    pub(super) id: i64,
    pub(super) name: Name,
    pub(super) base: Base,
    pub(super) deed: Deed,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The revision that it made; zero: none.
    Applied(i64),
    Conflict,
    Rejected(String),
}

/// A call of Sync by a client.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) client: usize,
    /// Before it was sent.
    pub(super) from: Moment,
    /// Outcomes that the client says it has.
    pub(super) acknowledged: i64,
    /// The mutations, by their ids.
    pub(super) ids: Vec<i64>,
    /// None: nobody knows.
    pub(super) answer: Option<Answer>,
}

/// What it was answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// After it was there.
    pub(super) to: Moment,
    /// The last mutation that the sidecar knew.
    pub(super) last: i64,
    pub(super) results: Vec<(i64, Outcome)>,
}

/// What the direct writer did, by a call that was repeated until its outcome was known.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Before it was sent.
    pub(super) from: Moment,
    pub(super) name: Name,
    pub(super) deed: Deed,
    /// The revision that it made; None: none.
    pub(super) made: Option<i64>,
}

/// A record as somebody saw it.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) name: Name,
    pub(super) version: Version,
    /// Where.
    pub(super) by: &'static str,
}

/// A run, from its first call to what was found when all was over.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// By client, in the order of ids.
    pub(super) mutations: Vec<Vec<Mutation>>,
    pub(super) pushes: Vec<Push>,
    pub(super) writes: Vec<Write>,
    pub(super) sightings: Vec<Sighting>,
    /// What the server holds at the end.
    pub(super) found: BTreeMap<Name, Version>,
    /// The same by Changes from the beginning, in that order.
    pub(super) order: Vec<Name>,
}

/// What became of a mutation.
#[derive(Clone, Debug)]
pub(super) struct Fate<'h> {
    /// Before it was first sent.
    pub(super) sent: Moment,
    /// When its outcome was known first.
    pub(super) answered: Moment,
    /// Its outcomes, as often as it was answered.
    pub(super) outcomes: Vec<&'h Outcome>,
}

impl Default for Fate<'_> {
    fn default() -> Self {
        Self { sent: Moment::MAX, answered: Moment::MAX, outcomes: Vec::new() }
    }
}

impl History {
    /// What became of all mutations, by client and id.
    pub(super) fn fates(&self) -> BTreeMap<(usize, i64), Fate<'_>> {
        let mut fates = BTreeMap::<(usize, i64), Fate<'_>>::new();
        for push in &self.pushes {
            for id in &push.ids {
                let fate = fates.entry((push.client, *id)).or_default();
                fate.sent = fate.sent.min(push.from);
            }
            let Some(answer) = &push.answer else { continue };
            for (id, outcome) in &answer.results {
                let fate = fates.entry((push.client, *id)).or_default();
                fate.answered = fate.answered.min(answer.to);
                fate.outcomes.push(outcome);
            }
        }
        fates
    }

    /// All that happened to a record, for people.
    pub(super) fn tell(&self, name: &Name) -> Vec<String> {
        let (mut told, fates) = (Vec::new(), self.fates());
        for (client, mutations) in self.mutations.iter().enumerate() {
            for mutation in mutations.iter().filter(|mutation| mutation.name == *name) {
                let answers = fates.get(&(client, mutation.id)).map(|fate| &fate.outcomes);
                told.push(format!("client {client}: {mutation:?}: {answers:?}"));
            }
        }
        told.extend(self.writes.iter().filter(|write| write.name == *name).map(|write| format!("{write:?}")));
        told.push(format!("found {:?}", self.found.get(name)));
        told
    }
}
