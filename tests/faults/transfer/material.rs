//! Cache entries of every kind, leases and kept answers, to be moved.

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use pb::put_item::{Content, Expiry};

use crate::calls::{Cache, endless};
use crate::chance::Chance;

/// Without limits.
pub(super) const MANY: &str = "many";
/// With limits of its own.
pub(super) const LIMITED: &str = "limited";
/// Kinds of entries.
const KINDS: u64 = 9;
/// Parts of keys that are handled wrongly easily.
const ODD: [&str; 9] = [
    "plain",
    "",
    "\u{1}\t\n\r\u{1F}",
    "\"\\/{}",
    "é e\u{301}",
    "\u{1F600}\u{10FFFF}",
    "\u{7F}\u{80}",
    "\u{FFFF}",
    "'; --",
];

pub(super) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// The key of an entry.
pub(super) fn key(number: u64) -> String {
    format!("{}/{number}", ODD[(number / KINDS) as usize % ODD.len()])
}

/// An entry; its number decides its kind.
pub(super) fn item(number: u64) -> pb::PutItem {
    let mut chance = Chance::new(number);
    let mut noise = |bytes: u64| -> Vec<u8> { (0..bytes).map(|_| chance.next() as u8).collect() };
    let value = |bytes: Vec<u8>| Some(Content::Value(bytes.into()));
    let plain = pb::PutItem { key: key(number), content: value(noise(40)), ..Default::default() };
    match number % KINDS {
        0 => plain,
        1 => pb::PutItem { content: value(vec![number as u8; 20_000]), ..plain },
        2 => pb::PutItem { content: value(noise(3_000)), ..plain },
        3 => pb::PutItem { content: value(Vec::new()), ..plain },
        4 => pb::PutItem {
            content: Some(Content::Negative(pb::NegativeEntry {
                error_code: "GONE".into(),
                error_message: if number.is_multiple_of(2) { "n'est plus là".into() } else { String::new() },
            })),
            ..plain
        },
        5 => pb::PutItem {
            tags: vec!["all".into(), "é\u{1F600}".into(), format!("t{}", number % 7)],
            ..plain
        },
        6 => pb::PutItem {
            metadata_json: format!("{{\"n\": {number}, \"nul\": \"\\u0000\", \"x\": 1.50}}"),
            content_type: "text/plain; charset=\"ü\"".into(),
            ..plain
        },
        7 => pb::PutItem {
            expiry: Some(Expiry::Ttl(seconds(86_400))),
            stale_window: Some(seconds(600)),
            ..plain
        },
        _ => pb::PutItem { expiry: Some(Expiry::NeverExpires(true)), tags: vec!["all".into()], ..plain },
    }
}

/// Puts the entries of these numbers into [`MANY`], which is made.
pub(super) async fn put_all(client: &mut Cache, numbers: std::ops::Range<u64>) {
    endless(client, MANY).await;
    let numbers: Vec<u64> = numbers.collect();
    for part in numbers.chunks(1_000) {
        put_batch(client, part.iter().map(|number| item(*number)).collect()).await;
    }
}

/// Puts entries into [`MANY`] in one call.
pub(super) async fn put_batch(client: &mut Cache, items: Vec<pb::PutItem>) {
    let durability = Durability::Relaxed.into();
    let request = pb::BatchPutRequest { namespace: MANY.into(), items, durability, ..Default::default() };
    let results = client.batch_put(request).await.expect("a batch").into_inner().results;
    let is_put =
        |result: &pb::BatchPutResult| matches!(result.outcome, Some(pb::batch_put_result::Outcome::Put(_)));
    assert!(results.iter().all(is_put), "{:?}", results.iter().find(|result| !is_put(result)));
}

/// Makes [`LIMITED`], with a value for every one of its columns.
pub(super) async fn limited_namespace(client: &mut Cache) {
    let namespace = pb::Namespace {
        name: LIMITED.into(),
        entries_max: i64::MAX,
        bytes_max: i64::MAX - 1,
        default_expiry: Some(pb::namespace::DefaultExpiry::DefaultTtl(seconds(3_600))),
        default_stale_window: Some(seconds(60)),
        eviction: pb::EvictionPolicy::Ttl.into(),
        durability: Durability::Relaxed.into(),
        ..Default::default()
    };
    let request = pb::UpdateNamespaceRequest { namespace: Some(namespace), ..Default::default() };
    client.update_namespace(request).await.expect("a namespace");
}

/// A put that carries a request id, and its answer.
pub(super) type Kept = (pb::PutRequest, pb::PutResponse);

/// Puts with request ids, whose answers the sidecar keeps.
pub(super) async fn put_with_request_ids(client: &mut Cache, count: u64) -> Vec<Kept> {
    let mut kept = Vec::new();
    for number in 0..count {
        let request = pb::PutRequest {
            namespace: MANY.into(),
            item: Some(pb::PutItem { key: format!("kept/{number}"), ..item(number) }),
            request_id: format!("0198c0de-0000-7000-8000-{number:012x}"),
            ..Default::default()
        };
        kept.push((request.clone(), client.put(request).await.expect("a put").into_inner()));
    }
    kept
}

/// A request for a lease on a key that is not there.
pub(super) fn lease(number: u64) -> pb::GetOrLeaseRequest {
    pb::GetOrLeaseRequest {
        namespace: MANY.into(),
        key: format!("leased/{number}"),
        lease_ttl: Some(seconds(300)),
        wait_max: Some(seconds(0)),
    }
}

/// Takes leases; gives their tokens.
pub(super) async fn take_leases(client: &mut Cache, count: u64) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..count {
        let answer = client.get_or_lease(lease(number)).await.expect("an answer").into_inner();
        tokens.push(answer.lease.expect("a lease").token);
    }
    tokens
}
