//! Callers who do nothing wrong, and what they notice of a flood.

use std::time::{Duration, Instant};

use pannier_proto::cache::v1 as pb;
use pannier_proto::durability::v1::Durability;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::is_full;
use crate::calls::{Cache, cache, channel, endless, http_get, put};
use crate::sidecar::Sidecar;

pub(super) const NAMESPACE: &str = "floods";

/// The handshake's limit and a second.
const NEW_MAX: Duration = Duration::from_secs(6);

/// A caller on a connection that was there before the flood.
pub(super) struct Honest {
    client: Cache,
    health: HealthClient<Channel>,
    took: Vec<Duration>,
    probes: Vec<Duration>,
}

impl Honest {
    pub(super) async fn before(sidecar: &Sidecar) -> Self {
        let mut client = cache(sidecar).await;
        endless(&mut client, NAMESPACE).await;
        let health = HealthClient::new(channel(sidecar).await);
        let mut honest = Self { client, health, took: Vec::new(), probes: Vec::new() };
        honest.calls().await;
        honest.probes().await;
        honest.took.clear();
        honest.probes.clear();
        honest
    }

    /// Stores the value that the peers read.
    pub(super) async fn stores_large(&mut self, bytes: usize) {
        let content = Some(pb::put_item::Content::Value(vec![7; bytes].into()));
        let item = Some(pb::PutItem { key: "large".into(), content, ..Default::default() });
        let request = pb::PutRequest { namespace: NAMESPACE.into(), item, ..Default::default() };
        self.client.put(request).await.expect("a put");
    }

    /// Puts and gets. None of them may be refused.
    pub(super) async fn calls(&mut self) {
        for _ in 0..20 {
            let began = Instant::now();
            self.client.put(put(NAMESPACE, "small", 1, Durability::Relaxed)).await.expect("a put");
            let get =
                pb::GetRequest { namespace: NAMESPACE.into(), key: "small".into(), ..Default::default() };
            self.client.get(get).await.expect("an answer");
            self.took.push(began.elapsed() / 2);
        }
    }

    /// Asks for the health.
    pub(super) async fn probes(&mut self) {
        let began = Instant::now();
        self.health.check(HealthCheckRequest::default()).await.expect("healthy");
        self.probes.push(began.elapsed());
    }

    /// Makes a new connection and a call.
    pub(super) async fn comes_new(&mut self, sidecar: &Sidecar) {
        let began = Instant::now();
        let mut client = tokio::time::timeout(NEW_MAX, cache(sidecar)).await.expect("it is accepted");
        let get = pb::GetRequest { namespace: NAMESPACE.into(), key: "small".into(), ..Default::default() };
        client.get(get).await.expect("a new caller is served");
        assert!(began.elapsed() < NEW_MAX, "a new caller waited for {:?}", began.elapsed());
        assert_eq!(http_get(sidecar, "/readyz").0, 200);
    }

    /// Holds what was measured to what must hold.
    pub(super) fn report(&mut self, most_kib: u64) {
        let p99 = percentile(&mut self.took);
        let probe = self.probes.iter().max().copied().unwrap_or_default();
        println!("{most_kib} KiB; {} calls, p99 {p99:?}; slowest probe {probe:?}", self.took.len());
        if is_full() {
            assert!(p99 <= Duration::from_millis(50), "p99 {p99:?}");
            assert!(probe <= Duration::from_millis(100), "health after {probe:?}");
        }
    }
}

fn percentile(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}
