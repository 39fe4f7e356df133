//! Writers that go on until they are cut off, and what must be there afterwards.

use std::sync::Arc;

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::calls::{Cache, Fault, cache, item, look, put};
use crate::chance::Chance;
use crate::ledger::{Effect, Ledger, Seen, whole};
use crate::sidecar::{Place, Sidecar};

/// The namespace of all of this.
pub(crate) const NAMESPACE: &str = "load";
/// Keys that all writers fight for.
const CONTESTED: u64 = 24;
/// Batches that are written over and over, by writer.
const BATCHES: u64 = 6;
/// Items of each.
pub(crate) const BATCH_ITEMS: u64 = 25;
/// Writers of batches.
const BATCH_WRITERS: u64 = 2;

/// What a writer writes.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// New keys only, by this writer.
    Fresh(u64, Durability),
    /// Keys that others write to at the same time; now and then it deletes one.
    Contested,
    /// Whole batches, by this writer.
    Batches(u64),
}

/// Sets writers to work on two connections.
pub(crate) async fn set_to_work(
    sidecar: &Sidecar,
    ledger: &Arc<Ledger>,
    chance: &mut Chance,
    round: u64,
) -> JoinSet<Status> {
    let clients = [cache(sidecar).await, cache(sidecar).await];
    let manners = [
        Manner::Fresh(0, Durability::Full),
        Manner::Fresh(1, Durability::Full),
        Manner::Fresh(2, Durability::Relaxed),
        Manner::Contested,
        Manner::Contested,
        Manner::Contested,
        Manner::Batches(0),
        Manner::Batches(1),
    ];
    let mut writers = JoinSet::new();
    for (number, manner) in manners.into_iter().enumerate() {
        let client = clients[number % clients.len()].clone();
        writers.spawn(write_until_cut_off(client, Arc::clone(ledger), manner, chance.fork(), round));
    }
    writers
}

/// Writes until a call fails; tells how.
async fn write_until_cut_off(
    mut client: Cache,
    ledger: Arc<Ledger>,
    manner: Manner,
    mut chance: Chance,
    round: u64,
) -> Status {
    for number in 0.. {
        if let Err(status) = manner.write(&mut client, &ledger, &mut chance, (round, number)).await {
            return status;
        }
    }
    unreachable!("a writer is cut off sooner or later")
}

impl Manner {
    /// Makes one call: the one of this number in this round.
    pub(crate) async fn write(
        self,
        client: &mut Cache,
        ledger: &Ledger,
        chance: &mut Chance,
        (round, number): (u64, u64),
    ) -> Result<(), Status> {
        match self {
            Self::Fresh(writer, durability) => {
                let key = format!("fresh/{round}/{writer}/{number}");
                put_one(client, ledger, key, durability).await
            }
            Self::Contested => {
                let key = format!("contested/{}", chance.below(CONTESTED));
                if chance.once_in(5) {
                    delete_one(client, ledger, key).await
                } else {
                    put_one(client, ledger, key, Durability::Full).await
                }
            }
            Self::Batches(writer) => put_batch(client, ledger, batch(writer, number % BATCHES)).await,
        }
    }
}

async fn put_one(
    client: &mut Cache,
    ledger: &Ledger,
    key: String,
    durability: Durability,
) -> Result<(), Status> {
    let tickets = ledger.begin(std::slice::from_ref(&key), Effect::Put);
    client.put(put(NAMESPACE, &key, tickets[0], durability)).await?;
    ledger.acknowledge(&tickets);
    Ok(())
}

async fn delete_one(client: &mut Cache, ledger: &Ledger, key: String) -> Result<(), Status> {
    let tickets = ledger.begin(std::slice::from_ref(&key), Effect::Delete);
    let items = vec![pb::DeleteItem { key, if_etag: None }];
    let durability = Durability::Full.into();
    client
        .delete(pb::DeleteRequest { namespace: NAMESPACE.into(), items, durability, ..Default::default() })
        .await?;
    ledger.acknowledge(&tickets);
    Ok(())
}

async fn put_batch(client: &mut Cache, ledger: &Ledger, keys: Vec<String>) -> Result<(), Status> {
    let tickets = ledger.begin(&keys, Effect::Put);
    let items: Vec<_> = keys.iter().zip(&tickets).map(|(key, ticket)| item(key, *ticket)).collect();
    let request = pb::BatchPutRequest {
        namespace: NAMESPACE.into(),
        items,
        durability: Durability::Full.into(),
        ..Default::default()
    };
    let results = client.batch_put(request).await?.into_inner().results;
    let stored =
        |result: &pb::BatchPutResult| matches!(result.outcome, Some(pb::batch_put_result::Outcome::Put(_)));
    assert!(results.len() == keys.len() && results.iter().all(stored), "{results:?}");
    ledger.acknowledge(&tickets);
    Ok(())
}

/// The keys of a batch.
fn batch(writer: u64, number: u64) -> Vec<String> {
    (0..BATCH_ITEMS).map(|item| format!("batch/{writer}/{number}/{item:02}")).collect()
}

/// That a writer was cut off by the end of the process, and not by an answer that the process had no reason for.
pub(crate) fn cut_off_rightly(status: &Status) -> bool {
    match Fault::of(status) {
        Some(fault) => fault.code == Code::Unavailable && fault.reason == "SHUTTING_DOWN",
        None => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled),
    }
}

/// Compares these keys with the books, and the batches with themselves. Tells what is wrong.
pub(crate) async fn compare(client: &mut Cache, ledger: &Ledger, keys: &[String]) -> Vec<String> {
    let findings = look(client, NAMESPACE, keys).await;
    let mut wrong = ledger.settle(&findings);
    for writer in 0..BATCH_WRITERS {
        for number in 0..BATCHES {
            let batch = batch(writer, number);
            let seen: Vec<Seen> = look(client, NAMESPACE, &batch).await.into_values().collect();
            wrong.extend(whole(&seen).err().map(|reason| format!("{}: {reason}", batch[0])));
        }
    }
    wrong
}

/// That the file of a stopped sidecar is sound.
pub(crate) fn sound(place: &Place) {
    let database = rusqlite::Connection::open(place.database()).expect("the database opens");
    let verdict: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(verdict, "ok");
}
