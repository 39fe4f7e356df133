//! A run: two clients and a writer, and one who kills the sidecars; in several parts, after each of which all agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::books::Books;
use super::checker::{self, Finding};
use super::device::Device;
use super::history::*;
use super::writer::Writer;
use crate::chance::Chance;
use crate::fleet::Fleet;
use crate::records::wire::{self, Version, all_changes, everything};
use crate::sidecar::Launch;

/// Keys of each collection: few, so that all meet at them.
const KEYS: u64 = 25;
const COLLECTIONS: [&str; 2] = ["notes", "tags"];
/// Parts of a run.
const PARTS: u64 = 3;
/// One that takes longer than this does not come to its end: for all of it, and for each kill.
const RUN_MAX: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(15));
const CLIENTS: usize = 2;

/// How much of everything.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Steps of each client and of the writer, in each part.
    pub(super) steps: u64,
    /// Kills of sidecars, in all parts together.
    pub(super) kills: u64,
}

/// What all who take part have in common.
pub(super) struct Ground {
    pub(super) fleet: Fleet,
    pub(super) books: Books,
    pub(super) collections: Vec<String>,
}

impl Ground {
    /// Any record.
    pub(super) fn name(&self, chance: &mut Chance) -> Name {
        let collection = self.collections[chance.below(self.collections.len() as u64) as usize].clone();
        (collection, format!("k{:02}", chance.below(KEYS)))
    }
}

/// Runs it all and judges what came of it.
pub(super) async fn run(plan: Plan, launches: Vec<Launch>, mut chance: Chance) {
    let ground = Arc::new(Ground {
        fleet: Fleet::started(launches, Arc::new(())).await,
        books: Books::default(),
        collections: COLLECTIONS.map(str::to_owned).to_vec(),
    });
    let mut client = wire::client(ground.fleet.channel(0).await);
    for collection in &ground.collections {
        wire::create(&mut client, collection).await;
    }
    ground.books.history().mutations = vec![Vec::new(); CLIENTS];
    let began = Instant::now();
    let ended =
        tokio::time::timeout(RUN_MAX.0 + RUN_MAX.1 * plan.kills as u32, parts(plan, &ground, &mut chance))
            .await;
    if ended.is_err() {
        panic!("it does not come to its end:\n{}\n{}", judged(&ground), ground.fleet.log().await);
    }
    let told = judged(&ground);
    tell(plan, &ground, began.elapsed());
    assert!(told.is_empty(), "{told}");
    let log = ground.fleet.log().await;
    assert!(!log.contains("panicked"), "{log}");
    ground.fleet.stop().await;
}

async fn parts(plan: Plan, ground: &Arc<Ground>, chance: &mut Chance) {
    let mut devices: Vec<Device> =
        (0..CLIENTS).map(|number| Device::new(number, ground, chance.fork())).collect();
    let mut writer = Writer::new(ground, chance.fork());
    for device in &mut devices {
        // They are there from the beginning, so that they are told of all deletions.
        device.pull_all().await;
    }
    for part in 1..=PARTS {
        let kills = plan.kills * part / PARTS - plan.kills * (part - 1) / PARTS;
        let [first, second] = &mut devices[..] else { unreachable!("there are two") };
        tokio::join!(
            first.work(plan.steps),
            second.work(plan.steps),
            writer.work(plan.steps),
            kill(kills, plan.steps, ground, chance)
        );
        tokio::join!(first.settle(), second.settle());
        tokio::join!(first.pull_all(), second.pull_all());
        all_agree(ground, &devices, part).await;
    }
    // What was answered is still there after one more kill.
    for post in 0..ground.fleet.size() {
        ground.fleet.kill_and_start(post, chance).await;
    }
    all_agree(ground, &devices, PARTS + 1).await;
}

/// Spreads kills over the work, not over the time: so there are as many on a slow machine.
async fn kill(kills: u64, steps: u64, ground: &Ground, chance: &mut Chance) {
    let all = steps * (CLIENTS as u64 + 1);
    let before = ground.books.steps();
    let mut moments: Vec<u64> = (0..kills).map(|_| before + chance.below(all * 9 / 10)).collect();
    moments.sort_unstable();
    for moment in moments {
        while ground.books.steps() < moment {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let post = chance.below(ground.fleet.size() as u64) as usize;
        ground.fleet.kill_and_start(post, chance).await;
    }
}

/// That both clients and the server hold the same, byte for byte; and notes it as what is found.
async fn all_agree(ground: &Ground, devices: &[Device], part: u64) {
    let mut client = wire::client(ground.fleet.channel(0).await);
    let (mut server, mut order) = (BTreeMap::new(), Vec::new());
    for collection in &ground.collections {
        let name = |key: &String| (collection.clone(), key.clone());
        let stored = everything(&mut client, collection).await;
        server.extend(stored.iter().map(|(key, version)| (name(key), version.clone())));
        let (told, _) = all_changes(&mut client, collection, "").await;
        order.extend(told.iter().filter(|record| !record.deleted).map(|record| name(&record.key)));
    }
    let alive = |version: &&Version| version.text.is_some();
    let held = |device: &Device| -> BTreeMap<Name, Version> {
        let store = device.store.iter().filter(|(_, version)| alive(version));
        store.map(|(name, version)| (name.clone(), version.clone())).collect()
    };
    {
        let mut history = ground.books.history();
        history.found = devices[0].store.clone();
        history.order = order.clone();
    }
    for (number, device) in devices.iter().enumerate() {
        let apart = differences(&held(device), &server, ground);
        assert!(
            apart.is_empty(),
            "part {part}: client {number} and the server differ\n{}\n{}",
            apart,
            judged(ground)
        );
    }
    assert_eq!(devices[0].store, devices[1].store, "part {part}: tombstones of both clients");
    order.sort_unstable();
    assert_eq!(order, server.into_keys().collect::<Vec<_>>(), "part {part}: changes from the beginning");
}

fn differences(held: &BTreeMap<Name, Version>, server: &BTreeMap<Name, Version>, ground: &Ground) -> String {
    let names = held.keys().chain(server.keys());
    let mut apart: Vec<&Name> = names.filter(|name| held.get(*name) != server.get(*name)).collect();
    apart.dedup();
    let tell = |name: &&Name| {
        let story = ground.books.history().tell(name).join("\n    ");
        format!("{name:?}: it has {:?}, the server {:?}\n    {story}\n", held.get(*name), server.get(*name))
    };
    apart.iter().take(4).map(tell).collect()
}

/// What is wrong so far; nothing: all is as promised.
fn judged(ground: &Ground) -> String {
    const SHOWN: usize = 6;
    let (history, missing) = ground.books.history().counted();
    let findings = checker::check(&history);
    let mut told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    // The shortest stories first.
    told.sort_by_key(String::len);
    told.truncate(SHOWN);
    told.extend(
        missing
            .iter()
            .take(SHOWN)
            .map(|(collection, number)| format!("{collection}: nobody made {number}\n")),
    );
    told.extend(ground.books.all_unexpected());
    if findings.is_empty() {
        told.concat()
    } else {
        format!("{} findings\n{}", findings.len(), told.join("\n"))
    }
}

/// Says how much there was of everything, and that it was enough to mean something.
fn tell(plan: Plan, ground: &Ground, took: Duration) {
    let history = ground.books.history();
    let made: usize = history.mutations.iter().map(Vec::len).sum();
    let fates = history.fates();
    let outcomes = || fates.values().map(|fate| &fate.outcomes).filter(|told| !told.is_empty());
    let count = |is: fn(&Outcome) -> bool| outcomes().filter(|told| is(told[0])).count();
    let applied = count(|outcome| matches!(outcome, Outcome::Applied(_)));
    let conflicts = count(|outcome| *outcome == Outcome::Conflict);
    let rejected = count(|outcome| matches!(outcome, Outcome::Rejected(_)));
    let again = outcomes().filter(|told| told.len() > 1).count();
    let unknown = history.pushes.iter().filter(|push| push.answer.is_none()).count();
    println!(
        "{} kills: {made} mutations ({applied} applied, {conflicts} conflicts, {rejected} rejected; {again} answered several times) in {} \
         pushes ({unknown} without an answer), {} direct writes, {} sightings, {} calls cut off, in {took:?}",
        plan.kills,
        history.pushes.len(),
        history.writes.len(),
        history.sightings.len(),
        ground.books.broken(),
    );
    assert!(
        applied > made / 10 && conflicts > made / 50 && rejected > 0,
        "too much of one kind to mean anything"
    );
    assert!(again > made / 20 && unknown > 0, "too little came again to mean anything");
}
