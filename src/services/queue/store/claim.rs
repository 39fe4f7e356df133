//! Claiming: the first tasks, in the order of the claim, of the requested types.
//!
//! For one type and tasks without limit keys this is two statements: one that finds and one that takes.

use std::collections::HashMap;

use sea_orm::Value;
use uuid::Uuid;

use super::ends::Step;
use super::keys::{self, KeyRow};
use super::lanes::{self, Lane};
use super::list::TASK_OVERHEAD_BYTES;
use super::{rows, sql};
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::services::queue::domain::{Holder, KeyLimits, State, Task};
use crate::services::queue::order::Order;
use crate::storage::row;

/// What the claim reads of a task. The type is given by a subquery, so that nothing of a paused one is found; the same for a
/// worker that is not alive.
const LINE: &str = r#"SELECT "id", "type_id", "priority", "token", "failure_count", "order_key", "create_time", "run_time",
    "retries_max", "timeout_us", "key_id", "schedule_id", "job_id", "job_item_key", "error", "parameters" FROM "queue_tasks"
    WHERE "state" = 0 AND "type_id" = (SELECT y."id" FROM "queue_types" y WHERE y."id" = $1 AND y."paused" = 0)
    AND ($2 = 0 OR EXISTS (SELECT 1 FROM "queue_workers" w WHERE w."id" = $2 AND w."end_time" IS NULL))
    "#;
const WORKER: &str = r#"SELECT "id" AS "number" FROM "queue_workers" WHERE "id" = $1 AND "end_time" IS NULL"#;
const KEY_NAME: &str = r#"SELECT "name" FROM "queue_keys" WHERE "id" = $1"#;
const SCHEDULE_NAME: &str = r#"SELECT "name" FROM "queue_schedules" WHERE "id" = $1"#;

static TAKE: sql::Listed = sql::Listed::new(|| {
    let take = r#"UPDATE "queue_tasks" SET "state" = $1, "token" = "token" + 1, "worker_id" = $2, "claim_time" = $3,
        "expire_time" = $4, "is_cancelling" = FALSE WHERE "id" IN"#;
    sql::listed(take, 5, "")
});

/// Tasks that one claim may take out of the line because their key has no room; it is gone on with in the next.
const BLOCKED_MAX: usize = 1_000;

/// Further lanes that a claim looks at when it has found nothing in those of its plan.
const OTHER_LANES_MAX: usize = 16;

/// Tasks that are looked at at once: so many of the largest parameters are in memory.
const ROUND_MAX: i64 = 128;

/// What to claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The queue.
    pub queue_id: i64,
    /// The types; none: all of the queue.
    pub type_ids: Vec<i64>,
    /// The order in which they are taken.
    pub order: Order,
    /// At most so many.
    pub tasks_max: i64,
    /// At most this many bytes.
    pub budget: Budget,
    /// Who holds them.
    pub holder: Holder,
    /// CLAIMED or RUNNING.
    pub state: State,
}

row! {
    #[derive(Clone, Debug)]
    struct Candidate {
        id: i64,
        type_id: i64,
        priority: i64,
        token: i64,
        failure_count: i64,
        order_key: i64,
        create_time: Option<i64>,
        run_time: Option<i64>,
        retries_max: Option<i64>,
        timeout_us: Option<i64>,
        key_id: Option<i64>,
        schedule_id: Option<i64>,
        job_id: Option<Uuid>,
        job_item_key: Option<String>,
        error: Option<String>,
        parameters: Option<String>,
    }
}

/// What was claimed.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The tasks, the most urgent first.
    pub tasks: Vec<Task>,
    /// Whether to claim again at once: many tasks were in the way whose keys have no room.
    pub is_cut_short: bool,
}

/// Keys that the claim has met.
#[derive(Default)]
struct Keys {
    rows: HashMap<i64, (KeyRow, KeyLimits)>,
    taken: HashMap<i64, i64>,
}

/// Takes tasks. Error: WorkerLost.
pub async fn claim(step: &mut Step<'_>, claim: &Claim) -> Result<Claimed> {
    let mut claimed = Claimed::default();
    let mut keys = Keys::default();
    let (mut left, mut budget, mut blocked_left) = (claim.tasks_max, claim.budget, BLOCKED_MAX);
    while left > 0 {
        let mut round = Round::new(budget);
        let plan = lanes::plan(step.tx, claim, left.min(ROUND_MAX)).await?;
        for (lane, count) in plan.iter().filter(|(_, count)| *count > 0) {
            round.look(step, claim, *lane, *count, &mut keys).await?;
        }
        // Other claims may hold the locks of all of those.
        for (lane, _) in plan.iter().filter(|(_, count)| *count == 0).take(OTHER_LANES_MAX) {
            if round.is_empty() {
                round.look(step, claim, *lane, left.min(ROUND_MAX), &mut keys).await?;
            }
        }
        for (type_id, task_ids) in &round.blocked {
            keys::block(step, *type_id, task_ids).await?;
            blocked_left = blocked_left.saturating_sub(task_ids.len());
        }
        let found_nothing = round.taken.is_empty() && round.blocked.is_empty();
        let has_left = round.has_left;
        left -= i64::try_from(round.taken.len()).unwrap_or(left);
        budget = round.budget;
        claimed.tasks.extend(take(step, claim, round.taken, &mut keys).await?);
        if has_left {
            claimed.is_cut_short = claimed.tasks.is_empty();
            break;
        }
        if found_nothing || round.is_full {
            break;
        }
        if blocked_left == 0 {
            claimed.is_cut_short = claimed.tasks.is_empty();
            break;
        }
    }
    if claimed.tasks.is_empty() {
        refuse_the_dead(step, claim.holder).await?;
    }
    keys.settle(step).await?;
    Ok(claimed)
}

/// What one look at the line gives.
struct Round {
    taken: Vec<Candidate>,
    /// Tasks whose key has no room, by type.
    blocked: HashMap<i64, Vec<i64>>,
    budget: Budget,
    is_full: bool,
    /// Whether a task was left in line because its key is locked by another transaction.
    has_left: bool,
}

impl Round {
    fn new(budget: Budget) -> Self {
        Self { taken: Vec::new(), blocked: HashMap::new(), budget, is_full: false, has_left: false }
    }

    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.blocked.is_empty() && !self.has_left && !self.is_full
    }

    async fn look(
        &mut self,
        step: &mut Step<'_>,
        claim: &Claim,
        lane: Lane,
        count: i64,
        keys: &mut Keys,
    ) -> Result<()> {
        let line = line(step, claim, lane, count).await?;
        keys.lock(step, &line).await?;
        for found in line {
            let mut budget = self.budget;
            if self.is_full || !budget.take(found.answer_bytes(), || found.id.to_string())? {
                self.is_full = true;
                break;
            }
            match keys.admit(&found, step.now.us) {
                Admission::Taken => {
                    self.budget = budget;
                    self.taken.push(found);
                }
                Admission::Blocked => self.blocked.entry(lane.type_id).or_default().push(found.id),
                Admission::Left => self.has_left = true,
            }
        }
        Ok(())
    }
}

impl Candidate {
    /// Its size in an answer.
    fn answer_bytes(&self) -> usize {
        let error = self.error.as_ref().map_or(0, |error| error.len());
        TASK_OVERHEAD_BYTES + self.parameters.as_ref().map_or(0, String::len) + error
    }
}

async fn line(step: &Step<'_>, claim: &Claim, lane: Lane, count: i64) -> Result<Vec<Candidate>> {
    let mut values: Vec<Value> = vec![lane.type_id.into(), worker_id(claim.holder).into()];
    values.extend(lane.priority.map(Value::from));
    values.push(count.into());
    let text = line_of(lane, claim.order);
    step.tx.rows::<Candidate>(&step.tx.competing(&text), values).await
}

/// The SELECT of the first tasks of a lane.
pub(super) fn line_of(lane: Lane, order: Order) -> String {
    format!("{LINE}{}", lanes::ordered(lane, order))
}

fn worker_id(holder: Holder) -> i64 {
    match holder {
        Holder::Worker(worker_id) => worker_id,
        Holder::Lease(_) => 0,
    }
}

async fn refuse_the_dead(step: &Step<'_>, holder: Holder) -> Result<()> {
    match holder {
        Holder::Worker(worker_id)
            if sql::number(step.tx, WORKER, vec![worker_id.into()]).await?.is_none() =>
        {
            Err(Error::WorkerLost)
        }
        _ => Ok(()),
    }
}

async fn take(
    step: &mut Step<'_>,
    claim: &Claim,
    mut taken: Vec<Candidate>,
    keys: &mut Keys,
) -> Result<Vec<Task>> {
    taken.sort_unstable_by_key(|found| (claim.order.rank(found.priority, found.order_key), found.id));
    let mut tasks = Vec::with_capacity(taken.len());
    let mut by_expiry: Vec<(Option<i64>, Vec<i64>)> = Vec::new();
    for found in taken {
        let named = step.names.of_task(step.tx, found.type_id).await?;
        let timeout_us = found.timeout_us.unwrap_or(named.queue.rules.timeout_us);
        let limit_us = (timeout_us > 0).then(|| step.now.us.saturating_add(timeout_us));
        let expire_us = match claim.holder {
            Holder::Worker(_) => limit_us,
            Holder::Lease(lease_us) => {
                let until_us = step.now.us.saturating_add(lease_us);
                Some(limit_us.map_or(until_us, |limit_us| until_us.min(limit_us)))
            }
        };
        if let Some(expire_us) = expire_us {
            step.effects.due_at(expire_us);
        }
        match by_expiry.iter_mut().find(|(same, _)| *same == expire_us) {
            Some((_, task_ids)) => task_ids.push(found.id),
            None => by_expiry.push((expire_us, vec![found.id])),
        }
        step.effects.changed.push(found.id);
        let waited_us = (step.now.us - found.order_key).max(0);
        step.effects.moved(found.type_id, Some(State::Queued), Some(claim.state));
        let tally = step.effects.tally(found.type_id);
        (tally.claimed, tally.wait_us) = (tally.claimed + 1, tally.wait_us.saturating_add(waited_us));
        tasks.push(task(step, claim, found, expire_us, keys).await?);
    }
    let worker_id = Some(worker_id(claim.holder)).filter(|id| *id != 0);
    for (expire_us, task_ids) in by_expiry {
        for chunk in sql::chunks(&task_ids) {
            let mut values: Vec<Value> = Vec::with_capacity(chunk.len() + 4);
            values.push(claim.state.number().into());
            values.extend([worker_id.into(), Some(step.now.us).into(), expire_us.into()]);
            values.extend(chunk.iter().map(|id| Value::from(*id)));
            step.tx.run(TAKE.text(chunk.len()), values).await?;
        }
    }
    Ok(tasks)
}

/// The task as it is when it is taken.
async fn task(
    step: &Step<'_>,
    claim: &Claim,
    found: Candidate,
    expire_us: Option<i64>,
    keys: &mut Keys,
) -> Result<Task> {
    let limit_key = match found.key_id {
        Some(key_id) => {
            *keys.taken.entry(key_id).or_default() += 1;
            name(step, KEY_NAME, key_id).await?
        }
        None => None,
    };
    let schedule = match found.schedule_id {
        Some(schedule_id) => name(step, SCHEDULE_NAME, schedule_id).await?,
        None => None,
    };
    Ok(Task {
        id: found.id,
        type_id: found.type_id,
        state: claim.state,
        priority: found.priority,
        parameters: found.parameters,
        create_us: found.create_time.unwrap_or(found.order_key),
        run_us: found.run_time,
        token: found.token + 1,
        failure_count: found.failure_count,
        retries_max: found.retries_max,
        timeout_us: found.timeout_us,
        limit_key,
        worker_id: Some(worker_id(claim.holder)).filter(|id| *id != 0),
        worker_name: None,
        progress: None,
        progress_message: None,
        update_us: step.now.us,
        claim_us: Some(step.now.us),
        start_us: None,
        expire_us,
        is_cancelling: false,
        finish_us: None,
        result: None,
        error: found.error,
        schedule,
        job_item: rows::job_item(found.job_id, found.job_item_key),
    })
}

async fn name(step: &Step<'_>, query: &str, id: i64) -> Result<Option<String>> {
    row! {
        struct Name {
            name: String,
        }
    }
    Ok(step.tx.row::<Name>(query, vec![id.into()]).await?.map(|row| row.name))
}

/// What a claim does with a task in line.
enum Admission {
    Taken,
    /// Its key has no room.
    Blocked,
    /// It stays in line: waiting for the lock of its key would be a wait out of order.
    Left,
}

impl Keys {
    /// Locks the keys of those in line that were not met before.
    async fn lock(&mut self, step: &mut Step<'_>, line: &[Candidate]) -> Result<()> {
        let mut new: Vec<(i64, i64)> = line
            .iter()
            .filter_map(|found| Some((found.key_id?, found.type_id)))
            .filter(|(key_id, _)| !self.rows.contains_key(key_id))
            .collect();
        new.sort_unstable();
        new.dedup_by_key(|(key_id, _)| *key_id);
        for (key_id, type_id) in new {
            let named = step.names.of_task(step.tx, type_id).await?;
            if let Some(row) = keys::find_in_order(step, key_id).await? {
                let limits = row.limits(&named.queue.rules.key_limits);
                self.rows.insert(key_id, (row, limits));
            }
        }
        Ok(())
    }

    /// Counts a task against the limits of its key. A task without a key has room.
    fn admit(&mut self, found: &Candidate, now_us: i64) -> Admission {
        let Some(key_id) = found.key_id else { return Admission::Taken };
        let Some((row, limits)) = self.rows.get_mut(&key_id) else { return Admission::Left };
        if row.room(limits, now_us) > 0 {
            row.claim(limits, 1, now_us);
            Admission::Taken
        } else {
            row.block(limits, 1, now_us);
            Admission::Blocked
        }
    }

    /// Writes what was counted; where a key has room left, others of it come back.
    async fn settle(self, step: &mut Step<'_>) -> Result<()> {
        let mut rows: Vec<(KeyRow, KeyLimits)> = self.rows.into_values().collect();
        rows.sort_unstable_by_key(|(row, _)| row.id);
        for (mut row, limits) in rows {
            if self.taken.contains_key(&row.id) {
                keys::unblock(step, &mut row, &limits).await?;
            }
            keys::save(step, &row).await?;
        }
        Ok(())
    }
}
