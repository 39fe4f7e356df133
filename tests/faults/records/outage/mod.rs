//! The two-week outage in small: a client that queued 500 mutations meets a server with 5,000 changes; both touched 50 documents.
//! Afterwards both sides agree, the 50 are told, and pushing it all once more changes nothing.

mod away;
mod office;

use std::collections::{BTreeMap, BTreeSet};

use pannier_proto::records::v1 as pb;
use pb::SyncOutcome;
use tonic::Code;

use super::wire::{self, Client, Version, Versions, all_changes, everything, living, value};
use crate::calls::{Fault, channel};
use crate::chance::Chance;
use crate::load::sound;
use crate::postgres::server::Server;
use crate::sidecar::{Launch, Place, Sidecar};
use crate::turn;
use away::Away;
use office::Office;

const COLLECTION: &str = "notes";
/// Documents that both sides touch.
const CONTESTED: usize = 50;
/// Mutations of the client that was away.
const MUTATIONS: usize = 500;
/// Changes on the server meanwhile.
const CHANGES: usize = 5_000;
/// Documents that were there before.
const BEFORE: usize = 1_500;
/// Changes of a page that is pulled.
const PAGE: i32 = 170;

/// The sidecar, which may be killed, and who calls it.
struct Scene {
    launch: Launch,
    sidecar: Sidecar,
    client: Client,
}

impl Scene {
    async fn of(launch: Launch) -> Self {
        let sidecar = launch.start().await;
        let client = wire::client(channel(&sidecar).await);
        Self { launch, sidecar, client }
    }

    async fn kill_and_start(&mut self) {
        self.sidecar.kill();
        self.sidecar = self.launch.start().await;
        self.client = wire::client(channel(&self.sidecar).await);
    }

    /// Pushes a part of what was queued, without a word on what was received before.
    async fn push(&mut self, away: &Away, from: usize, count: usize) -> Vec<pb::SyncResult> {
        let mutations = away.queued[from..from + count].to_vec();
        let ids: Vec<i64> = mutations.iter().map(|mutation| mutation.mutation_id).collect();
        let request = pb::SyncRequest { client_id: away.client_id.clone(), mutations, ..Default::default() };
        let answer = self.client.sync(request).await.expect("a push").into_inner();
        assert_eq!(answer.client_id, away.client_id);
        let answered: Vec<i64> = answer.results.iter().map(|result| result.mutation_id).collect();
        assert_eq!(answered, ids, "one result for each, in the order given");
        assert!(answer.last_mutation_id >= *ids.last().expect("something is pushed"));
        answer.results
    }

    /// Pulls page by page until there is no more; answers with what was told, each key once.
    async fn pull(&mut self, away: &mut Away) -> usize {
        let mut told = BTreeSet::new();
        loop {
            let pull = pb::SyncPull { collection: COLLECTION.into(), cursor: away.cursor.clone() };
            let request = pb::SyncRequest {
                client_id: away.client_id.clone(),
                pulls: vec![pull],
                page_size: PAGE,
                ..Default::default()
            };
            let answer = self.client.sync(request).await.expect("a pull").into_inner();
            away.client_id = answer.client_id;
            let page = &answer.pulls[0];
            assert_eq!((answer.pulls.len(), page.collection.as_str(), &page.error), (1, COLLECTION, &None));
            assert!(page.changes.len() <= PAGE as usize, "{} changes of a page", page.changes.len());
            for record in &page.changes {
                assert!(told.insert(record.key.clone()), "{} is told twice though nobody writes", record.key);
                away.learn(record);
            }
            away.cursor = page.cursor.clone();
            if !page.more {
                return told.len();
            }
        }
    }
}

/// What the client was told of its mutations: that it is what was to be expected, and the documents in conflict.
fn judge(
    away: &mut Away,
    office: &Office,
    results: &BTreeMap<i64, pb::SyncResult>,
) -> BTreeMap<String, Option<Version>> {
    let (mut conflicts, mut last) = (BTreeMap::new(), 0);
    for mutation in &away.queued {
        let result = &results[&mutation.mutation_id];
        let (id, key) = (mutation.mutation_id, &mutation.key);
        if away.expected.contains_key(&id) {
            assert_eq!(result.outcome(), SyncOutcome::Applied, "{id} of {key}: {result:?}");
            assert!(result.revision > last, "{id} of {key}: {} after {last}", result.revision);
            last = result.revision;
            away.made.get_mut(key).expect("it was expected").revision = last;
            assert_eq!((&result.record, &result.error), (&None, &None), "{id} of {key}");
            continue;
        }
        assert_eq!(result.outcome(), SyncOutcome::Conflict, "{id} of {key}: {result:?}");
        assert!(!result.record_left_off, "{id} of {key}: there was room");
        let record = result.record.as_ref().unwrap_or_else(|| panic!("{id} of {key}: without the record"));
        assert_eq!(&record.key, key);
        assert_eq!(Version::of(record), office.versions[key], "{id} of {key}: the server's document");
        conflicts.insert(key.clone(), Some(Version::of(record)));
    }
    conflicts
}

/// That what is stored is what the office and the client made, nothing else.
fn assert_made(stored: &Versions, office: &Office, away: &Away) {
    let mut made = office.versions.clone();
    made.extend(away.made.clone());
    let made = living(&made);
    let keys = |versions: &Versions| versions.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(stored), keys(&made));
    for (key, version) in stored {
        assert_eq!(version.revision, made[key].revision, "{key}");
        let (text, expected) =
            (version.text.as_ref().expect("alive"), made[key].text.as_ref().expect("alive"));
        if away.patched.contains(key) {
            assert_eq!(value(text), value(expected), "{key}");
        } else {
            assert_eq!(text, expected, "{key}: byte for byte");
        }
    }
}

async fn outage(launch: Launch, chance: &mut Chance) {
    let mut scene = Scene::of(launch).await;
    wire::create(&mut scene.client, COLLECTION).await;
    let mut office = Office::opened(&mut scene.client).await;
    let mut away = Away::default();
    scene.pull(&mut away).await;
    assert_eq!(living(&away.store), office.versions, "the client starts with what is there");

    // Two weeks.
    away.works(&office, chance);
    let before = away.cursor.clone();
    office.works(&mut scene.client, chance).await;
    let touched = |key: &&String| office.touched.contains(*key);
    let both: BTreeSet<String> = away.touched().iter().filter(touched).cloned().collect();
    assert_eq!((away.queued.len(), office.changes, both.len()), (MUTATIONS, CHANGES, CONTESTED));

    // It is back: it pushes in parts; the answer to one is lost, the sidecar is killed, and what was lost comes in other parts.
    let mut results = BTreeMap::new();
    let (mut next, mut parts) = (0, 0);
    while next < MUTATIONS {
        let count = (40 + chance.below(80) as usize).min(MUTATIONS - next);
        let part = scene.push(&away, next, count).await;
        if parts == 1 {
            scene.kill_and_start().await;
            let back = 1 + chance.below(39) as usize;
            let (first, again) = (next - back, back + count / 2);
            let repeated = scene.push(&away, first, again).await;
            assert_same(&repeated[back..], &part[..count / 2]);
            results.extend(repeated.into_iter().map(|result| (result.mutation_id, result)));
            next += count / 2;
        } else {
            results.extend(part.into_iter().map(|result| (result.mutation_id, result)));
            next += count;
        }
        parts += 1;
    }
    let conflicts = judge(&mut away, &office, &results);
    assert_eq!(conflicts.keys().cloned().collect::<BTreeSet<_>>(), both, "the 50, no more and no fewer");

    // Both sides agree.
    let pulled = scene.pull(&mut away).await;
    let stored = everything(&mut scene.client, COLLECTION).await;
    assert_eq!(living(&away.store), stored, "both sides agree, byte for byte");
    assert_made(&stored, &office, &away);
    for (key, conflict) in &conflicts {
        assert_eq!(away.store.get(key), conflict.as_ref(), "{key}: what was told of the conflict");
    }
    let missed: BTreeSet<&String> = office.touched.iter().chain(away.made.keys()).collect();
    assert_eq!(pulled, missed.len(), "each document that was changed is told once");
    let (fresh, _) = all_changes(&mut scene.client, COLLECTION, "").await;
    let fresh: Versions = fresh.iter().map(|record| (record.key.clone(), Version::of(record))).collect();
    assert_eq!(living(&fresh), stored, "one that begins anew agrees as well");
    let (again, _) = all_changes(&mut scene.client, COLLECTION, &before).await;
    assert_eq!(again.len(), missed.len(), "and so does one that was away all the time");

    pushing_it_all_again_changes_nothing(&mut scene, &mut away, &results, chance).await;
    println!(
        "{} mutations, {} changes, {} conflicts in {} results, {pulled} documents told in pages of {PAGE}",
        away.queued.len(),
        office.changes,
        conflicts.len(),
        away.queued.len() - away.expected.len()
    );
    assert!(!scene.sidecar.log().contains("panicked"), "{}", scene.sidecar.log());
    scene.sidecar.stop().await;
}

/// That these results are those.
fn assert_same(again: &[pb::SyncResult], first: &[pb::SyncResult]) {
    assert_eq!(again.len(), first.len());
    for (again, first) in again.iter().zip(first) {
        assert_eq!(again, first, "mutation {} came again", first.mutation_id);
    }
}

async fn pushing_it_all_again_changes_nothing(
    scene: &mut Scene,
    away: &mut Away,
    results: &BTreeMap<i64, pb::SyncResult>,
    chance: &mut Chance,
) {
    let stored = everything(&mut scene.client, COLLECTION).await;
    let first: Vec<pb::SyncResult> = results.values().cloned().collect();
    // In one part, in two, and one by one.
    let middle = 1 + chance.below(MUTATIONS as u64 - 1) as usize;
    let mut partitions = vec![vec![0, MUTATIONS], vec![0, middle, MUTATIONS]];
    partitions.push((0..=60).chain([MUTATIONS]).collect());
    for partition in partitions {
        let mut again = Vec::new();
        for bounds in partition.windows(2) {
            again.extend(scene.push(away, bounds[0], bounds[1] - bounds[0]).await);
        }
        assert_same(&again, &first);
        scene.kill_and_start().await;
    }
    nothing_changed(scene, away, &stored).await;

    // Once acknowledged they are forgotten: what comes again is refused, and still changes nothing.
    let acknowledge = pb::SyncRequest {
        client_id: away.client_id.clone(),
        last_mutation_id: MUTATIONS as i64,
        ..Default::default()
    };
    let answer = scene.client.sync(acknowledge.clone()).await.expect("an acknowledgement").into_inner();
    assert_eq!((answer.last_mutation_id, answer.results.len()), (MUTATIONS as i64, 0));
    let late = pb::SyncRequest { mutations: away.queued.clone(), last_mutation_id: 0, ..acknowledge };
    let status = scene.client.sync(late).await.expect_err("outcomes that were forgotten");
    Fault::expect(&status, Code::FailedPrecondition, "SYNC_OUT_OF_ORDER");
    let info = tonic_types::StatusExt::get_details_error_info(&status).expect("its details");
    let expected = (MUTATIONS + 1).to_string();
    assert_eq!(info.metadata.get("expected_mutation_id"), Some(&expected), "{status:?}");
    nothing_changed(scene, away, &stored).await;
}

async fn nothing_changed(scene: &mut Scene, away: &mut Away, stored: &Versions) {
    let (changes, _) = all_changes(&mut scene.client, COLLECTION, &away.cursor).await;
    assert!(changes.is_empty(), "changes after the cursor of before: {changes:?}");
    assert_eq!(scene.pull(away).await, 0, "nor does a pull tell any");
    assert_eq!(
        &everything(&mut scene.client, COLLECTION).await,
        stored,
        "documents and revisions are as they were"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_away_for_two_weeks_and_the_server_agree() {
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("two weeks away"));
    let place = Place::new();
    outage(Launch::new(&place), &mut chance).await;
    sound(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_away_for_two_weeks_and_postgresql_agree() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    let mut chance = Chance::new(Chance::seed_of_run("two weeks away from PostgreSQL"));
    let place = Place::new();
    outage(Launch::new(&place).database(&server.url("postgres")), &mut chance).await;
    assert!(!server.log().contains("deadlock detected"), "{}", server.log());
}
