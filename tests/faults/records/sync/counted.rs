//! A history as the checker counts it: the revisions of each record from 1, without gaps.
//!
//! A record's revision is the number of its last change in the collection, so those of one record have gaps. Those of all records of a
//! collection have none: a number without a maker was made by a mutation that was applied twice.

use std::collections::{BTreeMap, BTreeSet};

use super::history::*;

impl History {
    /// The same history with the revisions of each record counted from 1; and the numbers of collections that nobody made.
    pub(super) fn counted(&self) -> (Self, Vec<(String, i64)>) {
        let (mut seen, made) = (self.seen(), self.made());
        for (name, revision) in &made {
            seen.entry(name.clone()).or_default().insert(*revision);
        }
        let mut collections: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (name, revision) in made {
            collections.entry(name.0).or_default().insert(revision);
        }
        let mut missing = Vec::new();
        for (collection, made) in collections {
            let last = made.last().copied().unwrap_or_default();
            let gaps = (1..=last).filter(|number| !made.contains(number));
            missing.extend(gaps.map(|number| (collection.clone(), number)));
        }
        let count = |name: &Name, revision: i64| match seen.get(name) {
            Some(all) if revision > 0 => all.range(..=revision).count() as i64,
            _ => revision,
        };
        let mut counted = self.clone();
        for mutation in counted.mutations.iter_mut().flatten() {
            if let Base::Revision(revision) = &mut mutation.base {
                *revision = count(&mutation.name, *revision);
            }
        }
        for push in &mut counted.pushes {
            for (id, outcome) in push.answer.iter_mut().flat_map(|answer| &mut answer.results) {
                if let Outcome::Applied(revision) = outcome {
                    *revision = count(&self.name_of(push.client, *id), *revision);
                }
            }
        }
        for write in &mut counted.writes {
            write.made = write.made.map(|revision| count(&write.name, revision));
        }
        for sighting in &mut counted.sightings {
            sighting.version.revision = count(&sighting.name, sighting.version.revision);
        }
        for (name, version) in &mut counted.found {
            version.revision = count(name, version.revision);
        }
        (counted, missing)
    }

    fn name_of(&self, client: usize, id: i64) -> Name {
        self.mutations[client][id as usize - 1].name.clone()
    }

    /// The revisions that mutations and writes made.
    fn made(&self) -> Vec<(Name, i64)> {
        let mut made = Vec::new();
        for push in &self.pushes {
            for (id, outcome) in push.answer.iter().flat_map(|answer| &answer.results) {
                if let Outcome::Applied(revision @ 1..) = outcome {
                    made.push((self.name_of(push.client, *id), *revision));
                }
            }
        }
        made.extend(self.writes.iter().filter_map(|write| Some((write.name.clone(), write.made?))));
        made
    }

    /// The revisions that somebody saw.
    fn seen(&self) -> BTreeMap<Name, BTreeSet<i64>> {
        let mut seen: BTreeMap<Name, BTreeSet<i64>> = BTreeMap::new();
        let sightings = self.sightings.iter().map(|sighting| (&sighting.name, &sighting.version));
        for (name, version) in sightings.chain(&self.found) {
            seen.entry(name.clone()).or_default().insert(version.revision);
        }
        for mutation in self.mutations.iter().flatten() {
            if let Base::Revision(revision) = mutation.base {
                seen.entry(mutation.name.clone()).or_default().insert(revision);
            }
        }
        seen
    }
}
