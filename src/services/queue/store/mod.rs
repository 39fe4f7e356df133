//! The queue's queries: one function is one step inside a transaction.
//!
//! Locks are taken in one order: queues, types, workers, tasks by id, unique keys by id, limit keys by id, jobs by id. Where tasks are looked for after a key was locked,
//! those that others have locked are left out.

mod by_hand;
mod claim;
mod due;
mod ends;
mod enqueue;
mod etags;
mod job_results;
mod keys;
mod lanes;
mod lines;
mod list;
mod log;
mod names;
#[cfg(test)]
mod plans;
mod queues;
mod recount;
mod remove;
mod remove_queue;
mod rows;
mod schedules;
mod settle;
mod sql;
mod stats;
mod uniques;
mod workers;

pub use by_hand::{cancel, redrive, retry};
pub use claim::{Claim, claim};
pub use due::{Limits, due, next_due};
pub use ends::Step;
pub use enqueue::enqueue_by_name;
pub use etags::etags;
pub use keys::lock_of as lock_of_key;
pub use list::{Filter, Place, list};
pub use log::log;
pub use names::{Named, Names};
pub use queues::{
    get as get_queue, list as list_queues, list_keys, pause, queued, types_of, update, update_key,
};
pub use recount::{Differences, correct, differences};
pub use remove::{Over, over, remove, remove_keys, remove_workers};
pub use remove_queue::{delete_queue, remove_types, unused_types};
pub use rows::{get, lock_of, state_of};
pub use schedules::{
    compute_again as compute_schedules_again, delete as delete_schedule, get as get_schedule,
    list as list_schedules, put as put_schedule,
};
pub use settle::settle;
pub use stats::{TypeNumbers, fold, forget_minutes, numbers};
pub use uniques::lock_of as lock_of_unique;
pub use workers::{Listed, Told, beat, list as list_workers, register, unregister};

/// The time of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the steady clock.
    pub us: i64,
    /// By the wall clock.
    pub wall_us: i64,
    /// Since when the sidecar runs without a pause, on the steady clock.
    pub running_since_us: i64,
    /// Until then holders that may have been cut off can report: no lease of an earlier claim ends, and no worker is taken for dead.
    pub hold_until_us: i64,
}

impl Now {
    /// Whether holders may have been cut off: the sidecar was just started, or its process was paused.
    pub fn is_holding(&self) -> bool {
        self.us < self.hold_until_us
    }

    /// Leases of earlier claims are kept.
    pub fn held_before_us(&self) -> i64 {
        if self.is_holding() { self.running_since_us } else { i64::MIN }
    }
}
