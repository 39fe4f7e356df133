//! Adding tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::Value;

use super::ends::Step;
use super::job_results::OpenJobs;
use super::keys::{self, KeyRow};
use super::{lanes, uniques};
use crate::error::{Error, Result};
use crate::services::queue::domain::{Enqueued, KeyLimits, NewTask, Queue, State, When};
use crate::services::queue::order::{Order, Rank, Requested};

const INSERT: &str = r#"INSERT INTO "queue_tasks" ("type_id", "state", "priority", "token", "failure_count", "loss_count", "is_cancelling",
    "order_key", "create_time", "run_time", "expire_time", "retries_max", "timeout_us", "key_id", "schedule_id", "job_id", "job_row_id",
    "job_item_key", "unique_id", "parameters")
    VALUES ($1, $2, $3, 0, 0, 0, FALSE, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"#;

/// Keys of the tasks that are added.
struct Keys {
    by_name: BTreeMap<String, Result<KeyUse, ()>>,
    keys_max: i64,
    order: Order,
}

struct KeyUse {
    row: KeyRow,
    limits: KeyLimits,
    lines: HashMap<i64, Line>,
}

/// What is queued of a key and type.
struct Line {
    count: i64,
    /// The rank of the last in line, if there is one.
    last: Option<Rank>,
}

/// Adds tasks to a queue in their order, each with a result of its own. The first comes at `first_us`, the others a microsecond
/// apart. Error: QueueNotFound, when the queue was deleted since it was read.
pub async fn enqueue(
    step: &mut Step<'_>,
    queue: &Queue,
    tasks: &[NewTask],
    first_us: i64,
    keys_max: i64,
) -> Result<Vec<Result<Enqueued>>> {
    let mut types = BTreeMap::new();
    for name in tasks.iter().map(|task| task.type_name.as_str()).collect::<BTreeSet<_>>() {
        let made = match step.names.ensure_type(step.tx, queue, name).await {
            Err(error @ Error::TooManyTypes { .. }) => Err(error),
            other => Ok(other?),
        };
        types.insert(name, made);
    }
    let unique_keys = tasks.iter().filter_map(|task| task.unique.as_ref()).map(|unique| unique.key.as_str());
    let uniques = uniques::ensure(step, queue.id, &unique_keys.collect()).await?;
    let mut keys = Keys::lock(step, queue, tasks, keys_max).await?;
    let jobs = OpenJobs::lock(step.tx, tasks).await?;
    let mut results = Vec::with_capacity(tasks.len());
    for (create_us, task) in (first_us..).zip(tasks) {
        let job_row_id = match &task.job_item {
            Some(item) => match jobs.admit(step.tx, item).await? {
                Ok(row_id) => Some(row_id),
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            },
            None => None,
        };
        let type_id = match types.get(task.type_name.as_str()) {
            Some(Ok(type_id)) => *type_id,
            Some(Err(error)) => {
                results.push(Err(error.clone()));
                continue;
            }
            None => return Err(Error::internal("a type is not locked")),
        };
        let place = Added { type_id, create_us, job_row_id };
        let result = match add(step, task, place, &uniques, &mut keys).await {
            Err(error @ Error::TooManyKeys { .. }) => Err(error),
            other => Ok(other?),
        };
        results.push(result);
    }
    for key in keys.by_name.into_values().flatten() {
        keys::save(step, &key.row).await?;
    }
    Ok(results)
}

/// What is known of a task before it is added.
#[derive(Clone, Copy)]
struct Added {
    type_id: i64,
    create_us: i64,
    job_row_id: Option<i64>,
}

/// The same for a queue by its name, which is made if there is none.
pub async fn enqueue_by_name(
    step: &mut Step<'_>,
    name: &str,
    tasks: &[NewTask],
    first_us: i64,
    keys_max: i64,
) -> Result<Vec<Result<Enqueued>>> {
    let queue = step.names.ensure_queue(step.tx, name, step.now).await?;
    match enqueue(step, &queue, tasks, first_us, keys_max).await {
        // The queue in memory is out of date. Nothing was written for it: its types come first.
        Err(Error::QueueNotFound) => {
            step.names.registry.forget_all();
            let queue = step.names.keep_queue(step.tx, name, step.now).await?;
            enqueue(step, &queue, tasks, first_us, keys_max).await
        }
        other => other,
    }
}

async fn add(
    step: &mut Step<'_>,
    task: &NewTask,
    Added { type_id, create_us, job_row_id }: Added,
    uniques: &BTreeMap<String, i64>,
    keys: &mut Keys,
) -> Result<Enqueued> {
    let mut unique_id = None;
    if let Some(unique) = &task.unique {
        let id = *uniques.get(&unique.key).ok_or_else(|| Error::internal("a unique key is not locked"))?;
        if let Some((task_id, state)) = uniques::in_the_way(step, id, unique).await? {
            return Ok(Enqueued { task_id, is_duplicate: true, state });
        }
        unique_id = Some(id);
    }
    let mut row = place(step, task, create_us);
    let key_id = match &task.limit_key {
        Some(name) => Some(keys.admit(step, name, (type_id, task.priority), &mut row).await?),
        None => None,
    };
    let values: Vec<Value> = vec![
        type_id.into(),
        row.state.number().into(),
        task.priority.into(),
        row.order_key.into(),
        row.create_time.into(),
        row.run_time.into(),
        row.expire_time.into(),
        task.retries_max.into(),
        task.timeout_us.into(),
        key_id.into(),
        task.schedule_id.into(),
        task.job_item.as_ref().map(|item| item.job_id).into(),
        job_row_id.into(),
        task.job_item.as_ref().and_then(|item| item.key.clone()).into(),
        unique_id.into(),
        task.parameters.clone().into(),
    ];
    let task_id = step.tx.insert_written_out(INSERT, values).await?;
    step.effects.moved(type_id, None, Some(row.state));
    step.effects.tally(type_id).enqueued += 1;
    Ok(Enqueued { task_id, is_duplicate: false, state: row.state })
}

/// Where a new task stands.
struct Place {
    state: State,
    order_key: i64,
    create_time: Option<i64>,
    run_time: Option<i64>,
    expire_time: Option<i64>,
}

fn place(step: &mut Step<'_>, task: &NewTask, create_us: i64) -> Place {
    let now = step.now;
    match task.when {
        When::At(run_us) if run_us > now.wall_us => {
            step.effects.run_at(run_us);
            Place {
                state: State::Scheduled,
                order_key: create_us.saturating_add(run_us - now.wall_us),
                create_time: Some(create_us),
                run_time: Some(run_us),
                expire_time: None,
            }
        }
        When::After(delay_us) if delay_us > 0 => {
            let due_us = now.us.saturating_add(delay_us);
            step.effects.due_at(due_us);
            Place {
                state: State::Scheduled,
                order_key: create_us.saturating_add(delay_us),
                create_time: Some(create_us),
                run_time: Some(now.wall_us.saturating_add(delay_us)),
                expire_time: Some(due_us),
            }
        }
        When::At(run_us) => Place { run_time: Some(run_us), ..Place::now(create_us) },
        When::Now | When::After(_) => Place::now(create_us),
    }
}

impl Place {
    fn now(order_key: i64) -> Self {
        Self { state: State::Queued, order_key, create_time: None, run_time: None, expire_time: None }
    }
}

impl Keys {
    /// Locks the keys of `tasks`.
    async fn lock(step: &mut Step<'_>, queue: &Queue, tasks: &[NewTask], keys_max: i64) -> Result<Self> {
        let names: BTreeSet<&str> = tasks.iter().filter_map(|task| task.limit_key.as_deref()).collect();
        let locked = keys::ensure(step, queue, &names, keys_max).await?;
        let with_limits = |row: KeyRow| {
            let limits = row.limits(&queue.rules.key_limits);
            KeyUse { row, limits, lines: HashMap::new() }
        };
        let by_name = locked.into_iter().map(|(name, row)| (name, row.map(with_limits).map_err(drop)));
        let order = Order::of(&queue.rules, Requested::QueueDefault);
        Ok(Self { by_name: by_name.collect(), keys_max, order })
    }

    /// The id of a task's key. If enough of the key are queued to use all its room, the task is blocked: otherwise claims would
    /// have to take it out of the line one by one. Unless it goes before the last of them.
    async fn admit(
        &mut self,
        step: &Step<'_>,
        name: &str,
        (type_id, priority): (i64, i64),
        place: &mut Place,
    ) -> Result<i64> {
        let (keys_max, order) = (self.keys_max, self.order);
        let Some(Ok(key)) = self.by_name.get_mut(name) else { return Err(Error::TooManyKeys { keys_max }) };
        if place.state != State::Queued || key.limits == KeyLimits::default() {
            return Ok(key.row.id);
        }
        let room = key.row.room(&key.limits, step.now.us);
        if let std::collections::hash_map::Entry::Vacant(vacant) = key.lines.entry(type_id) {
            let count = keys::queued_count(step.tx, key.row.id, type_id, room.max(1)).await?;
            let last = lanes::last_queued(step.tx, order, key.row.id, type_id).await?;
            vacant.insert(Line { count, last });
        }
        let Some(line) = key.lines.get_mut(&type_id) else { return Ok(key.row.id) };
        let rank = Some(order.rank(priority, place.order_key));
        if line.count >= room && rank >= line.last {
            place.state = State::Blocked;
            key.row.block(&key.limits, 1, step.now.us);
        } else {
            line.count += 1;
            line.last = line.last.max(rank);
        }
        Ok(key.row.id)
    }
}
