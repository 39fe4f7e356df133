//! What happened to tasks, gathered in memory and written now and then: a claim pays for no counter.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::domain::State;
use super::effects::Tally;

/// Tallies by (type, Unix minute) that are not written yet.
#[derive(Default)]
pub struct Tallies {
    pending: Mutex<HashMap<(i64, i64), Tally>>,
    /// Held while tallies move to the table, and while table and memory are added up: nothing is told twice.
    pub writing: tokio::sync::Mutex<()>,
}

impl Tallies {
    /// Adds what a transaction did. To be called after the commit.
    pub fn note(&self, minute: i64, tallies: &[(i64, Tally)]) {
        if tallies.is_empty() {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (type_id, tally) in tallies {
            pending.entry((*type_id, minute)).or_default().add(tally);
        }
    }

    /// Takes all, to be written.
    pub fn take(&self) -> Vec<((i64, i64), Tally)> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = std::mem::take(&mut *pending).into_iter().collect();
        all.retain(|(_, tally)| !tally.is_empty());
        all.sort_unstable_by_key(|(place, _)| *place);
        all
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, tallies: Vec<((i64, i64), Tally)>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, tally) in tallies {
            pending.entry(place).or_default().add(&tally);
        }
    }

    /// What is not written of a type: its states, and the rest over the minutes from `first` to before `end`.
    pub fn of(&self, type_id: i64, first: i64, end: i64) -> Tally {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Tally::default();
        for ((of, minute), tally) in pending.iter() {
            if *of == type_id {
                let is_asked = (first..end).contains(minute);
                let only_states = Tally { states: tally.states, ..Tally::default() };
                sum.add(if is_asked { tally } else { &only_states });
            }
        }
        sum
    }

    /// Forgets what was counted of some states: the table has just been counted anew.
    pub fn forget(&self, states: &[State]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for tally in pending.values_mut() {
            for state in states {
                tally.states[*state as usize] = 0;
            }
        }
    }
}
