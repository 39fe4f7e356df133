//! Who reads: page by page, or on a stream.

use std::sync::Arc;

use pannier_proto::records::v1 as pb;

use super::Ground;
use super::ledger::Told;
use crate::chance::Chance;
use crate::records::wire::{Client, Version, changes};
use crate::sidecar::LONG;

/// Changes of a page, at most.
const PAGE_MAX: u64 = 12;

fn take(told: &mut Told, collection: &str, page: &[pb::Record]) {
    for record in page {
        let taken = told.take(&record.key, Version::of(record));
        taken.unwrap_or_else(|wrong| panic!("{collection}: {wrong}"));
    }
}

/// Pages until all writers have ended and there is no more.
pub(super) async fn page(
    ground: Arc<Ground>,
    mut client: Client,
    collection: &'static str,
    mut chance: Chance,
) -> (&'static str, Told) {
    let (mut told, mut cursor) = (Told::default(), String::new());
    loop {
        let is_over = ground.is_over();
        let before = ground.acknowledged[collection].count();
        let size = 1 + chance.below(PAGE_MAX) as i32;
        let page = tokio::time::timeout(LONG, changes(&mut client, collection, &cursor, size)).await;
        let page = page.expect("no call hangs").expect("changes");
        assert!(page.changes.len() <= size as usize, "{} changes of a page of {size}", page.changes.len());
        assert!(!page.more || !page.changes.is_empty(), "there is more, and nothing is told");
        take(&mut told, collection, &page.changes);
        cursor = page.cursor;
        if !page.more {
            told.has_all(&ground.acknowledged[collection], before)
                .unwrap_or_else(|wrong| panic!("{collection}: missed: {wrong}"));
            if is_over {
                return (collection, told);
            }
        }
    }
}

/// Watches until all writers have ended and all that they were told is told here too. Half way the stream is closed, and another one
/// goes on from its last cursor.
pub(super) async fn watch(
    ground: Arc<Ground>,
    mut client: Client,
    collection: &'static str,
) -> (&'static str, Told) {
    let (mut told, mut cursor) = (Told::default(), String::new());
    let acknowledged = &ground.acknowledged[collection];
    let mut messages = 0;
    while !(ground.is_over() && told.has_all(acknowledged, acknowledged.count()).is_ok()) {
        let start = Some(pb::watch_request::Start::Cursor(cursor.clone()));
        let request = pb::WatchRequest { collection: collection.to_owned(), start };
        let mut stream = client.watch(request).await.expect("a watch").into_inner();
        // Until it is told something: a stream of nothing would end nothing.
        for _ in 0..STREAM_MESSAGES {
            if ground.is_over() && told.has_all(acknowledged, acknowledged.count()).is_ok() {
                break;
            }
            let message = tokio::time::timeout(LONG, stream.message()).await;
            let message = message.unwrap_or_else(|_| {
                panic!(
                    "{collection}: nothing is told: {:?}",
                    told.has_all(acknowledged, acknowledged.count())
                )
            });
            let message = message.expect("it does not break").expect("nor does it end");
            messages += 1;
            take(&mut told, collection, &message.changes);
            cursor = message.cursor;
        }
    }
    assert!(messages > 0);
    (collection, told)
}

/// Messages of one stream, before it is closed.
const STREAM_MESSAGES: u64 = 40;
