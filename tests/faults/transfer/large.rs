//! A hundred thousand entries, and entries as large as they may be.

#[cfg(target_os = "linux")]
use std::process::Stdio;
use std::time::Instant;

use pannier_proto::cache::v1 as pb;

#[cfg(target_os = "linux")]
use super::homes::Exported;
use super::homes::{Home, file};
use super::material::{MANY, put_batch};
use crate::calls::{cache, endless, entries};
use crate::chance::Chance;
use crate::sidecar::Place;
#[cfg(target_os = "linux")]
use crate::sidecar::{LONG, within};
use crate::turn;

const ENTRIES: u64 = 100_000;
const VALUE_BYTES: u64 = 1_024;
const BATCH: u64 = 1_000;

/// Bytes that do not compress, so that what is moved is what was put.
fn value(number: u64, bytes: u64) -> Vec<u8> {
    let mut chance = Chance::new(number);
    (0..bytes / 8).flat_map(|_| chance.next().to_le_bytes()).collect()
}

fn item(number: u64, bytes: u64) -> pb::PutItem {
    let content = Some(pb::put_item::Content::Value(value(number, bytes).into()));
    pb::PutItem { key: format!("entry/{number}"), content, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_entries_arrive_with_their_counts_and_checksums() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (source, target) = (Home::source(&place), Home::target(&place));
    let mut sidecar = source.launch(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, MANY).await;
    for batch in 0..ENTRIES / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        put_batch(&mut client, numbers.map(|number| item(number, VALUE_BYTES)).collect()).await;
    }
    sidecar.stop().await;

    let began = Instant::now();
    let exported = source.export(&file(&place));
    let export_took = began.elapsed();
    let counts = exported.checked();
    assert_eq!(counts["cache_entries"], ENTRIES);
    let began = Instant::now();
    let report = target.import(&file(&place), &[]);
    println!("{ENTRIES} entries: export {export_took:?}, import {:?}", began.elapsed());
    exported.assert_reported(&report);
    exported.assert_same(&target.export(&place.path("again.ndjson")));

    let mut sidecar = target.launch(&place).start().await;
    let mut client = cache(&sidecar).await;
    let some: Vec<u64> = (0..ENTRIES).step_by(997).collect();
    let keys: Vec<String> = some.iter().map(|number| format!("entry/{number}")).collect();
    let found = entries(&mut client, MANY, &keys).await;
    for (number, key) in some.iter().zip(&keys) {
        let content = found[key].as_ref().and_then(|entry| entry.content.clone());
        assert!(content == item(*number, VALUE_BYTES).content.map(as_entry), "{key}");
    }
    let stats = client.stats(pb::StatsRequest { namespace: MANY.into() }).await.expect("stats").into_inner();
    assert_eq!(stats.stats.expect("stats").entry_count, ENTRIES as i64);
    sidecar.stop().await;
}

fn as_entry(content: pb::put_item::Content) -> pb::entry::Content {
    match content {
        pb::put_item::Content::Value(value) => pb::entry::Content::Value(value),
        pb::put_item::Content::Negative(negative) => pb::entry::Content::Negative(negative),
    }
}

/// How many entries of the largest size are moved at once, and how large they are.
const LARGE: u64 = 32;
const LARGE_BYTES: u64 = 8 << 20;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_values_are_moved_a_few_at_a_time() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let (source, target) = (Home::source(&place), Home::target(&place));
    let mut sidecar = source.launch(&place).start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, MANY).await;
    // Small ones between them: a page is cut by its bytes before it is full of rows.
    for number in 0..LARGE {
        let (large, small) = (item(2 * number, LARGE_BYTES), item(2 * number + 1, VALUE_BYTES));
        put_batch(&mut client, vec![large, small]).await;
    }
    sidecar.stop().await;

    // Pages of a mapped file count as memory, though they are only borrowed.
    let unmapped = ["--set", "storage.mmap_bytes=0"];
    let export = peak_bytes(source.command("export").args(unmapped).arg(file(&place))).await;
    let exported = Exported::read(&file(&place));
    assert_eq!(exported.checked()["cache_entries"], 2 * LARGE);
    let import = peak_bytes(target.command("import").args(unmapped).arg(file(&place))).await;
    println!("peaks: export {} MiB, import {} MiB", export >> 20, import >> 20);
    assert!(export.max(import) < LARGE * LARGE_BYTES, "it held as much as there is");
    exported.assert_same(&target.export(&place.path("again.ndjson")));
}

/// Runs a command to its good end, and tells the most memory that it was seen to hold.
#[cfg(target_os = "linux")]
async fn peak_bytes(command: &mut std::process::Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = within(LONG * 6, || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        child.try_wait().expect("a child to wait for")
    });
    assert!(ended.await.is_some_and(|status| status.success()), "{command:?}");
    assert!(peak_kib > 0, "nothing was seen of its memory");
    peak_kib * 1_024
}
