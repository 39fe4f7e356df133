//! Queues and types by name and by id, in memory: every call names them, and every row holds their ids.
//!
//! Rules change, and queues and types are removed: the call that does so notes it here after the commit. What is read here may be out of
//! date; a transaction that adds tasks looks into the table.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::domain::{Queue, Type};

/// What is known of queues and types.
#[derive(Default)]
pub struct Registry(RwLock<Known>);

#[derive(Default)]
struct Known {
    queues: HashMap<String, Arc<Queue>>,
    queue_names: HashMap<i64, String>,
    types: HashMap<i64, Arc<Type>>,
    type_ids: HashMap<i64, HashMap<String, i64>>,
    /// Moves on with every change: who loaded a queue before a change does not note it after.
    generation: u64,
}

impl Registry {
    /// The queue of that name, if it is known.
    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).queues.get(name).cloned()
    }

    /// The queue of that id, if it is known.
    pub fn queue_of(&self, queue_id: i64) -> Option<Arc<Queue>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.queues.get(known.queue_names.get(&queue_id)?).cloned()
    }

    /// The type of that id with its queue, if both are known.
    pub fn type_of(&self, type_id: i64) -> Option<(Arc<Type>, Arc<Queue>)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.types.get(&type_id)?;
        let queue = known.queues.get(known.queue_names.get(&found.queue_id)?)?;
        Some((found.clone(), queue.clone()))
    }

    /// The type of that name, if it is known.
    pub fn type_id(&self, queue_id: i64, name: &str) -> Option<i64> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.type_ids.get(&queue_id)?.get(name).copied()
    }

    /// To be noted before the database is asked for a queue.
    pub fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Notes a queue that the database had, unless any may have changed since `generation`.
    pub fn set_loaded(&self, queue: Arc<Queue>, generation: u64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation == generation {
            known.set(queue);
        }
    }

    /// Notes a queue that was made or changed. To be called after the commit.
    pub fn set_written(&self, queue: Arc<Queue>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.set(queue);
    }

    /// Notes a type that the database had, unless any may have been removed since `generation`.
    pub fn set_type(&self, found: Arc<Type>, generation: u64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            return;
        }
        known.type_ids.entry(found.queue_id).or_default().insert(found.name.clone(), found.id);
        known.types.insert(found.id, found);
    }

    /// Forgets all: somebody else has changed rules, or removed queues or types.
    pub fn forget_all(&self) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let generation = known.generation + 1;
        *known = Known { generation, ..Known::default() };
    }
}

impl Known {
    fn set(&mut self, queue: Arc<Queue>) {
        self.queue_names.insert(queue.id, queue.name.clone());
        self.queues.insert(queue.name.clone(), queue);
    }
}
