//! Judges a history: which promises of Sync does it break?
//!
//! A record's revisions count its changes. So each revision from the first to the one that is found belongs to exactly one
//! mutation or write that was applied: one that has no owner was made by a mutation that was applied twice (or by one that was told
//! not to be), one that has two, or an owner's that is not there, by one that was lost. The document at each revision follows from its owner
//! and the one before.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::history::*;
use crate::records::wire::{merged, value};

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A repeated push has another outcome.
    OutcomeDiffers,
    /// A revision that nobody made.
    FromNowhere,
    /// A revision that two made.
    MadeTwice,
    /// What was applied is not there.
    Lost,
    /// Mutations of one client are not in the order of their ids.
    OutOfOrder,
    /// One was applied though what it was based on was not there.
    BaseIgnored,
    /// A conflict with nothing.
    NoConflict,
    /// A record is not what its makers made of it.
    WrongDocument,
    /// The outcome of a mutation was never told.
    Unanswered,
    /// An answer that is not one to what was asked.
    WrongAnswer,
}

/// What is wrong, with all that happened to the record.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) fault: Fault,
    words: String,
    story: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.fault, self.words)?;
        self.story.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// Who made a revision.
#[derive(Clone, Debug)]
struct Maker<'h> {
    deed: &'h Deed,
    /// The client and the mutation; None: the direct writer.
    mutation: Option<(usize, i64)>,
    /// It was not made before.
    from: Moment,
}

/// A document, as far as it follows from its makers.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Absent,
    /// As it was put, byte for byte.
    Exact(String),
    /// As a patch made it.
    Merged(Value),
}

impl State {
    fn value(&self) -> Value {
        match self {
            Self::Absent => Value::Object(serde_json::Map::new()),
            Self::Exact(text) => value(text),
            Self::Merged(value) => value.clone(),
        }
    }

    fn after(&self, deed: &Deed) -> Self {
        match deed {
            Deed::Put(text) => Self::Exact(text.clone()),
            Deed::Patch(patch) => Self::Merged(merged(self.value(), &value(patch))),
            Deed::Delete => Self::Absent,
        }
    }

    fn explains(&self, text: Option<&String>) -> bool {
        match (self, text) {
            (Self::Absent, None) => true,
            (Self::Exact(made), Some(text)) => made == text,
            (Self::Merged(made), Some(text)) => *made == value(text),
            _ => false,
        }
    }
}

/// The changes of one record, by the revision that they made.
#[derive(Default)]
struct Line<'h> {
    makers: BTreeMap<i64, Vec<Maker<'h>>>,
    /// What was there after each, from 0 on; as far as every revision has a maker.
    states: Vec<State>,
}

struct Book<'h> {
    history: &'h History,
    fates: BTreeMap<(usize, i64), Fate<'h>>,
    lines: BTreeMap<Name, Line<'h>>,
    found: Vec<Finding>,
}

/// All that is wrong with a history; nothing: it is as promised.
pub(super) fn check(history: &History) -> Vec<Finding> {
    let mut book = Book { history, fates: history.fates(), lines: BTreeMap::new(), found: Vec::new() };
    book.answers();
    book.makers();
    book.revisions();
    book.bases();
    book.order();
    book.documents();
    book.found
}

impl<'h> Book<'h> {
    fn find(&mut self, fault: Fault, name: Option<&Name>, words: String) {
        let story = name.map(|name| self.history.tell(name)).unwrap_or_default();
        self.found.push(Finding { fault, words, story });
    }

    /// Each answer has one result for each mutation, in their order, and knows the last.
    fn answers(&mut self) {
        for push in &self.history.pushes {
            let Some(answer) = &push.answer else { continue };
            let answered: Vec<i64> = answer.results.iter().map(|(id, _)| *id).collect();
            let last = push.ids.last().copied().unwrap_or(push.acknowledged).max(push.acknowledged);
            let made = self.history.mutations[push.client].len() as i64;
            if answered != push.ids || answer.last < last || answer.last > made {
                self.find(Fault::WrongAnswer, None, format!("{push:?}"));
            }
        }
    }

    /// Who made which revision; and that an outcome stays what it is.
    fn makers(&mut self) {
        for (client, mutations) in self.history.mutations.iter().enumerate() {
            for mutation in mutations {
                let fate = self.fates.get(&(client, mutation.id)).cloned().unwrap_or_default();
                let outcomes = fate.outcomes;
                let about = format!("mutation {} of client {client}", mutation.id);
                if outcomes.is_empty() {
                    self.find(Fault::Unanswered, Some(&mutation.name), about);
                    continue;
                }
                if outcomes.iter().any(|outcome| **outcome != *outcomes[0]) {
                    self.find(Fault::OutcomeDiffers, Some(&mutation.name), format!("{about}: {outcomes:?}"));
                }
                if let Outcome::Applied(revision @ 1..) = outcomes[0] {
                    let (mutation_id, from) = (Some((client, mutation.id)), fate.sent);
                    let maker = Maker { deed: &mutation.deed, mutation: mutation_id, from };
                    let line = self.lines.entry(mutation.name.clone()).or_default();
                    line.makers.entry(*revision).or_default().push(maker);
                }
            }
        }
        for write in &self.history.writes {
            let Some(revision) = write.made else { continue };
            let line = self.lines.entry(write.name.clone()).or_default();
            line.makers.entry(revision).or_default().push(Maker {
                deed: &write.deed,
                mutation: None,
                from: write.from,
            });
        }
    }

    /// Every revision up to the one that is found has one maker, and none is beyond.
    fn revisions(&mut self) {
        let mut found = Vec::new();
        for (name, line) in &mut self.lines {
            let last = self.history.found.get(name).map_or(0, |version| version.revision);
            line.states.push(State::Absent);
            for revision in 1..=last {
                match line.makers.get(&revision).map_or(&[][..], Vec::as_slice) {
                    [] => {
                        found.push((Fault::FromNowhere, name, format!("{name:?}: nobody made {revision}")));
                        break;
                    }
                    [maker] => {
                        let state = line.states.last().expect("the first").after(maker.deed);
                        line.states.push(state);
                    }
                    more => {
                        found.push((Fault::MadeTwice, name, format!("{name:?}: {revision} by {more:?}")));
                        break;
                    }
                }
            }
            let beyond = line.makers.range(last + 1..);
            found.extend(beyond.map(|(revision, makers)| {
                (Fault::Lost, name, format!("{name:?}: {revision} by {makers:?}, found {last}"))
            }));
        }
        let mut found: Vec<_> =
            found.into_iter().map(|(fault, name, words)| (fault, name.clone(), words)).collect();
        let unknown = self.history.found.keys().filter(|name| !self.lines.contains_key(*name));
        found.extend(
            unknown.map(|name| (Fault::FromNowhere, name.clone(), format!("{name:?}: nobody made it"))),
        );
        for (fault, name, words) in found {
            self.find(fault, Some(&name), words);
        }
    }

    /// What became of a mutation, as it was told first.
    fn outcome(&self, client: usize, id: i64) -> Option<&'h Outcome> {
        self.fates.get(&(client, id))?.outcomes.first().copied()
    }

    /// The revision that a mutation made; None: it was not applied, or nobody knows.
    fn made(&self, client: usize, id: i64) -> Option<i64> {
        match self.outcome(client, id)? {
            Outcome::Applied(revision) => Some(*revision),
            _ => None,
        }
    }

    /// What was applied was based on what was there, and what was not stood against something.
    fn bases(&mut self) {
        for (client, mutations) in self.history.mutations.iter().enumerate() {
            for mutation in mutations {
                let Some(outcome) = self.outcome(client, mutation.id) else { continue };
                let about = format!("{mutation:?} of client {client}: {outcome:?}");
                match outcome {
                    Outcome::Applied(revision @ 1..) if !self.was_based(client, mutation, *revision) => {
                        self.find(Fault::BaseIgnored, Some(&mutation.name), about);
                    }
                    // What is not there any more is deleted already, whatever the client had seen.
                    Outcome::Applied(0) if mutation.deed != Deed::Delete => {
                        self.find(Fault::WrongAnswer, Some(&mutation.name), about);
                    }
                    Outcome::Conflict if !self.may_conflict(client, mutation) => {
                        self.find(Fault::NoConflict, Some(&mutation.name), about);
                    }
                    _ => {}
                }
            }
        }
    }

    fn was_based(&self, client: usize, mutation: &Mutation, revision: i64) -> bool {
        match mutation.base {
            Base::Any => true,
            Base::Revision(base) => revision == base + 1,
            Base::Absent => self
                .lines
                .get(&mutation.name)
                .and_then(|line| line.states.get(revision as usize - 1))
                .is_none_or(|before| *before == State::Absent),
            Base::After(id) => match self.made(client, id) {
                // A deletion of what was not there made nothing that could be seen again.
                Some(0) => true,
                Some(base) => revision == base + 1,
                None => false,
            },
        }
    }

    /// Whether a mutation of a record that never was had nothing to be based on.
    fn is_of_nothing(&self, client: usize, mutation: &Mutation) -> bool {
        match mutation.base {
            Base::Any => matches!(mutation.deed, Deed::Patch(_)),
            Base::After(id) => self.made(client, id).is_none_or(|base| base == 0),
            _ => false,
        }
    }

    /// Whether there was, before the outcome was known, what the mutation could stand against.
    fn may_conflict(&self, client: usize, mutation: &Mutation) -> bool {
        let Some(line) = self.lines.get(&mutation.name) else { return self.is_of_nothing(client, mutation) };
        let known = self.fates[&(client, mutation.id)].answered;
        let is_before = |makers: &Vec<Maker<'_>>| makers.iter().any(|maker| maker.from < known);
        let went_on = |base: i64| line.makers.range(base + 1..).any(|(_, makers)| is_before(makers));
        let was_there = |(revision, makers): (&i64, &Vec<Maker<'_>>)| {
            is_before(makers) && line.states.get(*revision as usize) != Some(&State::Absent)
        };
        match mutation.base {
            // There must be something to patch.
            Base::Any => matches!(mutation.deed, Deed::Patch(_)) && line.states.contains(&State::Absent),
            Base::Revision(base) => went_on(base),
            Base::Absent => line.makers.iter().any(was_there),
            Base::After(id) => self.made(client, id).is_none_or(|base| base == 0 || went_on(base)),
        }
    }

    /// A client's mutations were applied in the order of their ids: to each record, and to those of one collection.
    fn order(&mut self) {
        let mut found = Vec::new();
        for (name, line) in &self.lines {
            for client in 0..self.history.mutations.len() {
                let ids = line.makers.values().flatten().filter_map(|maker| maker.mutation);
                let ids: Vec<i64> = ids.filter(|(by, _)| *by == client).map(|(_, id)| id).collect();
                if !ids.is_sorted() {
                    found.push((name.clone(), format!("client {client} at {name:?}: {ids:?}")));
                }
            }
        }
        let mut last: BTreeMap<(&String, usize), i64> = BTreeMap::new();
        for name in &self.history.order {
            let makers = self.lines.get(name).and_then(|line| line.makers.last_key_value());
            let Some((client, id)) = makers.and_then(|(_, makers)| makers[0].mutation) else { continue };
            if let Some(before) = last.insert((&name.0, client), id).filter(|before| *before > id) {
                found.push((name.clone(), format!("client {client}: {id} of {name:?} follows {before}")));
            }
        }
        for (name, words) in found {
            self.find(Fault::OutOfOrder, Some(&name), words);
        }
    }

    /// Whatever was seen is what its makers made, and the same bytes wherever it was seen.
    fn documents(&mut self) {
        let mut texts: BTreeMap<(&Name, i64), &Option<String>> = BTreeMap::new();
        let mut wrong = Vec::new();
        let at_the_end = self.history.found.iter().map(|(name, version)| (name, version, "the end"));
        let seen = self.history.sightings.iter().map(|seen| (&seen.name, &seen.version, seen.by));
        for (name, version, by) in seen.chain(at_the_end) {
            let state = self.lines.get(name).and_then(|line| line.states.get(version.revision as usize));
            let explained = state.is_none_or(|state| state.explains(version.text.as_ref()));
            let first = texts.entry((name, version.revision)).or_insert(&version.text);
            let lasts = version.revision <= self.history.found.get(name).map_or(0, |found| found.revision);
            if !explained || **first != version.text || !lasts {
                let words =
                    format!("{name:?}: {by} saw {version:?}; {state:?} was made, first seen as {first:?}");
                wrong.push((name.clone(), words));
            }
        }
        for (name, words) in wrong {
            self.find(Fault::WrongDocument, Some(&name), words);
        }
    }
}
