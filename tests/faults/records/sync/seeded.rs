//! The checker finds what it is there for: faults that are put into histories of a server that keeps its promises.

use std::collections::BTreeMap;

use super::checker::{Fault, check};
use super::history::*;
use crate::chance::Chance;
use crate::records::wire::{Version, document, merged, patch, value};

/// What a server may do wrong.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// It applies again what is pushed again.
    AppliesAgain,
    /// It says that it applied one, and did not.
    Loses,
    /// It forgets one that it had applied.
    LosesLater,
    /// It applies two of a push in the other order.
    Swaps,
    /// It tells another outcome when one is pushed again.
    ChangesItsMind,
    /// It takes no notice of what a mutation is based on.
    Overwrites,
    /// It sees a conflict where there is none.
    SeesConflicts,
    /// It writes a document as it likes.
    Reformats,
}

/// A server in a few lines, and the history of those who call it.
struct Story {
    bug: Bug,
    /// How many times it still has the chance to do wrong.
    left: usize,
    history: History,
    records: BTreeMap<Name, (i64, Option<String>)>,
    /// Who changed a record last.
    last: BTreeMap<Name, (usize, i64)>,
    known: BTreeMap<(usize, i64), Outcome>,
    order: Vec<Name>,
    now: Moment,
}

fn name(key: &str) -> Name {
    ("c".to_owned(), key.to_owned())
}

impl Story {
    fn new(bug: Bug) -> Self {
        Self {
            bug,
            left: usize::from(bug != Bug::None),
            history: History { mutations: vec![Vec::new(); 2], ..History::default() },
            records: BTreeMap::new(),
            last: BTreeMap::new(),
            known: BTreeMap::new(),
            order: Vec::new(),
            now: 0,
        }
    }

    fn errs(&mut self, bug: Bug) -> bool {
        let errs = self.bug == bug && self.left > 0;
        self.left -= usize::from(errs);
        errs
    }

    fn moment(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    fn change(&mut self, name: &Name, deed: &Deed) -> i64 {
        let (revision, text) = self.records.get(name).cloned().unwrap_or_default();
        let text = match deed {
            Deed::Put(text) if self.errs(Bug::Reformats) => Some(value(text).to_string()),
            Deed::Put(text) => Some(text.clone()),
            Deed::Patch(patch) => {
                Some(merged(value(&text.unwrap_or("{}".into())), &value(patch)).to_string())
            }
            Deed::Delete => None,
        };
        let version = Version { revision: revision + 1, text: text.clone() };
        self.records.insert(name.clone(), (revision + 1, text));
        self.order.retain(|changed| changed != name);
        self.order.push(name.clone());
        self.history.sightings.push(Sighting { name: name.clone(), version, by: "the story" });
        revision + 1
    }

    fn write(&mut self, key: &str, ticket: u64) {
        let (name, deed) = (name(key), Deed::Put(document(ticket)));
        self.last.remove(&name);
        let from = self.moment();
        let made = Some(self.change(&name, &deed));
        self.history.writes.push(Write { from, name, deed, made });
    }

    fn make(&mut self, client: usize, key: &str, base: Base, deed: Deed) -> i64 {
        let mutations = &mut self.history.mutations[client];
        let id = mutations.len() as i64 + 1;
        mutations.push(Mutation { id, name: name(key), base, deed });
        id
    }

    fn apply(&mut self, client: usize, id: i64) -> Outcome {
        if let Some(outcome) = self.known.get(&(client, id)).cloned() {
            if self.errs(Bug::ChangesItsMind) {
                return Outcome::Conflict;
            }
            if !matches!(outcome, Outcome::Applied(_)) || !self.errs(Bug::AppliesAgain) {
                return outcome;
            }
        }
        let mutation = self.history.mutations[client][id as usize - 1].clone();
        let (revision, text) = self.records.get(&mutation.name).cloned().unwrap_or_default();
        let stands = match mutation.base {
            Base::Any => true,
            Base::Absent => text.is_none(),
            Base::Revision(base) => revision == base,
            Base::After(id) => self.last.get(&mutation.name) == Some(&(client, id)),
        };
        let stands = stands && !self.errs(Bug::SeesConflicts) || !stands && self.errs(Bug::Overwrites);
        let outcome = if !stands {
            Outcome::Conflict
        } else if revision > 1 && self.errs(Bug::Loses) {
            Outcome::Applied(revision + 1)
        } else {
            self.last.insert(mutation.name.clone(), (client, id));
            Outcome::Applied(self.change(&mutation.name, &mutation.deed))
        };
        self.known.insert((client, id), outcome.clone());
        outcome
    }

    fn push(&mut self, client: usize, ids: std::ops::RangeInclusive<i64>) {
        let ids: Vec<i64> = ids.collect();
        let from = self.moment();
        let mut turns = ids.clone();
        // Where neither is based on the other, so that the answers are what they should be.
        if *ids == [4, 5, 6] && self.errs(Bug::Swaps) {
            turns.swap(1, 2);
        }
        let outcomes: BTreeMap<i64, Outcome> =
            turns.into_iter().map(|id| (id, self.apply(client, id))).collect();
        let answer = Answer {
            to: self.moment(),
            last: *ids.last().expect("one"),
            results: outcomes.into_iter().collect(),
        };
        self.history.pushes.push(Push { client, from, acknowledged: 0, ids, answer: Some(answer) });
    }

    fn told(mut self) -> Vec<Fault> {
        if self.errs(Bug::LosesLater) {
            let last = self.history.sightings.pop().expect("something was done");
            let before = self.records.get_mut(&last.name).expect("it was changed");
            before.0 -= 1;
        }
        let alive = |name: &&Name| self.records[*name].1.is_some();
        self.history.order = self.order.iter().filter(alive).cloned().collect();
        let version =
            |(revision, text): &(i64, Option<String>)| Version { revision: *revision, text: text.clone() };
        self.history.found =
            self.records.iter().map(|(name, record)| (name.clone(), version(record))).collect();
        let found = check(&self.history);
        // What is told must be fit to be read.
        assert!(found.iter().all(|finding| !finding.to_string().is_empty()));
        let mut faults: Vec<Fault> = found.into_iter().map(|finding| finding.fault).collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }
}

/// Two clients and a writer: chains, conflicts, deletions, records that come again, pushes that are repeated.
fn played(bug: Bug) -> Story {
    let mut story = Story::new(bug);
    story.write("a", 1);
    story.write("b", 2);
    let first = story.make(0, "a", Base::Revision(1), Deed::Patch(patch(3)));
    story.make(0, "a", Base::After(first), Deed::Put(document(4)));
    story.make(0, "new", Base::Absent, Deed::Put(document(5)));
    story.make(0, "b", Base::Revision(1), Deed::Delete);
    story.push(0, 1..=2);
    story.push(0, 1..=4);
    // The other one knows nothing of that.
    let first = story.make(1, "a", Base::Revision(1), Deed::Put(document(6)));
    story.make(1, "a", Base::After(first), Deed::Delete);
    story.make(1, "b", Base::Absent, Deed::Put(document(7)));
    story.make(1, "new", Base::Any, Deed::Patch(patch(8)));
    story.push(1, 1..=3);
    story.push(1, 2..=4);
    story.write("a", 9);
    story.make(0, "a", Base::Revision(4), Deed::Patch(patch(10)));
    story.make(0, "z", Base::Absent, Deed::Put(document(11)));
    story.push(0, 4..=6);
    story.push(0, 5..=6);
    story
}

#[test]
fn a_server_that_keeps_its_promises_is_not_blamed() {
    assert_eq!(played(Bug::None).told(), []);
}

#[test]
fn each_bug_is_found() {
    let cases = [
        (Bug::AppliesAgain, Fault::OutcomeDiffers),
        (Bug::Loses, Fault::MadeTwice),
        (Bug::LosesLater, Fault::Lost),
        (Bug::Swaps, Fault::OutOfOrder),
        (Bug::ChangesItsMind, Fault::OutcomeDiffers),
        (Bug::Overwrites, Fault::BaseIgnored),
        (Bug::SeesConflicts, Fault::NoConflict),
        (Bug::Reformats, Fault::WrongDocument),
    ];
    for (bug, fault) in cases {
        let told = played(bug).told();
        assert!(told.contains(&fault), "{fault:?} is not among {told:?}");
    }
}

#[test]
fn a_mutation_that_is_applied_twice_in_silence_is_found() {
    let mut story = played(Bug::None);
    // The answers stay what they were.
    story.change(&name("new"), &Deed::Put(document(5)));
    assert!(story.told().contains(&Fault::FromNowhere));
}

#[test]
fn a_push_that_was_never_answered_is_found() {
    let mut story = played(Bug::None);
    story.history.pushes.retain(|push| push.client == 0);
    assert!(story.told().contains(&Fault::Unanswered));
    let mut story = played(Bug::None);
    let answer = story.history.pushes[1].answer.as_mut().expect("it is known");
    answer.results.swap(0, 1);
    assert!(story.told().contains(&Fault::WrongAnswer));
}

#[test]
fn what_was_seen_and_nobody_made_is_found() {
    let mut chance = Chance::new(7);
    for _ in 0..10 {
        let mut story = played(Bug::None);
        let place = chance.below(story.history.sightings.len() as u64) as usize;
        let seen = &mut story.history.sightings[place].version;
        seen.text = match &seen.text {
            Some(text) => Some(text.replacen("\"z\":", "\"z\":7", 1)),
            None => Some(document(99)),
        };
        assert!(story.told().contains(&Fault::WrongDocument), "sighting {place}");
    }
}
