//! The numbers of names, in memory: a name is never changed and never removed, so what is known stays true.
//!
//! Bounded by `prompts.names_max` of each kind.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::domain::NameKind;

/// What is known, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<NameKind, HashMap<Arc<str>, i64>>,
    names: HashMap<i64, Arc<str>>,
}

impl Registry {
    /// The number of a name, if it is known.
    pub fn number(&self, kind: NameKind, name: &str) -> Option<i64> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.numbers.get(&kind)?.get(name).copied()
    }

    /// The name of a number, if it is known.
    pub fn name(&self, number: i64) -> Option<Arc<str>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(&number).cloned()
    }

    /// Notes a name that is committed.
    pub fn set(&self, kind: NameKind, name: &str, number: i64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        known.names.insert(number, name.clone());
        known.numbers.entry(kind).or_default().insert(name, number);
    }
}
