//! Peers that take and give nothing: windows of zero, requests that never end, sockets that say nothing.
//!
//! The sidecar stays small, and serves those who were there before and those who come. The peers run on one thread, in this process.
//! `PANNIER_FAULTS=all` makes the floods as large as they were seen, and measures what honest callers notice.

mod honest;
mod peers;

use std::time::{Duration, Instant};

use crate::calls::metric;
use crate::sidecar::{LONG, Launch, Place, Sidecar, within};
use crate::turn;
use honest::Honest;

/// The most memory that a sidecar may take in a flood, in KiB.
const RSS_KIB_MAX: u64 = 256 * 1024;

/// Whether the floods are as large as they were seen.
fn is_full() -> bool {
    std::env::var("PANNIER_FAULTS").is_ok_and(|value| value == "all")
}

/// A number of the small run, or of the full one.
fn count(small: usize, full: usize) -> usize {
    if is_full() { full } else { small }
}

/// The memory of a sidecar in KiB.
fn rss_kib(sidecar: &Sidecar) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn served(place: &Place) -> (Sidecar, Honest) {
    let sidecar = Launch::new(place).set("server.request_read_ms_max", 3_000).start().await;
    let honest = Honest::before(&sidecar).await;
    (sidecar, honest)
}

/// Watches the sidecar for a time while a flood lasts: its memory, its health, an old connection and new ones.
async fn endures(sidecar: &Sidecar, honest: &mut Honest, time: Duration) {
    let end = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < end {
        honest.calls().await;
        honest.probes().await;
        most = most.max(rss_kib(sidecar));
        assert!(most <= RSS_KIB_MAX, "{most} KiB of memory");
    }
    honest.comes_new(sidecar).await;
    honest.report(most);
}

/// Waits until nothing is in flight any more.
async fn all_is_freed(sidecar: &Sidecar) {
    let free = || (metric(sidecar, "pannier_bytes_in_flight") == Some(0.0)).then_some(());
    within(LONG, free).await.expect("bytes stay in flight after the flood");
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_and_end_at_their_deadline() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let (sidecar, mut honest) = served(&place).await;
    honest.stores_large(8 << 20).await;
    let mut flood = Vec::new();
    for _ in 0..count(1, 2) {
        flood.push(peers::zero_window(&sidecar, count(60, 120), 0).await);
        flood.push(peers::zero_window(&sidecar, count(60, 120), 1).await);
    }
    endures(&sidecar, &mut honest, Duration::from_secs(count(4, 20) as u64)).await;
    // The peers are there still: their answers were reset at the deadline of a second.
    all_is_freed(&sidecar).await;
    drop(flood);
}

#[tokio::test]
async fn requests_that_never_end_are_bounded_and_end_at_their_limit() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let (sidecar, mut honest) = served(&place).await;
    let mut flood = Vec::new();
    for _ in 0..count(2, 6) {
        flood.push(peers::unfinished(&sidecar, 30, 31 << 20).await);
    }
    endures(&sidecar, &mut honest, Duration::from_secs(count(5, 20) as u64)).await;
    all_is_freed(&sidecar).await;
    drop(flood);
}

#[tokio::test]
async fn headers_without_bodies_take_no_others_place() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let (sidecar, mut honest) = served(&place).await;
    let mut flood = Vec::new();
    for _ in 0..count(12, 34) {
        flood.push(peers::headers_alone(&sidecar, 125).await);
    }
    endures(&sidecar, &mut honest, Duration::from_secs(count(4, 20) as u64)).await;
    let ended = || (metric(&sidecar, "pannier_calls_running") == Some(0.0)).then_some(());
    within(LONG, ended).await.expect("calls without a request run on");
    drop(flood);
}

#[tokio::test]
async fn silent_sockets_and_half_prefaces_keep_nobody_out() {
    let _turn = turn::alone().await;
    let place = Place::new();
    let sidecar = Launch::new(&place).set("server.connections_max", count(100, 1_024)).start().await;
    let mut honest = Honest::before(&sidecar).await;
    let (grpc, http) = (sidecar.grpc(), sidecar.http());
    let sockets = count(150, 1_024);
    let mut flood = peers::silent(&grpc, sockets, b"").await;
    flood.extend(peers::silent(&grpc, sockets, b"PRI * HTTP/2.0\r\n\r\nSM\r\n").await);
    flood.extend(peers::silent(&http, sockets, b"GET /metr").await);
    endures(&sidecar, &mut honest, Duration::from_secs(2)).await;
    assert!(metric(&sidecar, "pannier_connections_full_total") > Some(0.0));
    assert!(sidecar.log().contains("server.connections_max"), "{}", sidecar.log());
    // What is left of the silent ones ends by the limit on handshakes.
    let ended = || (metric(&sidecar, "pannier_connections") <= Some(2.0)).then_some(());
    within(LONG, ended).await.expect("silent sockets stay open");
    drop(flood);
}

#[tokio::test]
async fn the_limit_on_open_files_is_raised() {
    let _turn = turn::shared().await;
    let place = Place::new();
    let sidecar = Launch::new(&place).set("server.connections_max", 2_000).start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", sidecar.pid())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let soft: u64 = line.split_whitespace().nth(3).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    assert!(soft >= 2_320 || sidecar.log().contains("RLIMIT_NOFILE"), "{line}");
}
