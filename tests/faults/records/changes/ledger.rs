//! What writers were told and what a reader was told: whether a chain of cursors missed or repeated anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::records::wire::Version;

/// What was acknowledged to all who write to one collection, in the order of the answers.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<Vec<(String, i64)>>);

impl Acknowledged {
    fn list(&self) -> MutexGuard<'_, Vec<(String, i64)>> {
        self.0.lock().expect("nobody panics with the list in hand")
    }

    /// Notes that a change is there.
    pub(super) fn add(&self, key: &str, revision: i64) {
        self.list().push((key.to_owned(), revision));
    }

    /// How many changes were acknowledged so far.
    pub(super) fn count(&self) -> usize {
        self.list().len()
    }

    fn between(&self, from: usize, to: usize) -> Vec<(String, i64)> {
        self.list()[from..to].to_vec()
    }
}

/// What one chain of cursors told.
#[derive(Default)]
pub(super) struct Told {
    /// The last of each key.
    pub(super) last: BTreeMap<String, Version>,
    /// Changes that were told, all of them.
    pub(super) count: usize,
    /// Acknowledged changes that were looked for already.
    checked: usize,
}

impl Told {
    /// Takes a change in: of each key each is newer than the one before.
    pub(super) fn take(&mut self, key: &str, version: Version) -> Result<(), String> {
        self.count += 1;
        let before = self.last.insert(key.to_owned(), version.clone());
        match before {
            Some(before) if before.revision >= version.revision => {
                Err(format!("{key}: told {version:?} after {before:?}"))
            }
            _ => Ok(()),
        }
    }

    /// At the end of what there is: that all that was acknowledged before this was asked for was told, or what is newer.
    pub(super) fn has_all(&mut self, acknowledged: &Acknowledged, before: usize) -> Result<(), String> {
        for (key, revision) in acknowledged.between(self.checked, before.max(self.checked)) {
            let told = self.last.get(&key);
            if told.is_none_or(|told| told.revision < revision) {
                return Err(format!("{key}: {revision} was acknowledged before, told is {told:?}"));
            }
        }
        self.checked = before.max(self.checked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(revision: i64) -> Version {
        Version { revision, text: None }
    }

    #[test]
    fn what_is_told_twice_or_in_the_wrong_order_is_reported() {
        let mut told = Told::default();
        assert!(told.take("a", version(1)).is_ok() && told.take("b", version(1)).is_ok());
        assert!(told.take("a", version(3)).is_ok());
        assert!(told.take("a", version(3)).is_err());
        let mut told = Told::default();
        assert!(told.take("a", version(3)).is_ok() && told.take("a", version(2)).is_err());
    }

    #[test]
    fn what_was_acknowledged_and_is_not_told_is_reported() {
        let (acknowledged, mut told) = (Acknowledged::default(), Told::default());
        acknowledged.add("a", 1);
        acknowledged.add("b", 1);
        assert!(told.has_all(&acknowledged, 0).is_ok());
        told.take("a", version(2)).expect("the first");
        assert!(told.has_all(&acknowledged, 1).is_ok());
        // Asked for after `b` was there, and at the end of all there is.
        assert!(told.has_all(&acknowledged, 2).is_err());
        told.take("b", version(1)).expect("the first");
        assert!(told.has_all(&acknowledged, 2).is_ok());
    }
}
