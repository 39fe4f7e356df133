//! Readers of Changes and of Watch beside 16 writers: whatever is acknowledged is told, nothing is told twice by one chain of cursors,
//! though commits are slow and two sidecars write.

mod held;
mod ledger;
mod readers;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::wire::{self, Versions, everything, living};
use crate::calls::channel;
use crate::chance::Chance;
use crate::load::sound;
use crate::postgres::server::Server;
use crate::sidecar::{Launch, Place, Sidecar};
use crate::turn;
use ledger::Acknowledged;

/// Collections: half of the writers write to the first only, the others to any.
const COLLECTIONS: [&str; 3] = ["first", "second", "third"];
const WRITERS: u64 = 16;
/// Calls of each writer.
const CALLS: u64 = 40;
/// A run that takes longer than this does not come to its end.
const RUN_MAX: Duration = Duration::from_secs(180);

/// What all who take part have in common.
struct Ground {
    /// One connection to each sidecar, at least.
    channels: Vec<Channel>,
    acknowledged: BTreeMap<&'static str, Acknowledged>,
    /// All writers have ended.
    over: AtomicBool,
}

impl Ground {
    async fn of(sidecars: &[&Sidecar]) -> Arc<Self> {
        let mut channels = Vec::new();
        for _ in 0..2 {
            for sidecar in sidecars {
                channels.push(channel(sidecar).await);
            }
        }
        let mut client = wire::client(channels[0].clone());
        for collection in COLLECTIONS {
            wire::create(&mut client, collection).await;
        }
        let acknowledged = COLLECTIONS.into_iter().map(|name| (name, Acknowledged::default())).collect();
        Arc::new(Self { channels, acknowledged, over: AtomicBool::new(false) })
    }

    /// One of the connections.
    fn channel(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }

    fn client(&self, number: usize) -> wire::Client {
        wire::client(self.channel(number))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Lets them all write and read, and compares in the end.
async fn run(ground: &Arc<Ground>, chance: &mut Chance) {
    let mut readers = JoinSet::new();
    for (number, collection) in COLLECTIONS.into_iter().enumerate() {
        let client = |place: usize| ground.client(number + place);
        readers.spawn(readers::page(Arc::clone(ground), client(0), collection, chance.fork()));
        // A connection of its own, on another sidecar if there is one.
        readers.spawn(readers::page(Arc::clone(ground), client(1), collection, chance.fork()));
        readers.spawn(readers::watch(Arc::clone(ground), client(1), collection));
    }
    let mut writing = JoinSet::new();
    for number in 0..WRITERS {
        writing.spawn(writers::write(Arc::clone(ground), number, chance.fork()));
    }
    while let Some(ended) = writing.join_next().await {
        ended.expect("a writer writes");
    }
    ground.over.store(true, Ordering::SeqCst);
    let mut found = BTreeMap::new();
    for collection in COLLECTIONS {
        found.insert(collection, everything(&mut ground.client(0), collection).await);
    }
    while let Some(ended) = readers.join_next().await {
        let (collection, told) = ended.expect("a reader reads");
        compare(collection, &told.last, &found[collection], &ground.acknowledged[collection]);
        println!("{collection}: {} changes of {} keys told", told.count, told.last.len());
    }
    let all: usize = ground.acknowledged.values().map(Acknowledged::count).sum();
    println!("{all} changes acknowledged");
    assert!(all > (WRITERS * CALLS) as usize / 2, "too little was written to mean anything");
}

/// That what a reader was told last is what is there.
fn compare(collection: &str, told: &Versions, found: &Versions, acknowledged: &Acknowledged) {
    let told = living(told);
    let names = told.keys().chain(found.keys());
    let apart = names.filter(|key| told.get(*key) != found.get(*key));
    let apart: Vec<_> =
        apart.map(|key| format!("{key}: told {:?}, found {:?}", told.get(key), found.get(key))).collect();
    assert!(apart.is_empty(), "{collection}, {} acknowledged:\n{}", acknowledged.count(), apart.join("\n"));
}

/// A watch that has been told everything waits for one more message.
fn talkative(launch: Launch) -> Launch {
    launch.set("records.heartbeat_ms", 200)
}

async fn in_time(ground: &Arc<Ground>, chance: &mut Chance) {
    tokio::time::timeout(RUN_MAX, run(ground, chance)).await.expect("it comes to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_under_sixteen_writers_misses_and_repeats_nothing() {
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("changes under writers"));
    let place = Place::new();
    let mut sidecar = talkative(Launch::new(&place)).start().await;
    let ground = Ground::of(&[&sidecar]).await;
    in_time(&ground, &mut chance).await;
    sidecar.stop().await;
    sound(&place);
}

/// Two sidecars, and some commits take a while: those who come later could be told first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_with_two_sidecars_and_slow_commits() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("changes under writers on PostgreSQL"));
    let place = Place::new();
    let launch = |name: &str| {
        talkative(Launch::named(&place, name, &place.path(name))).database(&server.url("postgres"))
    };
    let (mut one, mut two) = (launch("one").start().await, launch("two").start().await);
    let ground = Ground::of(&[&one, &two]).await;
    held::slow_commits(&server).await;
    in_time(&ground, &mut chance).await;
    one.stop().await;
    two.stop().await;
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
