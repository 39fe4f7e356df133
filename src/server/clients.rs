//! Open client connections, counted so that a sidecar can end when it has none.
//!
//! A connection counts from the accept. One that only asks for health is a probe: it stops counting at its first call, and
//! neither its accept nor its end moves the time since which the sidecar is idle. The same holds for one that makes no call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// The path of every health call.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// All open connections.
pub(super) struct Clients(watch::Sender<Open>);

struct Open {
    /// Connections that are no probes.
    count: u64,
    /// The end of the last connection of a client, or the start.
    idle_since: Instant,
}

/// The first call of a connection decides what it is.
const SILENT: u8 = 0;
const PROBE: u8 = 1;
const CLIENT: u8 = 2;

/// One connection; its end is the drop.
pub(super) struct Client {
    clients: Arc<Clients>,
    kind: AtomicU8,
}

impl Clients {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Open { count: 0, idle_since: clock::instant() }))
    }

    /// A connection that was accepted.
    pub(super) fn accepted(self: &Arc<Self>) -> Arc<Client> {
        self.0.send_modify(|open| open.count += 1);
        Arc::new(Client { clients: self.clone(), kind: AtomicU8::new(SILENT) })
    }

    /// Waits until no connection has been open for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut open = self.0.subscribe();
        loop {
            let (count, until) = {
                let open = open.borrow_and_update();
                // A limit beyond the clock's end is none.
                (open.count, open.idle_since.checked_add(limit))
            };
            if count == 0 && until.is_some_and(|until| clock::instant() >= until) {
                return;
            }
            let passed = async {
                match until {
                    Some(until) if count == 0 => tokio::time::sleep_until(until.into()).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => {}
                // The sender lives in `self`.
                _ = open.changed() => {}
            }
        }
    }
}

impl Client {
    /// Notes a call of the connection.
    pub(super) fn called(&self, path: &str) {
        let kind = if path.starts_with(HEALTH) { PROBE } else { CLIENT };
        let before = self.kind.fetch_max(kind, Ordering::Relaxed);
        match (before, kind) {
            (SILENT, PROBE) => self.clients.0.send_modify(|open| open.count -= 1),
            (PROBE, CLIENT) => self.clients.0.send_modify(|open| open.count += 1),
            _ => {}
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let kind = *self.kind.get_mut();
        self.clients.0.send_modify(|open| {
            if kind != PROBE {
                open.count -= 1;
            }
            if kind == CLIENT && open.count == 0 {
                open.idle_since = clock::instant();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(clients: &Clients) -> u64 {
        clients.0.borrow().count
    }

    #[test]
    fn probes_and_silent_connections_do_not_move_the_idle_time() {
        let clients = Arc::new(Clients::new());
        let since = clients.0.borrow().idle_since;
        let (probe, silent, client) = (clients.accepted(), clients.accepted(), clients.accepted());
        probe.called("/grpc.health.v1.Health/Check");
        probe.called("/grpc.health.v1.Health/Check");
        assert_eq!(count(&clients), 2);
        drop((probe, silent));
        assert_eq!((count(&clients), clients.0.borrow().idle_since), (1, since));
        client.called("/pannier.cache.v1.CacheService/Get");
        drop(client);
        assert_eq!(count(&clients), 0);
        assert!(clients.0.borrow().idle_since > since);
    }

    #[test]
    fn a_client_that_asks_for_health_first_counts_from_its_next_call() {
        let clients = Arc::new(Clients::new());
        let client = clients.accepted();
        client.called("/grpc.health.v1.Health/Watch");
        assert_eq!(count(&clients), 0);
        client.called("/pannier.cache.v1.CacheService/Get");
        client.called("/grpc.health.v1.Health/Check");
        assert_eq!(count(&clients), 1);
        drop(client);
        assert_eq!(count(&clients), 0);
    }

    #[tokio::test]
    async fn a_sidecar_is_idle_once_its_last_connection_has_been_gone_for_so_long() {
        let clients = Arc::new(Clients::new());
        let client = clients.accepted();
        let mut idle = std::pin::pin!(clients.idle(Duration::ZERO));
        tokio::select! {
            biased;
            () = &mut idle => panic!("a connection is open"),
            () = std::future::ready(()) => {}
        }
        drop(client);
        idle.await;
    }
}
