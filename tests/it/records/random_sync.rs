//! Two clients and a server that write to the same keys, in random order and with lost answers, against a model.

use std::collections::{BTreeMap, HashMap, HashSet};

use pannier_proto::records::v1 as pb;
use pannier_proto::records::v1::SyncOutcome;
use pannier_proto::records::v1::sync_mutation::{Base, What};

use super::calls::{mutation, pull};
use super::documents::with_collection;
use crate::harness::Pannier;

const SEEDS: u64 = 4;
const STEPS: usize = 250;
const KEYS: u64 = 6;

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What the model has under a key.
#[derive(Clone, Debug)]
struct Standing {
    revision: i64,
    document: Option<String>,
    origin: Option<(usize, i64)>,
}

/// The server as it should be.
#[derive(Default)]
struct Model {
    records: BTreeMap<String, Standing>,
    last_revision: i64,
    /// Deletions that found nothing.
    nothing: HashSet<(usize, i64)>,
}

impl Model {
    fn write(&mut self, key: &str, document: Option<String>, origin: Option<(usize, i64)>) -> i64 {
        self.last_revision += 1;
        let revision = self.last_revision;
        self.records.insert(key.to_owned(), Standing { revision, document, origin });
        revision
    }

    fn apply(&mut self, client: usize, mutation: &pb::SyncMutation) -> (SyncOutcome, i64) {
        let standing = self.records.get(&mutation.key).cloned();
        let live = standing.as_ref().and_then(|standing| standing.document.clone());
        if mutation.what == Some(What::Delete(true)) && live.is_none() {
            self.nothing.insert((client, mutation.mutation_id));
            return (SyncOutcome::Applied, 0);
        }
        let holds = match mutation.base {
            None => true,
            Some(Base::Absent(_)) => live.is_none(),
            Some(Base::Revision(revision)) => standing.is_some_and(|standing| standing.revision == revision),
            Some(Base::AfterMutationId(id)) if self.nothing.contains(&(client, id)) => live.is_none(),
            Some(Base::AfterMutationId(id)) => {
                standing.is_some_and(|standing| standing.origin == Some((client, id)))
            }
        };
        let document = match mutation.what.clone().unwrap() {
            What::PutJson(document) => Some(document),
            What::Delete(_) => None,
            // All documents are {"n":…}, and all patches replace that.
            What::PatchJson(patch) | What::ReplaceJson(patch) => match &live {
                Some(_) => Some(patch),
                None => return (SyncOutcome::Conflict, 0),
            },
        };
        if !holds {
            return (SyncOutcome::Conflict, 0);
        }
        (SyncOutcome::Applied, self.write(&mutation.key, document, Some((client, mutation.mutation_id))))
    }

    fn live(&self) -> BTreeMap<String, (i64, String)> {
        let live = self.records.iter().filter_map(|(key, standing)| {
            Some((key.clone(), (standing.revision, standing.document.clone()?)))
        });
        live.collect()
    }
}

/// A client that is offline most of the time.
struct Client {
    number: usize,
    id: String,
    cursor: String,
    /// What it has been told: revisions and documents, of deletions as well.
    copy: HashMap<String, (i64, Option<String>)>,
    /// Everything it ever did, and what the model says became of it.
    done: Vec<pb::SyncMutation>,
    outcomes: Vec<(SyncOutcome, i64)>,
    received: usize,
}

impl Client {
    async fn new(pannier: &Pannier, number: usize) -> Self {
        let id = pannier.sync_client().await;
        let (copy, done, outcomes) = (HashMap::new(), Vec::new(), Vec::new());
        Self { number, id, cursor: String::new(), copy, done, outcomes, received: 0 }
    }

    fn change(&mut self, chance: &mut Chance) {
        let key = format!("k{}", chance.below(KEYS));
        let id = i64::try_from(self.done.len()).unwrap() + 1;
        let own = self.done[self.received..].iter().rev().find(|earlier| earlier.key == key);
        let base = match (chance.below(8), own, self.copy.get(&key)) {
            (0, ..) => None,
            (_, Some(own), _) => Some(Base::AfterMutationId(own.mutation_id)),
            (_, None, Some((revision, _))) => Some(Base::Revision(*revision)),
            (_, None, None) => Some(Base::Absent(true)),
        };
        let document = format!(r#"{{"n":{}}}"#, chance.below(1_000));
        let what = match chance.below(4) {
            0 => What::Delete(true),
            1 => What::PatchJson(document),
            _ => What::PutJson(document),
        };
        self.done.push(mutation(id, &key, base, what));
    }

    async fn push(&mut self, pannier: &Pannier, model: &mut Model, chance: &mut Chance) {
        // From anything that is not acknowledged and no gap away, to anything.
        let from = self.received + pick(chance, self.outcomes.len() - self.received);
        let to = from + pick(chance, self.done.len() - from);
        for pushed in self.outcomes.len()..to {
            self.outcomes.push(model.apply(self.number, &self.done[pushed]));
        }
        let acknowledged = i64::try_from(self.received).unwrap();
        let answer = pannier.push(&self.id, acknowledged, self.done[from..to].to_vec()).await.unwrap();
        let outcomes: Vec<_> =
            answer.results.iter().map(|result| (result.outcome(), result.revision)).collect();
        assert_eq!(outcomes, self.outcomes[from..to], "{:?}", &self.done[from..to]);
        for (result, mutation) in answer.results.iter().zip(&self.done[from..to]) {
            if result.outcome() == SyncOutcome::Conflict {
                let standing = model.records.get(&mutation.key);
                let told = result.record.as_ref().map(|record| record.revision);
                assert_eq!(told, standing.map(|standing| standing.revision));
            }
        }
        // Half of the answers are lost.
        if from == self.received && chance.below(2) == 0 {
            self.received = to;
        }
    }

    async fn pull(&mut self, pannier: &Pannier) {
        loop {
            let request = pb::SyncRequest {
                client_id: self.id.clone(),
                last_mutation_id: i64::try_from(self.received).unwrap(),
                pulls: vec![pull(&self.cursor)],
                page_size: 3,
                ..Default::default()
            };
            let page = pannier.try_sync(request).await.unwrap().pulls.pop().unwrap();
            for record in page.changes {
                let document = (!record.deleted).then_some(record.document_json);
                let former = self.copy.insert(record.key, (record.revision, document));
                assert!(former.is_none_or(|(revision, _)| revision < record.revision), "told twice");
            }
            self.cursor = page.cursor;
            if !page.more {
                return;
            }
        }
    }
}

/// A number up to `max`.
fn pick(chance: &mut Chance, max: usize) -> usize {
    usize::try_from(chance.below(u64::try_from(max).unwrap() + 1)).unwrap()
}

async fn run(seed: u64) {
    let pannier = with_collection().await;
    let (mut chance, mut model) = (Chance(seed), Model::default());
    let mut clients = [Client::new(&pannier, 0).await, Client::new(&pannier, 1).await];
    for _ in 0..STEPS {
        let client = &mut clients[usize::try_from(chance.below(2)).unwrap()];
        match chance.below(10) {
            0..5 => client.change(&mut chance),
            5 | 6 => client.push(&pannier, &mut model, &mut chance).await,
            7 => client.pull(&pannier).await,
            _ => {
                let key = format!("k{}", chance.below(KEYS));
                let live = model.records.get(&key).is_some_and(|standing| standing.document.is_some());
                if live && chance.below(2) == 0 {
                    assert_eq!(pannier.delete_record(&key).await, model.write(&key, None, None));
                } else {
                    let document =
                        format!(r#"{{"n":{},"by":"server"}}"#, model.records.len() * 1_000 + STEPS);
                    let is_same =
                        model.records.get(&key).is_some_and(|now| now.document.as_ref() == Some(&document));
                    let revision = pannier.put_record(&key, &document).await;
                    if !is_same {
                        assert_eq!(revision, model.write(&key, Some(document), None));
                    }
                }
            }
        }
    }
    for client in &mut clients {
        client.pull(&pannier).await;
        let copy = client
            .copy
            .iter()
            .filter_map(|(key, (revision, document))| Some((key.clone(), (*revision, document.clone()?))));
        assert_eq!(copy.collect::<BTreeMap<_, _>>(), model.live());
    }
    let conflicts = clients.iter().flat_map(|client| &client.outcomes);
    assert!(conflicts.filter(|(outcome, _)| *outcome == SyncOutcome::Conflict).count() > 0);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a run that fails shows its seed")]
async fn outcomes_and_copies_are_those_of_the_model() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        run(seed).await;
    }
}
