//! What a transaction leaves to be done after its commit: whom to wake, when something is due, what to count.

use super::domain::State;

/// Gathered while a transaction runs, applied after its commit.
#[derive(Clone, Debug)]
pub struct Effects {
    /// Tasks that can be claimed now, by type.
    pub queued: Vec<(i64, i64)>,
    /// Tasks that have changed, for those who watch them.
    pub changed: Vec<i64>,
    /// The same by the names of queue and type, once the transaction's work is done.
    pub called: Vec<(String, String, i64)>,
    /// When something new is due.
    pub due: Times,
    /// What to count, by type; written before the commit.
    pub tallies: Vec<(i64, Tally)>,
}

/// When the next thing is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// By the steady clock.
    pub due_us: i64,
    /// By the wall clock.
    pub run_us: i64,
}

impl Times {
    /// Nothing is due.
    pub const NEVER: Self = Self { due_us: i64::MAX, run_us: i64::MAX };
    /// It has to be looked.
    pub const ALWAYS: Self = Self { due_us: i64::MIN, run_us: i64::MIN };

    /// The earlier of both.
    pub fn min(self, other: Self) -> Self {
        Self { due_us: self.due_us.min(other.due_us), run_us: self.run_us.min(other.run_us) }
    }
}

/// What happened to the tasks of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By how much the number of tasks in each state has changed.
    pub states: [i64; State::ALL.len()],
    /// Tasks added.
    pub enqueued: i64,
    /// Claims.
    pub claimed: i64,
    /// Tasks completed.
    pub completed: i64,
    /// Attempts failed.
    pub failed: i64,
    /// Leases lost.
    pub lost: i64,
    /// How long what was claimed had waited, added up.
    pub wait_us: i64,
    /// How long what was completed had taken, added up.
    pub run_us: i64,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            queued: Vec::new(),
            changed: Vec::new(),
            called: Vec::new(),
            due: Times::NEVER,
            tallies: Vec::new(),
        }
    }
}

impl Effects {
    /// The tally of a type.
    pub fn tally(&mut self, type_id: i64) -> &mut Tally {
        let place = match self.tallies.iter().position(|(id, _)| *id == type_id) {
            Some(place) => place,
            None => {
                self.tallies.push((type_id, Tally::default()));
                self.tallies.len() - 1
            }
        };
        &mut self.tallies[place].1
    }

    /// Notes that a task has come into being, or gone from one state to another, or been removed.
    pub fn moved(&mut self, type_id: i64, from: Option<State>, to: Option<State>) {
        let tally = self.tally(type_id);
        if let Some(from) = from {
            tally.states[from as usize] -= 1;
        }
        if let Some(to) = to {
            tally.states[to as usize] += 1;
        }
        if to == Some(State::Queued) {
            match self.queued.iter_mut().find(|(id, _)| *id == type_id) {
                Some((_, count)) => *count += 1,
                None => self.queued.push((type_id, 1)),
            }
        }
    }

    /// Forgets what was noted of a type that is deleted.
    pub fn forget_type(&mut self, type_id: i64) {
        self.queued.retain(|(id, _)| *id != type_id);
        self.tallies.retain(|(id, _)| *id != type_id);
    }

    /// Notes that something is due at a time of the steady clock.
    pub fn due_at(&mut self, due_us: i64) {
        self.due.due_us = self.due.due_us.min(due_us);
    }

    /// Notes that something is due at a time of the wall clock.
    pub fn run_at(&mut self, run_us: i64) {
        self.due.run_us = self.due.run_us.min(run_us);
    }
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.states.iter_mut().zip(other.states) {
            *mine += others;
        }
        self.enqueued += other.enqueued;
        self.claimed += other.claimed;
        self.completed += other.completed;
        self.failed += other.failed;
        self.lost += other.lost;
        self.wait_us = self.wait_us.saturating_add(other.wait_us);
        self.run_us = self.run_us.saturating_add(other.run_us);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_add_up_and_tell_what_can_be_claimed() {
        let mut effects = Effects::default();
        effects.moved(7, None, Some(State::Queued));
        effects.moved(7, None, Some(State::Queued));
        effects.moved(7, Some(State::Queued), Some(State::Claimed));
        effects.moved(8, Some(State::Failed), None);
        assert_eq!(effects.queued, [(7, 2)]);
        let states = effects.tally(7).states;
        assert_eq!((states[State::Queued as usize], states[State::Claimed as usize]), (1, 1));
        assert_eq!(effects.tally(8).states[State::Failed as usize], -1);
    }
}
