//! A foreign reader that stays: the WAL grows, writes keep their speed, and the reader is named.

use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use rusqlite::Connection;

use crate::calls::{Cache, cache, endless, http_get};
use crate::load::NAMESPACE;
use crate::sidecar::{LONG, Launch, Place, Sidecar, pannier};
use crate::turn;

/// Bytes at which the WAL should start over.
const WAL_BYTES_MAX: u64 = 512 * 1024;

async fn put(client: &mut Cache, number: u32) {
    let bytes: Vec<u8> =
        (0..16_384_u32).map(|place| (place.wrapping_mul(number * 2 + 1) >> 7) as u8).collect();
    let item = pb::PutItem {
        key: format!("k{number}"),
        content: Some(pb::put_item::Content::Value(bytes.into())),
        ..Default::default()
    };
    let request = pb::PutRequest { namespace: NAMESPACE.into(), item: Some(item), ..Default::default() };
    client.put(request).await.expect("a put");
}

fn wal_bytes(sidecar: &Sidecar) -> u64 {
    let (_, metrics) = http_get(sidecar, "/metrics");
    let line = metrics.lines().find(|line| line.starts_with("pannier_storage_wal_bytes"));
    let value = line.and_then(|line| line.rsplit(' ').next()).expect("a gauge of the WAL");
    value.parse::<f64>().expect("a number") as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_reader_does_not_slow_writes_down_and_is_named() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let launch = Launch::new(&place)
        .set("storage.checkpoint_bytes", "128KiB")
        .set("storage.wal_bytes_max", WAL_BYTES_MAX);
    let sidecar = launch.set("storage.wal_retry_ms_max", "200ms").start().await;
    let mut client = cache(&sidecar).await;
    endless(&mut client, NAMESPACE).await;
    for number in 0..100 {
        put(&mut client, number).await;
    }
    let before = wal_bytes(&sidecar);
    assert!(before < WAL_BYTES_MAX * 2, "without a reader the WAL starts over: {before}");

    let reader = Connection::open(place.database()).expect("the database");
    reader.execute_batch("BEGIN").expect("a transaction");
    let rows: i64 =
        reader.query_row("SELECT count(*) FROM cache_entries", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 100);
    let mut longest = Duration::ZERO;
    for number in 100..300 {
        let began = Instant::now();
        put(&mut client, number).await;
        longest = longest.max(began.elapsed());
    }
    println!("beside a foreign reader the longest of 200 puts took {longest:?}");
    // An attempt that waits for the reader takes the whole of storage.busy_timeout_ms, 5 s.
    assert!(longest < Duration::from_secs(3), "a put took {longest:?}");
    assert!(wal_bytes(&sidecar) > WAL_BYTES_MAX, "the reader holds the WAL up");
    let log = sidecar.log();
    let warnings = log.lines().filter(|line| line.contains("keeps the WAL from starting over")).count();
    assert_eq!(warnings, 1, "once a minute:\n{log}");
    let doctor = pannier("doctor")
        .args([
            "--set",
            "storage.checkpoint_bytes=128KiB",
            "--set",
            &format!("storage.wal_bytes_max={WAL_BYTES_MAX}"),
        ])
        .arg("--data")
        .arg(place.data())
        .output()
        .expect("the binary runs");
    let told = String::from_utf8(doctor.stdout).expect("text");
    if cfg!(target_os = "linux") {
        let named = format!("process {} (", std::process::id());
        assert!(log.contains(&named), "{named} is not in:\n{log}");
        assert!(told.contains(&named), "{named} is not in:\n{told}");
    }
    assert!(told.contains("warning  wal"), "{told}");

    reader.execute_batch("COMMIT").expect("its end");
    drop(reader);
    let end = Instant::now() + LONG;
    let mut number = 300;
    while wal_bytes(&sidecar) >= WAL_BYTES_MAX {
        assert!(Instant::now() < end, "the WAL did not start over after the reader's end");
        put(&mut client, number).await;
        number += 1;
    }
}
