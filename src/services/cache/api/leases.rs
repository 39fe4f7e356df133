//! GetOrLease and ReleaseLease: on a miss one caller fills, the others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pannier_proto::cache::v1 as pb;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::super::Cache;
use super::super::convert::{Parser, timestamp};
use super::super::domain::Entry;
use super::super::memory::Held;
use super::super::registry::Live;
use super::super::store::{self, Claim};
use super::reads::fits;
use crate::clock::ms_to_us;
use crate::error::{Error, Result};
use crate::storage::{Durability, Wakened};
use crate::waiting;

/// How long a waiter trusts that wake-ups from other sidecars come.
const LOOK_AGAIN_US: i64 = 1_000_000;

/// What one caller asks for.
struct Ask {
    namespace: String,
    key: String,
    ttl_us: i64,
}

/// What a claim gave, and where.
struct Claimed {
    claim: Claim,
    token: Uuid,
    namespace_id: i64,
    handover: Option<Handover>,
}

/// A place among the callers that wait for a key.
struct Place {
    key: Wakened,
    /// A namespace that is deleted takes all its leases with it.
    namespace: Wakened,
}

/// A lease on its way to its caller. Dropped before it arrives, because the caller has left, it is released.
struct Handover {
    cache: Arc<Cache>,
    namespace_id: i64,
    key: String,
    token: Uuid,
    is_granted: Arc<AtomicBool>,
    runtime: Handle,
}

impl Handover {
    /// The caller has the lease.
    fn arrived(self) {
        self.is_granted.store(false, Ordering::SeqCst);
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if !self.is_granted.load(Ordering::SeqCst) {
            return;
        }
        let (cache, key) = (self.cache.clone(), std::mem::take(&mut self.key));
        let (namespace_id, token) = (self.namespace_id, self.token);
        // One for each call that has ended, so that the limit of calls bounds these as well.
        self.runtime.spawn(async move {
            if let Err(error) = cache.give_back(namespace_id, key, token).await {
                tracing::warn!(error = %error, "a lease whose caller has left is held until it ends");
            }
        });
    }
}

impl Cache {
    pub(super) async fn get_or_lease(
        self: &Arc<Self>,
        request: pb::GetOrLeaseRequest,
    ) -> Result<pb::GetOrLeaseResponse> {
        let settings = &self.settings.cache;
        let mut parser = Parser::new(settings);
        parser.name("namespace", &request.namespace);
        parser.key("key", &request.key);
        let ttl_us = match &request.lease_ttl {
            Some(ttl) => parser.duration_us("lease_ttl", ttl, 1, ms_to_us(settings.lease_ttl_ms_max)),
            None => ms_to_us(settings.lease_ttl_ms),
        };
        let wait_us = match &request.wait_max {
            Some(wait) => parser.duration_us("wait_max", wait, 0, ms_to_us(settings.lease_wait_ms_max)),
            None => ms_to_us(settings.lease_wait_ms),
        };
        parser.violations.check()?;

        let ask = Ask { namespace: request.namespace, key: request.key, ttl_us };
        let wait_until_us = self.clock.now_us().saturating_add(wait_us);
        let mut place: Option<Place> = None;
        loop {
            let taken = place.take();
            // From here on no wake-up is missed: what is looked at below is looked at after the place was taken.
            let woken = taken.as_ref().map(|place| (place.key.next(), place.namespace.next()));
            if let Some(answer) = self.fresh(&ask).await? {
                return Ok(answer);
            }
            let claimed = self.claim(&ask).await?;
            let until_us = match claimed.claim {
                Claim::Held { until_us, stale: None } => until_us,
                _ => return self.answer(&ask.namespace, claimed).await,
            };
            let now_us = self.clock.now_us();
            if now_us >= wait_until_us {
                if let Some(live) = self.live(&ask.namespace).await? {
                    live.counted.miss();
                }
                return Ok(pb::GetOrLeaseResponse {
                    held_until_time: Some(timestamp(&self.clock, until_us)),
                    ..Default::default()
                });
            }
            let Some((filled, deleted)) = woken else {
                // The lease may have been given back, or the key filled, since it was claimed: take a place, then look again.
                place = Some(self.take_place(claimed.namespace_id, &ask.key));
                continue;
            };
            // A wake-up from another sidecar can be lost: now and then the waiter looks by itself.
            let look_us = if self.storage.is_shared() { now_us + LOOK_AGAIN_US } else { i64::MAX };
            waiting::aside(async {
                tokio::select! {
                    () = filled => {}
                    () = deleted => {}
                    () = self.clock.sleep_until(until_us.min(wait_until_us).min(look_us)) => {}
                }
            })
            .await?;
        }
    }

    /// The answer, if the entry is there and live.
    async fn fresh(&self, ask: &Ask) -> Result<Option<pb::GetOrLeaseResponse>> {
        let Some(live) = self.live(&ask.namespace).await? else { return Ok(None) };
        let held = self.lookup(live.namespace.id, &ask.key).await?;
        let now_us = self.clock.now_us();
        let Some(held) = held.filter(|held| held.entry.is_live(now_us)) else { return Ok(None) };
        fits(&held.entry.key, Some(&held))?;
        let entry = self.hit_or_miss(&live, Some(&held));
        Ok(Some(pb::GetOrLeaseResponse { entry, ..Default::default() }))
    }

    async fn claim(self: &Arc<Self>, ask: &Ask) -> Result<Claimed> {
        let (token, now_us) = (self.clock.token(), self.clock.now_us());
        let input = (self.clone(), ask.namespace.clone(), ask.key.clone());
        let runtime = Handle::current();
        let ttl_us = ask.ttl_us;
        // A lease that a power loss takes is asked for again.
        self.storage
            .write(Durability::Relaxed, input, move |tx, (cache, name, key)| {
                let runtime = runtime.clone();
                Box::pin(async move {
                    let namespace = cache.namespace_of_lease(tx, name, now_us).await?;
                    let claim = store::claim(tx, &namespace, key, token, ttl_us, now_us).await?;
                    let handover = matches!(claim, Claim::Granted { .. }).then(|| {
                        let is_granted = Arc::new(AtomicBool::new(false));
                        let committed = is_granted.clone();
                        tx.after_commit(move || committed.store(true, Ordering::SeqCst));
                        let (cache, key, namespace_id) = (cache.clone(), key.clone(), namespace.id);
                        Handover { cache, namespace_id, key, token, is_granted, runtime }
                    });
                    Ok(Claimed { claim, token, namespace_id: namespace.id, handover })
                })
            })
            .await
    }

    fn take_place(&self, namespace_id: i64, key: &str) -> Place {
        let wake = self.storage.wake();
        Place {
            key: wake.subscribe(Self::wake_topic(namespace_id, key)),
            namespace: wake.subscribe(Self::namespace_topic(namespace_id)),
        }
    }

    /// Releases the lease `token`, if it is still held, and wakes callers that wait for the key.
    async fn give_back(self: Arc<Self>, namespace_id: i64, key: String, token: Uuid) -> Result<bool> {
        let now_us = self.clock.now_us();
        self.storage
            .write(Durability::Relaxed, key, move |tx, key| {
                Box::pin(async move {
                    store::lock(tx, namespace_id).await?;
                    tx.wake(Self::wake_topic(namespace_id, key));
                    store::release(tx, namespace_id, key, token, now_us).await
                })
            })
            .await
    }

    async fn answer(&self, namespace: &str, claimed: Claimed) -> Result<pb::GetOrLeaseResponse> {
        // A provisional namespace counts no reads.
        let live = self.live(namespace).await?;
        let answer = match claimed.claim {
            Claim::Fresh(entry) => {
                // It came between. Its accesses are counted where those of others are, if it is in memory.
                let held = self.memory.get(claimed.namespace_id, &entry.key);
                let held = held.filter(|held| held.entry.revision == entry.revision);
                let held = held.unwrap_or_else(|| {
                    let pending = self.accesses.pending(entry.id);
                    Arc::new(Held::new(entry, pending, self.clock.now_us()))
                });
                let live = live.ok_or(Error::NamespaceNotFound)?;
                pb::GetOrLeaseResponse { entry: self.hit_or_miss(&live, Some(&held)), ..Default::default() }
            }
            Claim::Granted { until_us, stale } => pb::GetOrLeaseResponse {
                entry: self.stale_or_miss(live.as_deref(), stale),
                lease: Some(pb::Lease {
                    token: claimed.token.to_string(),
                    expire_time: Some(timestamp(&self.clock, until_us)),
                }),
                held_until_time: None,
            },
            Claim::Held { until_us, stale } => pb::GetOrLeaseResponse {
                entry: self.stale_or_miss(live.as_deref(), stale),
                lease: None,
                held_until_time: Some(timestamp(&self.clock, until_us)),
            },
        };
        if let Some(handover) = claimed.handover {
            handover.arrived();
        }
        Ok(answer)
    }

    fn stale_or_miss(&self, live: Option<&Live>, stale: Option<Entry>) -> Option<pb::Entry> {
        let live = live?;
        let Some(entry) = stale else {
            live.counted.miss();
            return None;
        };
        live.counted.stale();
        let pending = self.accesses.pending(entry.id);
        let now_us = self.clock.now_us();
        Some(self.accessed(live.namespace.id, &Held::new(entry, pending, now_us), now_us))
    }

    pub(super) async fn release_lease(
        self: &Arc<Self>,
        mut request: pb::ReleaseLeaseRequest,
    ) -> Result<pb::ReleaseLeaseResponse> {
        let mut parser = Parser::new(&self.settings.cache);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "ReleaseLease", &request);
        parser.name("namespace", &request.namespace);
        parser.key("key", &request.key);
        let token = Uuid::try_parse(&request.lease_token).ok();
        if token.is_none() {
            parser.violations.add("lease_token", "must be the token of a lease");
        }
        parser.violations.check()?;

        let now_us = self.clock.now_us();
        self.change(Durability::Relaxed, request.namespace, key, move |tx, _cache, namespace| {
            let key = request.key.clone();
            Box::pin(async move {
                let Some((namespace, token)) = namespace.zip(token) else {
                    return Ok(pb::ReleaseLeaseResponse::default());
                };
                let released = store::release(tx, namespace.id, &key, token, now_us).await?;
                tx.wake(Cache::wake_topic(namespace.id, &key));
                Ok(pb::ReleaseLeaseResponse { released })
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::CacheService;
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Settings;

    #[tokio::test]
    async fn a_lease_whose_caller_has_left_goes_to_the_next_at_once() {
        let (storage, _directory) = crate::storage::plans::storage().await;
        let (clock, _stands_still) = Clock::manual(1_000_000);
        let cache = CacheService::new(storage.clone(), clock, &Settings::default()).0;
        let mut left_waiting = 0;
        for round in 0..20 {
            let (namespace, key) = ("n".to_owned(), format!("k{round}"));
            let ask = Ask { namespace: namespace.clone(), key: key.clone(), ttl_us: 300_000_000 };
            let mut left = Box::pin(cache.claim(&ask));
            // The writer may have been faster than this thread.
            if futures_util::poll!(&mut left).is_ready() {
                continue;
            }
            left_waiting += 1;
            // Writes are done in their order: the lease is granted, and its caller does not know it yet.
            storage.write(Durability::Relaxed, (), |_, ()| Box::pin(async { Ok(()) })).await.unwrap();
            drop(left);
            let wait_max = Some(prost_types::Duration { seconds: 30, nanos: 0 });
            let request = pb::GetOrLeaseRequest { namespace, key, wait_max, ..Default::default() };
            let next = tokio::time::timeout(Duration::from_secs(20), cache.get_or_lease(request)).await;
            assert!(next.expect("nobody has the lease").unwrap().lease.is_some());
        }
        assert!(left_waiting > 0, "no caller left before it knew of its lease");
    }
}
