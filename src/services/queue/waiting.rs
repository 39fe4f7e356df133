//! Claims that wait for tasks, in the order they came. Whoever queues a task calls one of them for each; the others sleep on.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// The claims that wait, by the names of their queues.
pub struct Waiting {
    lines: Mutex<HashMap<String, BTreeMap<u64, Arc<Place>>>>,
    next_number: AtomicU64,
    /// How many tickets there are: the common call finds zero and takes no lock.
    tickets: AtomicUsize,
    tickets_max: usize,
}

/// One that waits.
struct Place {
    /// Its place in the line, which it keeps when it was called in vain.
    number: u64,
    /// The names of the types it wants; none: all.
    types: Vec<String>,
    called: Notify,
    /// The type that it was called for and has not looked for yet.
    call: Mutex<Option<String>>,
}

/// The right to be called. A call that it has not followed goes to the next when it is dropped.
pub struct Ticket {
    waiting: Arc<Waiting>,
    queue: String,
    place: Arc<Place>,
}

impl Waiting {
    /// At most so many may wait.
    pub fn new(tickets_max: u64) -> Arc<Self> {
        let tickets_max = usize::try_from(tickets_max).unwrap_or(usize::MAX);
        Arc::new(Self {
            lines: Mutex::default(),
            next_number: AtomicU64::new(0),
            tickets: AtomicUsize::new(0),
            tickets_max,
        })
    }

    /// Takes a place at the end of the line. Take it first, then look, then wait.
    pub fn enter(self: &Arc<Self>, queue: &str, types: &[String]) -> Result<Ticket> {
        let within = |count: usize| (count < self.tickets_max).then_some(count + 1);
        if self.tickets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, within).is_err() {
            return Err(Error::Overloaded { setting: "queue.claims_waiting_max" });
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let place =
            Arc::new(Place { number, types: types.to_vec(), called: Notify::new(), call: Mutex::new(None) });
        let ticket = Ticket { waiting: self.clone(), queue: queue.to_owned(), place };
        ticket.stand();
        Ok(ticket)
    }

    /// Calls as many of those who want tasks of a type as there are new tasks.
    pub fn call(&self, queue: &str, type_name: &str, count: i64) {
        if self.tickets.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(queue) else { return };
        let mut left = count;
        line.retain(|_, place| {
            if left <= 0 || !place.wants(type_name) {
                return true;
            }
            left -= 1;
            *place.call.lock().unwrap_or_else(PoisonError::into_inner) = Some(type_name.to_owned());
            place.called.notify_one();
            false
        });
        if line.is_empty() {
            lines.remove(queue);
        }
    }

    /// The queues that anybody waits for.
    pub fn queues(&self) -> Vec<String> {
        if self.tickets.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Place {
    fn wants(&self, type_name: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|name| name == type_name)
    }
}

impl Ticket {
    /// Waits to be called.
    pub async fn called(&self) {
        self.place.called.notified().await;
    }

    /// To be said before looking again: the call is followed, and the next one will be for what comes after the look.
    pub fn follow(&self) {
        let call = self.place.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        if call.is_some() {
            self.stand();
        }
    }

    fn stand(&self) {
        let mut lines = self.waiting.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(self.queue.clone()).or_default().insert(self.place.number, self.place.clone());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        {
            let mut lines = self.waiting.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = lines.get_mut(&self.queue) {
                line.remove(&self.place.number);
                if line.is_empty() {
                    lines.remove(&self.queue);
                }
            }
        }
        self.waiting.tickets.fetch_sub(1, Ordering::SeqCst);
        let call = self.place.call.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(type_name) = call {
            self.waiting.call(&self.queue, &type_name, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_called(ticket: &Ticket) -> bool {
        ticket.called().now_or_never().is_some()
    }

    #[test]
    fn one_is_called_for_each_task_the_first_who_wants_it_first() {
        let waiting = Waiting::new(10);
        let tickets = ["a", "b", "a", "a"].map(|name| waiting.enter("q", &[name.to_owned()]).unwrap());
        waiting.call("q", "a", 2);
        assert_eq!(tickets.each_ref().map(is_called), [true, false, true, false]);
        waiting.call("other", "a", 1);
        assert!(!is_called(&tickets[3]));
        waiting.call("q", "a", 5);
        assert!(is_called(&tickets[3]));
    }

    #[test]
    fn a_call_that_was_not_followed_goes_to_the_next() {
        let waiting = Waiting::new(10);
        let (first, second) = (waiting.enter("q", &[]).unwrap(), waiting.enter("q", &[]).unwrap());
        waiting.call("q", "a", 1);
        drop(first);
        assert!(is_called(&second));
        second.follow();
        assert!(!is_called(&second));
        waiting.call("q", "b", 1);
        assert!(is_called(&second), "it stands in line again");
        second.follow();
        drop(second);
        assert!(waiting.queues().is_empty());
    }

    #[test]
    fn one_who_was_called_in_vain_keeps_its_place() {
        let waiting = Waiting::new(10);
        let tickets = [(); 3].map(|()| waiting.enter("q", &[]).unwrap());
        waiting.call("q", "a", 1);
        tickets[0].follow();
        assert!(is_called(&tickets[0]));
        waiting.call("q", "a", 1);
        assert_eq!(tickets.each_ref().map(is_called), [true, false, false]);
    }

    #[test]
    fn no_more_wait_than_may() {
        let waiting = Waiting::new(1);
        let ticket = waiting.enter("q", &[]).unwrap();
        assert!(waiting.enter("q", &[]).is_err());
        drop(ticket);
        assert!(waiting.enter("q", &[]).is_ok());
    }
}
