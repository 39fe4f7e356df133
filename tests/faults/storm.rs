//! A storm of calls with tiny deadlines, resets and vanishing connections: it costs the honest callers nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status};

use crate::calls::{Cache, Fault, cache, endless, item, look, metric, put};
use crate::chance::{Chance, parameter};
use crate::ledger::{Effect, Ledger};
use crate::load::sound;
use crate::sidecar::{LONG, Launch, Place, Sidecar};
use crate::turn;

const NAMESPACE: &str = "storm";
/// Calls, unless `PANNIER_STORM_CALLS` says otherwise.
const CALLS: u64 = 10_000;
const CONNECTIONS: usize = 6;
const CALLERS_PER_CONNECTION: usize = 8;
/// Keys that all callers share.
const KEYS: u64 = 300;
/// Items of a batch.
const BATCH: u64 = 20;

/// How a caller treats its call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Temper {
    /// Waits for the answer.
    Honest,
    /// Sends a deadline.
    Hurried(Duration),
    /// Sends none and drops the call.
    Fickle(Duration),
}

impl Temper {
    fn pick(chance: &mut Chance) -> Self {
        // Half of the times are such that the call is just under way.
        let span = if chance.once_in(2) { 4_000 } else { 50_000 };
        let time = Duration::from_micros(chance.below(span));
        match chance.below(10) {
            0 => Self::Honest,
            1..=5 => Self::Hurried(time),
            _ => Self::Fickle(time),
        }
    }

    /// Makes the call; nothing if it was dropped.
    async fn make<T, R>(
        self,
        message: T,
        call: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
    ) -> Option<Result<R, Status>> {
        let mut request = Request::new(message);
        if let Self::Hurried(deadline) = self {
            request.set_timeout(deadline);
        }
        let answer = match self {
            Self::Fickle(patience) => tokio::time::timeout(patience, call(request)).await.ok()?,
            _ => tokio::time::timeout(LONG, call(request)).await.expect("no call hangs"),
        };
        Some(answer.map(Response::into_inner))
    }
}

/// What came of the storm.
#[derive(Default)]
struct Tally {
    left: AtomicU64,
    answered: AtomicU64,
    dropped: AtomicU64,
    late: AtomicU64,
}

impl Tally {
    /// Counts an outcome; an answer if it was OK. An error that the caller did not ask for by its temper is a fault.
    fn count<R>(&self, temper: Temper, outcome: Option<Result<R, Status>>) -> Option<R> {
        match outcome {
            None => self.dropped.fetch_add(1, Ordering::Relaxed),
            Some(Ok(answer)) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return Some(answer);
            }
            Some(Err(status)) => {
                let hurried = matches!(temper, Temper::Hurried(_));
                // The client's own clock ends a call with CANCELLED, the sidecar's with DEADLINE_EXCEEDED.
                let late = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
                assert!(hurried && late, "{temper:?}: {status:?}");
                let by_sidecar = Fault::of(&status).is_none_or(|fault| fault.reason == "DEADLINE_EXCEEDED");
                assert!(by_sidecar, "{status:?}");
                self.late.fetch_add(1, Ordering::Relaxed)
            }
        };
        None
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

async fn call_in_haste(mut client: Cache, ledger: Arc<Ledger>, tally: Arc<Tally>, mut chance: Chance) {
    while tally.take() {
        let temper = Temper::pick(&mut chance);
        match chance.below(10) {
            0..=3 => put_one(&mut client, &ledger, &tally, temper, &mut chance).await,
            4..=5 => put_batch(&mut client, &ledger, &tally, temper, &mut chance).await,
            6..=7 => {
                let message = pb::GetRequest {
                    namespace: NAMESPACE.into(),
                    key: key(&mut chance),
                    ..Default::default()
                };
                let outcome = temper.make(message, async |request| client.get(request).await).await;
                tally.count(temper, outcome);
            }
            _ => get_or_lease(&mut client, &ledger, &tally, temper, &mut chance).await,
        }
    }
}

fn key(chance: &mut Chance) -> String {
    format!("key/{}", chance.below(KEYS))
}

async fn put_one(client: &mut Cache, ledger: &Ledger, tally: &Tally, temper: Temper, chance: &mut Chance) {
    let key = key(chance);
    let tickets = ledger.begin(std::slice::from_ref(&key), Effect::Put);
    let message = put(NAMESPACE, &key, tickets[0], Durability::Full);
    let outcome = temper.make(message, async |request| client.put(request).await).await;
    if tally.count(temper, outcome).is_some() {
        ledger.acknowledge(&tickets);
    }
}

async fn put_batch(client: &mut Cache, ledger: &Ledger, tally: &Tally, temper: Temper, chance: &mut Chance) {
    let first = chance.below(KEYS);
    let keys: Vec<_> = (0..BATCH).map(|place| format!("key/{}", (first + place) % KEYS)).collect();
    let tickets = ledger.begin(&keys, Effect::Put);
    let items = keys.iter().zip(&tickets).map(|(key, ticket)| item(key, *ticket)).collect();
    let message = pb::BatchPutRequest { namespace: NAMESPACE.into(), items, ..Default::default() };
    let outcome = temper.make(message, async |request| client.batch_put(request).await).await;
    if tally.count(temper, outcome).is_some() {
        ledger.acknowledge(&tickets);
    }
}

/// Asks for a lease on keys that others ask for too, and fills it half of the times.
async fn get_or_lease(
    client: &mut Cache,
    ledger: &Ledger,
    tally: &Tally,
    temper: Temper,
    chance: &mut Chance,
) {
    let key = format!("leased/{}", chance.below(KEYS));
    // An honest caller does not wait for a lease that a fickle one has forgotten.
    let wait = if temper == Temper::Honest { 0 } else { 5 };
    let message = pb::GetOrLeaseRequest {
        namespace: NAMESPACE.into(),
        key: key.clone(),
        lease_ttl: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }),
        wait_max: Some(prost_types::Duration { seconds: wait, nanos: 0 }),
    };
    let outcome = temper.make(message, async |request| client.get_or_lease(request).await).await;
    let lease = tally.count(temper, outcome).and_then(|answer| answer.lease);
    let Some(lease) = lease.filter(|_| chance.once_in(2)) else { return };
    let tickets = ledger.begin(std::slice::from_ref(&key), Effect::Put);
    let mut message = put(NAMESPACE, &key, tickets[0], Durability::Full);
    message.item.as_mut().expect("an item").lease_token = lease.token;
    match temper.make(message, async |request| client.put(request).await).await {
        Some(Err(status)) if Fault::of(&status).is_some_and(|fault| fault.reason == "LEASE_LOST") => {
            ledger.refuse(&tickets);
        }
        outcome => {
            if tally.count(temper, outcome).is_some() {
                ledger.acknowledge(&tickets);
            }
        }
    }
}

/// Connects, starts calls and vanishes, again and again, until the storm is over.
async fn come_and_go(address: String, tally: Arc<Tally>, mut chance: Chance) {
    while tally.left.load(Ordering::Relaxed) > 0 {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let mut client = crate::calls::client(endpoint.connect().await.expect("the sidecar accepts"));
        let mut calls = JoinSet::new();
        for _ in 0..4 {
            // Reads only, on a key of its own: what becomes of them is nobody's business.
            let message = pb::GetOrLeaseRequest {
                namespace: NAMESPACE.into(),
                key: "nobody".into(),
                wait_max: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
                ..Default::default()
            };
            let mut client = client.clone();
            calls.spawn(async move { client.get_or_lease(message).await.map(drop) });
        }
        let message =
            pb::GetRequest { namespace: NAMESPACE.into(), key: key(&mut chance), ..Default::default() };
        client.get(message).await.expect("an honest read on a connection that is about to vanish");
        calls.abort_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancellations_costs_honest_callers_nothing() {
    let _turn = turn::alone().await;
    let mut chance = Chance::new(Chance::seed_of_run("cancellation storm"));
    let place = Place::new();
    let launch = Launch::new(&place).set("cache.memory_bytes_max", 65_536);
    let mut sidecar = launch.start().await;
    let ledger = Arc::new(Ledger::default());
    let tally = Arc::new(Tally::default());
    tally.left.store(parameter("PANNIER_STORM_CALLS").unwrap_or(CALLS), Ordering::Relaxed);

    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(cache(&sidecar).await);
    }
    endless(&mut clients[0], NAMESPACE).await;
    let mut callers = JoinSet::new();
    for client in &clients {
        for _ in 0..CALLERS_PER_CONNECTION {
            let (ledger, tally) = (Arc::clone(&ledger), Arc::clone(&tally));
            callers.spawn(call_in_haste(client.clone(), ledger, tally, chance.fork()));
        }
    }
    callers.spawn(come_and_go(sidecar.grpc(), Arc::clone(&tally), chance.fork()));
    while let Some(caller) = callers.join_next().await {
        caller.unwrap_or_else(|error| panic!("{error}\n{}", sidecar.log()));
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (answered, late, dropped) = (count(&tally.answered), count(&tally.late), count(&tally.dropped));
    println!("{answered} answered, {late} late, {dropped} dropped");
    assert!(answered > 0 && late > 100 && dropped > 100, "that was no storm");

    answers_at_once(&mut clients, &ledger).await;
    unharmed(&sidecar);
    let keys = ledger.keys();
    let before = look(&mut clients[0], NAMESPACE, &keys).await;
    let wrong = ledger.settle(&before);
    assert!(wrong.is_empty(), "after the storm:\n{}", wrong.join("\n"));

    sidecar.kill();
    sidecar = launch.start().await;
    let wrong = ledger.settle(&look(&mut cache(&sidecar).await, NAMESPACE, &keys).await);
    assert!(wrong.is_empty(), "after the storm and a kill:\n{}", wrong.join("\n"));
    sidecar.stop().await;
    sound(&place);
}

/// Every connection that the storm went over works, and works at once. The puts also come after all that the storm left in
/// the writer's queue.
async fn answers_at_once(clients: &mut [Cache], ledger: &Ledger) {
    for (number, client) in clients.iter_mut().enumerate() {
        let keys = [format!("after/{number}")];
        let tickets = ledger.begin(&keys, Effect::Put);
        let began = Instant::now();
        client.put(put(NAMESPACE, &keys[0], tickets[0], Durability::Full)).await.expect("an honest put");
        ledger.acknowledge(&tickets);
        let took = began.elapsed();
        assert!(
            took < Duration::from_millis(500),
            "connection {number}: a put after the storm took {took:?}"
        );
    }
}

/// The storage saw nothing of it.
fn unharmed(sidecar: &Sidecar) {
    for name in ["pannier_storage_faults_total", "pannier_storage_autocommit_violations_total"] {
        assert_eq!(metric(sidecar, name), Some(0.0), "{name}");
    }
    for line in sidecar.log().lines() {
        let line = line.to_lowercase();
        assert!(!line.contains("panicked") && !line.contains("autocommit"), "{line}");
    }
}
