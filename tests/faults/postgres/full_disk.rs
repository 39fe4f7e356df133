//! The database's disk is full: nobody is told yes wrongly, and when there is room again all goes on by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::ENOSPC;
use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::{Code, Status};

use super::persist::{Callers, nothing_is_lost, prepare, serves_again};
use super::server::Server;
use crate::calls::{Cache, Fault, item, look, put};
use crate::chance::Chance;
use crate::ledger::{Effect, Ledger};
use crate::load::NAMESPACE;
use crate::shim::{Plan, RESIZES, Shim, WRITES};
use crate::sidecar::{LONG, Launch, Place};
use crate::turn;

/// When there is room again, calls succeed after so long.
const BACK: Duration = Duration::from_secs(2);
/// No room for anything.
const NO_ROOM: Plan = Plan { kinds: WRITES | RESIZES, error: ENOSPC, sticky: true, torn: false };
/// Items of a batch.
const BATCH: u64 = 200;
/// Calls that are refused before there is room again.
const REFUSED: usize = 20;

/// Whether a write was refused for lack of room, and nothing stored; otherwise it may come again. Nothing else is right.
fn full(status: &Status) -> bool {
    let fault = Fault::of(status).unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
    assert!(fault.retry.is_some(), "without RetryInfo: {fault:?}");
    match (fault.code, fault.reason.as_str()) {
        (Code::ResourceExhausted, "STORAGE_FULL") => true,
        (Code::Unavailable, "STORAGE_UNAVAILABLE") => false,
        _ => panic!("not the answer of a full disk: {fault:?}"),
    }
}

/// That it was refused in one of these ways.
fn either(status: &Status) {
    full(status);
}

/// Puts batches until so many were refused; tells how many of those for lack of room.
async fn fill(client: &mut Cache, ledger: &Ledger) -> usize {
    let mut refused = Vec::new();
    for number in 0.. {
        let keys: Vec<_> = (0..BATCH).map(|item| format!("fill/{number}/{item:03}")).collect();
        let tickets = ledger.begin(&keys, Effect::Put);
        let items = keys.iter().zip(&tickets).map(|(key, ticket)| item(key, *ticket)).collect();
        let durability = Durability::Full.into();
        let request =
            pb::BatchPutRequest { namespace: NAMESPACE.into(), items, durability, ..Default::default() };
        match tokio::time::timeout(LONG, client.batch_put(request)).await.expect("no call hangs") {
            Ok(_) => ledger.acknowledge(&tickets),
            Err(status) => {
                let is_full = full(&status);
                if is_full {
                    ledger.refuse(&tickets);
                }
                refused.push(is_full);
            }
        }
        if refused.len() == REFUSED {
            break;
        }
        assert!(number < 2_000, "the disk does not get full");
    }
    refused.into_iter().filter(|is_full| *is_full).count()
}

/// Fills the disk, makes room, and looks whether all is right.
async fn fills_and_recovers(server: &Server, fault: impl Fn(), mend: impl Fn()) {
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Ledger::default();
    let small: Vec<_> = (0..50).map(|number| format!("small/{number}")).collect();
    for key in &small {
        let tickets = ledger.begin(std::slice::from_ref(key), Effect::Put);
        client.put(put(NAMESPACE, key, tickets[0], Durability::Full)).await.expect("there is room");
        ledger.acknowledge(&tickets);
    }
    for round in 1..=2 {
        fault();
        let full = fill(&mut client, &ledger).await;
        println!("round {round}: {full} of {REFUSED} refusals say that the disk is full");
        assert!(full * 2 > REFUSED, "a full disk is not told as one:\n{}\n{}", sidecar.log(), server.log());
        let read = look(&mut client, NAMESPACE, &small).await;
        assert_eq!(read.len(), small.len(), "reads go on");
        nothing_is_lost(&mut client, &ledger, &ledger.keys(), "while the disk is full").await;
        mend();
        serves_again(&mut client, Instant::now(), BACK).await;
    }
    nothing_is_lost(&mut client, &ledger, &ledger.keys(), "with room again").await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_disk_that_is_full_refuses_writes_until_there_is_room() {
    let mut server = Server::made().await;
    let _turn = turn::shared().await;
    assert!(server.move_to_a_disk(), "needs leave to mount a file system: without it, --skip a_small_disk");
    server.start().await;
    fills_and_recovers(&server, || server.disk().leave_kib(2_048), || server.disk().leave_kib(65_536)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_cannot_grow_refuse_writes_until_they_can() {
    let mut server = Server::made().await;
    let _turn = turn::shared().await;
    let shim = Shim::build_in(&server.path(""));
    for (name, value) in shim.variables("/base/") {
        server.variable(name, value);
    }
    server.start().await;
    fills_and_recovers(&server, || shim.arm(NO_ROOM, 1), || shim.disarm()).await;
    assert!(shim.failed().is_some(), "no write of the database failed");
}

/// Without room for its WAL the server ends its processes rather than say yes, recovers, ends them again, and so on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_the_wal_nothing_acknowledged_is_lost() {
    let mut server = Server::made().await;
    let _turn = turn::shared().await;
    let shim = Shim::build_in(&server.path(""));
    for (name, value) in shim.variables("/pg_wal/") {
        server.variable(name, value);
    }
    server.start().await;
    let mut chance = Chance::new(Chance::seed_of_run("no room for the WAL"));
    let place = Place::new();
    let launch = Launch::new(&place).database(&server.url("postgres")).set("cache.memory_bytes_max", 0);
    let mut sidecar = launch.start().await;
    let mut client = prepare(&sidecar).await;
    let ledger = Arc::new(Ledger::default());
    for round in 1..=2 {
        let callers = Callers::of(&sidecar, &ledger, &mut chance, round).await;
        callers.are_served(50 + chance.below(100)).await;
        shim.arm(NO_ROOM, 1 + chance.below(20));
        callers.are_refused(200).await;
        shim.disarm();
        server.accepts_again().await;
        serves_again(&mut client, Instant::now(), BACK).await;
        callers.are_served(50).await;
        let refused = callers.end_with(either).await;
        println!("round {round}: {} calls failed", refused.len());
        nothing_is_lost(&mut client, &ledger, &ledger.keys(), &format!("round {round}")).await;
    }
    let panics = server.log().matches("PANIC:").count();
    assert!(panics >= 2, "a server that cannot write its WAL ends:\n{}", server.log());
    sidecar.stop().await;
}
