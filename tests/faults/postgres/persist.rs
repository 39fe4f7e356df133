//! Callers that go on while the database is away: they come again after a failure, and note it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use pb::put_item::Condition;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::calls::{Cache, Fault, cache, endless, put};
use crate::chance::Chance;
use crate::ledger::{Effect, Ledger};
use crate::load::{Manner, NAMESPACE, compare};
use crate::sidecar::{LONG, Sidecar, within};

/// A call that is answered later than this was not answered fast.
pub(super) const FAST: Duration = Duration::from_millis(300);
/// What a caller leaves between a failure and its next call.
const PAUSE: Duration = Duration::from_millis(10);
/// Who repeats each call with its request_id until it succeeds.
const INSISTING: u64 = 3;

/// A call that failed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) status: Status,
}

/// Callers of many kinds, until they are told to end.
pub(super) struct Callers {
    ending: watch::Sender<bool>,
    tasks: JoinSet<()>,
    notes: Arc<Notes>,
}

#[derive(Default)]
struct Notes(Mutex<(u64, Vec<Refused>)>);

impl Notes {
    /// Makes a call and notes how it went.
    async fn take<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Option<T> {
        let began = Instant::now();
        let result = tokio::time::timeout(LONG, call).await.expect("no call hangs");
        let mut notes = self.0.lock().expect("no caller panicked");
        notes.0 += 1;
        let refused = |status| Refused { began, ended: Instant::now(), status };
        result.map_err(|status| notes.1.push(refused(status))).ok()
    }
}

/// The namespace in which all of this happens.
pub(super) async fn prepare(sidecar: &Sidecar) -> Cache {
    let mut client = cache(sidecar).await;
    endless(&mut client, NAMESPACE).await;
    client
}

impl Callers {
    /// Sets them to work, on two connections.
    pub(super) async fn of(sidecar: &Sidecar, ledger: &Arc<Ledger>, chance: &mut Chance, round: u64) -> Self {
        let clients = [cache(sidecar).await, cache(sidecar).await];
        let (ending, ends) = watch::channel(false);
        let notes = Arc::<Notes>::default();
        let mut tasks = JoinSet::new();
        let manners = [
            Manner::Fresh(0, Durability::Full),
            Manner::Contested,
            Manner::Contested,
            Manner::Batches(0),
            Manner::Batches(1),
        ];
        let caller = |number: usize| Caller {
            client: clients[number % clients.len()].clone(),
            ledger: ledger.clone(),
            notes: notes.clone(),
            ends: ends.clone(),
            round,
        };
        for (number, manner) in manners.into_iter().enumerate() {
            tasks.spawn(caller(number).write(manner, chance.fork()));
        }
        for writer in 0..INSISTING {
            tasks.spawn(caller(writer as usize).insist(writer, chance.fork()));
        }
        tasks.spawn(caller(0).read());
        Self { ending, tasks, notes }
    }

    /// How many calls were made and how many of them failed, so far.
    pub(super) fn counts(&self) -> (u64, usize) {
        let notes = self.notes.0.lock().expect("no caller panicked");
        (notes.0, notes.1.len())
    }

    /// Waits until so many more calls have failed.
    pub(super) async fn are_refused(&self, more: usize) {
        let enough = self.counts().1 + more;
        let refused = within(LONG, || (self.counts().1 >= enough).then_some(())).await;
        refused.unwrap_or_else(|| panic!("only {:?} calls failed", self.counts()));
    }

    /// Waits until so many more calls have succeeded.
    pub(super) async fn are_served(&self, more: u64) {
        let served = || {
            let (calls, refused) = self.counts();
            calls - refused as u64
        };
        let enough = served() + more;
        let went_on = within(LONG, || (served() >= enough).then_some(())).await;
        went_on.unwrap_or_else(|| panic!("the callers were not served any more: {:?}", self.counts()));
    }

    /// Ends them all; answers with the calls that failed, each with the right answer.
    pub(super) async fn end(self) -> Vec<Refused> {
        self.end_with(unavailable).await
    }

    /// The same where other answers are right.
    pub(super) async fn end_with(mut self, is_right: fn(&Status)) -> Vec<Refused> {
        self.ending.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no caller panicked");
        }
        let refused = std::mem::take(&mut self.notes.0.lock().expect("no caller panicked").1);
        for call in &refused {
            is_right(&call.status);
        }
        refused
    }
}

/// That a call was told to come again because the database is away.
pub(super) fn unavailable(status: &Status) {
    let fault = Fault::expect(status, Code::Unavailable, "STORAGE_UNAVAILABLE");
    assert!(fault.retry.is_some(), "without RetryInfo: {fault:?}");
}

/// That each of these was answered within `bound`, and those that fell between `known` and `over` fast.
pub(super) fn in_time(refused: &[Refused], bound: Duration, known: Instant, over: Instant) {
    let took = |call: &Refused| call.ended - call.began;
    let slowest = refused.iter().map(took).max().unwrap_or_default();
    let meanwhile = refused.iter().filter(|call| call.began > known && call.ended < over);
    let later = meanwhile.clone().map(took).max().unwrap_or_default();
    println!(
        "{} calls failed, within {slowest:?}; once known, {} within {later:?}",
        refused.len(),
        meanwhile.count()
    );
    assert!(slowest < bound, "a call failed only after {slowest:?}");
    assert!(later < FAST, "though the outage was known a call failed only after {later:?}");
}

/// That puts succeed again before `limit` has passed since `back`.
pub(super) async fn serves_again(client: &mut Cache, back: Instant, limit: Duration) {
    loop {
        let request = put(NAMESPACE, "again", 1, Durability::Full);
        match tokio::time::timeout(LONG, client.put(request)).await.expect("no call hangs") {
            Ok(_) => break,
            Err(status) => unavailable(&status),
        }
        assert!(back.elapsed() < limit, "no service {:?} after the database is back", back.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    println!("served {:?} after the database is back", back.elapsed());
    assert!(back.elapsed() < limit, "served only {:?} after the database is back", back.elapsed());
}

/// That what was acknowledged is there, and nothing by half.
pub(super) async fn nothing_is_lost(client: &mut Cache, ledger: &Ledger, keys: &[String], when: &str) {
    let wrong = compare(client, ledger, keys).await;
    assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
}

struct Caller {
    client: Cache,
    ledger: Arc<Ledger>,
    notes: Arc<Notes>,
    ends: watch::Receiver<bool>,
    round: u64,
}

impl Caller {
    fn is_over(&self) -> bool {
        *self.ends.borrow()
    }

    /// Writes; what failed is left as it is.
    async fn write(mut self, manner: Manner, mut chance: Chance) {
        for number in 0.. {
            if self.is_over() {
                return;
            }
            let call = manner.write(&mut self.client, &self.ledger, &mut chance, (self.round, number));
            if self.notes.take(call).await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Writes keys that are not there yet, on that condition, and repeats each put as it was until it succeeds. A put that
    /// was applied before and is not known as such would be answered with ENTRY_EXISTS.
    async fn insist(mut self, writer: u64, mut chance: Chance) {
        for number in 0.. {
            let keys = [format!("once/{}/{writer}/{number}", self.round)];
            let tickets = self.ledger.begin(&keys, Effect::Put);
            let request = put_once(&keys[0], tickets[0], &mut chance);
            loop {
                if self.is_over() {
                    return;
                }
                if self.notes.take(self.client.put(request.clone())).await.is_some() {
                    self.ledger.acknowledge(&tickets);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn read(mut self) {
        while !self.is_over() {
            let request = pb::GetRequest {
                namespace: NAMESPACE.into(),
                key: "contested/0".into(),
                ..Default::default()
            };
            if self.notes.take(self.client.get(request)).await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A put that may be repeated, of a key that is not there yet.
pub(super) fn put_once(key: &str, ticket: u64, chance: &mut Chance) -> pb::PutRequest {
    let mut request = put(NAMESPACE, key, ticket, Durability::Full);
    request.item.as_mut().expect("an item").condition = Some(Condition::IfAbsent(true));
    let bits = u128::from(chance.next()) << 64 | u128::from(chance.next());
    request.request_id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string();
    request
}
