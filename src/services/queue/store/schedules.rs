//! Schedules: tasks that are enqueued again and again. A run is one transaction under the lock of its schedule's row, which moves
//! on to the next run: no run is enqueued twice, however many sidecars there are.

use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use super::ends::Step;
use super::names::Names;
use super::{enqueue, sql};
use crate::error::{Error, Result};
use crate::services::queue::cron::Cron;
use crate::services::queue::domain::{NewTask, Unique, When};
use crate::services::queue::entity::schedules;
use crate::services::queue::schedule::{MissedRuns, NewSchedule, Schedule};
use crate::storage::Db;

pub(super) const DUE: &str = r#"SELECT "id" AS "number" FROM "queue_schedules" WHERE "next_run_time" IS NOT NULL
    AND "next_run_time" <= $1 ORDER BY "next_run_time" LIMIT $2"#;
const ADVANCE: &str = r#"UPDATE "queue_schedules" SET "next_run_time" = $1, "last_run_time" = coalesce($2, "last_run_time"),
    "last_task_id" = coalesce($3, "last_task_id") WHERE "id" = $4"#;
/// Schedules that wait for their next run, by id.
const AHEAD: &str = r#"SELECT "id" AS "number" FROM "queue_schedules" WHERE "id" > $1 AND "next_run_time" > $2
    ORDER BY "id" LIMIT $3"#;
const SET_NEXT: &str = r#"UPDATE "queue_schedules" SET "next_run_time" = $1 WHERE "id" = $2"#;

/// Schedules whose runs are enqueued in one step.
const SCHEDULES_PER_STEP: i64 = 16;

/// Makes a schedule or replaces it; tells whether it was made. Errors: TooManySchedules, TooManyQueues, TooManyTypes.
pub async fn put(step: &mut Step<'_>, new: &NewSchedule, schedules_max: i64) -> Result<(Schedule, bool)> {
    let (tx, now) = (step.tx, step.now);
    let type_id = step.names.ensure_type_of(tx, &new.queue, &new.task.type_name, now).await?;
    let former = schedules::Entity::find()
        .filter(schedules::Column::Name.eq(&new.name))
        .lock(LockType::NoKeyUpdate)
        .one(&**tx)
        .await?;
    let is_same_time = former
        .as_ref()
        .is_some_and(|row| row.cron == new.cron && row.time_zone == new.time_zone && !row.is_paused);
    let kept = former.as_ref().filter(|_| is_same_time).and_then(|row| row.next_run_time);
    let next_run_us = match (new.is_paused, kept) {
        (true, _) => None,
        (false, Some(kept)) => Some(kept),
        (false, None) => cron_of(&new.cron, &new.time_zone, former.as_ref().map_or(0, |row| row.id))?
            .next_after(now.wall_us),
    };
    if let Some(next_run_us) = next_run_us {
        step.effects.run_at(next_run_us);
    }
    let row = schedules::ActiveModel {
        next_run_time: Set(next_run_us),
        update_time: Set(now.us),
        ..columns(new, type_id)
    };
    let Some(former) = former else {
        let count = schedules::Entity::find().count(&**tx).await?;
        if i64::try_from(count).unwrap_or(i64::MAX) >= schedules_max {
            return Err(Error::TooManySchedules { schedules_max });
        }
        let row = schedules::ActiveModel { name: Set(new.name.clone()), create_time: Set(now.us), ..row };
        tx.insert(row).await?;
        let made = Schedule {
            put: new.clone(),
            next_run_us,
            last_run_us: None,
            last_task_id: None,
            create_us: now.us,
            update_us: now.us,
        };
        return Ok((made, true));
    };
    schedules::Entity::update_many().set(row).filter(schedules::Column::Id.eq(former.id)).exec(&**tx).await?;
    let put = Schedule {
        put: new.clone(),
        next_run_us,
        last_run_us: former.last_run_time,
        last_task_id: former.last_task_id,
        create_us: former.create_time,
        update_us: now.us,
    };
    Ok((put, false))
}

/// What is put, as columns.
fn columns(new: &NewSchedule, type_id: i64) -> schedules::ActiveModel {
    let unique = new.task.unique.as_ref();
    schedules::ActiveModel {
        type_id: Set(type_id),
        cron: Set(new.cron.clone()),
        time_zone: Set(new.time_zone.clone()),
        missed_runs: Set(new.missed_runs.number()),
        is_paused: Set(new.is_paused),
        priority: Set(new.task.priority),
        parameters: Set(new.task.parameters.clone()),
        retries_max: Set(new.task.retries_max),
        timeout_us: Set(new.task.timeout_us),
        limit_key: Set(new.task.limit_key.clone()),
        unique_key: Set(unique.map(|unique| unique.key.clone())),
        unique_states: Set(unique.map_or(0, |unique| unique.states)),
        unique_period_us: Set(unique.and_then(|unique| unique.period_us)),
        ..Default::default()
    }
}

/// A schedule. Error: ScheduleNotFound.
pub async fn get(db: &Db<'_>, names: &Names, name: &str) -> Result<Schedule> {
    let row = schedules::Entity::find().filter(schedules::Column::Name.eq(name)).one(db).await?;
    domain(db, names, row.ok_or(Error::ScheduleNotFound)?).await
}

/// Schedules by name.
pub async fn list(db: &Db<'_>, names: &Names, after: Option<&str>, rows_max: u64) -> Result<Vec<Schedule>> {
    let mut query = schedules::Entity::find().order_by_asc(schedules::Column::Name).limit(rows_max);
    if let Some(after) = after {
        query = query.filter(schedules::Column::Name.gt(after));
    }
    let mut found = Vec::new();
    for row in query.all(db).await? {
        found.push(domain(db, names, row).await?);
    }
    Ok(found)
}

/// Deletes a schedule; tells whether there was one.
pub async fn delete(step: &mut Step<'_>, name: &str) -> Result<bool> {
    let delete = schedules::Entity::delete_many().filter(schedules::Column::Name.eq(name));
    Ok(delete.exec(&**step.tx).await?.rows_affected > 0)
}

async fn domain(db: &Db<'_>, names: &Names, row: schedules::Model) -> Result<Schedule> {
    let named = names.of_listed(db, row.type_id).await?;
    let task = task_of(&row, named.kind.name.clone());
    let missed_runs = MissedRuns::of(row.missed_runs)
        .ok_or_else(|| corrupt(row.id, "missed_runs", format!("{} is unknown", row.missed_runs)))?;
    Ok(Schedule {
        put: NewSchedule {
            name: row.name,
            queue: named.queue.name.clone(),
            task,
            cron: row.cron,
            time_zone: row.time_zone,
            missed_runs,
            is_paused: row.is_paused,
        },
        next_run_us: row.next_run_time,
        last_run_us: row.last_run_time,
        last_task_id: row.last_task_id,
        create_us: row.create_time,
        update_us: row.update_time,
    })
}

fn task_of(row: &schedules::Model, type_name: String) -> NewTask {
    let unique = row.unique_key.as_ref().map(|key| Unique {
        key: key.clone(),
        states: row.unique_states,
        period_us: row.unique_period_us,
    });
    NewTask {
        type_name,
        parameters: row.parameters.clone(),
        priority: row.priority,
        when: When::Now,
        retries_max: row.retries_max,
        timeout_us: row.timeout_us,
        limit_key: row.limit_key.clone(),
        unique,
        schedule_id: Some(row.id),
        job_item: None,
    }
}

fn corrupt(row: i64, column: &'static str, cause: String) -> Error {
    Error::CorruptRow { table: "queue_schedules", column, row, cause }
}

fn cron_of(pattern: &str, zone: &str, row: i64) -> Result<Cron> {
    Cron::parse(pattern, zone).map_err(|error| corrupt(row, "cron", format!("{error:?}")))
}

/// Enqueues the runs that are due, at most `runs_max` of each schedule; tells how many schedules that were.
pub(super) async fn run(step: &mut Step<'_>, runs_max: usize, keys_max: i64) -> Result<usize> {
    let values = vec![step.now.wall_us.into(), SCHEDULES_PER_STEP.into()];
    let found = step.tx.rows::<sql::Number>(&step.tx.competing(DUE), values).await?;
    for id in found.iter().filter_map(|row| row.number) {
        let Some(row) = schedules::Entity::find_by_id(id).one(&**step.tx).await? else { continue };
        match run_one(step, &row, runs_max, keys_max).await {
            // One that cannot be run must not keep the others from it.
            Err(error @ Error::CorruptRow { .. }) => {
                tracing::error!(schedule = row.name, error = %error, "a schedule cannot be run and is stopped");
                let never = None::<i64>;
                let values = vec![never.into(), never.into(), never.into(), id.into()];
                step.tx.run(ADVANCE, values).await?;
            }
            other => other?,
        }
    }
    Ok(found.len())
}

async fn run_one(step: &mut Step<'_>, row: &schedules::Model, runs_max: usize, keys_max: i64) -> Result<()> {
    let now = step.now;
    let cron = cron_of(&row.cron, &row.time_zone, row.id)?;
    let missed = MissedRuns::of(row.missed_runs).unwrap_or(MissedRuns::Skip);
    let runs = cron.due(row.next_run_time.unwrap_or(now.wall_us), now.wall_us, missed, runs_max);
    let named = step.names.of_task(step.tx, row.type_id).await?;
    let task = task_of(row, named.kind.name.clone());
    let tasks: Vec<NewTask> =
        runs.iter().map(|run_us| NewTask { when: When::At(*run_us), ..task.clone() }).collect();
    let first_us = now.us.saturating_sub(i64::try_from(tasks.len()).unwrap_or(0));
    let mut last_task_id = None;
    for enqueued in enqueue::enqueue(step, &named.queue, &tasks, first_us, keys_max).await? {
        match enqueued {
            Ok(enqueued) => last_task_id = Some(enqueued.task_id),
            Err(error) => tracing::warn!(schedule = row.name, error = %error, "a run is left out"),
        }
    }
    let values = vec![
        cron.next_after(now.wall_us).into(),
        runs.last().copied().into(),
        last_task_id.into(),
        row.id.into(),
    ];
    step.tx.run(ADVANCE, values).await?;
    Ok(())
}

/// Computes the next runs again of schedules behind `after`, because the wall clock was set; answers with the last one that was
/// looked at, if there was one.
pub async fn compute_again(step: &mut Step<'_>, after: i64) -> Result<Option<i64>> {
    let now_us = step.now.wall_us;
    let values = vec![after.into(), now_us.into(), SCHEDULES_PER_STEP.into()];
    let found = step.tx.rows::<sql::Number>(&step.tx.locking(AHEAD), values).await?;
    for id in found.iter().filter_map(|row| row.number) {
        let Some(row) = schedules::Entity::find_by_id(id).one(&**step.tx).await? else { continue };
        // One that is corrupt is reported when it is due.
        let Ok(cron) = cron_of(&row.cron, &row.time_zone, id) else { continue };
        let next_run_us = cron.next_after(continues_from(&cron, row.last_run_time, now_us));
        if next_run_us != row.next_run_time {
            step.tx.run(SET_NEXT, vec![next_run_us.into(), id.into()]).await?;
        }
        if let Some(next_run_us) = next_run_us {
            step.effects.run_at(next_run_us);
        }
    }
    Ok(found.last().and_then(|row| row.number))
}

/// From when a schedule goes on. The last run of a clock that went back by less than the time between two runs is not repeated;
/// after a larger step the schedule goes on from now, so that it never waits longer than two such times.
fn continues_from(cron: &Cron, last_run_us: Option<i64>, now_us: i64) -> i64 {
    let Some(last_us) = last_run_us.filter(|last_us| *last_us > now_us) else { return now_us };
    let period_us = cron.next_after(last_us).map_or(0, |next_us| next_us.saturating_sub(last_us));
    if last_us.saturating_sub(now_us) < period_us { last_us } else { now_us }
}
