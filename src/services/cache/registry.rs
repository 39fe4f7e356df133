//! The namespaces in use, with the reads that were counted since they were last written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::domain::{Namespace, Reads};

/// The label of all namespaces that have none of their own; no namespace can have this name.
const OTHERS: &str = "(other)";

/// Reads of one namespace, for the metrics.
#[derive(Clone, Debug)]
pub struct NamespaceReads {
    /// The namespace, or [`OTHERS`].
    pub namespace: String,
    /// Counted since the sidecar was started.
    pub hits: i64,
    /// Counted since the sidecar was started.
    pub misses: i64,
    /// Counted since the sidecar was started.
    pub stales: i64,
}

/// The namespaces in use, by name.
#[derive(Default)]
pub struct Registry(RwLock<Known>);

#[derive(Default)]
struct Known {
    live: HashMap<String, Arc<Live>>,
    /// Moves on with every change: who loaded a namespace before a change does not note it after.
    generation: u64,
}

/// A namespace in use.
pub struct Live {
    /// The namespace, with its limits as they were at `loaded_us`.
    pub namespace: Namespace,
    /// When it was looked at.
    pub loaded_us: i64,
    /// Counted since they were last written; shared by all versions of the namespace.
    pub counted: Arc<Counted>,
}

/// Reads that were counted in memory.
#[derive(Default)]
pub struct Counted {
    hits: AtomicI64,
    misses: AtomicI64,
    stales: AtomicI64,
    written: Mutex<Reads>,
    /// Held while counts move to the table, and while table and memory are added up: a count is told once.
    pub writing: tokio::sync::Mutex<()>,
}

impl Counted {
    /// Counts a read that found a live entry.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a read that found nothing.
    pub fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a read that was answered with a stale entry.
    pub fn stale(&self) {
        self.stales.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted and not yet written.
    pub fn reads(&self) -> Reads {
        Reads {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            stales: self.stales.load(Ordering::Relaxed),
        }
    }

    /// What was counted since the start, written or not.
    pub fn since_start(&self) -> Reads {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.reads();
        Reads {
            hits: written.hits + waiting.hits,
            misses: written.misses + waiting.misses,
            stales: written.stales + waiting.stales,
        }
    }

    /// Takes off what was written.
    pub fn settle(&self, written: Reads) {
        let mut all = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        all.hits += written.hits;
        all.misses += written.misses;
        all.stales += written.stales;
        self.hits.fetch_sub(written.hits, Ordering::Relaxed);
        self.misses.fetch_sub(written.misses, Ordering::Relaxed);
        self.stales.fetch_sub(written.stales, Ordering::Relaxed);
    }
}

impl Registry {
    /// The namespace of that name, if it is in use.
    pub fn get(&self, name: &str) -> Option<Arc<Live>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).live.get(name).cloned()
    }

    /// To be noted before the database is asked for a namespace.
    pub fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Notes a namespace that the database had, unless any may have changed since `generation`.
    pub fn set_loaded(&self, namespace: Namespace, generation: u64, loaded_us: i64) -> Arc<Live> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation == generation {
            return known.set(namespace, loaded_us);
        }
        let counted = known.counted(&namespace);
        Arc::new(Live { namespace, loaded_us, counted })
    }

    /// Notes a namespace that was made or changed. To be called after the commit.
    pub fn set_written(&self, namespace: Namespace, written_us: i64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.set(namespace, written_us);
    }

    /// Forgets a namespace. To be called after the commit.
    pub fn forget(&self, name: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.live.remove(name);
    }

    /// Has a namespace looked up again before it is used again; what was counted stays.
    pub fn doubt(&self, name: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        if let Some(live) = known.live.get(name).cloned() {
            known.set(live.namespace.clone(), i64::MIN);
        }
    }

    /// Reads since the start of the `labels_max` oldest namespaces, and of all others together: callers choose the names, and each
    /// name is a series in whatever reads the metrics.
    pub fn reads(&self, labels_max: u64) -> Vec<NamespaceReads> {
        let mut all = self.all();
        all.sort_unstable_by_key(|live| live.namespace.id);
        let labelled = all.len().min(usize::try_from(labels_max).unwrap_or(usize::MAX));
        let reads = |name: &str, live: &[Arc<Live>]| {
            let mut reads = NamespaceReads { namespace: name.to_owned(), hits: 0, misses: 0, stales: 0 };
            for counted in live.iter().map(|live| live.counted.since_start()) {
                reads.hits += counted.hits;
                reads.misses += counted.misses;
                reads.stales += counted.stales;
            }
            reads
        };
        let (own, others) = all.split_at(labelled);
        let mut found: Vec<_> = own.chunks(1).map(|live| reads(&live[0].namespace.name, live)).collect();
        if !others.is_empty() {
            found.push(reads(OTHERS, others));
        }
        found
    }

    /// All namespaces in use.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).live.values().cloned().collect()
    }
}

impl Known {
    /// The counts of a namespace, if it is in use.
    fn counted(&self, namespace: &Namespace) -> Arc<Counted> {
        let live = self.live.get(&namespace.name).filter(|live| live.namespace.id == namespace.id);
        live.map(|live| live.counted.clone()).unwrap_or_default()
    }

    fn set(&mut self, namespace: Namespace, loaded_us: i64) -> Arc<Live> {
        let counted = self.counted(&namespace);
        let live = Arc::new(Live { namespace, loaded_us, counted });
        self.live.insert(live.namespace.name.clone(), live.clone());
        live
    }
}

#[cfg(test)]
mod tests {
    use super::super::domain::{Limits, Origin};
    use super::*;
    use crate::settings::{Durability, Eviction};

    fn namespace(id: i64) -> Namespace {
        let limits = Limits {
            entries_max: 0,
            bytes_max: 0,
            ttl_us: 0,
            stale_window_us: 0,
            eviction: Eviction::Lru,
            durability: Durability::Full,
        };
        let name = format!("n{}", 9 - id);
        Namespace { id, name, limits, origin: Origin::Implicit, tag_deletions: 0, create_us: 0, update_us: 0 }
    }

    #[test]
    fn namespaces_beyond_the_bound_have_one_label_together() {
        let registry = Registry::default();
        for id in 1..=4 {
            let live = registry.set_loaded(namespace(id), 0, 0);
            (0..id).for_each(|_| live.counted.hit());
        }
        let labels = |max| {
            registry.reads(max).into_iter().map(|reads| (reads.namespace, reads.hits)).collect::<Vec<_>>()
        };
        assert_eq!(
            labels(2),
            [("n8".into(), 1), ("n7".into(), 2), ("(other)".into(), 7)],
            "the oldest keep theirs"
        );
        assert_eq!(labels(0), [("(other)".into(), 10)]);
        assert_eq!(labels(4).len(), 4);
    }
}
