//! Finding queues and types by name and by id: in memory first, then in the tables.

use std::sync::Arc;

use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _, Set,
};

use super::{Now, sql};
use crate::error::{Error, Result};
use crate::services::queue::domain::{KeyLimits, Queue, Rules, Type};
use crate::services::queue::entity::{queues, types};
use crate::services::queue::registry::Registry;
use crate::storage::{Db, Tx};

/// A type is paused by itself.
pub(super) const PAUSED_TYPE: i64 = 1;
/// A type is paused with its queue.
pub(super) const PAUSED_QUEUE: i64 = 2;

/// Queues and types, with what new ones are made with.
#[derive(Clone)]
pub struct Names {
    /// What is known in memory.
    pub registry: Arc<Registry>,
    /// The rules of new queues.
    pub rules: Rules,
    /// Queues, at most.
    pub queues_max: i64,
    /// Types of one queue, at most.
    pub types_max: i64,
    /// Bytes of the largest result of a task.
    pub result_bytes_max: u64,
    /// Lines of workers that an attempt keeps.
    pub task_lines_max: i64,
    /// Bytes of a result that a job takes.
    pub job_result_bytes_max: usize,
}

/// A type with its queue.
#[derive(Clone, Debug)]
pub struct Named {
    /// The type.
    pub kind: Arc<Type>,
    /// The queue.
    pub queue: Arc<Queue>,
}

impl Names {
    /// The queue of that name, if there is one.
    pub async fn queue(&self, db: &Db<'_>, name: &str) -> Result<Option<Arc<Queue>>> {
        if let Some(known) = self.registry.queue(name) {
            return Ok(Some(known));
        }
        Ok(find(db, name).await?.map(Arc::new))
    }

    /// The same in a read, which may be remembered.
    pub async fn queue_to_keep(&self, db: &Db<'_>, name: &str) -> Result<Option<Arc<Queue>>> {
        let generation = self.registry.generation();
        let found = self.queue(db, name).await?;
        if let Some(queue) = &found {
            self.registry.set_loaded(queue.clone(), generation);
        }
        Ok(found)
    }

    /// The queue of that name, made if there is none.
    pub async fn ensure_queue(&self, tx: &Tx<'_>, name: &str, now: Now) -> Result<Arc<Queue>> {
        match self.registry.queue(name) {
            Some(known) => Ok(known),
            None => self.keep_queue(tx, name, now).await,
        }
    }

    /// The queue of that name as the table has it, made if there is none. It is kept from being deleted until the commit.
    pub async fn keep_queue(&self, tx: &Tx<'_>, name: &str, now: Now) -> Result<Arc<Queue>> {
        let generation = self.registry.generation();
        let by_name = queues::Entity::find().filter(queues::Column::Name.eq(name));
        let found = by_name.lock(LockType::KeyShare).one(&**tx).await?;
        let Some(found) = found.map(|row| Arc::new(domain(row))) else {
            return Ok(Arc::new(self.create_queue(tx, name, self.rules, now).await?));
        };
        let (registry, loaded) = (self.registry.clone(), found.clone());
        tx.after_commit(move || registry.set_loaded(loaded, generation));
        Ok(found)
    }

    /// Makes a queue.
    pub async fn create_queue(&self, tx: &Tx<'_>, name: &str, rules: Rules, now: Now) -> Result<Queue> {
        let queues_max = self.queues_max;
        if i64::try_from(queues::Entity::find().count(&**tx).await?).unwrap_or(i64::MAX) >= queues_max {
            return Err(Error::TooManyQueues { queues_max });
        }
        let row = queues::ActiveModel {
            name: Set(name.to_owned()),
            is_paused: Set(false),
            create_time: Set(now.us),
            update_time: Set(now.us),
            ..columns(&rules)
        };
        let id = tx.insert(row).await?;
        let made = Queue {
            id,
            name: name.to_owned(),
            rules,
            is_paused: false,
            create_us: now.us,
            update_us: now.us,
        };
        let (registry, written) = (self.registry.clone(), Arc::new(made.clone()));
        tx.after_commit(move || registry.set_written(written));
        Ok(made)
    }

    /// The id of a type of a queue, if there is one of that name.
    pub async fn type_id(&self, db: &Db<'_>, queue_id: i64, name: &str) -> Result<Option<i64>> {
        if let Some(known) = self.registry.type_id(queue_id, name) {
            return Ok(Some(known));
        }
        Ok(find_type(db, queue_id, name).await?.map(|found| found.id))
    }

    /// The id of a type of a queue, made if there is none of that name. The type is kept from being removed until the commit.
    ///
    /// Errors: TooManyTypes; QueueNotFound, when the queue was deleted since it was read.
    pub async fn ensure_type(&self, tx: &Tx<'_>, queue: &Queue, name: &str) -> Result<i64> {
        let generation = self.registry.generation();
        if let Some(known) = self.registry.type_id(queue.id, name)
            && keep(tx, known).await?
        {
            return Ok(known);
        }
        let found = match find_type(tx, queue.id, name).await? {
            Some(found) if keep(tx, found.id).await? => found,
            _ => self.create_type(tx, queue.id, name).await?,
        };
        let (registry, id) = (self.registry.clone(), found.id);
        tx.after_commit(move || registry.set_type(Arc::new(found), generation));
        Ok(id)
    }

    /// The same of a queue by its name, which is made if there is none.
    pub async fn ensure_type_of(&self, tx: &Tx<'_>, queue: &str, name: &str, now: Now) -> Result<i64> {
        let found = self.ensure_queue(tx, queue, now).await?;
        match self.ensure_type(tx, &found, name).await {
            // The queue in memory is out of date.
            Err(Error::QueueNotFound) => {
                self.registry.forget_all();
                let found = self.keep_queue(tx, queue, now).await?;
                self.ensure_type(tx, &found, name).await
            }
            other => other,
        }
    }

    async fn create_type(&self, tx: &Tx<'_>, queue_id: i64, name: &str) -> Result<Type> {
        let of_queue = types::Entity::find().filter(types::Column::QueueId.eq(queue_id));
        let types_max = self.types_max;
        if i64::try_from(of_queue.count(&**tx).await?).unwrap_or(i64::MAX) >= types_max {
            return Err(Error::TooManyTypes { types_max });
        }
        // Locked: it may be paused at this moment.
        let row = queues::Entity::find_by_id(queue_id).lock(LockType::NoKeyUpdate).one(&**tx).await?;
        let is_paused = row.ok_or(Error::QueueNotFound)?.is_paused;
        let row = types::ActiveModel {
            queue_id: Set(queue_id),
            name: Set(name.to_owned()),
            paused: Set(if is_paused { PAUSED_QUEUE } else { 0 }),
            ..Default::default()
        };
        Ok(Type { id: tx.insert(row).await?, queue_id, name: name.to_owned() })
    }

    /// A type that a task has, with its queue.
    pub async fn of_task(&self, tx: &Tx<'_>, type_id: i64) -> Result<Named> {
        let generation = self.registry.generation();
        if let Some((kind, queue)) = self.registry.type_of(type_id) {
            return Ok(Named { kind, queue });
        }
        let named = load(tx, type_id).await?;
        let (registry, loaded) = (self.registry.clone(), named.clone());
        tx.after_commit(move || {
            registry.set_loaded(loaded.queue, generation);
            registry.set_type(loaded.kind, generation);
        });
        Ok(named)
    }

    /// The rules of a queue that is there.
    pub async fn rules(&self, db: &Db<'_>, queue_id: i64) -> Result<Rules> {
        if let Some(known) = self.registry.queue_of(queue_id) {
            return Ok(known.rules);
        }
        Ok(load_queue(db, queue_id).await?.rules)
    }

    /// The same in a read.
    pub async fn of_listed(&self, db: &Db<'_>, type_id: i64) -> Result<Named> {
        let generation = self.registry.generation();
        if let Some((kind, queue)) = self.registry.type_of(type_id) {
            return Ok(Named { kind, queue });
        }
        let named = load(db, type_id).await?;
        self.registry.set_loaded(named.queue.clone(), generation);
        self.registry.set_type(named.kind.clone(), generation);
        Ok(named)
    }
}

/// The queue stands first and is locked first, as DeleteQueue does.
const KEEP: &str = r#"SELECT y."id" AS "number" FROM "queue_queues" q JOIN "queue_types" y ON y."queue_id" = q."id"
    WHERE y."id" = $1"#;

/// Keeps a type and its queue from being removed; answers with whether they are there.
async fn keep(tx: &Tx<'_>, type_id: i64) -> Result<bool> {
    Ok(sql::number(tx, &tx.sharing(KEEP), vec![type_id.into()]).await?.is_some())
}

async fn load(db: &Db<'_>, type_id: i64) -> Result<Named> {
    let kind = types::Entity::find_by_id(type_id).one(db).await?;
    let kind = kind.ok_or_else(|| missing("queue_types", type_id))?;
    let queue = Arc::new(load_queue(db, kind.queue_id).await?);
    Ok(Named { kind: Arc::new(Type { id: kind.id, queue_id: kind.queue_id, name: kind.name }), queue })
}

async fn load_queue(db: &Db<'_>, queue_id: i64) -> Result<Queue> {
    let row = queues::Entity::find_by_id(queue_id).one(db).await?;
    row.map(domain).ok_or_else(|| missing("queue_queues", queue_id))
}

fn missing(table: &'static str, row: i64) -> Error {
    Error::CorruptRow { table, column: "id", row, cause: "others name this row, and it is not there".into() }
}

async fn find(db: &Db<'_>, name: &str) -> Result<Option<Queue>> {
    let row = queues::Entity::find().filter(queues::Column::Name.eq(name)).one(db).await?;
    Ok(row.map(domain))
}

async fn find_type(db: &Db<'_>, queue_id: i64, name: &str) -> Result<Option<Type>> {
    let row = types::Entity::find()
        .filter(types::Column::QueueId.eq(queue_id))
        .filter(types::Column::Name.eq(name))
        .one(db)
        .await?;
    Ok(row.map(|row| Type { id: row.id, queue_id: row.queue_id, name: row.name }))
}

/// A queue's row with its rules, and nothing else.
pub(super) fn columns(rules: &Rules) -> queues::ActiveModel {
    queues::ActiveModel {
        is_lifo: Set(rules.is_lifo),
        ageing_us: Set(rules.ageing_us),
        is_relaxed: Set(rules.is_relaxed),
        retries_max: Set(rules.retries_max),
        backoff_us: Set(rules.backoff_us),
        backoff_us_max: Set(rules.backoff_us_max),
        timeout_us: Set(rules.timeout_us),
        retention_us: Set(rules.retention_us),
        failed_retention_us: Set(rules.failed_retention_us),
        held_max: Set(rules.key_limits.held_max),
        claims_max: Set(rules.key_limits.claims_max),
        claims_period_us: Set(rules.key_limits.claims_period_us),
        ..Default::default()
    }
}

/// The queue that a row holds.
pub(super) fn domain(row: queues::Model) -> Queue {
    let key_limits = KeyLimits {
        held_max: row.held_max,
        claims_max: row.claims_max,
        claims_period_us: row.claims_period_us,
    };
    Queue {
        id: row.id,
        name: row.name,
        rules: Rules {
            is_lifo: row.is_lifo,
            ageing_us: row.ageing_us,
            is_relaxed: row.is_relaxed,
            retries_max: row.retries_max,
            backoff_us: row.backoff_us,
            backoff_us_max: row.backoff_us_max,
            timeout_us: row.timeout_us,
            retention_us: row.retention_us,
            failed_retention_us: row.failed_retention_us,
            key_limits,
        },
        is_paused: row.is_paused,
        create_us: row.create_time,
        update_us: row.update_time,
    }
}
