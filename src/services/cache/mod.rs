//! The cache: entries in namespaces with their own limits, in the database and, the hot ones, in memory.
//!
//! Reads go to memory first, then to the database. Writes go to the database, and to memory after the commit. Accesses and
//! counts of reads are gathered in memory and written now and then by `upkeep`, which also removes what has expired.

mod accesses;
mod api;
mod convert;
mod domain;
mod entity;
mod memory;
mod registry;
mod store;
mod upkeep;

use std::sync::Arc;

use crate::clock::{Clock, ms_to_us};
use crate::error::Result;
use crate::settings::{Durability, Settings};
use crate::storage::Storage;
use crate::storage::idempotency::RequestKeys;

pub use api::{NAME, server};
pub use registry::NamespaceReads;
pub use upkeep::run as upkeep;

/// The cache service, cheap to clone.
#[derive(Clone)]
pub struct CacheService(pub(super) Arc<Cache>);

/// What it owns.
pub(super) struct Cache {
    storage: Storage,
    clock: Clock,
    request_keys: RequestKeys,
    settings: Settings,
    memory: memory::Memory,
    accesses: accesses::Accesses,
    registry: registry::Registry,
}

impl CacheService {
    /// The cache on `storage`.
    pub fn new(storage: Storage, clock: Clock, settings: &Settings) -> Self {
        Self(Arc::new(Cache {
            request_keys: RequestKeys::new(api::NAME, &clock, &settings.idempotency),
            memory: memory::Memory::new(settings.cache.memory_bytes_max),
            accesses: accesses::Accesses::new(settings.cache.access_pending_max),
            registry: registry::Registry::default(),
            settings: settings.clone(),
            storage,
            clock: clock.serving(),
        }))
    }

    /// Reads since the start, by namespace: the oldest `cache.metrics_namespaces_max`, and all others together.
    pub fn reads(&self) -> Vec<NamespaceReads> {
        self.0.registry.reads(self.0.settings.cache.metrics_namespaces_max)
    }

    /// Entries and bytes in memory.
    pub fn memory_size(&self) -> (u64, u64) {
        self.0.memory.size()
    }
}

impl Cache {
    /// Limits of a namespace that is made without any said.
    fn default_limits(&self) -> domain::Limits {
        let cache = &self.settings.cache;
        domain::Limits {
            entries_max: i64::try_from(cache.entries_max).unwrap_or(i64::MAX),
            bytes_max: i64::try_from(cache.bytes_max).unwrap_or(i64::MAX),
            ttl_us: ms_to_us(cache.ttl_ms),
            stale_window_us: ms_to_us(cache.stale_window_ms),
            eviction: cache.eviction,
            durability: cache.durability,
        }
    }

    /// The class of a write that asks for `asked` in the namespace `name`.
    async fn durability(&self, asked: Option<Durability>, name: &str) -> Result<Durability> {
        match asked {
            Some(asked) => Ok(asked),
            None => {
                let live = self.live(name).await?;
                Ok(live.map_or(self.settings.cache.durability, |live| live.namespace.limits.durability))
            }
        }
    }

    /// Whether what was loaded at `loaded_us` may still be served from memory.
    fn is_fresh(&self, loaded_us: i64) -> bool {
        // A clock that was set back makes nothing fresh.
        let age_us = self.clock.now_us().saturating_sub(loaded_us);
        !self.storage.has_other_writers()
            || (0..ms_to_us(self.settings.cache.shared_age_ms_max)).contains(&age_us)
    }

    /// The topic of a namespace that is deleted: callers that wait for any of its keys listen to it.
    fn namespace_topic(namespace_id: i64) -> String {
        format!("cache/{namespace_id}")
    }

    /// What wakes those who wait for a key to be filled.
    fn wake_topic(namespace_id: i64, key: &str) -> String {
        format!("cache/{namespace_id}/{key}")
    }
}
