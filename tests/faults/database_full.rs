//! A database that may not grow any more: refused with a reason, until something is deleted.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::Code;

use crate::calls::{Cache, Fault, cache, endless, look, put};
use crate::chance::Chance;
use crate::ledger::{Effect, Ledger};
use crate::load::sound;
use crate::sidecar::{Launch, Place};
use crate::turn;

const NAMESPACE: &str = "full";
const LIMIT: u64 = 4 << 20;

/// A put that takes several pages: noise, which does not compress.
fn large(key: &str, chance: &mut Chance) -> pb::PutRequest {
    let noise: Vec<u8> = (0..2_000).flat_map(|_| chance.next().to_be_bytes()).collect();
    let content = Some(pb::put_item::Content::Value(noise.into()));
    let item = pb::PutItem { key: key.to_owned(), content, ..Default::default() };
    pb::PutRequest { namespace: NAMESPACE.into(), item: Some(item), ..Default::default() }
}

/// Puts until the database is full; how many were taken.
async fn fill(client: &mut Cache, name: &str, chance: &mut Chance) -> u64 {
    for number in 0.. {
        let Err(status) = client.put(large(&format!("{name}/{number}"), chance)).await else {
            assert!(number * 16_000 < 2 * LIMIT, "the database holds twice what it may");
            continue;
        };
        let fault = Fault::expect(&status, Code::ResourceExhausted, "STORAGE_FULL");
        assert!(fault.retry.is_some(), "without RetryInfo: {fault:?}");
        return number;
    }
    unreachable!("the loop ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_refuses_puts_until_something_is_deleted() {
    let _turn = turn::shared().await;
    let mut chance = Chance::new(7);
    let place = Place::new();
    let launch =
        Launch::new(&place).set("storage.database_bytes_max", LIMIT).set("storage.checkpoint_bytes", 262_144);
    let mut sidecar = launch.start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;

    let ledger = Ledger::default();
    let small = ["small/1".to_owned(), "small/2".to_owned()];
    let tickets = ledger.begin(&small, Effect::Put);
    for (key, ticket) in small.iter().zip(&tickets) {
        client.put(put(NAMESPACE, key, *ticket, Durability::Full)).await.expect("there is room");
    }
    ledger.acknowledge(&tickets);

    let taken = fill(&mut client, "first", &mut chance).await;
    assert!(taken * 16_000 > LIMIT / 2, "full after {taken} puts");
    let size = std::fs::metadata(place.database()).expect("the database").len();
    assert!(size <= LIMIT, "the file has {size} bytes");

    for round in 0..3 {
        let request = pb::DeleteByPrefixRequest {
            namespace: NAMESPACE.into(),
            prefix: if round == 0 { "first/".into() } else { format!("round/{}/", round - 1) },
            ..Default::default()
        };
        let deleted = client.delete_by_prefix(request).await.expect("deleting needs no room").into_inner();
        assert!(deleted.deleted_count > 0 && !deleted.more, "{deleted:?}");
        let again = fill(&mut client, &format!("round/{round}"), &mut chance).await;
        assert!(again * 2 > taken, "round {round}: {again} puts after deleting what {taken} had put");
    }
    // A single delete makes room for a single put, by whichever call.
    let items =
        (0..8).map(|number| pb::DeleteItem { key: format!("round/2/{number}"), if_etag: None }).collect();
    let request = pb::DeleteRequest { namespace: NAMESPACE.into(), items, ..Default::default() };
    client.delete(request).await.expect("deleting needs no room");
    client.put(large("in its place", &mut chance)).await.expect("there is room again");

    sidecar.kill();
    sidecar = launch.start().await;
    let wrong = ledger.settle(&look(&mut cache(&sidecar).await, NAMESPACE, &small).await);
    assert!(wrong.is_empty(), "{wrong:?}");
    sidecar.stop().await;
    sound(&place);
}
