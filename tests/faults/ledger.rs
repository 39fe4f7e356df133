//! What was asked, what was acknowledged, and whether what is found afterwards can be explained by it.
//!
//! Every write has a ticket, and the value that it stores is a function of the ticket: what is read back names its write,
//! and a single changed byte shows. Writes to one key may overlap. What is found is right if it comes from a write (or is
//! the absence from before the first, or from a delete) after whose acknowledgement no other acknowledged write began.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::chance::Chance;

/// What is found under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    Absent,
    /// The value of the write with this ticket.
    Write(u64),
    /// Bytes that no write stored.
    Garbled(String),
}

/// What is found, by key.
pub(crate) type Findings = BTreeMap<String, Seen>;

/// What a write leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Its value.
    Put,
    /// Nothing.
    Delete,
}

/// How a write ended, as far as the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// No answer: it may have happened, and may yet happen.
    Open,
    /// Acknowledged at this tick.
    Acknowledged(u64),
    /// Refused with the promise that nothing was stored.
    Refused,
}

#[derive(Clone, Debug)]
struct Write {
    ticket: u64,
    effect: Effect,
    began: u64,
    outcome: Outcome,
}

impl Write {
    fn leaves(&self) -> Seen {
        match self.effect {
            Effect::Put => Seen::Write(self.ticket),
            Effect::Delete => Seen::Absent,
        }
    }
}

#[derive(Default)]
struct Books {
    clock: u64,
    tickets: u64,
    writes: BTreeMap<String, Vec<Write>>,
    /// The key of each ticket that may still change its outcome.
    open: BTreeMap<u64, String>,
    acknowledged: u64,
}

/// The books of one namespace, shared by all who write to it.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Books>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no writer panicked")
    }

    /// Notes that writes to these keys are about to be sent, as one. Their tickets follow one another.
    pub(crate) fn begin(&self, keys: &[String], effect: Effect) -> Vec<u64> {
        let mut books = self.books();
        books.clock += 1;
        let began = books.clock;
        let mut tickets = Vec::with_capacity(keys.len());
        for key in keys {
            books.tickets += 1;
            let ticket = books.tickets;
            let write = Write { ticket, effect, began, outcome: Outcome::Open };
            books.writes.entry(key.clone()).or_default().push(write);
            books.open.insert(ticket, key.clone());
            tickets.push(ticket);
        }
        tickets
    }

    /// Notes that writes which got no OK are about to be sent again, with the same tickets: the same request.
    pub(crate) fn begin_again(&self, keys: &[String], tickets: &[u64], effect: Effect) {
        let mut books = self.books();
        books.clock += 1;
        let began = books.clock;
        for (key, ticket) in keys.iter().zip(tickets) {
            let write = Write { ticket: *ticket, effect, began, outcome: Outcome::Open };
            books.writes.entry(key.clone()).or_default().push(write);
            books.open.insert(*ticket, key.clone());
        }
    }

    /// Notes that these writes were answered with OK.
    pub(crate) fn acknowledge(&self, tickets: &[u64]) {
        let mut books = self.books();
        books.clock += 1;
        let now = books.clock;
        books.acknowledged += tickets.len() as u64;
        books.end(tickets, Outcome::Acknowledged(now));
    }

    /// Notes that these writes were refused for good: to find them would be wrong.
    pub(crate) fn refuse(&self, tickets: &[u64]) {
        self.books().end(tickets, Outcome::Refused);
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.books().acknowledged
    }

    /// The keys that were written to since they were last settled.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let books = self.books();
        let changed = |writes: &Vec<Write>| writes.len() > 1 || writes.iter().any(|write| write.began > 0);
        books.writes.iter().filter(|(_, writes)| changed(writes)).map(|(key, _)| key.clone()).collect()
    }

    /// All keys that were ever written to.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.books().writes.keys().cloned().collect()
    }

    /// Compares what is found with the books, while no write is under way any more, and takes it as what must be found from
    /// now on. The answer tells what is wrong.
    pub(crate) fn settle(&self, findings: &Findings) -> Vec<String> {
        let mut books = self.books();
        let mut wrong = Vec::new();
        for (key, seen) in findings {
            let writes = books.writes.get(key).cloned().unwrap_or_default();
            if let Err(reason) = explain(&writes, seen) {
                wrong.push(format!("{key}: {reason}"));
            }
            for write in &writes {
                books.open.remove(&write.ticket);
            }
            let settled = match seen {
                Seen::Write(ticket) => (*ticket, Effect::Put),
                Seen::Absent | Seen::Garbled(_) => (0, Effect::Delete),
            };
            let write =
                Write { ticket: settled.0, effect: settled.1, began: 0, outcome: Outcome::Acknowledged(0) };
            books.writes.insert(key.clone(), vec![write]);
        }
        wrong
    }
}

impl Books {
    fn end(&mut self, tickets: &[u64], outcome: Outcome) {
        for ticket in tickets {
            let key = self.open.remove(ticket).expect("a write ends once, and before its key is settled");
            let writes = self.writes.get_mut(&key).expect("it was begun");
            let write = writes.iter_mut().rfind(|write| write.ticket == *ticket).expect("it was begun");
            write.outcome = outcome;
        }
    }
}

/// Whether `seen` may be there after these writes.
fn explain(writes: &[Write], seen: &Seen) -> Result<(), String> {
    let acknowledged = |write: &&Write| matches!(write.outcome, Outcome::Acknowledged(_));
    let last_began = writes.iter().filter(acknowledged).map(|write| write.began).max();
    let before_all = last_began.is_none() && *seen == Seen::Absent;
    let explained = writes.iter().filter(|write| write.leaves() == *seen).any(|write| match write.outcome {
        Outcome::Open => true,
        Outcome::Acknowledged(at) => last_began.is_none_or(|began| began <= at),
        Outcome::Refused => false,
    });
    if before_all || explained { Ok(()) } else { Err(format!("found {seen:?} after {writes:?}")) }
}

/// Whether keys that are only ever written together, in this order, were written whole.
pub(crate) fn whole(seen: &[Seen]) -> Result<(), String> {
    let batch = |(place, seen): (usize, &Seen)| match seen {
        Seen::Absent => Ok(None),
        Seen::Write(ticket) => Ok(Some(ticket.wrapping_sub(place as u64))),
        Seen::Garbled(what) => Err(format!("garbled: {what}")),
    };
    let batches = seen.iter().enumerate().map(batch).collect::<Result<Vec<_>, _>>()?;
    match batches.windows(2).position(|pair| pair[0] != pair[1]) {
        None => Ok(()),
        Some(place) => {
            Err(format!("a batch is there by half: its item {place} and the next are of two: {seen:?}"))
        }
    }
}

/// The value that the write with this ticket stores: every length from a few bytes to several pages, and of both kinds,
/// those that compress well and those that do not.
pub(crate) fn value_of(ticket: u64) -> Vec<u8> {
    let mut chance = Chance::new(ticket);
    let length = if chance.once_in(12) { 3_000 + chance.below(9_000) } else { chance.below(700) } as usize;
    let compresses = chance.once_in(2);
    let mut value = ticket.to_be_bytes().to_vec();
    while value.len() < length {
        let word = chance.next();
        value.extend(if compresses { (word & 0x0101).to_be_bytes() } else { word.to_be_bytes() });
    }
    value
}

/// Which write stored this value.
pub(crate) fn writer_of(value: &[u8]) -> Seen {
    let Some(head) = value.first_chunk::<8>() else {
        return Seen::Garbled(format!("{} bytes", value.len()));
    };
    let ticket = u64::from_be_bytes(*head);
    if value_of(ticket) == value {
        Seen::Write(ticket)
    } else {
        Seen::Garbled(format!("{} bytes that are not those of write {ticket}", value.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Vec<String> {
        vec!["k".to_owned()]
    }

    fn found(seen: Seen) -> Findings {
        Findings::from([("k".to_owned(), seen)])
    }

    fn put(ledger: &Ledger) -> u64 {
        ledger.begin(&key(), Effect::Put)[0]
    }

    #[test]
    fn a_lost_acknowledged_write_is_reported() {
        let ledger = Ledger::default();
        let ticket = put(&ledger);
        ledger.acknowledge(&[ticket]);
        assert_eq!(ledger.settle(&found(Seen::Absent)).len(), 1);
        let ticket = put(&ledger);
        ledger.acknowledge(&[ticket]);
        assert!(ledger.settle(&found(Seen::Write(ticket))).is_empty());
        assert_eq!(ledger.settle(&found(Seen::Absent)).len(), 1, "lost after it was seen");
    }

    #[test]
    fn an_overwritten_value_that_comes_back_is_reported() {
        let ledger = Ledger::default();
        let first = put(&ledger);
        ledger.acknowledge(&[first]);
        let second = put(&ledger);
        ledger.acknowledge(&[second]);
        assert_eq!(ledger.settle(&found(Seen::Write(first))).len(), 1);
    }

    #[test]
    fn writes_that_overlapped_may_have_either_order() {
        for winner in [0, 1] {
            let ledger = Ledger::default();
            let both = [put(&ledger), put(&ledger)];
            ledger.acknowledge(&both[..1]);
            ledger.acknowledge(&both[1..]);
            assert!(ledger.settle(&found(Seen::Write(both[winner]))).is_empty());
        }
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not() {
        let ledger = Ledger::default();
        let first = put(&ledger);
        ledger.acknowledge(&[first]);
        let second = put(&ledger);
        assert!(ledger.settle(&found(Seen::Write(second))).is_empty());
        let ledger = Ledger::default();
        put(&ledger);
        assert!(ledger.settle(&found(Seen::Absent)).is_empty());
    }

    #[test]
    fn a_refused_write_that_is_there_is_reported() {
        let ledger = Ledger::default();
        let ticket = put(&ledger);
        ledger.refuse(&[ticket]);
        assert_eq!(ledger.settle(&found(Seen::Write(ticket))).len(), 1);
    }

    #[test]
    fn a_delete_that_comes_undone_is_reported() {
        let ledger = Ledger::default();
        let ticket = put(&ledger);
        ledger.acknowledge(&[ticket]);
        let delete = ledger.begin(&key(), Effect::Delete);
        ledger.acknowledge(&delete);
        assert_eq!(ledger.settle(&found(Seen::Write(ticket))).len(), 1);
    }

    #[test]
    fn half_a_batch_is_reported() {
        assert!(whole(&[Seen::Write(5), Seen::Write(6), Seen::Write(7)]).is_ok());
        assert!(whole(&[Seen::Absent, Seen::Absent]).is_ok());
        assert!(whole(&[Seen::Write(5), Seen::Absent]).is_err());
        assert!(whole(&[Seen::Write(5), Seen::Write(9)]).is_err());
    }

    #[test]
    fn a_changed_bit_is_reported() {
        for ticket in 1..200 {
            let mut value = value_of(ticket);
            assert_eq!(writer_of(&value), Seen::Write(ticket));
            let last = value.len() - 1;
            value[last] ^= 1;
            assert!(matches!(writer_of(&value), Seen::Garbled(_)));
        }
    }
}
