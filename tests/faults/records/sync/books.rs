//! Where all who call note what they did, and how the calls themselves went.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use pannier_proto::records::v1 as pb;
use tonic::Status;

use super::history::*;
use crate::load::cut_off_rightly;
use crate::records::wire::Version;

/// The history as it grows, shared by all who call.
#[derive(Default)]
pub(super) struct Books {
    history: Mutex<History>,
    unexpected: Mutex<Vec<String>>,
    tickets: AtomicU64,
    moments: AtomicU64,
    steps: AtomicU64,
    broken: AtomicU64,
}

impl Books {
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics with the books in hand")
    }

    /// A number that nothing else in the run has.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Now.
    pub(super) fn moment(&self) -> Moment {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes that one more step is done.
    pub(super) fn stepped(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Steps that were done so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Calls that were cut off so far.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Notes how a call failed. True: it was cut off, and nobody knows what it did.
    pub(super) fn is_cut_off(&self, status: &Status) -> bool {
        let is_cut_off = cut_off_rightly(status);
        self.broken.fetch_add(u64::from(is_cut_off), Ordering::Relaxed);
        is_cut_off
    }

    /// Notes what nobody should be answered.
    pub(super) fn unexpected(&self, what: String) {
        self.unexpected.lock().expect("nobody panics with it in hand").push(what);
    }

    /// All that nobody should have been answered.
    pub(super) fn all_unexpected(&self) -> Vec<String> {
        self.unexpected.lock().expect("nobody panics with it in hand").clone()
    }

    /// Notes a record that somebody saw.
    pub(super) fn saw(&self, collection: &str, record: &pb::Record, by: &'static str) {
        let name = (collection.to_owned(), record.key.clone());
        self.history().sightings.push(Sighting { name, version: Version::of(record), by });
    }
}
